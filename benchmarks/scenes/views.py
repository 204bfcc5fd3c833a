"""What a camera sees of a place, frame by frame: on a tripod, hand-held, or as it was filmed.

Everything that is drawn in `things.py`, `lights.py` and `rain.py` is drawn over these views.
Knows no file formats; `frames.py` turns pictures into frames.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

Picture = np.ndarray[Any, np.dtype[np.float32]]
"""RGB `[H, W, 3]` in 0…255, not rounded."""

Camera = Literal["still", "hand-held", "filmed"]

MARGIN_PX = 24
"""Of the backdrop, seen by a camera that moves."""

SHAKE = ((6.0, 0.031), (1.8, 0.11))
"""Px and cycles per frame: up to 2.4 px a frame, nearly always a fraction of a px."""

SHAKE_TURN_DEG = 0.15


@dataclass(frozen=True)
class Backdrop:
    """A place: one picture of it, or several filmed in a row."""

    name: str
    pictures: Sequence[np.ndarray[Any, np.dtype[np.uint8]]]
    """RGB `[H, W, 3]`; the first is the still picture."""


@dataclass(frozen=True)
class Views:
    """Consecutive views of a place."""

    pictures: Sequence[Picture]
    shifts: Sequence[tuple[float, float]]
    """Where the camera looks, in px: what is fixed in the scene appears at its place less this."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        height, width = self.pictures[0].shape[:2]
        return height, width

    def at_night(self) -> "Views":
        """The same place with little light."""
        dark = [38 * np.power(picture / 255, 1.4) + 3 for picture in self.pictures]
        return replace(self, pictures=[picture.astype(np.float32) for picture in dark])

    def with_noise(self, sigma: float, random: np.random.Generator) -> "Views":
        """The same views, with sensor noise of its own in every frame.

        Args:
            sigma: standard deviation in codes, in red, green and blue each.
            random: where the noise comes from.
        """
        noise = draw_noise(sigma, self.pictures, random)
        return replace(self, pictures=[a + b for a, b in zip(self.pictures, noise, strict=True)])


def draw_noise(
    sigma: float, pictures: Sequence[Picture], random: np.random.Generator
) -> list[Picture]:
    """Draw normal noise for each of some pictures, which only say its size."""
    noise = []
    for picture in pictures:
        each: Any = random.standard_normal(picture.shape, np.float32) * np.float32(sigma)
        noise.append(each)
    return noise


def look(
    backdrop: Backdrop,
    camera: Camera,
    *,
    size: tuple[int, int],
    count: int,
    random: np.random.Generator,
) -> Views:
    """See a place through a camera.

    Args:
        backdrop: the place.
        camera: `still` and `hand-held` see its first picture, `filmed` one after the other.
        size: height and width of a view in px.
        count: number of views; `filmed` has no more than there are pictures.
        random: the phases of the hand's motion.
    """
    if camera == "filmed":
        chosen = backdrop.pictures[:count]
        return Views([_fit(picture, size) for picture in chosen], [(0.0, 0.0)] * len(chosen))
    wide = _fit(backdrop.pictures[0], (size[0] + 2 * MARGIN_PX, size[1] + 2 * MARGIN_PX))
    phases = random.uniform(0, 2 * math.pi, (3, len(SHAKE)))
    pictures, shifts = [], []
    for index in range(count):
        x, y, turn = (0.0, 0.0, 0.0)
        if camera == "hand-held":
            x, y, turn = (
                sum(
                    px * math.sin(2 * math.pi * rate * index + phase)
                    for (px, rate), phase in zip(SHAKE, row, strict=True)
                )
                for row in phases
            )
            turn *= SHAKE_TURN_DEG / SHAKE[0][0]
        pictures.append(_crop(wide, (x, y), turn, size))
        shifts.append((x, y))
    return Views(pictures, shifts)


def _fit(image: np.ndarray[Any, Any], size: tuple[int, int]) -> Picture:
    """Scale to cover a size, and crop to it."""
    height, width = size
    factor = max(height / image.shape[0], width / image.shape[1])
    method = cv.INTER_AREA if factor < 1 else cv.INTER_CUBIC
    scaled_size = (
        max(width, round(factor * image.shape[1])),
        max(height, round(factor * image.shape[0])),
    )
    scaled: Any = cv.resize(image.astype(np.float32), scaled_size, interpolation=method)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    cropped: Picture = scaled[top : top + height, left : left + width].clip(0, 255)
    return cropped


def _crop(
    wide: Picture, shift: tuple[float, float], turn_deg: float, size: tuple[int, int]
) -> Picture:
    """Sample a view of the backdrop between its pixels."""
    height, width = size
    centre = ((width - 1) / 2, (height - 1) / 2)
    there = cv.getRotationMatrix2D(centre, turn_deg, 1.0)
    there[:, 2] += MARGIN_PX + np.array(shift)
    flags = cv.INTER_CUBIC | cv.WARP_INVERSE_MAP
    view: Picture = cv.warpAffine(
        wide, there, (width, height), flags=flags, borderMode=cv.BORDER_REFLECT
    )
    return view.clip(0, 255)
