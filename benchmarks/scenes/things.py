"""Things that move by themselves and are no rain: balls, confetti, birds, snow, water, fine bars.

Each function draws over consecutive views of a place and returns as many pictures. The lights of
lamps and signs are in `lights.py`.
"""

import math

import numpy as np

from benchmarks.scenes.canvas import WHITE, Colour, Sheet, lay, scale_count
from benchmarks.scenes.views import Picture, Views

SUBFRAMES = 5
"""Times within an exposure at which a fast thing is drawn."""

SHUTTER = 0.5
"""Share of the frame interval for which it is exposed."""

ORANGE: Colour = (255.0, 170.0, 70.0)


def draw_ball(
    views: Views, random: np.random.Generator, *, radius_px: float, speed_px: float
) -> list[Picture]:
    """A bright ball that flies through the picture and bounces off its sides."""
    height, width = views.size
    x0, y0 = random.uniform(0.1, 0.3) * width, random.uniform(0.35, 0.65) * height
    bow = random.uniform(0.5, 1.5)

    def draw(sheet: Sheet, time: float, shift: tuple[float, float]) -> None:
        x = _bounce(x0 + speed_px * time, width)
        y = y0 - bow * 0.12 * height * math.sin(speed_px * time / width * 2 * math.pi)
        sheet.disc(x - shift[0], y - shift[1], radius_px, (240, 238, 225))

    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheets = [Sheet(views.size) for _ in range(SUBFRAMES)]
        for step, sheet in enumerate(sheets):
            draw(sheet, index + SHUTTER * (step / (SUBFRAMES - 1) - 0.5), shift)
        pictures.append(lay(picture, sheets))
    return pictures


def draw_confetti(
    views: Views, random: np.random.Generator, *, count: int, white: float
) -> list[Picture]:
    """Pieces of paper that fall and turn everywhere in the picture, some of them white."""
    height, width = views.size
    count = scale_count(count, views.size)
    places = random.uniform(0, 1, (count, 2)) * (width, height)
    falls = np.stack([random.normal(0, 1.5, count), random.uniform(3, 10, count)], 1)
    sides = random.uniform(2, 5, (count, 2))
    turns = random.uniform(-0.6, 0.6, count)
    colours = random.uniform(40, 255, (count, 3))
    colours[random.random(count) < white] = WHITE
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        centres = _wrap(places + index * falls - np.array(shift), views.size)
        for centre, side, turn, colour in zip(centres, sides, turns, colours, strict=True):
            # A piece that tumbles is seen from its edge now and then.
            x, y = side[0], side[1] * abs(math.cos(2 * turn * index + centre[0]))
            corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)])
            c, s = math.cos(turn * index), math.sin(turn * index)
            red, green, blue = colour.tolist()
            sheet.polygon(centre + corners @ np.array([(c, s), (-s, c)]), (red, green, blue))
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_birds(views: Views, random: np.random.Generator) -> list[Picture]:
    """A flock of dark birds that beat their wings."""
    height, width = views.size
    count = 14
    places = random.uniform(0.05, 0.7, (count, 2)) * (width, height)
    phases = random.uniform(0, 2 * math.pi, count)
    spans = random.uniform(5, 9, count)
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        for (x, y), phase, span in zip(places, phases, spans, strict=True):
            body = (x + 4.3 * index - shift[0], y + 2 * math.sin(phase + 0.2 * index) - shift[1])
            lift = 0.7 * span * math.sin(phase + 1.4 * index)
            for side in (-span, span):
                sheet.line(body, (body[0] + side, body[1] - lift), (25, 25, 30), 0.95, 2)
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_insects(views: Views, random: np.random.Generator) -> list[Picture]:
    """Small bright insects that dart about, each in its own place."""
    height, width = views.size
    count = scale_count(70, views.size)
    places = random.uniform(0, 1, (count, 2)) * (width, height)
    pictures = []
    for picture, shift in zip(views.pictures, views.shifts, strict=True):
        sheet = Sheet(views.size)
        before, places = places, places + random.normal(0, 5, (count, 2))
        for (x0, y0), (x1, y1) in zip(before, places, strict=True):
            start = (x1 + 0.4 * (x0 - x1) - shift[0], y1 + 0.4 * (y0 - y1) - shift[1])
            sheet.line(start, (x1 - shift[0], y1 - shift[1]), (235, 235, 215), 0.6, 2)
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_snow(views: Views, random: np.random.Generator, *, count: int) -> list[Picture]:
    """Flakes that fall and sway, the near ones large, fast and out of focus."""
    height, width = views.size
    count = scale_count(count, views.size)
    nearness = random.uniform(0.2, 1, count) ** 1.5
    places = random.uniform(0, 1, (count, 2)) * (width, height)
    phases = random.uniform(0, 2 * math.pi, count)
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheets = [Sheet(views.size) for _ in range(SUBFRAMES)]
        for step, sheet in enumerate(sheets):
            time = index + SHUTTER * (step / (SUBFRAMES - 1) - 0.5)
            sway = 4 * nearness * np.sin(phases + 0.5 * time)
            moved = places + np.stack([sway + 1.5 * nearness * time, 12 * nearness * time], 1)
            centres = _wrap(moved - np.array(shift), views.size)
            for (x, y), near in zip(centres, nearness, strict=True):
                sheet.disc(x, y, 3.2 * near, (245, 247, 250), 0.85)
        pictures.append(lay(picture, sheets, 0.8))
    return pictures


def draw_fountain(
    views: Views,
    random: np.random.Generator,
    *,
    colour: Colour = WHITE,
    count: int = 350,
    spread: float = 0.12,
) -> list[Picture]:
    """Drops that are thrown up at one place and fall back; in orange, sparks."""
    height, width = views.size
    life = 14
    births = random.uniform(0, life, count)
    throws = np.stack(
        [
            random.normal(0, spread, count) * height / 8,
            random.uniform(-0.09, -0.05, count) * height,
        ],
        1,
    )
    pull = 0.0085 * height
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        age = (index + births) % life
        opacities = random.uniform(0.2, 0.9, count)
        source = np.array((0.5 * width, 0.8 * height)) - np.array(shift)
        for each, throw, opacity in zip(age, throws, opacities, strict=True):
            head, tail = (
                source + throw * time + np.array((0, 0.5 * pull * time**2))
                for time in (each, each - SHUTTER)
            )
            sheet.line(tuple(tail), tuple(head), colour, opacity)
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_sparkles(views: Views, random: np.random.Generator) -> list[Picture]:
    """Water in the sun, the lower half of the picture: glints that last for a frame or two."""
    height, width = views.size
    count = scale_count(900, views.size)
    places = random.uniform((0, 0.5), (1, 1), (count, 2)) * (width, height)
    phases = random.uniform(0, 1, count)
    rates = random.uniform(0.09, 0.21, count)
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        glints = np.sin(2 * math.pi * (phases + rates * index)).clip(0, 1) ** 8
        for (x, y), glint in zip(places - np.array(shift), glints, strict=True):
            if glint > 0.1:
                half = 1 + 3 * y / height
                sheet.line((x - half, y), (x + half, y), WHITE, glint)
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_wheel(views: Views, random: np.random.Generator) -> list[Picture]:
    """A bicycle's wheel that rolls: bright spokes that turn nearly by their own distance."""
    height, width = views.size
    radius, spokes, start = 0.3 * height, 28, random.uniform(0, 1)
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        x = 0.25 * width + 5.2 * index - shift[0]
        y = 0.6 * height - shift[1]
        for spoke in range(spokes):
            turn = 2 * math.pi * (spoke / spokes + start) + 5.2 * index / radius
            rim = (x + radius * math.cos(turn), y + radius * math.sin(turn))
            sheet.line((x, y), rim, (215, 215, 220), 0.9)
            after = turn + 2 * math.pi / spokes
            other = (x + radius * math.cos(after), y + radius * math.sin(after))
            sheet.line(rim, other, (25, 25, 25), 1, 4)
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_fence(views: Views, random: np.random.Generator) -> list[Picture]:
    """Thin bright bars before the scene, which pass it as they do seen from a train."""
    height, width = views.size
    distance, start = 7.3, random.uniform(0, 7)
    pictures = []
    for index, (picture, shift) in enumerate(zip(views.pictures, views.shifts, strict=True)):
        sheet = Sheet(views.size)
        first = (start + 3.4 * index - 2 * shift[0]) % distance - distance
        for bar in range(math.ceil(width / distance) + 2):
            x = first + bar * distance
            sheet.line((x, 0.2 * height), (x, height), (190, 190, 185))
        pictures.append(lay(picture, [sheet]))
    return pictures


def draw_passer(views: Views, patch: Picture, *, speed_px: float) -> list[Picture]:
    """Something large, solid and textured that crosses the picture.

    Args:
        views: of the place.
        patch: its texture, of the views' size.
        speed_px: px a frame.
    """
    height, width = views.size
    pictures = []
    for index, picture in enumerate(views.pictures):
        x = 0.1 * width + speed_px * index
        sheet = Sheet(views.size)
        turns = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        outline = np.stack([0.09 * np.cos(turns), 0.13 * np.sin(turns)], 1) * height
        sheet.polygon(outline + np.array((x, 0.62 * height)), WHITE)
        covered = sheet.samples[..., 3:] / np.float32(255)
        texture = np.roll(patch, round(speed_px * index), axis=1)
        pictures.append(picture + covered * (texture - picture))
    return pictures


def _bounce(where: float, length: float) -> float:
    """Reflect a place on a line at both ends."""
    where %= 2 * length
    return min(where, 2 * length - where)


def _wrap(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring back at the other side what left the picture, out of sight."""
    height, width = size
    edge = 12
    wrapped: np.ndarray = (places + edge) % (width + 2 * edge, height + 2 * edge) - edge
    return wrapped
