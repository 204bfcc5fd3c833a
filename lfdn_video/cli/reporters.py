"""Progress, warnings and errors of a command: a progress bar, plain lines, or JSON events.

    Reporter        errors only (`--quiet`); the base class
    LineReporter    plain lines, for logs and for terminals that cannot draw
    BarReporter     a progress bar on a terminal
    EventReporter   JSON events (`--json`), as docs/json.md describes them

Text for people goes to stderr, JSON to stdout. A reporter does not know what runs; `options.py`
opens one for each command. The wording is in `formatting.py`.
"""

import json
import logging
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

from lfdn_video.cli.formatting import (
    escape_unprintable,
    format_estimate,
    format_live_summary,
    format_progress,
    format_status,
    format_summary,
    to_jsonable,
)
from lfdn_video.errors import OutputError
from lfdn_video.files import silence_stdout

if TYPE_CHECKING:
    from rich.progress import Task

    from lfdn_video import pipeline, progress
    from lfdn_video.cli.foresight import Estimate
    from lfdn_video.stream.board import Status

LINE_INTERVAL_S = 5.0
JSON_INTERVAL_S = 0.5
LIVE_LINE_INTERVAL_S = 60.0  # keeps a log of days readable; changes of state are reported at once
LIVE_JSON_INTERVAL_S = 1.0
ECHO_COLUMNS = 3
WIDE_COLUMNS = 125  # below, there is no room for the number of frames and the bottleneck
SHORTEST_NAME = 8
NAME_MARGIN = 60  # columns for everything but the name
WIDE_NAME_MARGIN = 110

LOGGER_NAMES = ("lfdn", "lfdn_video", "py.warnings")


class Reporter:
    """Reports errors only (`--quiet`). A context manager: inside, it also receives log records."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._warnings: set[str] = set()
        self._handler = _ReporterHandler(self)

    def __enter__(self) -> Self:
        logging.captureWarnings(True)
        for name in LOGGER_NAMES:
            logger = logging.getLogger(name)
            logger.addHandler(self._handler)
            logger.setLevel(logging.DEBUG if self.verbose else logging.WARNING)
            logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        for name in LOGGER_NAMES:
            logging.getLogger(name).removeHandler(self._handler)
            logging.getLogger(name).propagate = True
        logging.captureWarnings(False)

    def report_start(self, task: str, source: str, target: str) -> None:
        """Report that a run starts; no file is open yet."""

    def report_progress(self, progress: "progress.Progress") -> None:
        """Report progress. Call it for every frame: a reporter limits its own rate."""

    def report_estimate(self, estimate: "Estimate") -> None:
        """Report what is expected of a long run, once, after its first seconds."""

    def report_step(self, step: str, done: int, total: int | None) -> None:
        """Report how far something is that is no run. Call it for every frame, and at the end."""

    def report_summary(self, summary: "pipeline.Summary") -> None:
        """Report a finished run; the target is complete."""

    def report_event(self, name: str, **values: object) -> None:
        """Report a JSON event that has no text of its own kind; for `EventReporter` alone."""

    def report_note(self, message: str) -> None:
        """Report something that the user needs, such as the address of the page."""

    def report_status(self, status: "Status") -> None:
        """Report the status of a live stream. Call it often: a reporter limits its own rate."""

    def report_live_summary(self, status: "Status") -> None:
        """Report the regular end of a live stream."""

    def warn(self, message: str) -> None:
        """Report a loss or a deviation from the request, once for each message."""
        if message not in self._warnings:
            self._warnings.add(message)
            self._show_warning(message)

    def _show_warning(self, message: str) -> None:
        pass

    def report_detail(self, message: str) -> None:
        """Report a detail if `--verbose` was given."""
        if self.verbose:
            self.console.print(Text(escape_unprintable(message, keep="\n"), style="dim"))

    def report_error(self, message: str, exit_code: int) -> None:  # noqa: ARG002 (JSON has it)
        """Report the error that ends the program, in one line."""
        self.console.print(Text.assemble(("error: ", "bold red"), escape_unprintable(message)))


class LineReporter(Reporter):
    """Prints plain lines on stderr, one every few seconds."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._heading = ""
        self._throttle = _Throttle()

    def report_start(self, task: str, source: str, target: str) -> None:  # noqa: ARG002
        # Printed with the first frame, so that an earlier error stays a single line.
        self._heading = f"{source} -> {target}"

    def report_progress(self, progress: "progress.Progress") -> None:
        if self._throttle.is_due(LINE_INTERVAL_S):
            self._print(self._heading or format_progress(progress))
            self._heading = ""

    def report_estimate(self, estimate: "Estimate") -> None:
        self._print(format_estimate(estimate))

    def report_step(self, step: str, done: int, total: int | None) -> None:
        if self._throttle.is_due(LINE_INTERVAL_S):
            self._print(f"{step}: {done}{f'/{total}' if total else ''} frames")

    def report_summary(self, summary: "pipeline.Summary") -> None:
        for message in summary.warnings:
            self.warn(message)
        self._print(format_summary(summary))

    def report_note(self, message: str) -> None:
        self._print(message)

    def report_status(self, status: "Status") -> None:
        if status.state == "live" and not status.frames_out:
            return  # there are no numbers yet
        state = (status.state, status.message)
        if self._throttle.is_due(LIVE_LINE_INTERVAL_S, key=status.camera, state=state):
            self._print(f"{status.camera or status.source}: {format_status(status)}")

    def report_live_summary(self, status: "Status") -> None:
        self._print(format_live_summary(status))

    def _show_warning(self, message: str) -> None:
        self._print(message, ("warning: ", "yellow"))

    def _print(self, line: str, *prefix: tuple[str, str]) -> None:
        self.console.print(Text.assemble(*prefix, escape_unprintable(line)))


class BarReporter(LineReporter):
    """Draws a progress bar on the terminal, replaced by `LineReporter`'s summary at the end."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._bar = _NarrowProgress(
            SpinnerColumn(style="cyan"),
            TextColumn(
                "{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")
            ),
            BarColumn(bar_width=None, complete_style="cyan", table_column=Column(ratio=1)),
            _LineColumn(),
            console=self.console,
            transient=True,
            expand=True,
        )
        self._step_alone = False
        """The bar shows a step that belongs to no run."""

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        super().__exit__(*error)

    def report_start(self, task: str, source: str, target: str) -> None:  # noqa: ARG002
        name = source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        shown = Text(escape_unprintable(name))
        margin = NAME_MARGIN if self.console.width < WIDE_COLUMNS else WIDE_NAME_MARGIN
        shown.truncate(max(SHORTEST_NAME, self.console.width - margin), overflow="ellipsis")
        self._task = self._bar.add_task(shown.markup, total=None, line="loading the network")
        self._bar.start()

    def report_progress(self, progress: "progress.Progress") -> None:
        total = progress.frames_total and max(progress.frames_total, progress.frames_done)
        line = format_progress(progress, short=self.console.width < WIDE_COLUMNS)
        self._bar.update(self._task, completed=progress.frames_done, total=total, line=line)

    def _print(self, line: str, *prefix: tuple[str, str]) -> None:
        # Wrapped between words here; lines of a log stay whole, and so do paths, to be copied.
        is_long = any(len(word) > self.console.width for word in line.split())
        text = Text.assemble(*prefix, escape_unprintable(line))
        self.console.print(text, soft_wrap=is_long)

    def report_step(self, step: str, done: int, total: int | None) -> None:
        is_alone = self._step_alone or not self._bar.task_ids
        if is_alone and total is None:
            super().report_step(step, done, total)
            return
        if not self._bar.task_ids:
            self._step_alone = True
            self._task = self._bar.add_task("", total=total, line=step)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, line=step)
        if is_alone and done == total:  # nothing else follows, and the terminal is needed for it
            self._bar.stop()

    def report_status(self, status: "Status") -> None:
        self._bar.update(self._task, completed=status.frames_out, line=format_status(status))

    def report_summary(self, summary: "pipeline.Summary") -> None:
        self._bar.stop()
        super().report_summary(summary)

    def report_live_summary(self, status: "Status") -> None:
        self._bar.stop()
        super().report_live_summary(status)

    def report_error(self, message: str, exit_code: int) -> None:
        self._bar.stop()
        super().report_error(message, exit_code)


class EventReporter(Reporter):
    """Prints JSON events on stdout, one per line, and errors as text on stderr too."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._throttle = _Throttle()
        self._lost: str | None = None
        """Why stdout takes no more events; None: it does."""

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._lost is not None and error[0] is None:
            raise OutputError(f"{self._lost}; the work is done, without its later events")

    def report_start(self, task: str, source: str, target: str) -> None:
        self._print("start", task=task, input=source, output=target)
        if self._lost is not None:
            raise OutputError(f"{self._lost}; choose another place for the output")

    def report_progress(self, progress: "progress.Progress") -> None:
        is_last = progress.frames_done == progress.frames_total
        if self._throttle.is_due(JSON_INTERVAL_S, force=is_last):
            self._print("progress", **_field_values(progress))

    def report_estimate(self, estimate: "Estimate") -> None:
        self._print("estimate", **_field_values(estimate))

    def report_summary(self, summary: "pipeline.Summary") -> None:
        for message in summary.warnings:
            self.warn(message)
        values = _field_values(summary)
        self._print("done", output=values.pop("target"), **values)

    def report_event(self, name: str, **values: object) -> None:
        self._print(name, **values)

    def report_note(self, message: str) -> None:
        self._print("note", message=message)

    def report_status(self, status: "Status") -> None:
        state = (status.state, status.message)
        if self._throttle.is_due(LIVE_JSON_INTERVAL_S, key=status.camera, state=state):
            self._print("status", **_field_values(status))
            if self._lost is not None:  # a stream has no end at which to say so
                raise OutputError(f"{self._lost}; the stream is stopped")

    def report_live_summary(self, status: "Status") -> None:
        self._print("done", **_field_values(status))

    def _show_warning(self, message: str) -> None:
        self._print("warning", message=message)

    def report_error(self, message: str, exit_code: int) -> None:
        self._print("error", message=message, exit_code=exit_code)
        super().report_error(message, exit_code)

    def _print(self, name: str, **values: object) -> None:
        """Print an event. A full disk or a closed pipe ends no run: its frames are worth more."""
        if self._lost is not None:
            return
        event = {"event": name, **{key: to_jsonable(value) for key, value in values.items()}}
        try:
            # ASCII only, since neither names and tags nor the pipe need be UTF-8.
            sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")
            sys.stdout.flush()
        except OSError as error:
            self._lost = f"stdout: cannot be written: {error.strerror}"
            silence_stdout()


def choose_reporter(*, as_json: bool, quiet: bool, verbose: bool) -> Reporter:
    """Choose a reporter by the options, and by the terminal on stderr.

    Args:
        as_json: print JSON events.
        quiet: print errors only.
        verbose: print details, and tracebacks of errors.

    Returns:
        A reporter; enter it as a context manager.
    """
    if as_json:
        return EventReporter(verbose=verbose)
    if quiet:
        return Reporter(verbose=verbose)
    can_draw = sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal
    return BarReporter(verbose=verbose) if can_draw else LineReporter(verbose=verbose)


class _Throttle:
    """Limits reports to one per interval and key, except when the state changes."""

    def __init__(self) -> None:
        self._last: dict[object, tuple[float, object]] = {}
        """When the next one is due, and the state, by key."""

    def is_due(
        self, interval_s: float, *, key: object = None, state: object = None, force: bool = False
    ) -> bool:
        now_s = time.monotonic()
        next_s, last_state = self._last.get(key, (0.0, None))
        if not force and state == last_state and now_s < next_s:
            return False
        self._last[key] = (now_s + interval_s, state)
        return True


class _NarrowProgress(Progress):
    """Leaves a few columns free at the right, where the terminal echoes "^C", which would wrap."""

    def get_renderable(self) -> RenderableType:
        return _Narrow(super().get_renderable())


class _Narrow:
    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - ECHO_COLUMNS)
        return console.render(self._content, options.update_width(width))


class _LineColumn(ProgressColumn):
    """The text at the right end of the bar: `format_progress` or `format_status`."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: "Task") -> Text:
        return Text(str(task.fields["line"]))


def _field_values(
    value: "progress.Progress | Estimate | pipeline.Summary | Status",
) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


class _ReporterHandler(logging.Handler):
    """Passes log records to a reporter: our warnings as warnings, all else as details."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.DEBUG)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING and record.name != "py.warnings":
            self._reporter.warn(message)
        else:
            self._reporter.report_detail(f"{record.name}: {message}")
