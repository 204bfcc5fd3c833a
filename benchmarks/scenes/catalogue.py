"""All drawn scenes by name, and what each consists of: pictures, and the same without the thing.

backdrop ─ look ─▶ views ─ night? noise? ─▶ draw ─▶ pictures
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.scenes import lights, things
from benchmarks.scenes.rain import RainKind, draw_rain
from benchmarks.scenes.views import Backdrop, Camera, Picture, Views, draw_noise, look

Draw = Callable[[Views, np.random.Generator], list[Picture]]

NOISE = 1.0
"""Standard deviation of the sensor noise in codes, of red, green and blue each."""

PASSER_SPEED_PX = 5.3


@dataclass(frozen=True)
class Scene:
    """A dry scene."""

    draw: Draw
    noise: float = NOISE
    night: bool = False
    adds_thing: bool = True
    """It draws something into the picture, so that one can ask how much of that survives."""
    compressed: bool = False
    """Its frames are to be encoded as H.264 and decoded again."""


@dataclass(frozen=True)
class Drawn:
    """Pictures, and what is compared with them."""

    pictures: list[Picture]
    bare: list[Picture]
    """The same, noise included, without the thing."""
    noise_free: list[Picture] | None = None
    """The pictures without rain and without noise; None for dry scenes."""
    truth: list[Picture] | None = None
    """The pictures without rain, with the same noise; None for dry scenes."""


DRY: dict[str, Scene] = {
    "ball, r 2.5 px, 6 px a frame": Scene(partial(things.draw_ball, radius_px=2.5, speed_px=6)),
    "ball, r 5 px, 18 px a frame": Scene(partial(things.draw_ball, radius_px=5, speed_px=18)),
    "ball, r 12 px, 9 px a frame": Scene(partial(things.draw_ball, radius_px=12, speed_px=9)),
    "confetti, sparse": Scene(partial(things.draw_confetti, count=60, white=0.3)),
    "confetti, dense": Scene(partial(things.draw_confetti, count=500, white=0.3)),
    "confetti, white": Scene(partial(things.draw_confetti, count=250, white=1.0)),
    "birds": Scene(things.draw_birds),
    "insects": Scene(things.draw_insects),
    "snow, sparse": Scene(partial(things.draw_snow, count=120)),
    "snow, dense": Scene(partial(things.draw_snow, count=1400)),
    "fountain": Scene(things.draw_fountain),
    "sparks at night": Scene(
        partial(things.draw_fountain, colour=things.ORANGE, count=150, spread=0.4), night=True
    ),
    "sparkling water": Scene(things.draw_sparkles),
    "wheel": Scene(things.draw_wheel),
    "fence": Scene(things.draw_fence),
    "strobe, everything": Scene(partial(lights.draw_strobe, local=False), adds_thing=False),
    "strobe, local": Scene(partial(lights.draw_strobe, local=True)),
    "flashes of a crowd": Scene(lights.draw_crowd, night=True),
    "headlights at night": Scene(lights.draw_headlights, night=True),
    "LED lamps that flicker": Scene(lights.draw_led_lamps, night=True),
    "LED sign that rolls": Scene(lights.draw_led_sign, night=True),
    "screens": Scene(lights.draw_posters),
    "ticker": Scene(lights.draw_ticker),
    "exposure ramp": Scene(lights.draw_exposure, adds_thing=False),
    "noise, sigma 2, night": Scene(lights.draw_nothing, 2, night=True, adds_thing=False),
    "noise, sigma 5, night": Scene(lights.draw_nothing, 5, night=True, adds_thing=False),
    "noise, sigma 10, night": Scene(lights.draw_nothing, 10, night=True, adds_thing=False),
    "H.264, CRF 32": Scene(lights.draw_nothing, 3, adds_thing=False, compressed=True),
}

BALLS = ((2.5, 5.0), (5.0, 5.0), (5.0, 15.0), (5.0, 30.0), (12.0, 15.0))
"""Radius in px and speed in px a frame of the balls that fly through rain."""


def draw_dry(
    name: str, backdrop: Backdrop, camera: Camera, *, size: tuple[int, int], count: int, seed: int
) -> Drawn:
    """Draw a scene of `DRY`.

    Args:
        name: its name.
        backdrop: the place.
        camera: how it is seen.
        size: height and width in px.
        count: number of pictures.
        seed: of everything that is random; the same seed gives the same pictures.
    """
    scene = DRY[name]
    random = _begin(name, seed)
    views = look(backdrop, camera, size=size, count=count, random=random)
    views = (views.at_night() if scene.night else views).with_noise(scene.noise, random)
    return Drawn(scene.draw(views, random), list(views.pictures))


def draw_rainy(
    kind: RainKind,
    backdrop: Backdrop,
    camera: Camera,
    *,
    size: tuple[int, int],
    count: int,
    seed: int,
    ball: tuple[float, float] | None = None,
) -> Drawn:
    """Draw rain, anew in each frame, before a place that something crosses.

    Rain falls before the sensor's noise is added, which is that of the truth.

    Args:
        kind: of the rain.
        backdrop: the place.
        camera: how it is seen.
        size: height and width in px.
        count: number of pictures.
        seed: of everything that is random, with the kind.
        ball: radius in px and speed in px a frame of a bright ball that flies through the rain;
            None: something large crosses the picture instead.
    """
    random = _begin(repr(kind), seed)
    views = look(backdrop, camera, size=size, count=count, random=random)
    if ball is None:
        bare = things.draw_passer(views, views.pictures[0][:, ::-1], speed_px=PASSER_SPEED_PX)
        clean = bare
    else:
        bare = list(views.pictures)
        clean = things.draw_ball(views, random, radius_px=ball[0], speed_px=ball[1])
    noise = draw_noise(NOISE, clean, random)
    rainy = [draw_rain(picture, kind, random) for picture in clean]
    return Drawn(
        pictures=_add(rainy, noise),
        bare=_add(bare, noise),
        noise_free=clean,
        truth=_add(clean, noise),
    )


def list_balls() -> dict[str, tuple[float, float]]:
    """The balls in rain by their names."""
    return {f"ball in rain, r {r:g} px, {speed:g} px a frame": (r, speed) for r, speed in BALLS}


def _begin(name: str, seed: int) -> np.random.Generator:
    """Random numbers of a scene's own, whatever was drawn before."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _add(pictures: list[Picture], noise: list[Picture]) -> list[Picture]:
    return [picture + each for picture, each in zip(pictures, noise, strict=True)]
