"""The decision and the correction for one frame: what its neighbours do not show was rain.

    neighbours, aligned ─▶ median, spread ─▶ brighter? darker? ─▶ switch ─▶ masks ─▶ planes

Rain is in one frame only, and it only brightens. So a sample that is brighter than its neighbours'
median, by more than their spread explains, was a streak; and since nothing makes the *input* darker
than its neighbours, whatever looks darker measures how often such a finding is false. A frame where
that is too often stays as the network made it (`weigh`).

Functions of one frame and its neighbours, on the stream's planes in their own depth. Thresholds are
in 8-bit codes of full range, as in the papers; `Levels` scales them. Who the neighbours are is
decided in `stage.py`, where they are seen in `flow.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Aligned, Consensus, Levels, find_consensus
from lfdn_video.temporal.flow import Mask

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

Reason: TypeAlias = Literal[
    "too few neighbours",
    "nothing brighter",
    "as much darker as brighter",
    "too much",
    "too local",
]
"""Why a frame stays as the network made it."""

LEAST_SHARE_WITH_NEIGHBOURS = 0.5
"""Of a frame; with less, as in a fast pan or after a cut, most of the rain would stay anyway."""

LEAST_SHARE_BRIGHTER = 3e-4
"""Below this there is no rain left, or nothing that is worth a change."""

MOST_SHARE_BRIGHTER = 0.25
"""No rain covers so much after the network; it is a flash, or the flow is wrong."""

ERRORS = (2.0, 2.8, 4.0)
"""Thresholds in units of `Consensus`' tolerance. At one of them it must be sure that it rains; the
first at which most of what is found is rain is taken."""

MOST_FALSE_ALARMS = 0.2
"""Darker over brighter samples. On dry footage .5 to 2; up to .25 the stage gains on rain that the
network leaves, but now and then loses decibels on what moves by itself."""

MOST_FALSE_ALARMS_TAKEN = 0.4
"""The same, of the threshold whose samples are corrected once it is sure that it rains."""

FALSE_ALARM_ALLOWANCE = 1e-4
"""Share of darker samples that is added, so that few brighter ones need to be surer: a small thing
that moves by itself makes as many."""

TILES_DOWN, TILES_ACROSS = 8, 12
LEAST_TILE_WITH_NEIGHBOURS = 0.3
LEAST_TILE_BRIGHTER = 1e-4
LEAST_SHARE_OF_TILES = 0.4
"""Rain falls everywhere: in this share of the tiles, with twice as many brighter samples as darker
ones. A flying ball, a lamp or a sign that flickers is in few. Seen: rain .5 to .97, dry to .13."""

MOST_IN_RAINIEST_TENTH = 0.75
"""Share of all brighter samples in a tenth of the tiles. Seen: rain .2 to .65, dry from .96."""

GREYEST = 0.3
"""Rain adds about the same to red, green and blue: the least of them at least this share of the
most, over 3x3 px."""

LARGEST_STREAK_PX, LARGEST_STREAK_AT_PX = 17, 480
"""A square of this side, at that height of the frame, that is brighter as a whole is no streak."""

FEATHER_PX = 0.7
"""Sigma of the blur of a mask that was dilated by one px: the soft rim of a streak."""

RISE = 2.5
"""In 8-bit codes: where the network took away this much and now is darker than its neighbours by
this much and their spread, it has left a dark hole; it is filled."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `weigh` found."""

    brighter: Mask
    """Samples that are brighter than their neighbours, by the threshold that was chosen."""
    reason: Reason | None
    """Why the frame is to stay as it is; None: it is to be corrected."""


def weigh(luma: Plane, decoded: Plane, consensus: Consensus) -> Verdict:
    """Decide whether what is brighter than its neighbours is rain: the switch.

    Args:
        luma: of the restored frame.
        decoded: luma of the frame before the network.
        consensus: the neighbours' median of `luma`, and its tolerance.
    """
    enough = consensus.enough
    count = cv.countNonZero(enough)
    above = cv.subtract(luma, consensus.median)
    below = cv.subtract(consensus.median, decoded)
    brighter = consensus.exceeds(above, ERRORS[0])
    if count < LEAST_SHARE_WITH_NEIGHBOURS * enough.size:
        return Verdict(brighter, "too few neighbours")
    if cv.countNonZero(brighter) < LEAST_SHARE_BRIGHTER * count:
        return Verdict(brighter, "nothing brighter")
    found = [(consensus.exceeds(above, each), consensus.exceeds(below, each)) for each in ERRORS]
    allowance = FALSE_ALARM_ALLOWANCE * count
    ratios = [
        (cv.countNonZero(false) + allowance) / max(1, cv.countNonZero(true))
        for true, false in found
    ]
    if min(ratios) > MOST_FALSE_ALARMS:
        return Verdict(brighter, "as much darker as brighter")
    brighter, darker = next(
        pair for pair, ratio in zip(found, ratios, strict=True) if ratio <= MOST_FALSE_ALARMS_TAKEN
    )
    if cv.countNonZero(brighter) > MOST_SHARE_BRIGHTER * count:
        return Verdict(brighter, "too much")
    if not _is_everywhere(brighter, darker, enough):
        return Verdict(brighter, "too local")
    return Verdict(brighter, None)


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame's planes and what they mean, restored and decoded."""

    restored: Sequence[Plane]
    decoded: Sequence[Plane]
    luma: Plane
    """Of the restored frame."""
    decoded_luma: Plane
    levels: Levels


def correct(
    picture: Picture, brighter: Mask, consensus: Consensus, neighbours: Sequence[Aligned]
) -> tuple[Plane, ...]:
    """Take the streaks out of a frame, and fill the dark holes that the network left.

    Args:
        picture: the frame.
        brighter: what `weigh` found.
        consensus: of its luma.
        neighbours: where the other planes' medians come from.

    Returns:
        New planes; a sample that is not part of a streak or a hole keeps every bit. Alpha is the
        frame's own.
    """
    levels = picture.levels
    others = [
        find_consensus(plane, [each.fetch(index) for each in neighbours], levels)
        for index, plane in enumerate(picture.restored[: levels.components])
        if index > 0 or levels.family == "rgb"
    ]
    medians = [other.median for other in others]
    if levels.family != "rgb":
        medians = [consensus.median, *medians]
    streaks = _feather(_select_streaks(brighter, picture, medians))
    if levels.family == "rgb":
        planes = [
            _lower(plane, median, streaks)
            for plane, median in zip(picture.restored, medians, strict=False)
        ]
        lowered = levels.luma_of(planes)
    else:
        lowered = _lower(picture.luma, consensus.median, streaks)
        changed = _both(streaks, cv.compare(picture.luma, consensus.median, cv.CMP_GT))
        planes = [lowered, *_blend_all(picture.restored[1:], medians[1:], changed)]
    holes = _feather(_find_holes(lowered, picture, consensus))
    if cv.countNonZero(holes):
        planes = _fill(planes, picture, medians, holes)
    return (*planes, *picture.restored[len(planes) :])


def _is_everywhere(brighter: Mask, darker: Mask, enough: Mask) -> bool:
    """Tell whether what is brighter is spread over the frame, as rain is."""
    found, false, seen = (_share_by_tile(mask) for mask in (brighter, darker, enough))
    counts = seen > LEAST_TILE_WITH_NEIGHBOURS
    rainy = (found > LEAST_TILE_BRIGHTER) & (found > 2 * false)
    if not counts.any() or rainy[counts].mean() < LEAST_SHARE_OF_TILES:
        return False
    descending = np.sort(found[counts])[::-1]
    rainiest = descending[: max(1, descending.size // 10)]
    return bool(rainiest.sum() <= MOST_IN_RAINIEST_TENTH * descending.sum())


def _share_by_tile(mask: Mask) -> Any:
    """Return the share of a mask that is set, `[TILES_DOWN, TILES_ACROSS]`."""
    height, width = mask.shape
    rows = np.linspace(0, height, TILES_DOWN + 1).astype(int)
    columns = np.linspace(0, width, TILES_ACROSS + 1).astype(int)
    sums = np.diff(np.diff(cv.integral(mask)[np.ix_(rows, columns)], axis=0), axis=1)
    areas = np.outer(np.diff(rows), np.diff(columns))
    return sums / np.maximum(255.0 * areas, 1)


def _select_streaks(brighter: Mask, picture: Picture, medians: Sequence[Plane]) -> Mask:
    """Keep what is grey and thin."""
    levels = picture.levels
    streaks = brighter
    if len(medians) > 1:
        places = np.flatnonzero(brighter)
        colours = levels.colours_at(places, brighter.shape, picture.restored, medians)
        streaks = brighter.copy()
        streaks.flat[places[colours.min(0) <= GREYEST * colours.max(0)]] = 0
    side_px = max(3, round(LARGEST_STREAK_PX * brighter.shape[0] / LARGEST_STREAK_AT_PX))
    square = np.ones((side_px, side_px), np.uint8)
    blobs = cv.morphologyEx(streaks, cv.MORPH_OPEN, square)
    kept: Mask = cv.subtract(streaks, blobs)
    return kept


def _find_holes(lowered: Plane, picture: Picture, consensus: Consensus) -> Mask:
    darker = consensus.exceeds_spread(
        cv.subtract(consensus.median, lowered), RISE * picture.levels.unit
    )
    taken: Plane = cv.subtract(picture.decoded_luma, picture.luma)
    removed = cv.compare(taken, RISE * picture.levels.unit, cv.CMP_GT)
    holes: Mask = cv.bitwise_and(darker, removed)
    return holes


def _fill(
    planes: Sequence[Plane], picture: Picture, medians: Sequence[Plane], holes: Mask
) -> list[Plane]:
    """Raise samples towards the median, and not above what was decoded."""
    raised = 1 if picture.levels.family != "rgb" else len(planes)
    filled = []
    for plane, median, decoded in zip(
        planes[:raised], medians[:raised], picture.decoded[:raised], strict=True
    ):
        goal: Plane = cv.max(cv.min(median, decoded), plane)
        filled.append(_blend(plane, goal, holes))
    return filled + _blend_all(planes[raised:], medians[raised:], holes)


def _both(first: Mask, second: Mask) -> Mask:
    both: Mask = cv.bitwise_and(first, second)
    return both


def _feather(mask: Mask) -> Mask:
    dilated = cv.dilate(mask, np.ones((3, 3), np.uint8))
    soft: Mask = cv.GaussianBlur(dilated, (0, 0), FEATHER_PX)
    return soft


def _lower(plane: Plane, median: Plane, strength: Mask) -> Plane:
    goal: Plane = cv.min(plane, median)
    return _blend(plane, goal, strength)


def _blend_all(planes: Sequence[Plane], goals: Sequence[Plane], strength: Mask) -> list[Plane]:
    """Blend planes that may be smaller than `strength`."""
    blended = []
    for plane, goal in zip(planes[: len(goals)], goals, strict=True):
        own = strength
        if plane.shape != strength.shape:
            size = (plane.shape[1], plane.shape[0])
            own = cv.resize(strength, size, interpolation=cv.INTER_AREA)
        blended.append(_blend(plane, goal, own))
    return blended


def _blend(plane: Plane, goal: Plane, strength: Mask) -> Plane:
    """Move samples towards `goal`, by `strength` in 1/255; where that is 0, they stay."""
    result = plane.copy()
    places = np.flatnonzero(strength)
    start = plane.ravel()[places].astype(np.float32)
    change = (goal.ravel()[places].astype(np.float32) - start) * strength.ravel()[places]
    result.ravel()[places] = np.rint(start + change / np.float32(255)).astype(plane.dtype)
    return result
