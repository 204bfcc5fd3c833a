"""Tiny picture folders in the layouts of the published data sets."""

from pathlib import Path

import numpy as np
from PIL import Image

from lfdn.datasets.images import Pixels


def picture(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """Smooth colours with some texture, always the same for a seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 200, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)


def write(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def clean(folder: Path, count: int = 3) -> Path:
    for index in range(count):
        write(folder / f"{index:03d}.png", picture(index))
    return folder


def rain800(folder: Path, count: int = 3) -> Path:
    for index in range(count):
        left = picture(index)
        write(folder / f"{index}.png", np.hstack([left, (left // 2 + 100).astype(np.uint8)]))
    return folder


def rain100(folder: Path, count: int = 2) -> Path:
    for index in range(count):
        write(folder / "clean" / f"norain-{index}.png", picture(index))
        write(folder / "rainy" / f"rain-{index}.png", picture(index) // 2 + 90)
    return folder


def gopro(folder: Path, sequences: int = 2, frames: int = 2) -> Path:
    for sequence in range(sequences):
        for frame in range(frames):
            pixels = picture(10 * sequence + frame)
            write(folder / f"GOPR{sequence}" / "sharp" / f"{frame:06d}.png", pixels)
            write(folder / f"GOPR{sequence}" / "blur" / f"{frame:06d}.png", pixels // 2 + 60)
    return folder
