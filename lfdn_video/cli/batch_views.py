"""What a run over many files shows: a bar, plain lines, or JSON events, as its reporter does."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from lfdn_video.batch.values import BatchListener, BatchProgress, BatchSummary, FileResult
from lfdn_video.cli.formatting import (
    escape_unprintable,
    format_duration,
    format_speed,
    to_jsonable,
)
from lfdn_video.cli.program import add_option
from lfdn_video.cli.reporters import BarReporter, EventReporter, LineReporter, Reporter

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_INTERVAL_S = 30.0
LOG_COLUMNS = 1000  # in a log no line is wrapped
MOST_FAILURES = 20
"""Failures that the table at the end shows; each was told when it happened."""


class View(BatchListener):
    """Shows failures only (`--quiet`); the base class. A context manager.

    Args:
        reporter: the command's reporter, which has the console.
        task: `derain` or `deblur`.
    """

    def __init__(self, reporter: Reporter, task: str) -> None:
        self.reporter = reporter
        self.task = task

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def file_ended(self, result: FileResult) -> None:
        if result.state == "failed":
            message = escape_unprintable(add_option(result.message))
            self._print(Text.assemble(("failed: ", "bold red"), message))

    def noted(self, message: str) -> None:
        self.reporter.warn(message)

    def show_summary(self, summary: BatchSummary) -> None:
        """Show the end of the run."""
        if summary.stopped:
            self._print(Text.assemble(("error: ", "bold red"), escape_unprintable(summary.stopped)))

    def _print(self, line: Text) -> None:
        self.reporter.console.print(line)


class LineView(View):
    """Plain lines: one for each file, and how far the run is, now and then."""

    def __init__(self, reporter: Reporter, task: str) -> None:
        super().__init__(reporter, task)
        self._next_s = time.monotonic() + LINE_INTERVAL_S

    def batch_started(self, folder: Path, total: int, left: int) -> None:
        self._say(f"{self.task}: {left} of {_count(total, 'file')} to restore into {folder}")

    def file_ended(self, result: FileResult) -> None:
        if not result.earlier:  # those are in the table at the end
            super().file_ended(result)
        for warning in result.warnings:
            self.reporter.warn(warning)
        if result.state == "restored":
            fps = (result.frames - result.kept_frames) / max(result.seconds, 1e-9)
            self._say(
                f"{result.target}: {_count(result.frames, 'frame')} in "
                f"{format_duration(result.seconds)} ({format_speed(fps)})"
            )

    def progressed(self, progress: BatchProgress) -> None:
        if progress.current and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + LINE_INTERVAL_S
            self._say(format_batch(progress))

    def show_summary(self, summary: BatchSummary) -> None:
        failures = [result for result in summary.files if result.state == "failed"]
        if failures:
            self._print_table(_make_table(failures))
        super().show_summary(summary)
        self._say(format_batch_summary(summary))

    def _print_table(self, table: Table) -> None:
        console = self.reporter.console
        width = console.width
        try:
            console.width = width if console.is_terminal else LOG_COLUMNS
            console.print(table)
        finally:
            console.width = width

    def _say(self, line: str) -> None:
        self._print(Text(escape_unprintable(line)))


class BarView(LineView):
    """A progress bar over all files, below the lines."""

    def __init__(self, reporter: Reporter, task: str) -> None:
        super().__init__(reporter, task)
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1)),
            BarColumn(bar_width=24, complete_style="cyan"),
            TextColumn("{task.percentage:>3.0f}%"),
            console=reporter.console,
            transient=True,
            expand=True,
        )
        self._whole: TaskID | None = None

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        super().__exit__(*error)

    def batch_started(self, folder: Path, total: int, left: int) -> None:
        super().batch_started(folder, total, left)
        self._whole = self._bar.add_task("loading the network", total=1.0)
        self._bar.start()

    def progressed(self, progress: BatchProgress) -> None:
        if self._whole is not None:
            line = Text(escape_unprintable(format_batch(progress))).markup
            self._bar.update(self._whole, completed=progress.share, description=line)


class EventView(View):
    """JSON events, as docs/json.md describes them."""

    def batch_started(self, folder: Path, total: int, left: int) -> None:
        self._report("batch_start", task=self.task, output=folder, files=total, left=left)

    def file_started(self, source: Path, target: Path) -> None:
        self._report("file_start", input=source, output=target)

    def file_ended(self, result: FileResult) -> None:
        super().file_ended(result)
        self._report(
            "file_done",
            input=result.source,
            output=result.target,
            state=result.state,
            earlier=result.earlier,
            message=result.message,
            frames=result.frames,
            kept_frames=result.kept_frames,
            seconds=result.seconds,
            warnings=result.warnings,
        )

    def progressed(self, progress: BatchProgress) -> None:
        self._report(
            "batch_progress",
            files_done=progress.files_done,
            files_total=progress.files_total,
            files_failed=progress.files_failed,
            share=progress.share,
            elapsed_s=progress.elapsed_s,
            eta_s=progress.eta_s,
            current=progress.current,
        )

    def show_summary(self, summary: BatchSummary) -> None:
        super().show_summary(summary)
        self._report(
            "batch_done",
            output=summary.folder,
            restored=summary.count("restored"),
            finished=summary.count("finished"),
            failed=summary.count("failed"),
            frames=summary.frames,
            seconds=summary.seconds,
            stopped=summary.stopped,
        )

    def _report(self, name: str, **values: object) -> None:
        self.reporter.report_event(name, **{key: to_jsonable(each) for key, each in values.items()})


def choose_view(reporter: Reporter, task: str) -> View:
    """Choose the view that goes with a reporter; enter it as a context manager."""
    kinds = ((EventReporter, EventView), (BarReporter, BarView), (LineReporter, LineView))
    kind = next((view for each, view in kinds if isinstance(reporter, each)), View)
    return kind(reporter, task)


def format_batch(progress: BatchProgress) -> str:
    """Format progress like `12/40 files, 3 failed, 41%, 3:20 left; a.mp4: 45/85 frames`."""
    parts = [f"{progress.files_done}/{progress.files_total} files"]
    if progress.files_failed:
        parts.append(f"{progress.files_failed} failed")
    parts.append(f"{100 * progress.share:.0f}%")
    if progress.eta_s is not None and progress.files_done < progress.files_total:
        parts.append(f"about {format_duration(progress.eta_s)} left")
    line = ", ".join(parts)
    for source, state in progress.current.items():
        total = f"/{state.frames_total}" if state.frames_total else ""
        line += f"; {source.name}: {state.frames_done}{total} frames"
    return line


def format_batch_summary(summary: BatchSummary) -> str:
    """Summarize in one line: `dry: 37 restored, 0 finished before, 3 failed in 1:02`."""
    counts = f"{summary.count('restored')} restored, {summary.count('finished')} finished before"
    failed = f"{summary.count('failed')} failed in {format_duration(summary.seconds)}"
    frames = f" ({_count(summary.frames, 'frame')})" if summary.frames else ""
    earlier = summary.failed_earlier
    again = f"; --retry tries {earlier} again that failed before" if earlier else ""
    return f"{summary.folder}: {counts}, {failed}{frames}{again}"


def _make_table(failures: list[FileResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("failed", "why"):
        table.add_column(heading, overflow="fold")
    for result in failures[:MOST_FAILURES]:
        why = result.message.removeprefix(f"{result.source}: ")
        name, reason = (escape_unprintable(text) for text in (str(result.source), add_option(why)))
        table.add_row(Text(name), Text(reason))
    if len(failures) > MOST_FAILURES:
        table.add_row("…", f"{len(failures) - MOST_FAILURES} more")
    return table


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
