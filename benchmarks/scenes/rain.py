"""Rain of one kind, drawn anew in every frame: how much, how slanted, wide, long, bright, where."""

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from benchmarks.scenes.views import Picture

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""


@dataclass(frozen=True)
class RainKind:
    """Streaks of one layer."""

    coverage: float = 0.03
    """Share of the picture."""
    slant_deg: float = 8.0
    """From the vertical."""
    sigma_px: float = 0.8
    """Of the Gaussian profile across a streak."""
    length_px: float = 20.0
    contrast: float = 0.35
    """What the brightest streak adds, over white."""
    part: float = 1.0
    """Share of the picture's width, from the left, in which it rains."""


BASE = RainKind()
NONE = replace(BASE, coverage=0)

VARIED: dict[str, tuple[float, ...]] = {
    "coverage": (0.0005, 0.002, 0.008, 0.1),
    "slant_deg": (0.0, 30.0, 45.0, 60.0),
    "sigma_px": (0.5, 1.3, 3.0, 5.0),
    "length_px": (3.0, 6.0, 80.0),
    "contrast": (0.06, 0.12, 0.7),
    "part": (1 / 3, 2 / 3),
}
"""What is changed of the base, one at a time."""

UNITS = {
    "coverage": (100, " %"),
    "slant_deg": (1, "°"),
    "sigma_px": (1, " px"),
    "length_px": (1, " px"),
    "part": (100, " %"),
}


def list_kinds() -> dict[str, RainKind]:
    """All kinds by their names, the base first; `none` shows what the network costs."""
    kinds = {"none": NONE, "base": BASE}
    for field, values in VARIED.items():
        factor, unit = UNITS.get(field, (1, ""))
        for value in values:
            word = field.partition("_")[0]
            kinds[f"{word} {factor * value:.3g}{unit}"] = replace(BASE, **{field: value})
    return kinds


def draw_rain(picture: Picture, kind: RainKind, random: np.random.Generator) -> Picture:
    """Add rain to a picture, brighter by the same in all three colours, up to white."""
    kernel = _draw_streak(kind)
    margin = max(kernel.shape)
    height, width = picture.shape[0] + 2 * margin, picture.shape[1] + 2 * margin
    area = kind.length_px * kind.sigma_px * math.sqrt(2 * math.pi)
    count = random.poisson(kind.coverage * height * width / area)
    drops = np.zeros((height, width), np.float32)
    places = random.integers(0, height, count), random.integers(0, width, count)
    np.maximum.at(drops, places, random.uniform(0.5, 1, count).astype(np.float32))
    streaks: Any = cv.filter2D(drops, -1, kernel, borderType=cv.BORDER_CONSTANT)
    inside = streaks[margin : height - margin, margin : width - margin, None]
    inside[:, round(kind.part * picture.shape[1]) :] = 0
    added = np.float32(255 * kind.contrast) * inside.clip(0, 1)
    rainy: Picture = np.minimum(picture + added, np.float32(255))
    return rainy


def _draw_streak(kind: RainKind) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One streak of peak 1 in the middle of a square: a line with soft ends."""
    end_px = max(0.5, 0.08 * kind.length_px)
    reach = math.ceil(kind.length_px / 2 + 4 * max(kind.sigma_px, end_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    slant = math.radians(kind.slant_deg)
    along = y * math.cos(slant) + x * math.sin(slant)
    across = x * math.cos(slant) - y * math.sin(slant)
    body = 1 / (1 + np.exp(((np.abs(along) - kind.length_px / 2) / end_px).clip(-30, 30)))
    streak: np.ndarray[Any, np.dtype[np.float32]] = (
        body * np.exp(-np.square(across) / (2 * kind.sigma_px**2))
    ).astype(np.float32)
    streak /= streak.max()
    return streak
