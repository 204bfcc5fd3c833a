"""Texture that the network took for rain: its neighbours show it, too, before the network.

    places that the network darkened ─▶ neighbours there, as decoded ─▶ how far each goes back

Rain is in one frame only, so a bright speck that the neighbours also have is a part of the scene.
This needs no switch: on dry footage it undoes what the network does, and in rain a place where most
neighbours are as bright by chance is rare.
"""

from typing import Any

import cv2
import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Places
from lfdn_video.temporal.evidence import Evidence, sort_planes
from lfdn_video.temporal.flow import Floats

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

LEAST_TAKEN = 2.0
"""In 8-bit codes: the network takes less out of everything, and nobody sees it."""

RANK = 1 / 3
"""Of the neighbours, this share may lack what was taken; with two, neither. The median gives a
little more back on dry footage, and in much rain also streaks that cross in several neighbours."""

NEEDED = 3
"""Where fewer neighbours have a valid flow, all are asked: what the network did differs from frame
to frame there, which misleads the flow. Those that are not valid have to be as bright as the
decoded sample and no brighter: nothing but the scene itself looks the same in most of them."""

BLUR_PX = 3
"""Side of the square over which a place's part is evened out, by how much was taken: a speck is
larger than one px, and what rain in a neighbour hides is next to what it shows."""

LASTING = (0.3, 0.7)
"""How bright the neighbours are there, from the restored (0) to the decoded sample (1): from where
on something is given back, and all of it. Aligned, a speck of one px is half as bright."""


def find_texture(evidence: Evidence) -> tuple[Places, Floats]:
    """Find where the network took something that lasts.

    Args:
        evidence: of one frame.

    Returns:
        Places, and how far each goes back to its decoded sample, above 0 and up to 1.
    """
    picture = evidence.picture
    unit = picture.levels.unit
    taken = cv.subtract(picture.decoded_luma, picture.luma)
    places = Places.where(cv.compare(taken, LEAST_TAKEN * unit, cv.CMP_GT))
    if not len(places):
        return places, np.empty(0, np.float32)
    restored, amount = places.take(picture.luma), places.take(taken)
    count = places.take(evidence.overview.count)
    trusted = count >= NEEDED
    lasting = np.empty((len(evidence.neighbours), len(places)), np.float32)
    for row, each in zip(lasting, evidence.neighbours, strict=True):
        seen = (each.fetch_decoded(places) - restored) / amount
        valid = places.take(each.valid) > 0
        unsure = np.where(trusted, np.float32(np.inf), np.minimum(seen, 2 - seen))
        row[:] = np.where(valid, seen, unsure)
    lasting = np.stack(sort_planes(list(lasting)))
    voters = np.where(trusted, count, len(lasting))
    rank = (RANK * (voters - 1)).astype(np.intp)
    decisive: Floats = np.take_along_axis(lasting, rank[None], 0)[0]
    low, high = LASTING
    lasts: Floats = ((decisive - low) / np.float32(high - low)).clip(0, 1)
    weights = places.take(_blur(places, lasts * amount)) / places.take(_blur(places, amount))
    chosen = weights > 0
    return places.select(chosen), weights[chosen]


def _blur(places: Places, values: Floats) -> Plane:
    """Blur a plane that has these values at these places, and else 0."""
    plane = np.zeros(places.shape, np.float32)
    plane.ravel()[places.flat] = values
    blurred: Plane = cv.blur(plane, (BLUR_PX, BLUR_PX), borderType=cv.BORDER_CONSTANT)
    return blurred
