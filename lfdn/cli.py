"""The `lfdn` command: train, evaluate, export. The only place of this package that prints or exits.

Heavy modules are imported inside the commands, so that `lfdn --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lfdn.data import Sample, Stage
    from lfdn.evaluate import Row
    from lfdn.train import Report

FOLDER = click.Path(path_type=Path)
DATA_HELP = (
    "LAYOUT=FOLDER, may be repeated. Pairs: rain800 (side by side), rain100 (rainy/ and clean/), "
    "gopro (SEQUENCE/blur and sharp). To be degraded: clean (pictures), "
    "sequences (folders of frames)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train and measure LFDN, a lightweight network against rain and motion blur."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@main.command()
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), default="derain", show_default=True
)
@click.option(
    "--data", "sets", multiple=True, required=True, metavar="LAYOUT=FOLDER", help=DATA_HELP
)
@click.option("--streaks", type=FOLDER, help="Folder of rendered streak layers, white on black.")
@click.option("-o", "--output", "run", type=FOLDER, required=True, help="The run's folder.")
@click.option("--steps", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option(
    "--stages",
    default="0.6:112x16,0.85:160x8,1:224x4",
    show_default=True,
    help="Progressive crops: until (share of the steps):side in px x batch.",
)
@click.option("--init", type=FOLDER, help="Start from these weights instead of from random ones.")
@click.option("--learning-rate", type=float, default=8e-4, show_default=True)
@click.option("--clip-norm", type=float, default=0.2, show_default=True)
@click.option("--paired-share", type=click.FloatRange(0, 1), default=0.35, show_default=True)
@click.option("--loss", type=click.Choice(["charbonnier", "log_mse", "mse"]), default="charbonnier")
@click.option(
    "--smallest-side-px",
    type=click.IntRange(min=16),
    default=380,
    show_default=True,
    help="Clean pictures are shrunk by a random factor, down to this.",
)
@click.option("--ema-decay", type=click.FloatRange(0, 1), default=0.999, show_default=True)
@click.option("--compile", is_flag=True, help="torch.compile: faster after a minute or two.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32")
@click.option("--device", default="cpu", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--validate-every", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all cores unless told.")
def train(
    sets: tuple[str, ...],
    streaks: Path | None,
    run: Path,
    stages: str,
    init: Path | None,
    **fields: Any,
) -> None:
    """Train a network. Interrupt it any time: the same command goes on."""
    from lfdn import data, weights
    from lfdn import train as training

    try:
        options = training.TrainOptions(stages=_parse_stages(stages), **fields)
        bank = data.streak_bank(streaks) if streaks else None
        initial = weights.read(init) if init else None
        training.train(
            _read_sets(sets),
            run,
            options=options,
            initial=initial,
            bank=bank,
            on_report=_show_report,
        )
    except (training.TrainingError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from the last checkpoint", err=True)
        sys.exit(130)


@main.command()
@click.option("--weights", default="derain", show_default=True, help="A shipped task, or a file.")
@click.option(
    "--data", "sets", multiple=True, required=True, metavar="LAYOUT=FOLDER", help=DATA_HELP
)
@click.option("--device", default="cpu", show_default=True)
@click.option("--feed-clean", is_flag=True, help="Feed the clean pictures: are they left alone?")
@click.option("--csv", "csv_path", type=FOLDER, help="Write one row a picture.")
@click.option("--json", "as_json", is_flag=True, help="The mean as JSON on stdout.")
def evaluate(
    weights: str,
    sets: tuple[str, ...],
    device: str,
    feed_clean: bool,
    csv_path: Path | None,
    as_json: bool,
) -> None:
    """PSNR and SSIM on RGB and on Y (MATLAB's rgb2ycbcr), whole pictures, 8 bit."""
    from lfdn import evaluate as measuring
    from lfdn.weights import load

    try:
        samples, network = _read_sets(sets), load(weights)
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


@main.command()
@click.argument("source", type=FOLDER)
@click.option("-o", "--output", "target", type=FOLDER, required=True)
@click.option("--register", is_flag=True, help="Enter it in the index.json beside it (packaging).")
def export(source: Path, target: Path, register: bool) -> None:
    """Write the best weights of a run as a float16 file for `--weights`, and print its SHA-256."""
    from lfdn import weights

    source = source / "best.safetensors" if source.is_dir() else source
    try:
        head = weights.header(source)
        weights.save(
            weights.read(source), target, task=head["task"], notes=json.loads(head["notes"])
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if register:
        weights.register(target)
    click.echo(f"{weights.file_sha256(target)}  {target}")


def _show_report(report: Report) -> None:
    click.echo(
        f"step {report.step}  {report.seconds:.0f} s  loss {report.loss:.5f}  validation PSNR-Y "
        f"{report.validation_input_psnr_y:.2f} -> {report.validation_psnr_y:.2f} dB"
    )


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


def _parse_stages(text: str) -> tuple[Stage, ...]:
    from lfdn.data import Stage

    try:
        parts = [part.replace("x", ":").split(":") for part in text.split(",")]
        return tuple(Stage(float(until), int(patch), int(batch)) for until, patch, batch in parts)
    except ValueError as error:
        message = f"--stages: {text!r} is not UNTIL:PXxBATCH,...; for example 0.5:112x16,1:224x4"
        raise click.UsageError(message) from error


def _read_sets(sets: tuple[str, ...]) -> list[Sample]:
    from lfdn.data import LAYOUTS

    samples: list[Sample] = []
    for text in sets:
        layout, _, folder = text.partition("=")
        if layout not in LAYOUTS or not folder:
            known = ", ".join(sorted(LAYOUTS))
            raise click.UsageError(f"--data: {text!r} is not LAYOUT=FOLDER with one of {known}")
        samples += LAYOUTS[layout](Path(folder))
    return samples


if __name__ == "__main__":
    main()
