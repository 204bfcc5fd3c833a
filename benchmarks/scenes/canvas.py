"""A transparent sheet to draw on with parts of a px, and light that is added to a picture."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from benchmarks.scenes.views import Picture

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

FRACTION_BITS = 4
"""OpenCV draws at sixteenths of a px."""

Colour = tuple[float, float, float]
"""Red, green, blue in 0…255."""

REFERENCE_PX = 640 * 360
"""Area of the picture for which numbers of small things are given."""

WHITE: Colour = (250.0, 250.0, 250.0)


class Sheet:
    """Things drawn beside each other, and how much they cover; later ones hide earlier ones.

    Args:
        size: height and width in px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.samples = np.zeros((*size, 4), np.uint8)
        """Colour times coverage, and coverage."""

    def disc(self, x: float, y: float, radius: float, colour: Colour, opacity: float = 1) -> None:
        """Draw a disc; one smaller than a px covers as much less of it."""
        smallest = 0.6
        if radius < smallest:
            opacity *= (radius / smallest) ** 2
            radius = smallest
        centre, paint = _fix((x, y)), _paint(colour, opacity)
        cv.circle(
            self.samples, centre, _fix((radius,))[0], paint, -1, cv.LINE_AA, shift=FRACTION_BITS
        )

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: Colour,
        opacity: float = 1,
        thickness: int = 1,
    ) -> None:
        """Draw a line of whole px of thickness."""
        ends = _fix(start), _fix(end)
        paint = _paint(colour, opacity)
        cv.line(self.samples, *ends, paint, thickness, cv.LINE_AA, shift=FRACTION_BITS)

    def polygon(self, points: np.ndarray[Any, Any], colour: Colour) -> None:
        """Fill a convex polygon of points `[N, 2]`, x and y."""
        fixed = np.round(points * (1 << FRACTION_BITS)).astype(np.int32)
        cv.fillConvexPoly(self.samples, fixed, _paint(colour, 1), cv.LINE_AA, shift=FRACTION_BITS)


def lay(picture: Picture, sheets: Sequence[Sheet], soften_px: float = 0.5) -> Picture:
    """Lay sheets over a picture: the mean of several is one thing, moving while it is exposed.

    Args:
        picture: what lies below.
        sheets: of its size.
        soften_px: sigma of the lens's blur of what is drawn.
    """
    mean = np.mean([sheet.samples for sheet in sheets], axis=0, dtype=np.float32)
    soft: Any = cv.GaussianBlur(mean, (0, 0), soften_px) if soften_px else mean
    laid: Picture = picture * (1 - soft[..., 3:] / 255) + soft[..., :3]
    return laid


def add_light(picture: Picture, sheet: Sheet, bloom_px: float, bloom: float = 1.5) -> Picture:
    """Add what a sheet shows as lamps, each with a bloom around it.

    Args:
        picture: what is lit.
        sheet: the lamps.
        bloom_px: sigma of the bloom.
        bloom: its light over that of the lamp itself.
    """
    lamps = sheet.samples[..., :3].astype(np.float32)
    core: Any = cv.GaussianBlur(lamps, (0, 0), 0.6)
    around: Any = cv.GaussianBlur(lamps, (0, 0), bloom_px)
    lit: Picture = (picture + core + np.float32(bloom) * around).clip(0, 255)
    return lit


def scale_count(count: int, size: tuple[int, int]) -> int:
    """Return how many of `count` things at the reference size a picture has, at least one."""
    return max(1, round(count * size[0] * size[1] / REFERENCE_PX))


def _fix(values: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(round(value * (1 << FRACTION_BITS)) for value in values)


def _paint(colour: Colour, opacity: float) -> tuple[float, ...]:
    return (*(opacity * each for each in colour), 255 * opacity)
