"""`lfdn train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples

if TYPE_CHECKING:
    from lfdn.data import Stage
    from lfdn.train import Report


@click.command()
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), default="derain", show_default=True
)
@data_options
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
    exclude: tuple[str, ...],
    streaks: Path | None,
    run: Path,
    stages: str,
    init: Path | None,
    **fields: Any,
) -> None:
    """Train a network. Interrupt it any time: the same command goes on."""
    from lfdn import layouts, weights
    from lfdn import train as training

    try:
        options = training.TrainOptions(stages=_parse_stages(stages), **fields)
        bank = layouts.streaks(streaks) if streaks else None
        initial = weights.read(init) if init else None
        training.train(
            read_samples(sets, exclude),
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


def _show_report(report: Report) -> None:
    click.echo(
        f"step {report.step}  {report.seconds:.0f} s  loss {report.loss:.5f}  validation PSNR-Y "
        f"{report.validation_input_psnr_y:.2f} -> {report.validation_psnr_y:.2f} dB"
    )


def _parse_stages(text: str) -> tuple[Stage, ...]:
    from lfdn.data import Stage

    try:
        parts = [part.replace("x", ":").split(":") for part in text.split(",")]
        return tuple(Stage(float(until), int(patch), int(batch)) for until, patch, batch in parts)
    except ValueError as error:
        message = f"--stages: {text!r} is not UNTIL:PXxBATCH,...; for example 0.5:112x16,1:224x4"
        raise click.UsageError(message) from error
