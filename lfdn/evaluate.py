"""Measures a network on test pairs: one row a picture, one mean row. Prints nothing.

Protocol: the network sees the whole picture; its output is clamped and rounded to 8 bit, as a saved
PNG would be. PSNR and SSIM are given on RGB and on Y of MATLAB's rgb2ycbcr (`lfdn.metrics.luma`),
for the degraded input as well as for the output, so that the gain is on the same scale.
"""

import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from lfdn.data import DataError, Sample, to_tensor
from lfdn.metrics import luma, psnr, quantize, ssim

SCORES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
EQUAL_DB = 100.0  # stands for the infinite PSNR of two equal pictures, so that means stay finite


@dataclass(frozen=True, slots=True)
class Row:
    """One picture's figures, or the mean of many. PSNR in dB, time in seconds."""

    name: str
    input_psnr_y: float
    output_psnr_y: float
    input_ssim_y: float
    output_ssim_y: float
    input_psnr_rgb: float
    output_psnr_rgb: float
    input_ssim_rgb: float
    output_ssim_rgb: float
    seconds: float


def evaluate(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    device: str = "cpu",
    feed_clean: bool = False,
) -> Iterator[Row]:
    """One row for each sample, in order.

    `feed_clean`: give the network the clean picture, to see how well it leaves it alone; the input
    figures are then those of equal pictures. Raises DataError for a sample without a pair.
    """
    network = network.to(device).eval()
    for sample in samples:
        degraded = sample.clean if feed_clean else sample.degraded
        if degraded is None:
            raise DataError(f"{sample.clean.path}: has no degraded counterpart; evaluate pairs")
        clean, image = to_tensor(sample.clean.read()), to_tensor(degraded.read())
        began = time.perf_counter()
        with torch.inference_mode():
            output = network(image.to(device)).cpu()
        seconds = time.perf_counter() - began
        before, after = _scores(image, clean), _scores(quantize(output), clean)
        figures = {}
        for name, old, new in zip(SCORES, before, after, strict=True):
            figures[f"input_{name}"], figures[f"output_{name}"] = old, new
        yield Row(name=sample.name, seconds=seconds, **figures)


def mean(rows: Sequence[Row]) -> Row:
    """The unweighted mean over the pictures, named by their count."""
    numbers = [field.name for field in fields(Row) if field.name != "name"]
    averages = {name: sum(getattr(row, name) for row in rows) / len(rows) for name in numbers}
    return Row(name=f"mean of {len(rows)}", **averages)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _scores(image: Tensor, reference: Tensor) -> tuple[float, float, float, float]:
    """In the order of `SCORES`."""
    image_y, reference_y = luma(image), luma(reference)
    values = (
        psnr(image_y, reference_y),
        ssim(image_y, reference_y),
        psnr(image, reference),
        ssim(image, reference),
    )
    psnr_y, ssim_y, psnr_rgb, ssim_rgb = (value.clamp(max=EQUAL_DB).item() for value in values)
    return psnr_y, ssim_y, psnr_rgb, ssim_rgb
