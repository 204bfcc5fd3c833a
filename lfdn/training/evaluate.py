"""Evaluation of a network on test pairs: one row per image, and their mean. Prints nothing.

Protocol: the network gets the whole image; its output is clamped and rounded to 8 bit, as in a
saved PNG file. PSNR and SSIM are measured on RGB and on Y of MATLAB's rgb2ycbcr
(`lfdn.metrics.luma`), on the degraded input as well as on the output, so that both are comparable.
Validation during training is simpler: `lfdn.training.validation`.
"""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from lfdn.datasets.images import DataError, to_tensor, write_image
from lfdn.datasets.samples import Sample
from lfdn.files import write_beside
from lfdn.metrics import SSIM_WINDOW_PX, luma, psnr, round_to_8_bit, ssim

SCORES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
PROTOCOL = {
    "pictures": "whole, one at a time; output clamped and rounded to 8 bit",
    "rgb": "PSNR over all three channels together; SSIM of each channel, averaged",
    "y": "Y of MATLAB's rgb2ycbcr (BT.601, 16 to 235), peak 255",
    "ssim": "Gaussian window of 11 px, sigma 1.5, K 0.01 and 0.03",
    "mean": "unweighted, over pictures; equal pictures count as 100 dB",
}
EQUAL_DB = 100.0  # in place of the infinite PSNR of two equal images, to keep means finite


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """The scores of one image, or the mean of many. PSNR in dB, time in seconds."""

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
) -> Iterator[EvaluationRow]:
    """Restore the degraded image of each sample and score it.

    A sample with several references (Köhler et al. 2012) is scored against the one that gives the
    highest PSNR on RGB, for input and output separately.

    Args:
        network: `[1, 3, H, W]` to the same, RGB in 0…1. Moved to `device`, in eval mode.
        samples: Pairs.
        device: Such as `cpu`, `cuda` or `cuda:1`.
        feed_clean: Feed the clean image instead, to measure how little the network changes it. The
            input's scores are then those of equal images.
        save: Folder for the restored images, PNG.

    Yields:
        One row for each sample, in order.

    Raises:
        DataError: A sample has no degraded counterpart, an image cannot be read, or the images of
            a pair differ in size or are too small for SSIM.
    """
    network = network.to(device).eval()
    for sample in samples:
        degraded = sample.clean if feed_clean else sample.degraded
        if degraded is None:
            raise DataError(f"{sample.clean}: has no degraded counterpart; evaluate pairs")
        references = [to_tensor(each.read()) for each in (sample.clean, *sample.alternatives)]
        image = to_tensor(degraded.read())
        _check_sizes(sample, image, references)
        output, seconds = restore(network, image, device=device)
        if save is not None:
            write_image(output, save / f"{sample.name}.png")
        scores = score("input", image, references) | score("output", output, references)
        yield EvaluationRow(name=sample.name, seconds=seconds, **scores)


def restore(network: nn.Module, image: Tensor, *, device: str) -> tuple[Tensor, float]:
    """Run the network on one whole image.

    Args:
        network: On `device`, in eval mode.
        image: RGB, `[1, 3, H, W]` in 0…1, on the CPU.
        device: Such as `cpu` or `cuda`.

    Returns:
        (image, seconds): like `image`, clamped and rounded to 8 bit; and the network's time.
    """
    began = time.perf_counter()
    with torch.inference_mode():
        output = network(image.to(device)).cpu()  # which waits for a GPU
    seconds = time.perf_counter() - began
    return round_to_8_bit(output), seconds


def average_rows(rows: Sequence[EvaluationRow]) -> EvaluationRow:
    """Compute the unweighted mean of one or more rows; its name states how many."""
    numbers = [field.name for field in fields(EvaluationRow) if field.name != "name"]
    averages = {name: sum(getattr(row, name) for row in rows) / len(rows) for name in numbers}
    return EvaluationRow(name=f"mean of {len(rows)}", **averages)


def write_csv(rows: Sequence[EvaluationRow], path: Path, *, overwrite: bool = True) -> None:
    """Write the rows as CSV, with a header of the field names.

    Args:
        rows: The rows.
        path: The file to write.
        overwrite: Replace a file that exists.

    Raises:
        TargetError: It cannot be written, or exists.
    """
    with (
        write_beside(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(EvaluationRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def get_scalars(network: nn.Module) -> dict[str, float]:
    """Read the learnt scalars, θ of ALFM and α of ACFM, by the last part of their names.

    A network without these modules has none.
    """
    return {name: parameter.item() for name, parameter in _find_scalars(network).items()}


def set_scalars(network: nn.Module, values: Mapping[str, float]) -> None:
    """Replace learnt scalars, as in the paper's Tables 7 and 8.

    Raises:
        ValueError: The network has no scalar of that name.
    """
    scalars = _find_scalars(network)
    for name, value in values.items():
        if name not in scalars:
            known = ", ".join(scalars) or "none"
            raise ValueError(f"{name}: the network has no such scalar; it has {known}")
        with torch.no_grad():
            scalars[name].fill_(value)


def score(prefix: str, image: Tensor, references: Sequence[Tensor]) -> dict[str, float]:
    """Score an image against the reference that gives the highest PSNR on RGB.

    Args:
        prefix: Put before each key, with an underscore: `input` or `output`.
        image: RGB, `[1, 3, H, W]` in 0…1.
        references: One or more, like `image`.

    Returns:
        The prefixed `SCORES`, PSNR in dB and at most `EQUAL_DB`.
    """
    reference = max(references, key=lambda each: psnr(image, each).item())
    image_y, reference_y = luma(image), luma(reference)
    values = (
        psnr(image_y, reference_y),
        ssim(image_y, reference_y),
        psnr(image, reference),
        ssim(image, reference),
    )
    return {
        f"{prefix}_{name}": value.clamp(max=EQUAL_DB).item()
        for name, value in zip(SCORES, values, strict=True)
    }


def _find_scalars(network: nn.Module) -> dict[str, nn.Parameter]:
    return {
        name.rpartition(".")[2]: parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim == 0
    }


def _check_sizes(sample: Sample, image: Tensor, references: Sequence[Tensor]) -> None:
    if any(reference.shape != image.shape for reference in references):
        raise DataError(f"{sample.clean}: its pair is of another size; pairs must be of one size")
    if min(image.shape[-2:]) < SSIM_WINDOW_PX:
        raise DataError(
            f"{sample.clean}: a side is shorter than the {SSIM_WINDOW_PX} px of SSIM's window; "
            "leave it out with --exclude"
        )
