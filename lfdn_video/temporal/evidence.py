"""What a frame's neighbours show: where that differs from the frame, and how.

    neighbours, roughly ─▶ median, spread of each px ─▶ places where something may be decided
    neighbours, sharply, at these places ─▶ sorted samples, median, tolerance

Most of a frame agrees with its neighbours, and costs little. Knows no rain: what a difference means
is decided in `rule.py` and `gate.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import cv2
import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Aligned, Indices, Levels, Places
from lfdn_video.temporal.flow import Floats, Mask

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

Choice: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

Samples = TypeVar("Samples", bound=np.ndarray[Any, Any])

LEAST_SAMPLES = 2
"""With one alone nothing tells which of two frames is right."""

TOLERANCE = 3.8
"""In 8-bit codes: what noise and the flow's own error add to the neighbours' spread."""

TOLERANCE_OF_TWO = 1.5
"""Factor on spread and tolerance where only two samples agree, of which one may be wrong."""

SPREAD_PER_RANGE = np.array([0, 0, 0.5, 0.427, 0.39, 0.361, 0.343], np.float32)
"""The standard deviation of so many samples, over their range."""

SLOTS = 6
"""The neighbours' samples in order, of which each has one or more of so many slots."""

DOUBT = 1.0
"""Tolerances by which a place differs at least. Gates ask for more, but see more sharply."""

LEAST_DIFFERENCE = 2.0
"""In 8-bit codes: a place that differs less from its neighbours, and that the network changed by
less, is left alone. They are a sixth of the places in doubt, and cost nothing in quality."""

RISE = 2.5
"""In 8-bit codes: where the network took away this much and now is darker than its neighbours by
this much and their spread, it may have left a dark hole."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame's planes and what they mean, restored and decoded."""

    restored: tuple[Plane, ...]
    decoded: tuple[Plane, ...]
    luma: Plane
    """Of the restored frame."""
    decoded_luma: Plane
    levels: Levels


@dataclass(frozen=True, slots=True)
class Overview:
    """What neighbours agree on, roughly, everywhere."""

    median: Plane
    """Of the valid samples; the frame's own where there are not enough."""
    largest: Plane
    """Of the valid samples."""
    span: Plane
    """From the lowest valid sample to the largest."""
    count: Mask
    """Valid samples."""
    doubtful: Mask
    """Where there may be something to decide."""


class Evidence:
    """What the neighbours show at the places in doubt. Differences are in 8-bit codes.

    Args:
        picture: the frame.
        neighbours: who can be seen from it.
        overview: what these agree on.
    """

    def __init__(self, picture: Picture, neighbours: Sequence[Aligned], overview: Overview) -> None:
        self.picture = picture
        self.neighbours = neighbours
        self.overview = overview
        self.places = Places.where(overview.doubtful)
        self.luma = self.places.take(picture.luma)
        self.decoded = self.places.take(picture.decoded_luma)
        self.valid = np.stack([self.places.take(each.valid) > 0 for each in neighbours])
        """`[neighbours, places]`: whether a neighbour counts."""
        self.count = self.valid.sum(0)
        self.samples: Floats = np.stack([each.fetch_luma(self.places) for each in neighbours])
        """`[neighbours, places]`: their luma; infinite where they do not count."""
        self.samples[~self.valid] = np.inf
        self.sorted: Floats = np.stack(sort_planes(list(self.samples)))

    def at(self, rank: Indices) -> Floats:
        """Return the sample of a rank, from 0, at each place."""
        samples: Floats = np.take_along_axis(self.sorted, rank[None], 0)[0]
        return samples

    @cached_property
    def ranks(self) -> Indices:
        """`[neighbours, places]`: where a neighbour's sample is in `sorted`.

        Of equal samples the first one's comes first. So few are counted faster than sorted.
        """
        ranks: Indices = np.zeros(self.samples.shape, np.intp)
        for later, sample in enumerate(self.samples):
            for earlier, other in enumerate(self.samples[:later]):
                behind = other <= sample
                ranks[later] += behind
                ranks[earlier] += ~behind
        return ranks

    @cached_property
    def slots(self) -> Indices:
        """`[SLOTS, places]`: the rank of the sample in each slot; all are filled."""
        positions = (np.arange(SLOTS)[:, None] + 0.5) / SLOTS
        ranks: Indices = (positions * self.count).astype(np.intp)
        return ranks

    @cached_property
    def in_slots(self) -> Floats:
        """`[SLOTS, places]`: their samples."""
        samples: Floats = np.take_along_axis(self.sorted, self.slots, 0)
        return samples

    @cached_property
    def median(self) -> Floats:
        """Of the valid samples."""
        low, high = self.at((self.count - 1) // 2), self.at(self.count // 2)
        median: Floats = (low + high) / np.float32(2)
        return median

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of the valid samples, about."""
        span = (self.at(self.count - 1) - self.sorted[0]) / np.float32(self.picture.levels.unit)
        spread: Floats = span * SPREAD_PER_RANGE[self.count]
        return spread

    @cached_property
    def tolerance(self) -> Floats:
        """What noise, motion and the flow's error explain."""
        factor = np.where(self.count == LEAST_SAMPLES, np.float32(TOLERANCE_OF_TWO), np.float32(1))
        tolerance: Floats = factor * (self.spread + np.float32(TOLERANCE))
        return tolerance

    @cached_property
    def above(self) -> Floats:
        """How much brighter the frame is than its neighbours, in tolerances."""
        codes = (self.luma - self.median) / np.float32(self.picture.levels.unit)
        above: Floats = codes / self.tolerance
        return above

    @cached_property
    def below(self) -> Floats:
        """How much darker the decoded frame is than its neighbours, in tolerances."""
        codes = (self.median - self.decoded) / np.float32(self.picture.levels.unit)
        below: Floats = codes / self.tolerance
        return below


def look(picture: Picture, neighbours: Sequence[Aligned]) -> Evidence:
    """Find out what a frame's neighbours show.

    Args:
        picture: the frame.
        neighbours: two to six.
    """
    return Evidence(picture, neighbours, _survey(picture, neighbours))


def _survey(picture: Picture, neighbours: Sequence[Aligned]) -> Overview:
    unit = picture.levels.unit
    masks = [each.valid for each in neighbours]
    count: Mask = cv.bitwise_and(masks[0], 1)
    for mask in masks[1:]:
        count = cv.add(count, cv.bitwise_and(mask, 1))
    bits = [_as_bits(mask, picture.luma) for mask in masks]
    # What is not valid goes to the top when samples are sorted, and is 0 among those compared.
    planes = [each.luma for each in neighbours]
    ordered = sort_planes(
        [cv.bitwise_or(p, cv.bitwise_not(m)) for p, m in zip(planes, bits, strict=True)]
    )
    largest: Plane = cv.bitwise_and(planes[0], bits[0])
    for plane, mask in zip(planes[1:], bits[1:], strict=True):
        largest = cv.max(largest, cv.bitwise_and(plane, mask))
    median: Any = picture.luma.copy()
    for valid in range(LEAST_SAMPLES, len(neighbours) + 1):
        low, high = ordered[(valid - 1) // 2], ordered[valid // 2]
        middle = low if low is high else cv.addWeighted(low, 0.5, high, 0.5, 0)
        median = cv.copyTo(middle, cv.compare(count, valid, cv.CMP_EQ), median)
    enough = cv.compare(count, LEAST_SAMPLES, cv.CMP_GE)
    span = cv.subtract(largest, ordered[0])
    per_range = float(SPREAD_PER_RANGE[len(neighbours)])

    def exceeds(difference: Plane, margin: float) -> Mask:
        # Integers saturate at 0, and half a code more makes rounding a "greater than".
        excess = cv.addWeighted(difference, 1, span, -DOUBT * per_range, 0.5 - margin)
        found: Mask = cv.bitwise_and(cv.compare(excess, 0, cv.CMP_GT), enough)
        return found

    brighter = exceeds(cv.subtract(picture.luma, median), DOUBT * TOLERANCE * unit)
    darker = exceeds(cv.subtract(median, picture.decoded_luma), DOUBT * TOLERANCE * unit)
    removed = cv.compare(cv.subtract(picture.decoded_luma, picture.luma), RISE * unit, cv.CMP_GT)
    holes = cv.bitwise_and(exceeds(cv.subtract(median, picture.luma), RISE * unit), removed)
    # The soft rim of what is brighter or darker belongs to it.
    rims = cv.dilate(cv.bitwise_or(brighter, holes), np.ones((3, 3), np.uint8))
    doubtful = cv.bitwise_and(cv.bitwise_or(rims, darker), enough)
    apart = cv.max(cv.absdiff(picture.luma, median), cv.absdiff(picture.decoded_luma, picture.luma))
    doubtful = cv.bitwise_and(doubtful, cv.compare(apart, LEAST_DIFFERENCE * unit, cv.CMP_GE))
    return Overview(median, largest, span, count, doubtful)


def _as_bits(mask: Mask, like: Plane) -> Plane:
    """Turn a mask into one of all bits, of the type of `like`."""
    if like.dtype == np.uint8:
        return mask
    return mask.astype(np.uint16) * np.uint16(257)


def sort_planes(planes: list[Samples]) -> list[Samples]:
    """Sort each px's samples by exchanges of neighbouring planes, fast for so few.

    Args:
        planes: of one shape and type; the list is changed.

    Returns:
        The planes of the lowest samples, of the second lowest, and so on.
    """
    for last in range(len(planes) - 1, 0, -1):
        for index in range(last):
            low, high = planes[index : index + 2]
            planes[index] = np.minimum(low, high)
            planes[index + 1] = np.maximum(low, high)
    return planes
