"""Output of `lfdn train` while it runs: a progress line, validation results, TensorBoard."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from pathlib import Path

    from lfdn.training.checkpoint import MetricsRow, TrainingState
    from lfdn.training.recipe import TrainOptions

LINE_INTERVAL_S = 60


class ProgressLine:
    """Steps, loss, speed and time left: a bar on a terminal, else a line every minute."""

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
        self._seconds = options.seconds
        self._first: tuple[int, float] | None = None
        self._printed_s = 0.0
        self._loss = float("nan")
        console = Console(stderr=True)
        self._is_terminal = console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._is_terminal,
        )
        total = None if options.seconds else options.steps
        self._task = self._bar.add_task(options.task, total=total, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: TrainingState) -> None:
        """Show the progress; call it after every step."""
        # Speed counts from the first step of this session: earlier ones ran at another time, and
        # the first one includes the start of the workers.
        if self._first is None:
            self._first = (progress.step, progress.seconds)
            self._bar.update(self._task, completed=progress.step)
            return
        first_step, first_seconds = self._first
        steps = progress.step - first_step
        seconds = progress.seconds - first_seconds
        self._loss = progress.losses[-1] if progress.losses else self._loss
        figures = f"loss {self._loss:.4f}  {steps / max(seconds, 1e-9):.2f} steps/s"
        if progress.best > 0:
            figures += f"  best {progress.best:.2f} dB"
        self._bar.update(self._task, completed=progress.step, figures=figures)
        if not self._is_terminal and progress.seconds - self._printed_s > LINE_INTERVAL_S:
            self._printed_s = progress.seconds
            left_s = (self._steps - progress.step) * seconds / steps
            if self._seconds is not None:
                left_s = max(0.0, self._seconds - progress.seconds)
            click.echo(f"step {progress.step}  {figures}  {left_s / 60:.0f} min left", err=True)


class TensorBoard:
    """Writes every column of a report as a scalar. A context manager.

    Args:
        run: The run folder; the events go to `tensorboard/` in it.

    Raises:
        click.ClickException: TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise click.ClickException(
                "--tensorboard: not installed; pip install 'lfdn-video[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(run / "tensorboard"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, report: MetricsRow) -> None:
        """Write a report, and print it too."""
        print_report(report)
        for name, value in dataclasses.asdict(report).items():
            self._writer.add_scalar(name, value, report.step)


def print_report(report: MetricsRow) -> None:
    """Print the results of a validation in one line."""
    click.echo(
        f"step {report.step}  {report.seconds:.0f} s  loss {report.loss:.5f}  "
        f"{report.crops / max(report.seconds, 1e-9):.0f} crops/s  "
        f"validation PSNR-Y {report.validation_input_psnr_y:.2f} -> "
        f"{report.validation_psnr_y:.2f} dB, RGB {report.validation_input_psnr_rgb:.2f} -> "
        f"{report.validation_psnr_rgb:.2f} dB"
    )
