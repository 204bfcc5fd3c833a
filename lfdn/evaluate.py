"""Measures a network on test pairs: one row a picture, one mean row. Prints nothing.

Protocol: the network sees the whole picture; its output is clamped and rounded to 8 bit, as a saved
PNG would be. PSNR and SSIM are given on RGB and on Y of MATLAB's rgb2ycbcr (`lfdn.metrics.luma`),
for the degraded input as well as for the output, so that the gain is on the same scale.
"""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from lfdn.datasets.data import DataError, Sample, to_tensor, write_picture
from lfdn.metrics import SSIM_WINDOW_PX, luma, psnr, quantize, ssim

SCORES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
PROTOCOL = {
    "pictures": "whole, one at a time; output clamped and rounded to 8 bit",
    "rgb": "PSNR over all three channels together; SSIM of each channel, averaged",
    "y": "Y of MATLAB's rgb2ycbcr (BT.601, 16 to 235), peak 255",
    "ssim": "Gaussian window of 11 px, sigma 1.5, K 0.01 and 0.03",
    "mean": "unweighted, over pictures; equal pictures count as 100 dB",
}
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
    save: Path | None = None,
) -> Iterator[Row]:
    """One row for each sample, in order.

    `feed_clean`: give the network the clean picture, to see how well it leaves it alone; the input
    figures are then those of equal pictures. `save`: a folder for the restored pictures, PNG.

    Where a sample has several references (Köhler et al. 2012), input and output are each compared
    with the one that gives them the highest PSNR on RGB.

    Raises DataError for a sample without a pair, and for pictures too small for SSIM.
    """
    network = network.to(device).eval()
    for sample in samples:
        degraded = sample.clean if feed_clean else sample.degraded
        if degraded is None:
            raise DataError(f"{sample.clean}: has no degraded counterpart; evaluate pairs")
        references = [to_tensor(each.read()) for each in (sample.clean, *sample.alternatives)]
        image = to_tensor(degraded.read())
        _check_sizes(sample, image, references)
        began = time.perf_counter()
        with torch.inference_mode():
            output = network(image.to(device)).cpu()
        seconds = time.perf_counter() - began
        output = quantize(output)
        if save is not None:
            write_picture(output, save / f"{sample.name}.png")
        before, after = _scores(image, references), _scores(output, references)
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


def learnt_scalars(network: nn.Module) -> dict[str, float]:
    """θ of ALFM and α of ACFM, by the last part of their names; none without these modules."""
    return {
        name.rpartition(".")[2]: parameter.item()
        for name, parameter in network.named_parameters()
        if parameter.ndim == 0
    }


def set_scalars(network: nn.Module, values: Mapping[str, float]) -> None:
    """Replace learnt scalars, as the paper's Tables 7 and 8 do. ValueError for an unknown name."""
    scalars = {
        name.rpartition(".")[2]: parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim == 0
    }
    for name, value in values.items():
        if name not in scalars:
            known = ", ".join(scalars) or "none"
            raise ValueError(f"{name}: the network has no such scalar; it has {known}")
        with torch.no_grad():
            scalars[name].fill_(value)


def _check_sizes(sample: Sample, image: Tensor, references: Sequence[Tensor]) -> None:
    if any(reference.shape != image.shape for reference in references):
        raise DataError(f"{sample.clean}: its pair is of another size; pairs must be of one size")
    if min(image.shape[-2:]) < SSIM_WINDOW_PX:
        raise DataError(
            f"{sample.clean}: a side is shorter than the {SSIM_WINDOW_PX} px of SSIM's window; "
            "leave it out with --exclude"
        )


def _scores(image: Tensor, references: Sequence[Tensor]) -> tuple[float, float, float, float]:
    """In the order of `SCORES`."""
    reference = max(references, key=lambda each: psnr(image, each).item())
    image_y, reference_y = luma(image), luma(reference)
    values = (
        psnr(image_y, reference_y),
        ssim(image_y, reference_y),
        psnr(image, reference),
        ssim(image, reference),
    )
    psnr_y, ssim_y, psnr_rgb, ssim_rgb = (value.clamp(max=EQUAL_DB).item() for value in values)
    return psnr_y, ssim_y, psnr_rgb, ssim_rgb
