"""Neighbours seen from a frame: their samples aligned to its own, and what these agree on.

    neighbour's plane ─ flow ─▶ aligned ─ exposure ─▶ samples ┐
    the same of up to three others                            ┴▶ median, spread, where enough agree

Medians come from a network of minima and maxima on whole planes of integers, which costs less than
sorting. Knows no rain: `rule.py` decides what a difference means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lfdn_video.media import Family, Frame, FrameFormat, Plane
from lfdn_video.temporal.flow import Field, Mask, resize_mask, scale_flow, warp

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

SMALLEST_GAIN_CHANGE = 0.002
"""A neighbour's exposure counts as the same within this; half a code at white."""

BLACK_OFFSET = 2.5
"""In 8-bit codes, added before two exposures are divided, so that noise near black matters less."""

GAIN_STEP_PX = 4
"""Exposures are compared on every fourth row and column: plenty for a median."""

NEEDED = {4: 3, 3: 3, 2: 2}
"""Valid neighbours that a sample needs, by the number of the frame's neighbours. Of two out of
four, one may see what is hidden in the other."""

SPREAD_PER_RANGE = {4: 0.4, 3: 0.427, 2: 0.5}
"""The standard deviation of so many samples, over their range: .3875 where all four are valid and
.427 where three are."""

_EXCHANGES = {
    2: ((0, 1),),
    3: ((0, 1), (1, 2), (0, 1)),
    4: ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)),
}
"""Sorting networks: pairs of places to put in order, one after the other."""

TOLERANCE = 3.8
"""In 8-bit codes: what noise and the flow's own error add to the neighbours' spread."""

TOLERANCE_OF_TWO = 1.5
"""Factor on spread and tolerance where only two samples agree, of which one may be wrong."""


class Levels:
    """What the samples of one stream mean.

    Args:
        info: how its frames are stored.
    """

    def __init__(self, info: FrameFormat) -> None:
        pixel_format = info.format
        (self._kr, self._kb), full_range = info.colour.resolved(
            info.height, pixel_format, width=info.width
        )
        step = 1 << (pixel_format.depth - 8)
        self.family: Family = pixel_format.family
        self.depth = pixel_format.depth
        self.peak = pixel_format.peak
        self.components = 1 if self.family == "gray" else 3
        """Planes that are not alpha."""
        scale = self.peak if full_range else 219 * step
        chroma_scale = self.peak if full_range else 224 * step
        self.unit = scale / 255
        """Samples' codes for one 8-bit code of full range."""
        self.black = 0 if full_range else 16 * step
        self._neutral = 128 * step
        self._chroma_to_luma = scale / chroma_scale

    def luma_of(self, planes: Sequence[Plane]) -> Plane:
        """Return the luma of a frame, in its own depth; that of RGB is computed."""
        if self.family != "rgb":
            return planes[0]
        green, blue, red = planes[:3]
        mixed = cv.addWeighted(green, 1 - self._kr - self._kb, blue, self._kb, 0, dtype=cv.CV_32F)
        luma: Plane = cv.addWeighted(mixed, 1, red.astype(np.float32), self._kr, 0, dtype=cv.CV_32F)
        return np.rint(luma).astype(green.dtype)

    def zero_of(self, index: int) -> int:
        """The code of a plane that exposure does not change: black, or no colour."""
        return self._neutral if self.family == "yuv" and index > 0 else self.black

    def colours_at(
        self,
        places: np.ndarray[Any, np.dtype[np.intp]],
        shape: tuple[int, int],
        planes: Sequence[Plane],
        medians: Sequence[Plane],
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return how much red, green and blue differ from their medians, at some places.

        Args:
            places: flat indices into a plane of `shape`.
            shape: of the first plane.
            planes: of the frame.
            medians: of its neighbours.

        Returns:
            `[3, places]`, in no order, means over 3x3 samples of each plane.
        """
        rows, columns = np.unravel_index(places, shape)
        differences = []
        for plane, median in zip(planes[: len(medians)], medians, strict=True):
            difference: Any = cv.subtract(
                plane, median, dtype=cv.CV_16S if self.depth < 16 else cv.CV_32F
            )
            height, width = plane.shape
            if plane.shape == shape:
                difference = cv.blur(difference, (3, 3))
            own_rows = rows * height // shape[0]
            own_columns = columns * width // shape[1]
            differences.append(difference[own_rows, own_columns].astype(np.float32))
        if self.family == "rgb":
            return np.stack(differences)
        luma, blue_ness, red_ness = differences
        to_red = 2 * (1 - self._kr) * self._chroma_to_luma
        to_blue = 2 * (1 - self._kb) * self._chroma_to_luma
        kg = 1 - self._kr - self._kb
        red = luma + to_red * red_ness
        blue = luma + to_blue * blue_ness
        green = (luma - self._kr * red - self._kb * blue) / kg
        return np.stack([red, green, blue])


class Aligned:
    """A neighbour, seen from the frame.

    Args:
        frame: the neighbour, as the network made it.
        luma: its luma, as `Levels.luma_of` gives it.
        flow: from the frame to the neighbour.
        valid: where that can be trusted, at the flow's size.
        reference: the frame's own luma, for the exposure.
        levels: what the samples mean.
    """

    def __init__(
        self,
        frame: Frame,
        luma: Plane,
        flow: Field,
        valid: Mask,
        *,
        reference: Plane,
        levels: Levels,
    ) -> None:
        self._frame = frame
        self._flow = flow
        self._valid = valid
        self._levels = levels
        self.luma = warp(luma, scale_flow(flow, luma.shape), cubic=True)
        self.valid = resize_mask(valid, luma.shape)
        self._gain = _find_gain(reference, self.luma, self.valid, levels)
        self.luma = self._expose(self.luma, levels.black)

    @property
    def share_valid(self) -> float:
        """Of the frame's samples, those that the neighbour shows."""
        share: float = cv.countNonZero(self.valid) / self.valid.size
        return share

    def fetch(self, index: int) -> "Sample":
        """Return a plane of the neighbour at the frame's places, in the frame's exposure."""
        plane = self._frame.planes[index]
        if index == 0 and self._levels.family != "rgb":
            return Sample(self.luma, self.valid)
        cubic = self._levels.family == "rgb"
        warped = warp(plane, scale_flow(self._flow, plane.shape), cubic=cubic)
        exposed = self._expose(warped, self._levels.zero_of(index))
        return Sample(exposed, resize_mask(self._valid, plane.shape))

    @property
    def sample(self) -> "Sample":
        """The luma and where it counts."""
        return Sample(self.luma, self.valid)

    def _expose(self, plane: Plane, zero: int) -> Plane:
        if abs(self._gain - 1) <= SMALLEST_GAIN_CHANGE:
            return plane
        offset = zero * (1 - self._gain)
        if zero == self._levels.black:
            offset += BLACK_OFFSET * self._levels.unit * (self._gain - 1)
        scaled = plane.astype(np.float32) * np.float32(self._gain) + np.float32(offset)
        exposed: Plane = np.rint(scaled).clip(0, self._levels.peak).astype(plane.dtype)
        return exposed


@dataclass(frozen=True, slots=True)
class Sample:
    """A neighbour's plane at the frame's places, and where it counts."""

    plane: Plane
    valid: Mask


class Consensus:
    """What neighbours agree on.

    Args:
        median: of the valid samples; the frame's own where there are not enough.
        spread: the largest valid sample less the smallest.
        enough: where enough neighbours are valid.
        neighbours: how many there are, 2 to 4.
        levels: what the samples mean.
    """

    def __init__(
        self, median: Plane, spread: Plane, enough: Mask, *, neighbours: int, levels: Levels
    ) -> None:
        self.median = median
        self.enough = enough
        self._range = spread
        self._factor = TOLERANCE_OF_TWO if neighbours == 2 else 1.0
        self._spread_per_range = SPREAD_PER_RANGE[neighbours]
        self._tolerance = TOLERANCE * levels.unit

    def exceeds(self, difference: Plane, errors: float) -> Mask:
        """Find where a difference is more than so many times spread and tolerance together."""
        factor = errors * self._factor
        return self._compare(difference, factor * self._spread_per_range, factor * self._tolerance)

    def exceeds_spread(self, difference: Plane, margin: float) -> Mask:
        """Find where a difference is more than spread and `margin` together."""
        return self._compare(difference, self._factor * self._spread_per_range, margin)

    def _compare(self, difference: Plane, per_range: float, margin: float) -> Mask:
        # Integers saturate at 0, and half a code more makes rounding a "greater than".
        excess = cv.addWeighted(difference, 1, self._range, -per_range, 0.5 - margin)
        found: Mask = cv.bitwise_and(cv.compare(excess, 0, cv.CMP_GT), self.enough)
        return found


def find_consensus(plane: Plane, samples: Sequence[Sample], levels: Levels) -> Consensus:
    """Find median and spread of a plane's neighbours.

    Args:
        plane: the frame's own.
        samples: of its neighbours, 2 to 4.
        levels: what they mean.
    """
    planes = [sample.plane for sample in samples]
    masks = [_as_bits(sample.valid, plane) for sample in samples]
    count = _count([sample.valid for sample in samples])
    enough: Mask = cv.compare(count, NEEDED[len(samples)], cv.CMP_GE)
    # What is not valid goes to the top when samples are sorted, and is 0 among those compared.
    ordered = _sort(
        [cv.bitwise_or(p, cv.bitwise_not(m)) for p, m in zip(planes, masks, strict=True)]
    )
    largest: Plane = cv.bitwise_and(planes[0], masks[0])
    for each, mask in zip(planes[1:], masks[1:], strict=True):
        largest = cv.max(largest, cv.bitwise_and(each, mask))
    spread: Plane = cv.subtract(largest, ordered[0])
    median: Any = plane.copy()
    if len(samples) == 3:
        middle: Any = ordered[1]
    else:
        low, high = ordered[len(samples) // 2 - 1 : len(samples) // 2 + 1]
        middle = cv.addWeighted(low, 0.5, high, 0.5, 0)
        if len(samples) == 4:
            middle = cv.copyTo(low, cv.compare(count, 3, cv.CMP_EQ), middle)
    median = cv.copyTo(middle, enough, median)
    return Consensus(median, spread, enough, neighbours=len(samples), levels=levels)


def _find_gain(reference: Plane, aligned: Plane, valid: Mask, levels: Levels) -> float:
    """Divide exposures: the median over what is valid; 1 if nothing is."""
    every = np.s_[::GAIN_STEP_PX, ::GAIN_STEP_PX]
    counts = valid[every] > 0
    if not counts.any():
        return 1.0
    offset = np.float32(BLACK_OFFSET * levels.unit - levels.black)
    wanted = np.maximum(reference[every][counts] + offset, levels.unit)
    found = np.maximum(aligned[every][counts] + offset, levels.unit)
    return float(np.median(wanted / found))


def _as_bits(mask: Mask, like: Plane) -> Plane:
    """Turn a mask into one of all bits, of the type of `like`."""
    if like.dtype == np.uint8:
        return mask
    return mask.astype(np.uint16) * np.uint16(257)


def _count(masks: Sequence[Mask]) -> Mask:
    count: Mask = cv.bitwise_and(masks[0], 1)
    for mask in masks[1:]:
        count = cv.add(count, cv.bitwise_and(mask, 1))
    return count


def _sort(planes: list[Plane]) -> list[Plane]:
    """Sort each sample's candidates by exchanges of two planes."""
    for low, high in _EXCHANGES[len(planes)]:
        first, second = planes[low], planes[high]
        planes[low], planes[high] = _low_high(first, second)
    return planes


def _low_high(first: Plane, second: Plane) -> tuple[Plane, Plane]:
    low: Plane = cv.min(first, second)
    high: Plane = cv.max(first, second)
    return low, high
