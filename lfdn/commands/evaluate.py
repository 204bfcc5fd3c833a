"""`lfdn evaluate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples

if TYPE_CHECKING:
    from lfdn.evaluate import Row


@click.command()
@click.option("--weights", default="derain", show_default=True, help="A shipped task, or a file.")
@data_options
@click.option("--device", default="cpu", show_default=True)
@click.option("--feed-clean", is_flag=True, help="Feed the clean pictures: are they left alone?")
@click.option("--csv", "csv_path", type=FOLDER, help="Write one row a picture.")
@click.option("--json", "as_json", is_flag=True, help="The mean as JSON on stdout.")
def evaluate(
    weights: str,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    device: str,
    feed_clean: bool,
    csv_path: Path | None,
    as_json: bool,
) -> None:
    """PSNR and SSIM on RGB and on Y (MATLAB's rgb2ycbcr), whole pictures, 8 bit."""
    from lfdn import evaluate as measuring
    from lfdn.weights import load

    try:
        samples, network = read_samples(sets, exclude), load(weights)
        rows = list(measuring.evaluate(network, samples, device=device, feed_clean=feed_clean))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if csv_path:
        measuring.write_csv(rows, csv_path)
    average = measuring.mean(rows)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(average), "parameters": parameters}))
    else:
        _show_table(average, weights, parameters)


def _show_table(row: Row, weights: str, parameters: int) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{weights}, {parameters:,} parameters, {row.name}, {row.seconds:.3f} s a picture"
    table = Table("", "PSNR dB, Y", "SSIM, Y", "PSNR dB, RGB", "SSIM, RGB", title=title)
    for side in ("input", "output"):
        values = (
            getattr(row, f"{side}_{name}") for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
        )
        table.add_row(side, *(f"{value:.3f}" for value in values))
    Console().print(table)
