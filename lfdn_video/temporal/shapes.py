"""What is around a place: has it a track, as things have, or the direction of the rain?

A thing that moves by itself is in the neighbours too, at another place, about as bright. A streak
is in one frame only; what else there is of rain runs in the same direction.
"""

import math
from typing import Any

import cv2
import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Places
from lfdn_video.temporal.evidence import Evidence, sort_planes
from lfdn_video.temporal.flow import Floats

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

CELL_PX = 4
"""Things are looked for in cells of this side."""

REACHES = (2, 4, 8)
"""Cells to each side in which a thing may be in another frame: up to 8, 16 and 32 px."""

LINE_PX = (3, 6)
"""How far from a place its line goes on, either way."""


def to_codes(difference: Plane, unit: float) -> Plane:
    """Return a difference that is not negative in 8-bit codes, rounded."""
    codes: Plane = cv.convertScaleAbs(difference, alpha=1 / unit)
    return codes


def find_tracks(evidence: Evidence) -> list[Floats]:
    """Tell how bright the neighbours are near each place, where they are brighter than each other.

    Args:
        evidence: of one frame.

    Returns:
        `[places]` each, in 8-bit codes: what the frame itself has about the place, and for each of
        `REACHES` how much brighter than that the second brightest neighbour and the middle one
        are about it.
    """
    picture, median = evidence.picture, evidence.overview.median
    unit = picture.levels.unit
    own = _to_cells(to_codes(cv.subtract(picture.luma, median), unit))
    shown = []
    for each in evidence.neighbours:
        excess = to_codes(cv.subtract(each.luma, median), unit)
        shown.append(_to_cells(cv.bitwise_and(excess, each.valid)))
    cells = Places(
        evidence.places.rows // CELL_PX, evidence.places.columns // CELL_PX, own.shape[:2]
    )
    peak = cells.take(_dilate(own, 1))
    found = [peak]
    for reach in REACHES:
        ordered = sort_planes([_dilate(each, reach) for each in shown])
        found += [cells.take(ordered[rank]) - peak for rank in (-2, len(ordered) // 2)]
    return found


def find_lines(evidence: Evidence) -> list[Floats]:
    """Tell whether what the decoded frame has at a place goes on in the direction of the rain.

    Args:
        evidence: of one frame.

    Returns:
        `[places]` each, in 8-bit codes: the mean excess along that direction and across it, for
        each of `LINE_PX`.
    """
    picture, median = evidence.picture, evidence.overview.median
    excess = to_codes(cv.subtract(picture.decoded_luma, median), picture.levels.unit)
    margin = max(LINE_PX)
    padded = cv.copyMakeBorder(excess, margin, margin, margin, margin, cv.BORDER_REPLICATE)
    width = padded.shape[1]
    flat, start = padded.ravel(), evidence.places.rows * width + evidence.places.columns

    def at(down: float, right: float) -> Floats:
        offset = (margin + round(down)) * width + margin + round(right)
        samples: Floats = flat.take(start + offset).astype(np.float32)
        return samples

    # The structure tensor over all places: its weak axis is where streaks go.
    down, right = at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)
    both = 2 * _sum_products(down, right)
    difference = _sum_products(right, right) - _sum_products(down, down)
    angle = 0.5 * math.atan2(both, difference) + math.pi / 2
    sine, cosine = math.sin(angle), math.cos(angle)
    found = []
    for length in LINE_PX:
        for y, x in ((sine, cosine), (cosine, -sine)):
            ends = at(y * length, x * length) + at(-y * length, -x * length)
            found.append(ends / np.float32(2))
    return found


def _sum_products(one: Floats, other: Floats) -> float:
    # Not `one @ other`: see `COLUMNS` in gate.py.
    return float(np.einsum("i,i->", one, other))


def _to_cells(plane: Plane) -> Plane:
    largest = cv.dilate(plane, np.ones((CELL_PX, CELL_PX), np.uint8), anchor=(0, 0))
    cells: Plane = np.ascontiguousarray(largest[::CELL_PX, ::CELL_PX])
    return cells


def _dilate(cells: Plane, reach: int) -> Plane:
    side = 2 * reach + 1
    dilated: Plane = cv.dilate(cells, np.ones((side, side), np.uint8))
    return dilated
