"""`lfdn evaluate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfdn.commands.options import (
    DATA,
    DEVICE,
    EXCLUDE,
    OVERWRITE,
    PATH,
    WEIGHTS,
    add_options,
    check_device,
    check_folder,
    list_inputs,
    read_samples,
)
from lfdn.files import Inputs, check_target, try_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lfdn.datasets.samples import Sample
    from lfdn.training.evaluate import EvaluationRow


@click.command(short_help="Measure PSNR and SSIM of a network.")
@add_options(WEIGHTS, DATA, EXCLUDE, DEVICE)
@click.option("--int8", is_flag=True, help="Use the 8-bit form of the weights; needs OpenVINO.")
@click.option(
    "--feed-clean", is_flag=True, help="Feed the clean images, to measure how much they change."
)
@click.option(
    "--set",
    "scalars",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a learnt scalar, theta or alpha, to measure its effect; may be repeated.",
)
@click.option("--csv", "csv_path", type=PATH, help="Write one row per image to this CSV file.")
@click.option("--save", type=PATH, help="Write the restored images as PNG to this folder.")
@add_options(OVERWRITE)
@click.option("--json", "as_json", is_flag=True, help="Print the means and the protocol as JSON.")
def evaluate(
    weights: str,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    device: str,
    int8: bool,
    feed_clean: bool,
    scalars: tuple[str, ...],
    csv_path: Path | None,
    save: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure PSNR and SSIM on RGB and on Y (MATLAB's rgb2ycbcr), on whole 8-bit images."""
    check_device(device)
    from lfdn.int8 import OpenVinoMissingError, load_quantized
    from lfdn.training import evaluate as measuring
    from lfdn.weights import load

    samples = read_samples(sets, exclude)
    _check_targets(
        list_inputs(samples, Path(weights)), samples, csv_path, save, overwrite=overwrite
    )
    try:
        network = load_quantized(weights) if int8 else load(weights)
    except OpenVinoMissingError as error:
        raise click.ClickException(str(error)) from error
    learnt = measuring.get_scalars(network)
    measuring.set_scalars(network, _parse_scalars(scalars))
    measured = measuring.evaluate(network, samples, device=device, feed_clean=feed_clean, save=save)
    rows = _show_progress(measured, len(samples))
    if csv_path:
        measuring.write_csv(rows, csv_path, overwrite=overwrite)
    about = {
        "weights": _describe_weights(weights),
        "precision": "int8" if int8 else "float32",
        "data": list(sets),
        "exclude": list(exclude),
        "pictures": len(rows),
        "fed": "clean" if feed_clean else "degraded",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "scalars_learnt": learnt,
        "scalars_used": measuring.get_scalars(network),
        "device": device,
        "protocol": measuring.PROTOCOL,
    }
    if as_json:
        click.echo(
            json.dumps({**dataclasses.asdict(measuring.average_rows(rows)), **about}, indent=1)
        )
    else:
        _print_table(measuring.average_rows(rows), about)


def _check_targets(
    inputs: Inputs,
    samples: Sequence[Sample],
    csv_path: Path | None,
    save: Path | None,
    *,
    overwrite: bool,
) -> None:
    """Check the targets before the work, which may take hours. TargetError if one cannot be."""
    if save is not None:
        check_folder(save, inputs, overwrite=overwrite)
        for sample in samples:
            inputs.refuse(save / f"{sample.name}.png")
            inputs.add(save / f"{sample.name}.png", "a restored image")
    if csv_path is not None:
        check_target(csv_path, inputs, overwrite=overwrite)
        try_target(csv_path)


def _show_progress(rows: Iterator[EvaluationRow], total: int) -> list[EvaluationRow]:
    """Collect the rows, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return list(
        track(rows, "evaluating", total=total, console=console,
              disable=not console.is_terminal, transient=True)
    )  # fmt: skip


def _describe_weights(weights: str) -> dict[str, str]:
    """Collect name, SHA-256 and task of a weights file, or of a task's packaged weights."""
    from lfdn.weights import available, file_sha256, find_packaged, read_header

    path = find_packaged(weights)[0] if weights in available() else Path(weights)
    return {"name": weights, "sha256": file_sha256(path), "task": read_header(path)["task"]}


def _parse_scalars(texts: Sequence[str]) -> dict[str, float]:
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise click.UsageError(f"--set: {text!r} is not NAME=VALUE, such as theta=0") from error
    return values


def _print_table(row: EvaluationRow, about: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    used = "".join(f", {name} {value:.4f}" for name, value in about["scalars_used"].items())
    title = (
        f"{about['weights']['name']}, {about['parameters']:,} parameters{used}\n"
        f"{' '.join(about['data'])}, {row.name} images, {row.seconds:.3f} s each"
    )
    table = Table("", "PSNR dB, Y", "SSIM, Y", "PSNR dB, RGB", "SSIM, RGB", title=title)
    for side in ("input", "output"):
        values = (
            getattr(row, f"{side}_{name}") for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
        )
        table.add_row(side, *(f"{value:.3f}" for value in values))
    Console().print(table)
