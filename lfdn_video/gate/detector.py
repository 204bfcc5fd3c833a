"""Is it dry? By how much of a frame the restoration darkens, and over how much of it.

The network and the temporal stage are themselves the best judges of rain: on dry frames they take
nothing away but here and there, on rainy ones they darken streaks all over the frame. So the frame
is divided into tiles, and the share of those in which anything was darkened visibly is its spread.
One threshold decides; what it lets pass is calibrated in `benchmarks/dry_gate.py`.

A missed segment is one of which the run would hardly have taken anything away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lfdn_video.media import Frame, Plane

DETECTOR = "1"
"""Changes when the same frames may be judged otherwise: a run that is resumed keeps its plan."""

THRESHOLD = 0.06
"""Spread at which it rains: half of that which 98 % of the rainy calibration bursts exceed."""

DARKENED_CODES = 4
"""Of 255. Noise and texture that the network softens change by less."""

TILES_DOWN, TILES_ACROSS = 8, 12
LEAST_OF_TILE = 5e-4
"""Share of a tile's samples that are darkened, at least: one of 40 × 50 px."""

NO_BLUR = (
    "only when needed: is for derain; how much deblur changes a frame does not tell whether it is "
    "sharp; leave it out"
)


def measure_spread(decoded: Sequence[Frame], restored: Sequence[Frame]) -> float:
    """Measure what was taken away from consecutive frames.

    Args:
        decoded: the frames as they were; luma, or green, is their first plane.
        restored: the same frames, restored.

    Returns:
        The spread of the frame where it is largest, 0…1.
    """
    pairs = zip(decoded, restored, strict=True)
    return max(_spread(before.planes[0], after.planes[0], before) for before, after in pairs)


def _spread(before: Plane, after: Plane, frame: Frame) -> float:
    codes = DARKENED_CODES << (frame.format.depth - 8)
    darkened = before.astype(np.int32) - after > codes
    shares = _share_by_tile(darkened)
    return float((shares >= LEAST_OF_TILE).mean())


def _share_by_tile(mask: Any) -> Any:
    """Return the share of a mask that is set, by tile; a small frame has fewer tiles."""
    height, width = mask.shape
    rows = np.unique(np.linspace(0, height, TILES_DOWN + 1).astype(int))
    columns = np.unique(np.linspace(0, width, TILES_ACROSS + 1).astype(int))
    sums = np.add.reduceat(np.add.reduceat(mask, rows[:-1], 0, dtype=int), columns[:-1], 1)
    return sums / np.outer(np.diff(rows), np.diff(columns))
