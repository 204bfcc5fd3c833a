"""What `lfdn train` shows: a summary, progress, validation results, the end.

On a terminal progress is a bar, elsewhere a line every minute. The results of validations go to
stdout, everything else to stderr.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import click

from lfdn.commands.observer import Observer
from lfdn.commands.summary import count, format_clock, format_duration, print_summary

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from lfdn.training.checkpoint import TrainingState
    from lfdn.training.figures import MetricsRow
    from lfdn.training.summary import RunSummary

LINE_INTERVAL_S = 60.0
FORESEEN_S = 10.0
"""Time of the steps from which the whole run is foreseen, in a line."""
FORESEEN_STEPS = 3
LONG_S = 60.0
"""A run that takes longer is foreseen."""
WIDE_COLUMNS = 90
"""Below, there is no room for loss and best score."""
VERY_WIDE_COLUMNS = 115


class TrainingView(Observer):
    """Shows a run on stderr.

    Args:
        run: The run folder.
        origin: What the network starts from, for the summary.
    """

    def __init__(self, run: Path, origin: str) -> None:
        from rich.console import Console

        self._run = run
        self._origin = origin
        self._console = Console(stderr=True, highlight=False)
        self._progress = _Progress()
        self._bar: _Bar | None = None
        self._printed_s = time.monotonic()
        self._is_foreseen = False
        self._finished = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = _Bar(self._console, self._progress)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def begin(self, summary: RunSummary) -> None:
        """Print the summary."""
        print_summary(self._console, summary, run=self._run, origin=self._origin)
        self._progress.begin(summary)
        self._printed_s = time.monotonic()
        self._update()

    def note_step(self, state: TrainingState) -> None:
        """Show the progress; once, foresee the whole run."""
        self._progress.note_step(state, time.monotonic())
        self._finished = state.step
        pace = self._progress.pace
        if (
            not self._is_foreseen
            and pace.measured_s >= FORESEEN_S
            and pace.measured_steps >= FORESEEN_STEPS
        ):
            self._is_foreseen = True
            self._foresee()
        self._update()

    def note_validation(self, done: int, total: int) -> None:
        """Show how far a validation is."""
        self._progress.validating = (done, total)
        self._update()

    def note_metrics(self, row: MetricsRow) -> None:
        """Print the results of a validation."""
        self._progress.note_metrics(row, time.monotonic())
        if self._bar is not None and sys.stdout.isatty():
            self._console.print(format_metrics(row))  # above the bar
        else:
            click.echo(format_metrics(row))
        self._update()

    def finish(self) -> None:
        """Tell the end of a complete run."""
        if self._bar is not None:
            self._bar.stop()
        self._console.print(self._progress.describe_end(self._run), soft_wrap=True, markup=False)

    def _foresee(self) -> None:
        left_s = self._progress.foresee(time.monotonic())
        if left_s is None or left_s < LONG_S:
            return
        self._console.print(
            f"{self._progress.describe_speed()}: {format_duration(left_s)} left, done at "
            f"{format_clock(time.time() + left_s)}; Ctrl-C stops the run, lfdn train --resume "
            f"{self._run} goes on",
            markup=False,
        )

    def _update(self) -> None:
        now_s = time.monotonic()
        if self._bar is not None:
            self._bar.update()
        elif now_s - self._printed_s >= LINE_INTERVAL_S:
            self._printed_s = now_s
            click.echo(self._progress.describe(VERY_WIDE_COLUMNS, now_s), err=True)


class _Progress:
    """How far the run is, as text."""

    def __init__(self) -> None:
        self.summary: RunSummary | None = None
        self.pace: Any = None
        self.validating: tuple[int, int] | None = None
        self._step = 0
        self._seconds = 0.0
        self._noted_s = 0.0
        self._loss: float | None = None
        self._best = 0.0

    def begin(self, summary: RunSummary) -> None:
        from lfdn.training.pace import Pace

        self.summary = summary
        self.pace = Pace(summary.options, validation_px=summary.validation_px)
        self._step, self._seconds, self._best = summary.step, summary.seconds, summary.best
        self._noted_s = time.monotonic()

    def note_step(self, state: TrainingState, now_s: float) -> None:
        self.pace.note_step(state.step, now_s)
        self._step, self._seconds, self._best = state.step, state.seconds, state.best
        self._noted_s = now_s
        if state.losses:
            self._loss = state.losses[-1]

    def note_metrics(self, row: MetricsRow, now_s: float) -> None:
        self.validating = None
        self.pace.note_validation(now_s)
        self._noted_s = now_s
        assert self.summary is not None
        on_rgb = self.summary.options.task == "deblur"
        value = row.validation_psnr_rgb if on_rgb else row.validation_psnr_y
        self._best = max(self._best, value)

    @property
    def share(self) -> float | None:
        """The share that is done, 0…1; None before the start."""
        if self.summary is None:
            return None
        from lfdn.training.recipe import compute_position

        options = self.summary.options
        return min(1.0, compute_position(options, self._step, self._seconds) / options.steps)

    def foresee(self, now_s: float) -> float | None:
        """Seconds left at `now_s`; None if unknown."""
        if self.summary is None:
            return None
        done, total = self.validating or (1, 1)
        left_s: float | None = self.pace.foresee(
            self._seconds, validated=done / total if total else 1.0
        )
        if left_s is None:
            return None
        # A validation's own progress is in the figure already; between two steps time goes on.
        return max(0.0, left_s - (0.0 if self.validating else now_s - self._noted_s))

    def describe(self, columns: int, now_s: float) -> str:
        """Say how far the run is: `60%, loss 0.0231, 1.25 steps/s, 0:34 left, done 16:42`."""
        if self.summary is None:
            return "reading the images"
        options, parts = self.summary.options, []
        if columns >= VERY_WIDE_COLUMNS:
            total = f"/{options.steps:,}" if options.seconds is None else ""
            parts.append(f"step {self._step:,}{total}")
        parts.append(f"{100 * (self.share or 0.0):.0f}%")
        if self._loss is not None and columns >= WIDE_COLUMNS:
            parts.append(f"loss {self._loss:.4f}")
        if self.validating is not None:
            parts.append("validating {}/{}".format(*self.validating))
        elif self.pace.steps_per_s:
            parts.append(self.describe_speed())
        if self._best > 0 and columns >= WIDE_COLUMNS:
            parts.append(f"best {self._best:.2f} dB")
        left_s = self.foresee(now_s)
        if left_s is not None:
            parts.append(f"{format_duration(left_s)} left")
            parts.append(f"done {format_clock(time.time() + left_s)}")
        elif self.validating is None:
            parts.append("first steps")
        return ", ".join(parts)

    def describe_speed(self) -> str:
        speed = self.pace.steps_per_s
        return f"{speed:.1f} steps/s" if speed >= 10 else f"{speed:.2f} steps/s"

    def describe_end(self, run: Path) -> str:
        assert self.summary is not None
        if self._step == self.summary.step:
            longer = "--steps" if self.summary.options.seconds is None else "--seconds"
            return f"{run}: complete, {count(self._step, 'step')}; a larger {longer} trains on"
        best = f"; best validation {self._best:.2f} dB" if self._best > 0 else ""
        return f"{run}: {count(self._step, 'step')} in {format_duration(self._seconds)}{best}"


class _Bar:
    """Draws the progress, ten times a second, also while nothing is noted."""

    def __init__(self, console: Console, progress: _Progress) -> None:
        from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn
        from rich.table import Column
        from rich.text import Text

        class Line(ProgressColumn):
            max_refresh = None

            def render(self, _: Any) -> Text:
                return Text(progress.describe(console.width, time.monotonic()))

        self._progress = progress
        self._bar = Progress(
            SpinnerColumn(style="cyan"),
            BarColumn(bar_width=None, complete_style="cyan", table_column=Column(ratio=1)),
            Line(table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            expand=True,
            redirect_stdout=False,  # results that go to a file must stay there
        )
        self._task = self._bar.add_task("", total=None)
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []

    def start(self) -> None:
        self._bar.start()
        # A handler writes to the stream it was made for, through the bar.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream.isatty():
                self._handlers.append((handler, handler.setStream(sys.stderr)))

    def stop(self) -> None:
        for handler, stream in self._handlers:
            if stream is not None:
                handler.setStream(stream)
        self._handlers.clear()
        self._bar.stop()

    def update(self) -> None:
        share = self._progress.share
        total = None if share is None else 1.0
        self._bar.update(self._task, total=total, completed=share or 0.0)


def format_metrics(row: MetricsRow) -> str:
    """Format the results of a validation in one line."""
    return (
        f"step {row.step}  {row.seconds:.0f} s  loss {row.loss:.5f}  "
        f"{row.crops / max(row.seconds, 1e-9):.0f} crops/s  "
        f"validation PSNR-Y {row.validation_input_psnr_y:.2f} -> "
        f"{row.validation_psnr_y:.2f} dB, RGB {row.validation_input_psnr_rgb:.2f} -> "
        f"{row.validation_psnr_rgb:.2f} dB"
    )
