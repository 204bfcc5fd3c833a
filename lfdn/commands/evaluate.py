"""`lfdn evaluate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from lfdn.datasets.samples import Sample
    from lfdn.training.evaluate import EvaluationRow


@click.command()
@click.option("--weights", default="derain", show_default=True, help="A shipped task, or a file.")
@data_options
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--int8", is_flag=True, help="Their 8-bit form; needs OpenVINO (the extra openvino).")
@click.option("--feed-clean", is_flag=True, help="Feed the clean pictures: are they left alone?")
@click.option(
    "--set",
    "scalars",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a learnt scalar, theta or alpha: how much depends on it? May be repeated.",
)
@click.option("--csv", "csv_path", type=FOLDER, help="Write one row a picture.")
@click.option("--save", type=FOLDER, help="Write the restored pictures into this folder, PNG.")
@click.option("--force", is_flag=True, help="Overwrite what --csv and --save name.")
@click.option("--json", "as_json", is_flag=True, help="The means, and how they came, on stdout.")
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
    force: bool,
    as_json: bool,
) -> None:
    """PSNR and SSIM on RGB and on Y (MATLAB's rgb2ycbcr), whole pictures, 8 bit."""
    from lfdn.int8 import OpenVinoMissingError, load_quantized
    from lfdn.training import evaluate as measuring
    from lfdn.weights import load

    for path in (csv_path, save):
        if path is not None and path.exists() and not force:
            raise click.ClickException(f"{path}: exists; choose another name or add --force")
    try:
        samples = read_samples(sets, exclude)
        network = load_quantized(weights) if int8 else load(weights)
        learnt = measuring.get_scalars(network)
        measuring.set_scalars(network, _parse_scalars(scalars))
        rows = _measure(network, samples, device=device, feed_clean=feed_clean, save=save)
        if csv_path:
            measuring.write_csv(rows, csv_path)
    except (OSError, ValueError, OpenVinoMissingError) as error:
        raise click.ClickException(str(error)) from error
    about = {
        "weights": _about_weights(weights),
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
    average = measuring.average_rows(rows)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(average), **about}, indent=1))
    else:
        _show_table(average, about)


def _measure(network: nn.Module, samples: Sequence[Sample], **options: Any) -> list[EvaluationRow]:
    from rich.console import Console
    from rich.progress import track

    from lfdn.training import evaluate as measuring

    console = Console(stderr=True)
    rows = measuring.evaluate(network, samples, **options)
    return list(
        track(rows, "evaluating", total=len(samples), console=console,
              disable=not console.is_terminal, transient=True)
    )  # fmt: skip


def _about_weights(weights: str) -> dict[str, str]:
    """Name, SHA-256 and task of a shipped task's or a given file."""
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


def _show_table(row: EvaluationRow, about: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    used = "".join(f", {name} {value:.4f}" for name, value in about["scalars_used"].items())
    title = (
        f"{about['weights']['name']}, {about['parameters']:,} parameters{used}\n"
        f"{' '.join(about['data'])}, {row.name} pictures, {row.seconds:.3f} s each"
    )
    table = Table("", "PSNR dB, Y", "SSIM, Y", "PSNR dB, RGB", "SSIM, RGB", title=title)
    for side in ("input", "output"):
        values = (
            getattr(row, f"{side}_{name}") for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
        )
        table.add_row(side, *(f"{value:.3f}" for value in values))
    Console().print(table)
