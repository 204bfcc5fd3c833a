"""Labelled bursts of consecutive frames: for calibration, and for measuring on what was not seen.

    calibration    DAVIS but `dog`, panned photographs; dry, and under rain drawn by `lfdn.degrade`
    test           `dog`, the videos, NTURain a1 and its filmed rain; dry, filmed and drawn rain

Drawn rain of the test clips is that of `FallingRain` with other seeds, and of `benchmarks/scenes`,
whose generator the calibration never saw.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import torch

from benchmarks.scenes.rain import BASE, RainKind, draw_rain
from lfdn.datasets.images import ImageSource, to_tensor
from lfdn.degrade import FallingRain, rain
from lfdn.degrade.rain import RainMix
from lfdn_video.inference.engine import Engine
from lfdn_video.pipeline import restored_frames

cv: Any = cv2

Image: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
"""`[H, W, 3]`, RGB."""

Use: TypeAlias = Literal["calibration", "test"]

BURST = 5
"""Frames of a burst, as the gate samples them."""

CROP = (360, 480)
"""Height and width that larger frames are cropped to, so that a CPU gets through."""

PHOTOS = 4
"""Photographs of each of the three folders."""

DAVIS: tuple[str, ...] = (
    "bmx-trees",
    "dance-twirl",
    "drift-straight",
    "horsejump-high",
    "motocross-jump",
)
DAVIS += ("soapbox",)

SPARSE = RainKind(coverage=0.002, contrast=0.5)
SLANTED = RainKind(coverage=0.01, slant_deg=35.0)


@dataclass(frozen=True)
class Burst:
    """Consecutive frames, and whether it rains in them."""

    use: Use
    scene: str
    """The clip or the folder of photographs."""
    kind: str
    """`dry`, `filmed`, or how the rain was drawn."""
    images: Sequence[Image]

    @property
    def rainy(self) -> bool:
        return self.kind != "dry"


def list_bursts(data: Path, use: Use) -> Iterator[Burst]:
    """Make all bursts of one use.

    Args:
        data: the folder with the data sets.
        use: for which purpose.
    """
    if use == "calibration":
        yield from _davis(data / "davis")
        yield from _photos(data)
    else:
        yield from _test_clips(data)


def _davis(folder: Path) -> Iterator[Burst]:
    for clip, name in enumerate(DAVIS):
        files = sorted((folder / name).glob("*.jpg"))
        for part, start in enumerate(range(2, len(files) - BURST, 40)):
            images = [crop(read(file)) for file in files[start : start + BURST]]
            yield Burst("calibration", name, "dry", images)
            density = (0.05, 0.15, 0.4, 1.0)[part % 4]
            yield _fallen("calibration", name, images, 100 * clip + part, density)
            if part % 2:
                yield _drawn(name, images, 1000 * clip + part)


def _photos(data: Path) -> Iterator[Burst]:
    for folder in ("photos", "bsds_train", "street"):
        files = sorted(each for each in (data / folder).iterdir() if each.suffix != ".md")
        for number, file in enumerate(files[:: max(1, len(files) // PHOTOS)][:PHOTOS]):
            random = np.random.default_rng(number)
            images = _pan(crop(read(file)), random)
            yield Burst("calibration", folder, "dry", images)
            if number % 2:
                yield _fallen("calibration", folder, images, number, 10 ** random.uniform(-1.5, 0))
            else:
                yield _drawn(folder, images, number)


def _test_clips(data: Path) -> Iterator[Burst]:
    dog = sorted((data / "davis" / "dog").glob("*.jpg"))
    clips = {
        "dog": [crop(read(file)) for file in dog],
        "dashcam": read_video(data / "videos" / "dashcam.mp4"),
        "car_detection": read_video(data / "videos" / "car_detection.mp4"),
    }
    for clip, (name, images) in enumerate(clips.items()):
        for part, start in enumerate(range(0, len(images) - BURST, 55)):
            burst = images[start : start + BURST]
            yield Burst("test", name, "dry", burst)
            if part % 2:
                density = (0.1, 0.3, 1.0)[part // 2 % 3]
                yield _fallen("test", name, burst, 9000 + 100 * clip + part, density)
            else:
                drawn = (("base", BASE), ("sparse", SPARSE), ("slanted", SLANTED))[part // 2 % 3]
                random = np.random.default_rng(part)
                rainy = [draw_rain(each.astype(np.float32), drawn[1], random) for each in burst]
                images_8 = [each.round().astype(np.uint8) for each in rainy]
                yield Burst("test", name, f"drawn, {drawn[0]}", images_8)
    a1 = data / "rain_video" / "a1"
    for label, kind in (("clean", "dry"), ("rainy", "NTURain")):
        files = sorted((a1 / label).iterdir())
        yield from _cut("a1", kind, [crop(read(file)) for file in files], 20)
    for name in ("real_rain_park", "cctv_rain"):
        yield from _cut(name, "filmed", read_video(data / "videos" / f"{name}.mp4"), 20)


def _cut(name: str, kind: str, images: Sequence[Image], step: int) -> Iterator[Burst]:
    for start in range(0, len(images) - BURST, step):
        yield Burst("test", name, kind, images[start : start + BURST])


def _fallen(use: Use, name: str, images: Sequence[Image], seed: int, density: float) -> Burst:
    height, width = images[0].shape[:2]
    falling = FallingRain(height, width, seed=seed, density=density)
    return _map(
        Burst(use, name, f"fallen, {density:.2g}", images),
        lambda image, number: (
            falling.fall(image.astype(np.float32) / np.float32(255), number) * 255
        ),
    )


def _drawn(name: str, images: Sequence[Image], seed: int) -> Burst:
    """Rain as in training, of one kind in all frames and anew in each."""
    mix = RainMix(dry=0, rendered=0, both=0, veil=0, dark=0, noise=0, jpeg=0, sparse=0.5)
    mixed = []
    for number, image in enumerate(images):
        # The kind is drawn first, so that frames share it; where the drops are, differs.
        generator = torch.Generator().manual_seed(seed * 10 + number)
        rainy, _ = rain(to_tensor(image), generator=generator, mix=mix)
        pixels = rainy[0].permute(1, 2, 0).numpy() * 255
        mixed.append(pixels.round().astype(np.uint8))
    return Burst("calibration", name, "drawn", mixed)


def _map(burst: Burst, change: Callable[[Image, int], Any]) -> Burst:
    images = [
        change(image, number).round().clip(0, 255).astype(np.uint8)
        for number, image in enumerate(burst.images)
    ]
    return Burst(burst.use, burst.scene, burst.kind, images)


def _pan(image: Image, random: np.random.Generator) -> list[Image]:
    """Film a photograph with a slowly panned, noisy camera."""
    height, width = image.shape[:2]
    across, down = random.uniform(-3, 3, 2)
    sigma = random.choice([0.0, 1.0, 3.0])
    margin = 16
    frames = []
    for number in range(BURST):
        shift = np.array([[1, 0, across * (number - 2)], [0, 1, down * (number - 2)]])
        moved = cv.warpAffine(image, shift, (width, height), flags=cv.INTER_CUBIC)
        inside = moved[margin : height - margin, margin : width - margin]
        noisy = inside + random.normal(0, sigma, inside.shape) if sigma else inside
        frames.append(np.clip(np.round(noisy), 0, 255).astype(np.uint8))
    return frames


def crop(image: Image) -> Image:
    height, width = (min(side, limit) for side, limit in zip(image.shape, CROP, strict=False))
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    cropped: Image = np.ascontiguousarray(image[top : top + height, left : left + width])
    return cropped


def read(path: Path) -> Image:
    image: Image = ImageSource(path).read()
    return image


def read_video(path: Path) -> list[Image]:
    """Read the first 400 frames."""
    with Engine(lambda batch: batch) as engine:
        frames = restored_frames(path, engine=engine, temporal="off")
        return [crop(frame.image) for frame in itertools.islice(frames, 400)]
