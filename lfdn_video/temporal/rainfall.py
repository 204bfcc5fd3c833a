"""Does it rain in a few frames? What the network takes away from one, and its neighbours lack.

    five frames as decoded, the middle one restored
        ─▶ where the network darkened it ─▶ less what neighbours show as bright ─▶ over how much?

Rain is in one frame only. What the network darkens by mistake, a lane marking or a twig, is in the
neighbours, too. Only what they show is judged, since rain falls everywhere. In doubt it rains: if
they show too little of the frame, all that was darkened counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lfdn_video.media import Frame, FrameFormat, Plane
from lfdn_video.temporal.align import Aligned, Levels
from lfdn_video.temporal.copies import is_copy
from lfdn_video.temporal.evidence import LEAST_SAMPLES, Choice, Picture, look
from lfdn_video.temporal.flow import Mask, is_large_enough, to_flow_image
from lfdn_video.temporal.motion import align_sides
from lfdn_video.temporal.rule import LEAST_TILE_WITH_NEIGHBOURS, share_by_tile, weigh

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

DARKENED_CODES = 4
"""Of 255. What the network does to noise and texture is less."""

LEAST_SHARE_LACKING = 0.5
"""Of what was taken away, neighbours lack at least this: aligned, they are a little blurred."""

LEAST_OF_TILE = 5e-4
"""Share of a tile that is rainy: one px of a tile of 40 × 50."""

LEAST_SHARE_SEEN = 0.5
"""Of a frame, by neighbours. With less, as in a fast pan, all that was darkened counts."""


def measure_rainfall(decoded: Sequence[Frame], restored: Frame, info: FrameFormat) -> float:
    """Measure over how much of a frame it rains.

    Args:
        decoded: consecutive frames of one format; the middle one is judged by the others.
        restored: what the network made of the middle one.
        info: how they are stored.

    Returns:
        The share of the frame's 8 × 12 tiles in which it rains, of those that neighbours show, 0…1;
        1 if they leave no doubt (`rule.weigh`).
    """
    levels = Levels(info)
    seen = [_Seen.of(number, frame, levels) for number, frame in enumerate(decoded)]
    middle = seen[len(seen) // 2]
    luma = levels.luma_of(restored.planes)
    neighbours = _align(seen, middle, levels)
    if len(neighbours) >= LEAST_SAMPLES:
        picture = Picture(restored.planes, middle.frame.planes, luma, middle.luma, levels)
        if weigh(look(picture, neighbours)).reason is None:
            return 1.0
    rainy, judged = _find_rain(middle.luma, luma, neighbours, levels)
    area = share_by_tile(judged)
    counts = area > LEAST_TILE_WITH_NEIGHBOURS
    shares = share_by_tile(rainy)[counts] / area[counts]
    return float((shares >= LEAST_OF_TILE).mean()) if counts.any() else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A frame of the burst."""

    number: int
    frame: Frame
    luma: Plane
    image: Plane

    @classmethod
    def of(cls, number: int, frame: Frame, levels: Levels) -> _Seen:
        luma = levels.luma_of(frame.planes)
        return cls(number, frame, luma, to_flow_image(luma, levels.depth))


def _align(seen: Sequence[_Seen], middle: _Seen, levels: Levels) -> list[Aligned]:
    """Align the other frames to the middle one, without its copies."""
    if not is_large_enough(middle.image):
        return []
    sides = (seen[: middle.number][::-1], seen[middle.number + 1 :])
    own = [
        [each for each in side if not is_copy(middle.luma, each.luma, levels.unit)]
        for side in sides
    ]
    return align_sides(middle, own, levels)


def _find_rain(
    before: Plane, after: Plane, neighbours: Sequence[Aligned], levels: Levels
) -> tuple[Mask, Mask]:
    """Find what was darkened and is in no neighbour.

    Returns:
        A mask of it, and one of the samples that were judged; 255 or 0.
    """
    taken = before.astype(np.float32) - after
    darkened = taken > DARKENED_CODES * levels.unit
    everywhere = np.full(before.shape, 255, np.uint8)
    if len(neighbours) < LEAST_SAMPLES:
        return _as_mask(darkened), everywhere
    valid = np.stack([each.valid > 0 for each in neighbours])
    seen = valid.sum(0) >= LEAST_SAMPLES
    if seen.mean() < LEAST_SHARE_SEEN:
        return _as_mask(darkened), everywhere
    lumas = np.stack([each.luma.astype(np.float32) for each in neighbours])
    lumas[~valid] = np.nan
    places = darkened & seen
    lacking = before[places] - np.nanmedian(lumas[:, places], axis=0)
    darkened &= seen
    darkened[places] = lacking >= LEAST_SHARE_LACKING * taken[places]
    return _as_mask(darkened), _as_mask(seen)


def _as_mask(chosen: Choice) -> Mask:
    return chosen.astype(np.uint8) * np.uint8(255)
