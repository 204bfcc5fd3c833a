"""Light that changes: flashes, lamps, signs, exposure. See `things.py` for what moves."""

import math
from typing import Any

import cv2
import numpy as np

from benchmarks.scenes.canvas import WHITE, Colour, Sheet, add_light, lay, scale_count
from benchmarks.scenes.views import Picture, Views

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

AMBER: Colour = (255.0, 150.0, 30.0)


def draw_strobe(views: Views, random: np.random.Generator, *, local: bool) -> list[Picture]:
    """A flash in every fifth frame: of everything, or of what is near a lamp."""
    height, width = views.size
    first = int(random.integers(5))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre = random.uniform(0.3, 0.7, 2) * (width, height)
    near = np.exp(-np.hypot(x - centre[0], y - centre[1]) / (0.15 * height))[..., None]
    strength = near if local else np.ones_like(near)
    return [
        (picture * (1 + 0.8 * strength) + 30 * strength).clip(0, 255).astype(np.float32)
        if index % 5 == first
        else picture
        for index, picture in enumerate(views.pictures)
    ]


def draw_crowd(views: Views, random: np.random.Generator) -> list[Picture]:
    """Flashes of many cameras all over the picture, each in one frame."""
    height, width = views.size
    pictures = []
    for picture in views.pictures:
        sheet = Sheet(views.size)
        for x, y in random.uniform(0, 1, (scale_count(50, views.size), 2)) * (width, height):
            sheet.disc(x, y, random.uniform(0.8, 2.2), WHITE)
        pictures.append(add_light(picture, sheet, 4))
    return pictures


def draw_headlights(views: Views, random: np.random.Generator) -> list[Picture]:
    """Cars that come nearer at night, with bloom and reflections on a wet road."""
    height, width = views.size
    cars = [(random.uniform(0.3, 0.7), random.uniform(5, 14), side) for side in (-1, 0, 1)]
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        lamps, road = Sheet(views.size), Sheet(views.size)
        for across, start, side in cars:
            distance = max(2.5, start - 0.25 * index)
            scale = height / distance
            x = width * across + side * scale * 1.6 - shift[0]
            y = 0.45 * height + 0.35 * scale - shift[1]
            bounce = 0.02 * scale * math.sin(1.9 * index + start)
            for lamp in (-0.25 * scale, 0.25 * scale):
                lamps.disc(x + lamp, y + bounce, 0.06 * scale, (255, 250, 235))
                ripple = random.uniform(0.15, 0.3)
                road.line(
                    (x + lamp, y + 0.5 * scale), (x + lamp, y + 1.6 * scale), WHITE, ripple, 2
                )
        lit = add_light(picture, lamps, 0.035 * height, 2.5)
        pictures.append(add_light(lit, road, 3, 1.0))
    return pictures


def draw_led_lamps(views: Views, random: np.random.Generator) -> list[Picture]:
    """Lamps that flicker against the frame rate: on in one frame, weak in the next."""
    height, width = views.size
    places = random.uniform(0.05, 0.95, (12, 2)) * (width, height)
    phases = random.uniform(0, 1, 12)
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        for (x, y), phase in zip(places, phases, strict=True):
            power = 0.6 + 0.4 * math.copysign(1, math.sin(2 * math.pi * (0.46 * index + phase)))
            sheet.disc(x - shift[0], y - shift[1], 3, (255, 255, 245), power)
        pictures.append(add_light(picture, sheet, 9, 2))
    return pictures


def draw_ticker(views: Views, random: np.random.Generator) -> list[Picture]:
    """A line of white text that a broadcaster moves through the lower part of the picture."""
    height, width = views.size
    step = random.uniform(4, 6)
    text = _write("BREAKING: rain removed from text; film at eleven +++ 27.88 dB ", 0.07 * height)
    pictures = []
    for index, picture in enumerate(views.pictures):
        strip = np.zeros((height, width), np.float32)
        bar = slice(round(0.82 * height), round(0.82 * height) + text.shape[0])
        strip[bar] = _scroll(text, step * index, width)
        laid = picture.copy()
        laid[bar] *= np.float32(0.25)
        pictures.append(laid + (np.float32(245) - laid) * strip[..., None])
    return pictures


def draw_led_sign(views: Views, random: np.random.Generator) -> list[Picture]:
    """A sign of single lamps with rolling text, of which a frame sees two thirds of the rows."""
    height, width = views.size
    pitch = max(4, height // 60)
    text = _write("PLATFORM 9  DELAYED BY RAIN  ", 12.0)
    columns = width * 2 // 3 // pitch
    left, top = width / 6, random.uniform(0.15, 0.3) * height
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        shown = _scroll(text, index // 2, columns)
        for row, column in np.argwhere(shown > 0.4):
            weak = (row + index) % 3 == 0
            x, y = left + column * pitch - shift[0], top + row * pitch - shift[1]
            sheet.disc(x, y, 0.33 * pitch, AMBER, 0.35 if weak else 1)
        pictures.append(add_light(picture, sheet, pitch, 0.4))
    return pictures


def draw_exposure(views: Views, random: np.random.Generator) -> list[Picture]:
    """A camera that adapts its exposure, from dark to bright."""
    first, last = random.uniform(0.5, 0.6), random.uniform(1.3, 1.5)
    gains = np.linspace(first, last, len(views.pictures), dtype=np.float32)
    return [(p * gain).clip(0, 255) for p, gain in zip(views.pictures, gains, strict=True)]


def draw_nothing(views: Views, random: np.random.Generator) -> list[Picture]:  # noqa: ARG001
    """The place itself."""
    return list(views.pictures)


def draw_posters(views: Views, random: np.random.Generator) -> list[Picture]:
    """Two screens in the scene that show something else in every frame, as in a fast cut."""
    height, width = views.size
    pictures = []
    for picture, shift in zip(views.pictures, views.shifts, strict=True):
        sheet = Sheet(views.size)
        for across in (0.25, 0.65):
            corner = np.array((across * width - shift[0], 0.3 * height - shift[1]))
            box = np.array([(0, 0), (0.2, 0), (0.2, 0.2), (0, 0.2)]) * width * 0.7
            red, green, blue = random.uniform(30, 250, 3).tolist()
            sheet.polygon(corner + box, (red, green, blue))
        pictures.append(lay(picture, [sheet]))
    return pictures


def _write(text: str, height_px: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Text of a height as coverage in 0…1."""
    font, size_at_1 = cv.FONT_HERSHEY_DUPLEX, 22
    scale = 0.75 * height_px / size_at_1
    thickness = max(1, round(scale * 1.6))
    (width, _), _ = cv.getTextSize(text, font, scale, thickness)
    rows = round(1.4 * height_px)
    canvas = np.zeros((rows, width), np.uint8)
    cv.putText(canvas, text, (0, round(1.05 * height_px)), font, scale, 255, thickness, cv.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)


def _scroll(
    text: np.ndarray[Any, np.dtype[np.float32]], by_px: float, width: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Cut a width out of endlessly repeated text, between its px if need be."""
    endless = np.tile(text, (1, 2 + (width + math.ceil(by_px)) // text.shape[1]))
    there = np.array([[1, 0, by_px], [0, 1, 0]], np.float32)
    flags = cv.INTER_LINEAR | cv.WARP_INVERSE_MAP
    cut: np.ndarray[Any, np.dtype[np.float32]] = cv.warpAffine(
        endless, there, (width, text.shape[0]), flags=flags
    )
    return cut
