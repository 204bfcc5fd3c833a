"""`lfdn train`."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples

if TYPE_CHECKING:
    from lfdn.datasets.crops import CropStage
    from lfdn.training.checkpoint import MetricsRow, TrainingState
    from lfdn.training.recipe import TrainOptions

BY_PRESET = "by preset"
PLAIN_EVERY_S = 60


@click.command()
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), default="derain", show_default=True
)
@data_options
@click.option(
    "--streaks", type=FOLDER, help="Rendered streak layers, white on black: a folder, or a pack."
)
@click.option("-o", "--output", "run", type=FOLDER, required=True, help="The run's folder.")
@click.option(
    "--preset",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="default: ours for the task. paper: MSE, Adam, 1e-4, a tenth of it every 500,000 steps. "
    "Options given beside it come before it.",
)
@click.option("--init", type=FOLDER, help="Start from this file of weights, not from random ones.")
@click.option("--steps", type=click.IntRange(min=1), show_default=BY_PRESET)
@click.option(
    "--stages",
    metavar="UNTIL:PXxBATCH,...",
    show_default=BY_PRESET,
    help="Progressive crops, such as 0.6:112x16,1:224x4: until which share of the steps, side of "
    "the crops in px, how many in a batch (of all processes together).",
)
@click.option(
    "--loss",
    type=click.Choice(["charbonnier", "log_mse", "mse"]),
    show_default=BY_PRESET,
)
@click.option("--optimizer", type=click.Choice(["adamw", "adam", "muon"]), show_default=BY_PRESET)
@click.option("--learning-rate", type=click.FloatRange(min=0), show_default=BY_PRESET)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "step"]),
    show_default=BY_PRESET,
    help="Of the learning rate: to zero, or a tenth every 500,000 steps.",
)
@click.option("--weight-decay", type=click.FloatRange(min=0), show_default=BY_PRESET)
@click.option(
    "--clip-norm",
    type=click.FloatRange(min=0, min_open=True),
    show_default=BY_PRESET,
    help="Longest gradient, 2-norm over all parameters.",
)
@click.option(
    "--ema-decay",
    type=click.FloatRange(0, 1),
    show_default=BY_PRESET,
    help="Of the averaged weights, for each step; 0: no average.",
)
@click.option(
    "--paired-share",
    type=click.FloatRange(0, 1),
    show_default=BY_PRESET,
    help="Share of a batch from pairs; the rest are clean pictures, degraded while training.",
)
@click.option(
    "--smallest-side-px",
    type=click.IntRange(min=16),
    show_default=BY_PRESET,
    help="Clean pictures are shrunk by a random factor, down to this.",
)
@click.option(
    "--least-detail",
    type=click.FloatRange(min=0),
    show_default=BY_PRESET,
    help="Draw crops anew (4 times at most) whose neighbours differ by fewer codes of 255.",
)
@click.option(
    "--margin-px",
    type=click.IntRange(min=0),
    show_default=BY_PRESET,
    help="Crops are degraded with so much around them, which is cut off.",
)
@click.option(
    "--easing",
    type=click.FloatRange(0, 1),
    show_default=BY_PRESET,
    help="Share of the steps over which motion blur grows from one simple kind to all.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="bfloat16: autocast, the weights stay float32. auto: bfloat16 on CUDA alone.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--compile", is_flag=True, help="torch.compile: faster after a minute or two.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all cores unless told.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that prepare crops.",
)
@click.option(
    "--validate-every", type=click.IntRange(min=1), default=1000, show_default="1000 steps"
)
@click.option(
    "--checkpoint-every", type=click.IntRange(min=1), default=1000, show_default="1000 steps"
)
@click.option("--tensorboard", is_flag=True, help="Also write the metrics for TensorBoard.")
def train(
    task: Any,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    run: Path,
    preset: str,
    init: Path | None,
    stages: str | None,
    tensorboard: bool,
    **fields: Any,
) -> None:
    """Train a network. Interrupt it any time: the same command goes on, bit for bit on a CPU.

    Several GPUs: torchrun --nproc-per-node N -m lfdn train ... --device cuda
    """
    from lfdn import weights
    from lfdn.datasets import layouts
    from lfdn.training import recipe
    from lfdn.training import train as training

    try:
        if stages is not None:
            fields["stages"] = _parse_stages(stages)
        options = recipe.options_from_preset(preset, task, **fields)
        with ExitStack() as stack:
            board = stack.enter_context(_TensorBoard(run)) if tensorboard else None
            training.train(
                read_samples(sets, exclude),
                run,
                options=options,
                initial=weights.read_weights(init) if init else None,
                bank=layouts.read_streak_bank(streaks) if streaks else None,
                on_metrics=board.add if board else _show_report,
                on_step=stack.enter_context(_ProgressLine(options)).show,
            )
    except (training.TrainingError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{run}: {error}; is there room, may it be written?") from error
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)


class _ProgressLine:
    """Step, rate, ETA: a live line on a terminal, now and then a plain one elsewhere."""

    def __init__(self, options: TrainOptions) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._steps = options.steps
        self._first: tuple[int, float] | None = None
        self._printed = 0.0
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
        )
        self._task = self._bar.add_task(options.task, total=options.steps, figures="")

    def __enter__(self) -> _ProgressLine:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: TrainingState) -> None:
        """Called after every step."""
        if self._first is None:
            self._first = (progress.step, progress.seconds)
            self._bar.update(self._task, completed=progress.step)
            return
        steps, seconds = progress.step - self._first[0], progress.seconds - self._first[1]
        loss = progress.losses[-1] if progress.losses else float("nan")
        figures = f"loss {loss:.4f}  {steps / max(seconds, 1e-9):.2f} steps/s"
        if progress.best > 0:
            figures += f"  best {progress.best:.2f} dB"
        self._bar.update(self._task, completed=progress.step, figures=figures)
        if not self._live and progress.seconds - self._printed > PLAIN_EVERY_S:
            self._printed = progress.seconds
            left = (self._steps - progress.step) * seconds / steps
            click.echo(f"step {progress.step}  {figures}  {left / 60:.0f} min left", err=True)


class _TensorBoard:
    """Every column of a report as a scalar."""

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise click.ClickException(
                "--tensorboard: not installed; pip install 'lfdn-video[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(run / "tensorboard"))

    def __enter__(self) -> _TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, report: MetricsRow) -> None:
        """Show it too."""
        _show_report(report)
        for name, value in dataclasses.asdict(report).items():
            self._writer.add_scalar(name, value, report.step)


def _show_report(report: MetricsRow) -> None:
    click.echo(
        f"step {report.step}  {report.seconds:.0f} s  loss {report.loss:.5f}  "
        f"validation PSNR-Y {report.validation_input_psnr_y:.2f} -> "
        f"{report.validation_psnr_y:.2f} dB, RGB {report.validation_input_psnr_rgb:.2f} -> "
        f"{report.validation_psnr_rgb:.2f} dB"
    )


def _parse_stages(text: str) -> tuple[CropStage, ...]:
    from lfdn.datasets.crops import CropStage

    try:
        parts = [part.replace("x", ":").split(":") for part in text.split(",")]
        return tuple(
            CropStage(float(until), int(patch), int(batch)) for until, patch, batch in parts
        )
    except ValueError as error:
        message = f"--stages: {text!r} is not UNTIL:PXxBATCH,...; for example 0.5:112x16,1:224x4"
        raise click.UsageError(message) from error
