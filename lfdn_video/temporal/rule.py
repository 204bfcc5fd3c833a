"""The switch: is what a frame has and its neighbours do not have rain?

    evidence ─▶ brighter? darker? ─▶ how often is "brighter" a false alarm? ─▶ a verdict

Rain is in one frame only, and it only brightens. So a sample that is brighter than its neighbours'
median, by more than their spread explains, was a streak; and since nothing makes the *input* darker
than its neighbours, whatever looks darker measures how often such a finding is false. A frame where
that is too often stays as the network made it. What is done to the others is decided in `gate.py`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Places
from lfdn_video.temporal.evidence import RISE, SPREAD_PER_RANGE, TOLERANCE, Choice, Evidence
from lfdn_video.temporal.flow import Floats, Mask

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

NEEDED = 3
"""Valid neighbours of a sample that the switch trusts, if the frame has as many: of two, one may
see what is hidden in the other."""

Reason: TypeAlias = Literal[
    "too few neighbours",
    "nothing brighter",
    "nothing taken for rain",
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

LEAST_SHARE_OF_LIGHT = 0.05
"""Of the light that only this frame has, the network took at least this: it knows rain by its look,
the neighbours by its time. Seen: filmed rain from .13, drawn rain from .26, glints on water 0."""

ERRORS = (2.0, 2.8, 4.0)
"""Thresholds in units of `Evidence.tolerance`. At one of them it must be sure that it rains; the
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

LARGEST_STREAK_PX, LARGEST_STREAK_AT_PX = 17, 480
"""A square of this side, at that height of the frame, that is brighter as a whole is no streak."""

MOST_COLOURED = 0.5
"""Rain adds about the same to red, green and blue: of its light no more than this is blueness or
redness."""

FEATHER_PX = 0.7
"""Sigma of the blur of a mask that was dilated by one px: the soft rim of a streak."""

NEAR_PX = 8
"""Fainter parts of streaks, and faint streaks among others, are looked for no farther from what is
clearly brighter."""


UNSURE: frozenset[Reason | None] = frozenset(
    ("too few neighbours", "as much darker as brighter", "too local")
)
"""Reasons that do not count where the network took rain out of the frame."""

LEAST_SHARE_SEEN = 0.05
"""Of such a frame. What neighbours do not show stays."""

LEAST_SHARE_TAKEN = 1e-3
"""Of the samples seen, those that the network made darker and that were brighter than their
neighbours before. Seen: rain from 4e-3, dry to 2.4e-4."""

MOST_TAKEN_DARKER = 0.1
"""Those that were darker, over these. Seen: rain to .04."""


MOST_LASTING = 0.6
"""Of those places, those where half of the neighbours were as bright before the network. Seen: rain
to .34, dry from .9."""

MOST_PROBES = 4096
"""So many places tell."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `weigh` found."""

    reason: Reason | None
    """Why the frame is to stay as it is; None: it is to be corrected."""
    brighter: Choice
    """Places that are brighter than their neighbours, by the threshold that was chosen."""
    share_brighter: float = 0.0
    """Of the samples that neighbours show, those that are brighter at the lowest threshold."""
    false_alarms: float = 1.0
    """Darker over brighter samples, at the threshold where that is least."""
    share_taken: float = 0.0
    """Of the light that the decoded frame has and its neighbours do not have, what the network took
    away."""
    by_input: bool = False
    """Only the decoded frame is sure to have rain: of what was left, much may be something else."""


def weigh(evidence: Evidence) -> Verdict:
    """Decide whether what is brighter than its neighbours is rain.

    Args:
        evidence: of one frame.
    """
    needed = min(NEEDED, len(evidence.neighbours))
    enough: Mask = cv.compare(evidence.overview.count, needed, cv.CMP_GE)
    share_taken = _find_share_taken(evidence, enough)
    verdict = replace(_weigh_left(evidence, enough, needed), share_taken=share_taken)
    if verdict.reason is None and share_taken < LEAST_SHARE_OF_LIGHT:
        return replace(verdict, reason="nothing taken for rain")
    if verdict.reason in UNSURE and _has_rained(evidence, enough):
        return replace(verdict, reason=None, by_input=True)
    return verdict


def _weigh_left(evidence: Evidence, enough: Mask, needed: int) -> Verdict:
    """Decide by what the network left."""
    trusted = evidence.count >= needed
    count = cv.countNonZero(enough)
    found = [
        ((evidence.above > each) & trusted, (evidence.below > each) & trusted) for each in ERRORS
    ]
    brighter = found[0][0]
    allowance = FALSE_ALARM_ALLOWANCE * count
    ratios = [(false.sum() + allowance) / max(1, true.sum()) for true, false in found]
    share, least = float(brighter.sum() / max(1, count)), float(min(ratios))
    if count < LEAST_SHARE_WITH_NEIGHBOURS * enough.size:
        return Verdict("too few neighbours", brighter, share, least)
    if share < LEAST_SHARE_BRIGHTER:
        return Verdict("nothing brighter", brighter, share, least)
    if least > MOST_FALSE_ALARMS:
        return Verdict("as much darker as brighter", brighter, share, least)
    brighter, darker = next(
        pair for pair, ratio in zip(found, ratios, strict=True) if ratio <= MOST_FALSE_ALARMS_TAKEN
    )
    reason: Reason | None = None
    if brighter.sum() > MOST_SHARE_BRIGHTER * count:
        reason = "too much"
    elif not _is_everywhere(_draw(evidence, brighter), _draw(evidence, darker), enough):
        reason = "too local"
    return Verdict(reason, brighter, share, least)


def _has_rained(evidence: Evidence, enough: Mask) -> bool:
    """Tell whether what the network took out of a frame was rain, as its neighbours see it.

    Only with neighbours on both sides: on one side alone they miss what has just appeared, which
    in a fast pan costs more than rain does.
    """
    if len({each.after for each in evidence.neighbours}) == 1:
        return False
    picture, overview = evidence.picture, evidence.overview
    unit, count = picture.levels.unit, cv.countNonZero(enough)
    taken = cv.compare(cv.subtract(picture.decoded_luma, picture.luma), RISE * unit, cv.CMP_GT)
    taken = cv.bitwise_and(taken, enough)
    if count < LEAST_SHARE_SEEN * enough.size or cv.countNonZero(taken) < LEAST_SHARE_TAKEN * count:
        return False
    brighter = _find_excess(evidence, picture.decoded_luma, overview.median, taken)
    darker = _find_excess(evidence, overview.median, picture.decoded_luma, taken)
    if cv.countNonZero(brighter) < LEAST_SHARE_TAKEN * count:
        return False
    if cv.countNonZero(darker) > MOST_TAKEN_DARKER * cv.countNonZero(brighter):
        return False
    return _is_everywhere(brighter, darker, enough) and not _is_lasting(evidence, brighter)


def _find_share_taken(evidence: Evidence, enough: Mask) -> float:
    """Return the share that the network took of the light that only this frame has."""
    picture, median = evidence.picture, evidence.overview.median
    streaks = _find_excess(evidence, picture.decoded_luma, median, enough)
    taken, left = (
        cv.sumElems(cv.copyTo(difference, streaks))[0]
        for difference in (
            cv.subtract(picture.decoded_luma, picture.luma),
            cv.subtract(picture.luma, median),
        )
    )
    return float(taken / (taken + left)) if taken else 0.0


def _find_excess(evidence: Evidence, larger: Plane, smaller: Plane, within: Mask) -> Mask:
    """Find where a plane is brighter than another by more than the neighbours' spread explains."""
    spread = ERRORS[0] * float(SPREAD_PER_RANGE[len(evidence.neighbours)])
    # Integers saturate at 0, and half a code more makes rounding a "greater than".
    margin = ERRORS[0] * TOLERANCE * evidence.picture.levels.unit - 0.5
    difference = cv.subtract(larger, smaller)
    excess = cv.addWeighted(difference, 1, evidence.overview.span, -spread, -margin)
    found: Mask = cv.bitwise_and(cv.compare(excess, 0, cv.CMP_GT), within)
    return found


def _is_lasting(evidence: Evidence, brighter: Mask) -> bool:
    """Tell whether the neighbours were as bright before the network: then it takes texture."""
    places = Places.where(brighter)
    every = np.arange(len(places)) % -(-len(places) // MOST_PROBES) == 0
    places = places.select(every)
    median = places.take(evidence.overview.median)
    least = (places.take(evidence.picture.decoded_luma) - median) / 2
    seen, bright = np.zeros(len(places)), np.zeros(len(places))
    for each in evidence.neighbours:
        valid = places.take(each.valid) > 0
        seen += valid
        bright += valid & (each.fetch_decoded(places) - median > least)
    return float(np.mean(2 * bright >= seen)) > MOST_LASTING


def propose(evidence: Evidence, brighter: Choice, colours: Floats) -> tuple[Floats, Floats]:
    """Say how far places should go to their neighbours' median, as far as shape and colour tell.

    Args:
        evidence: of one frame.
        brighter: as `weigh` found it.
        colours: how the frame differs from its neighbours, as `Levels.colour_of` gives it.

    Returns:
        For streaks, downwards, and for holes, upwards: `[places]` each, 0 to 1.
    """
    codes = (evidence.luma - evidence.median) / np.float32(evidence.picture.levels.unit)
    grey = np.abs(colours).max(0) < MOST_COLOURED * codes
    streaks = _draw(evidence, brighter & grey)
    side_px = max(3, round(LARGEST_STREAK_PX * streaks.shape[0] / LARGEST_STREAK_AT_PX))
    blobs = cv.morphologyEx(streaks, cv.MORPH_OPEN, np.ones((side_px, side_px), np.uint8))
    down = _feather(cv.subtract(streaks, blobs), evidence)
    up = _feather(_draw(evidence, _find_holes(evidence)), evidence)
    return down * (codes > 0), up * (codes < 0)


def find_near(evidence: Evidence) -> Choice:
    """Find the places near what may be rain, or a hole; noise elsewhere is nobody's business."""
    found = (evidence.above > ERRORS[0]) | _find_holes(evidence)
    mask = _draw(evidence, found)
    side_px = 2 * NEAR_PX + 1
    near = evidence.places.take(cv.dilate(mask, np.ones((side_px, side_px), np.uint8)))
    return near > 0


def _find_holes(evidence: Evidence) -> Choice:
    unit = np.float32(evidence.picture.levels.unit)
    lack = (evidence.median - evidence.luma) / unit
    taken = (evidence.decoded - evidence.luma) / unit
    return (lack > RISE + evidence.spread) & (taken > RISE)


def _feather(mask: Mask, evidence: Evidence) -> Floats:
    dilated = cv.dilate(mask, np.ones((3, 3), np.uint8))
    strength = evidence.places.take(cv.GaussianBlur(dilated, (0, 0), FEATHER_PX))
    return strength / np.float32(255)


def _draw(evidence: Evidence, chosen: Choice) -> Mask:
    mask = np.zeros(evidence.places.shape, np.uint8)
    mask.ravel()[evidence.places.flat[chosen]] = 255
    return mask


def _is_everywhere(brighter: Mask, darker: Mask, enough: Mask) -> bool:
    """Tell whether what is brighter is spread over the frame, as rain is."""
    found, false, seen = (share_by_tile(mask) for mask in (brighter, darker, enough))
    counts = seen > LEAST_TILE_WITH_NEIGHBOURS
    rainy = (found > LEAST_TILE_BRIGHTER) & (found > 2 * false)
    if not counts.any() or rainy[counts].mean() < LEAST_SHARE_OF_TILES:
        return False
    descending = np.sort(found[counts])[::-1]
    rainiest = descending[: max(1, descending.size // 10)]
    return bool(rainiest.sum() <= MOST_IN_RAINIEST_TENTH * descending.sum())


def share_by_tile(mask: Mask) -> Any:
    """Return the share of a mask that is set.

    Args:
        mask: 255 or 0, `[h, w]`.

    Returns:
        The shares, 0…1, `[TILES_DOWN, TILES_ACROSS]`.
    """
    height, width = mask.shape
    rows = np.linspace(0, height, TILES_DOWN + 1).astype(int)
    columns = np.linspace(0, width, TILES_ACROSS + 1).astype(int)
    sums = np.diff(np.diff(cv.integral(mask)[np.ix_(rows, columns)], axis=0), axis=1)
    areas = np.outer(np.diff(rows), np.diff(columns))
    return sums / np.maximum(255.0 * areas, 1)
