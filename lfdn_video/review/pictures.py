"""The pictures of a report, as addresses that hold the picture itself, within a limit in bytes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pictures

from lfdn_video.media import Image
from lfdn_video.review.survey import Shot

LIMIT_BYTES = 4_000_000
"""Of all pictures of a report; text, script and plots come on top."""

LEVELS = ((1280, 84), (1280, 72), (960, 76), (960, 60), (720, 60), (480, 55))
"""Greatest width in px, and quality: the first at which the pictures fit is used."""

HEAT_WIDTH_PX, HEAT_QUALITY = 640, 60
THUMB_WIDTH_PX, THUMB_QUALITY = 200, 62
HEAT_PERCENTILE, LEAST_HEAT_CODES = 99.5, 8
HEAT_STEP_CODES = 8
COLOUR_MAP = "magma"


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of all shots."""

    shots: tuple[ShotPictures, ...]
    width: int
    """Of the pictures, in px; at most that of the video."""
    heat_codes: int
    """The change, in 8-bit codes, that the hottest colour stands for, and all above."""
    heat_colours: tuple[str, ...]
    """Colours of the scale, from no change to `heat_codes`, for CSS."""


@dataclass(frozen=True, slots=True)
class ShotPictures:
    """The pictures of one shot, as `data:` addresses."""

    before: str
    after: str
    heat: str
    thumb: str
    """The left half of the source, the right half of the result."""


def make_album(shots: Sequence[Shot]) -> Album:
    """Encode the pictures of all shots.

    Args:
        shots: one or more.

    Returns:
        The pictures; together they take at most about `LIMIT_BYTES`.
    """
    images = [(shot.pair.before.image(), shot.pair.after.image()) for shot in shots]
    differences = [np.abs(shot.pair.before.luma() - shot.pair.after.luma()) for shot in shots]
    hottest = max(float(np.percentile(each, HEAT_PERCENTILE)) for each in differences)
    codes = max(LEAST_HEAT_CODES, HEAT_STEP_CODES * -(-int(hottest) // HEAT_STEP_CODES))
    colours = _colour_table()
    rest = [
        (
            _encode(_paint(each, codes, colours), HEAT_WIDTH_PX, HEAT_QUALITY),
            _encode(_join_halves(*pair), THUMB_WIDTH_PX, THUMB_QUALITY),
        )
        for each, pair in zip(differences, images, strict=True)
    ]
    left = LIMIT_BYTES - sum(len(address) for pair in rest for address in pair)
    width, sides = _fit(images, left)
    return Album(
        tuple(
            ShotPictures(before, after, heat, thumb)
            for (before, after), (heat, thumb) in zip(sides, rest, strict=True)
        ),
        width=min(width, images[0][0].shape[1]),
        heat_codes=codes,
        heat_colours=tuple("#{:02x}{:02x}{:02x}".format(*colours[at]) for at in range(0, 256, 51)),
    )


def _fit(images: Sequence[tuple[Image, Image]], limit: int) -> tuple[int, list[tuple[str, str]]]:
    """Encode both sides of all shots as well as the limit allows."""
    for width, quality in LEVELS:
        is_last = (width, quality) == LEVELS[-1]
        first = sum(len(_encode(side, width, quality)) for side in images[0])
        if first * len(images) > 1.2 * limit and not is_last:
            continue  # saves encoding them all
        one, other = ([_encode(pair[at], width, quality) for pair in images] for at in (0, 1))
        if is_last or sum(map(len, (*one, *other))) <= limit:
            return width, list(zip(one, other, strict=True))
    raise AssertionError("the last level is always taken")


def _encode(image: Image, width: int, quality: int) -> str:
    """Encode an image, made smaller if it is wider, as a `data:` address."""
    picture = Pictures.fromarray(image)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Pictures.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "WEBP", quality=quality, method=3)
    return "data:image/webp;base64," + b64encode(file.getvalue()).decode()


def _paint(difference: Any, codes: int, colours: Image) -> Image:
    places = (difference * (255 / codes)).clip(0, 255).astype(np.uint8)
    painted: Image = colours[places]
    return painted


def _colour_table() -> Any:
    """Return the colour map as uint8 `[256, 3]`."""
    from matplotlib import colormaps

    return (colormaps[COLOUR_MAP](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def _join_halves(before: Image, after: Image) -> Image:
    joined = after.copy()
    half = joined.shape[1] // 2
    joined[:, :half] = before[:, :half]
    return joined
