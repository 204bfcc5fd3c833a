"""What a network gains on motion blur, by kind of blur: one property at a time.

    python -m benchmarks.blur_probe --data reds=FOLDER
    python -m benchmarks.blur_probe --data reds=FOLDER --weights FILE --json FILE
    python -m benchmarks.blur_probe --frames sequences=FOLDER
    python -m benchmarks.blur_probe --smoke

Sharp pictures are blurred along a path of the camera, in linear light, without noise. The base is
`BASE`; each row changes one property of it. The gain is PSNR on RGB of the network's output less
that of its input, both against the sharp picture, 8 bit. A band as wide as the blur is long is left
out at the border: what enters the picture during the exposure is unknown. `sharp` is the picture
without blur, fed in: its output against itself.

`--frames` feeds filmed frames as they are, in four parts by their sharpness: what is sharp should
stay, what is blurred should not. Sharpness is the variance of the Laplacian of Y (Pech-Pacheco et
al., ICPR 2000), in codes of 8 bits.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from torch import Tensor

import lfdn
from benchmarks.rain_probe import read_pictures
from lfdn.cpu import optimize_for_cpu
from lfdn.datasets import layouts
from lfdn.datasets.images import to_tensor
from lfdn.degrade import average_along
from lfdn.metrics import luma, psnr, round_to_8_bit
from lfdn.training.evaluate import EQUAL_DB

PARTS = 4

SUBFRAME_PX = 1.5
"""Distance of two sub-frames of the exposure, at most."""


@dataclass(frozen=True)
class Motion:
    """How the camera moves during the exposure."""

    length_px: float = 12.0
    """Length of its path."""
    direction_deg: float = 30.0
    """Direction in the middle of the exposure, from the horizontal."""
    bend_deg: float = 0.0
    """Change of direction from the start of the path to its end: an arc."""
    turn_deg: float = 0.0
    """Rotation about the centre of the picture, in addition: the blur grows towards the corners."""


BASE = Motion()
VARIED: dict[str, tuple[float, ...]] = {
    "length_px": (2.0, 4.0, 8.0, 12.0, 20.0, 36.0),
    "direction_deg": (0.0, 30.0, 60.0, 90.0, 135.0),
    "bend_deg": (0.0, 60.0, 150.0),
    "turn_deg": (0.0, 1.0, 3.0),
}
SMOKE: dict[str, tuple[float, ...]] = {"length_px": (8.0,)}


@dataclass(frozen=True)
class Row:
    """PSNR on RGB of one kind of blur, in dB."""

    property: str
    value: float
    input_db: float
    """Mean over the pictures."""
    gain_db: float
    """Mean over the pictures."""
    worst_gain_db: float


def compute_path(motion: Motion, count: int) -> Tensor:
    """Compute shift in x and y (px), rotation (radians) and zoom of each sub-frame, `[1, T, 4]`."""
    when = torch.linspace(-0.5, 0.5, count)
    angles = math.radians(motion.direction_deg) + math.radians(motion.bend_deg) * when
    step = motion.length_px / (count - 1)
    shift = torch.stack([angles.cos(), angles.sin()], dim=1) * step
    places = shift.cumsum(0) - shift[0]
    path = torch.zeros(1, count, 4)
    path[0, :, :2] = places - places[count // 2]  # the sharp picture is the middle of the exposure
    path[0, :, 2] = math.radians(motion.turn_deg) * when
    return path


def add_blur(sharp: Tensor, motion: Motion) -> Tensor:
    """Blur `[1, 3, H, W]`, rounded to 8 bit."""
    turned_px = math.radians(motion.turn_deg) * math.hypot(*sharp.shape[2:]) / 2
    count = 2 * math.ceil((motion.length_px + turned_px) / SUBFRAME_PX / 2) + 1
    still = torch.zeros_like(sharp[:, :2])
    return round_to_8_bit(average_along(sharp, compute_path(motion, max(count, 7)), still))


def measure(network: torch.nn.Module, sharp: Tensor, motion: Motion) -> tuple[float, float]:
    """Measure input and gain, in dB."""
    blurred = add_blur(sharp, motion)
    with torch.inference_mode():
        restored = round_to_8_bit(network(blurred).clamp(0, 1))
    edge = math.ceil(motion.length_px / 2) + 1
    inside = (..., slice(edge, -edge), slice(edge, -edge))
    before, after = (psnr(image[inside], sharp[inside]).item() for image in (blurred, restored))
    return before, after - before


def measure_sharp_db(network: torch.nn.Module, sharp: Tensor) -> float:
    with torch.inference_mode():
        restored = round_to_8_bit(network(sharp).clamp(0, 1))
    return min(EQUAL_DB, psnr(restored, sharp).item())


def probe(
    network: torch.nn.Module, pictures: Sequence[Tensor], varied: dict[str, tuple[float, ...]]
) -> Iterator[Row]:
    for name, values in varied.items():
        for value in values:
            motion = replace(BASE, **{name: value})
            scores = [measure(network, picture, motion) for picture in pictures]
            inputs, gains = zip(*scores, strict=True)
            yield Row(
                property=name,
                value=value,
                input_db=sum(inputs) / len(inputs),
                gain_db=sum(gains) / len(gains),
                worst_gain_db=min(gains),
            )


@dataclass(frozen=True)
class Part:
    """A quarter of some frames, by sharpness."""

    frames: int
    sharpness: tuple[float, float]
    """From the least to the largest."""
    psnr_y_db: float
    """Of the output against the frame that was fed in, mean."""
    worst_psnr_y_db: float


def measure_sharpness(image: Tensor) -> float:
    """Measure the sharpness of `[1, 3, H, W]`."""
    codes = np.rint(255 * luma(image)[0, 0].numpy()).astype(np.uint8)
    return float(cv2.Laplacian(codes, cv2.CV_32F).var())


def measure_by_sharpness(network: torch.nn.Module, sets: Sequence[str]) -> Iterator[Part]:
    """Feed frames as they are; yield the sharpest quarter first."""
    found = []
    for sample in layouts.read_sets(sets):
        frame = to_tensor(sample.clean.read())
        with torch.inference_mode():
            restored = round_to_8_bit(network(frame).clamp(0, 1))
        kept_db = min(EQUAL_DB, psnr(luma(restored), luma(frame)).item())
        found.append((measure_sharpness(frame), kept_db))
    if len(found) < PARTS:
        raise click.UsageError(f"--frames: {PARTS} or more are needed")
    found.sort(reverse=True)
    bounds = [round(part * len(found) / PARTS) for part in range(PARTS + 1)]
    for first, end in pairwise(bounds):
        sharpness, kept = zip(*found[first:end], strict=True)
        yield Part(
            frames=end - first,
            sharpness=(min(sharpness), max(sharpness)),
            psnr_y_db=sum(kept) / len(kept),
            worst_psnr_y_db=min(kept),
        )


def draw_texture() -> Tensor:
    """Smooth noise of several scales, `[1, 3, 96, 128]`, for a run without data."""
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(1, 3, 96, 128)
    for knots in (6, 12, 24):
        noise = torch.rand((1, 3, knots, knots), generator=generator)
        total += torch.nn.functional.interpolate(noise, total.shape[2:], mode="bicubic") / 3
    return round_to_8_bit(total.clamp(0, 1))


def print_by_sharpness(
    network: torch.nn.Module, weights: str, sets: tuple[str, ...], target: Path | None
) -> None:
    """Print what stays of filmed frames, and write it to a file, if given."""
    click.echo("frames  sharpness           PSNR-Y   worst, dB")
    parts = []
    for part in measure_by_sharpness(network, sets):
        parts.append(asdict(part))
        low, high = part.sharpness
        kept = f"{part.psnr_y_db:9.2f}{part.worst_psnr_y_db:8.2f}"
        click.echo(f"{part.frames:6}  {low:7.0f} to {high:5.0f} {kept}")
    if target is not None:
        report = {"weights": weights, "frames": list(sets), "parts": parts}
        target.write_text(json.dumps(report, indent=1) + "\n")


@click.command()
@click.option("--weights", default="deblur", show_default=True, help="Weights file, or a task.")
@click.option("--data", "sets", multiple=True, help="LAYOUT=PATH, as for `lfdn evaluate`.")
@click.option("--pictures", "count", default=6, show_default=True, help="Pictures of the sets.")
@click.option("--frames", "filmed", multiple=True, help="LAYOUT=PATH: feed these as they are.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File for the figures.")
@click.option("--smoke", is_flag=True, help="One blur, on a drawn texture.")
def main(
    weights: str,
    sets: tuple[str, ...],
    count: int,
    filmed: tuple[str, ...],
    target: Path | None,
    smoke: bool,
) -> None:
    """Print the gain on motion blur, by kind of blur."""
    if [bool(sets), bool(filmed), smoke].count(True) != 1:
        raise click.UsageError("give one of --data, --frames and --smoke")
    network = optimize_for_cpu(lfdn.load(weights))
    if filmed:
        print_by_sharpness(network, weights, filmed, target)
        return
    pictures = [draw_texture()] if smoke else read_pictures(sets, count)
    click.echo(f"{'dB, PSNR on RGB':24}   input    gain   worst")
    rows = []
    for row in probe(network, pictures, SMOKE if smoke else VARIED):
        rows.append(row)
        name = f"{row.property} {row.value:.4g}"
        click.echo(f"{name:24}{row.input_db:8.2f}{row.gain_db:+8.2f}{row.worst_gain_db:+8.2f}")
    sharp_db = [measure_sharp_db(network, picture) for picture in pictures]
    mean_db = sum(sharp_db) / len(sharp_db)
    click.echo(f"sharp to itself: mean {mean_db:.1f}, worst {min(sharp_db):.1f} dB")
    if target is not None:
        about = {"weights": weights, "data": list(sets), "pictures": len(pictures)}
        report = {**about, "base": asdict(BASE), "rows": [asdict(row) for row in rows],
                  "sharp_db": sharp_db}  # fmt: skip
        target.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
