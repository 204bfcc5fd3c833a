"""Tiny data sets in the layouts of the published ones."""

from pathlib import Path

import numpy as np
from PIL import Image

from lfdn.datasets.images import Pixels


def draw_image(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """Draw smooth colours with some texture, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 200, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)


def write_image(path: Path, pixels: Pixels) -> Path:
    """Write an image file, and create its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_clean(folder: Path, count: int = 3) -> Path:
    """Write clean images `000.png`, `001.png`, …; return the folder."""
    for index in range(count):
        write_image(folder / f"{index:03d}.png", draw_image(index))
    return folder


def make_rain800(folder: Path, count: int = 3) -> Path:
    """Write files with the clean half on the left, the degraded one on the right."""
    for index in range(count):
        left = draw_image(index)
        write_image(folder / f"{index}.png", np.hstack([left, (left // 2 + 100).astype(np.uint8)]))
    return folder


def make_rain100(folder: Path, count: int = 2) -> Path:
    """Write `rainy/rain-N.png` and `clean/norain-N.png`."""
    for index in range(count):
        write_image(folder / "clean" / f"norain-{index}.png", draw_image(index))
        write_image(folder / "rainy" / f"rain-{index}.png", draw_image(index) // 2 + 90)
    return folder


def make_gopro(
    folder: Path, sequences: int = 2, frames: int = 2, sides: tuple[int, int] = (48, 64)
) -> Path:
    """Write sequences of frames, each with `sharp/` and `blur/`."""
    for sequence in range(sequences):
        for frame in range(frames):
            pixels = draw_image(10 * sequence + frame, *sides)
            write_image(folder / f"GOPR{sequence}" / "sharp" / f"{frame:06d}.png", pixels)
            write_image(folder / f"GOPR{sequence}" / "blur" / f"{frame:06d}.png", pixels // 2 + 60)
    return folder
