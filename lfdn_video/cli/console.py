"""What a run says while it works: a progress bar, plain lines, or JSON events.

A `Reporter` is told what happens and says it its own way. People are spoken to on stderr, programs
on stdout (`docs/json.md` is the schema). It knows nothing of what makes things happen: that is
`cli.py`, which chooses the reporter.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Task

    from lfdn_video import pipeline
    from lfdn_video.stream.board import Status

PLAIN_INTERVAL_S = 5.0
JSON_INTERVAL_S = 0.5
LIVE_INTERVAL_S = 60.0  # a log of days must stay readable; what changes is said at once
LIVE_JSON_INTERVAL_S = 1.0
ECHO_COLUMNS = 3

STAGE_WORDS = {"decode": "the decoder", "model": "the model", "encode": "the encoder"}

_LOGGERS = ("lfdn", "lfdn_video", "py.warnings")


class Reporter:
    """Says errors and nothing else (`--quiet`); the others say more. Use as a context manager."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._said: set[str] = set()
        self._handler = _Handler(self)

    def __enter__(self) -> Self:
        logging.captureWarnings(True)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(self._handler)
            logger.setLevel(logging.DEBUG if self.verbose else logging.WARNING)
            logger.propagate = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)
            logging.getLogger(name).propagate = True
        logging.captureWarnings(False)

    def start(self, task: str, source: str, target: str) -> None:
        """A run begins; nothing is open yet."""

    def progress(self, progress: "pipeline.Progress") -> None:
        """Called for every frame; says something as often as suits."""

    def done(self, summary: "pipeline.Summary") -> None:
        """The target is in its place."""

    def say(self, message: str) -> None:
        """Something the user needs to know to go on."""

    def status(self, status: "Status") -> None:
        """How a live stream goes; called often, says something as often as suits."""

    def ended(self, status: "Status") -> None:
        """A live stream is over, in good order."""

    def warn(self, message: str) -> None:
        """Something was not carried over or not as asked; each message is said once."""
        if message not in self._said:
            self._said.add(message)
            self._warn(message)

    def _warn(self, message: str) -> None:
        pass

    def detail(self, message: str) -> None:
        """For `--verbose` alone."""
        if self.verbose:
            self.console.print(Text(printable(message, "\n"), style="dim"))

    def error(self, message: str, exit_code: int) -> None:  # noqa: ARG002 (JSON says it)
        self.console.print(Text.assemble(("error: ", "bold red"), printable(message)))


class Lines(Reporter):
    """Plain lines on stderr, one every few seconds: for logs, and terminals that cannot draw."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._heading = ""
        self._next_s = 0.0
        self._told: tuple[str, str] | None = None

    def start(self, task: str, source: str, target: str) -> None:  # noqa: ARG002
        # Said with the first frame: what fails before is told in one line, the error's.
        self._heading = f"{source} -> {target}"

    def progress(self, progress: "pipeline.Progress") -> None:
        now_s = time.monotonic()
        if not self._heading and now_s < self._next_s:
            return
        self._print(self._heading or progress_line(progress))
        self._heading = ""
        self._next_s = now_s + PLAIN_INTERVAL_S

    def done(self, summary: "pipeline.Summary") -> None:
        for message in summary.warnings:
            self.warn(message)
        self._print(summary_line(summary))

    def say(self, message: str) -> None:
        self._print(message)

    def status(self, status: "Status") -> None:
        if status.state == "live" and not status.frames_out:
            return  # there are no numbers yet
        now_s, told = time.monotonic(), (status.state, status.message)
        if told != self._told or now_s >= self._next_s:
            self._told, self._next_s = told, now_s + LIVE_INTERVAL_S
            self._print(f"{status.source}: {status_line(status)}")

    def ended(self, status: "Status") -> None:
        self._print(ended_line(status))

    def _warn(self, message: str) -> None:
        self.console.print(Text.assemble(("warning: ", "yellow"), printable(message)))

    def _print(self, line: str) -> None:
        self.console.print(Text(printable(line)))


class Bar(Lines):
    """A progress bar on the terminal, gone when the run is over; then what `Lines` says."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._bar = _Progress(
            SpinnerColumn(style="cyan"),
            TextColumn(
                "{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")
            ),
            BarColumn(bar_width=None, complete_style="cyan", table_column=Column(ratio=1)),
            _Numbers(),
            console=self.console,
            transient=True,
            expand=True,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        super().__exit__(kind, error, trace)

    def start(self, task: str, source: str, target: str) -> None:  # noqa: ARG002
        name = source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        self._task = self._bar.add_task(
            Text(printable(name)).markup, total=None, line="loading the network"
        )
        self._bar.start()

    def progress(self, progress: "pipeline.Progress") -> None:
        total = progress.frames_total and max(progress.frames_total, progress.frames_done)
        self._bar.update(
            self._task, completed=progress.frames_done, total=total, line=progress_line(progress)
        )

    def status(self, status: "Status") -> None:
        self._bar.update(self._task, completed=status.frames_out, line=status_line(status))

    def done(self, summary: "pipeline.Summary") -> None:
        self._bar.stop()
        super().done(summary)

    def ended(self, status: "Status") -> None:
        self._bar.stop()
        super().ended(status)

    def error(self, message: str, exit_code: int) -> None:
        self._bar.stop()
        super().error(message, exit_code)


class _Progress(Progress):
    """Leaves room at the right: "^C" is echoed there, and must not break the line."""

    def get_renderable(self) -> RenderableType:
        return _Narrower(super().get_renderable())


class _Narrower:
    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - ECHO_COLUMNS)
        return console.render(self._content, options.update_width(width))


class _Numbers(ProgressColumn):
    """The right end of the bar: frames, pace, time left, and the stage all wait for."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: "Task") -> Text:
        return Text(str(task.fields["line"]))


class Events(Reporter):
    """One JSON object a line on stdout; errors in words on stderr too."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._next_s = 0.0
        self._told: tuple[str, str] | None = None

    def start(self, task: str, source: str, target: str) -> None:
        _emit("start", task=task, input=source, output=target)

    def progress(self, progress: "pipeline.Progress") -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s or progress.frames_done == progress.frames_total:
            self._next_s = now_s + JSON_INTERVAL_S
            _emit("progress", **_fields(progress))

    def done(self, summary: "pipeline.Summary") -> None:
        for message in summary.warnings:
            self.warn(message)
        known = _fields(summary)
        _emit("done", output=known.pop("target"), **known)

    def say(self, message: str) -> None:
        _emit("note", message=message)

    def status(self, status: "Status") -> None:
        now_s, told = time.monotonic(), (status.state, status.message)
        if told != self._told or now_s >= self._next_s:
            self._told, self._next_s = told, now_s + LIVE_JSON_INTERVAL_S
            _emit("status", **_fields(status))

    def ended(self, status: "Status") -> None:
        _emit("done", **_fields(status))

    def _warn(self, message: str) -> None:
        _emit("warning", message=message)

    def error(self, message: str, exit_code: int) -> None:
        _emit("error", message=message, exit_code=exit_code)
        super().error(message, exit_code)


def choose_reporter(*, as_json: bool, quiet: bool, verbose: bool) -> Reporter:
    """The reporter for these wishes and this terminal."""
    if as_json:
        return Events(verbose=verbose)
    if quiet:
        return Reporter(verbose=verbose)
    draws = sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal
    return Bar(verbose=verbose) if draws else Lines(verbose=verbose)


def progress_line(progress: "pipeline.Progress") -> str:
    """`45/85 frames, 12.3 fps, 0:03 left, waiting for the model`, without what is not known."""
    total = progress.frames_total
    of = f"/{max(total, progress.frames_done)}" if total else ""
    parts = [f"{progress.frames_done}{of} frames"]
    if progress.fps > 0:
        parts.append(pace(progress.fps))
    if progress.eta_s is not None:
        parts.append(f"{duration(progress.eta_s)} left")
    parts.append(f"waiting for {STAGE_WORDS[progress.bottleneck]}")
    return ", ".join(parts)


def summary_line(summary: "pipeline.Summary") -> str:
    """The one line after a run: what was made, how fast, and which stage the others waited for."""
    fps = summary.frames / summary.seconds if summary.seconds > 0 else 0.0
    made = (
        f"{summary.target}: {_frames(summary.frames)} in {duration(summary.seconds)} ({pace(fps)})"
    )
    at_work = ", ".join(
        f"{name} {100 * times.busy_s / max(summary.seconds, 1e-9):.0f} %"
        for name, times in summary.stages.items()
    )
    line = f"{made}; everyone waited for {STAGE_WORDS[summary.bottleneck]} (at work: {at_work})"
    if summary.corrupt_packets:
        packets = "packet" if summary.corrupt_packets == 1 else "packets"
        line += f"; {summary.corrupt_packets} damaged {packets} in the source"
    if summary.repeated_frames:
        line += f"; {_frames(summary.repeated_frames)} repeated"
    for reason, count in summary.dropped_frames.items():
        line += f"; {_frames(count)} not there: {reason}"
    return line


def status_line(status: "Status") -> str:
    """`live, 25.0 fps in, 4.2 fps out, 0.31 s behind, 208 frames dropped, network at 0.5`."""
    if status.state != "live":
        message = status.message.removeprefix(f"{status.source}: ")
        return f"{status.state}: {message}" if message else status.state
    parts = ["live", f"{pace(status.fps_in)} in", f"{pace(status.fps_out)} out"]
    parts.append(f"{status.latency_s:.2f} s behind")
    parts.append(f"{_frames(status.frames_dropped)} dropped")
    if status.inference_scale < 1:
        parts.append(f"network at {status.inference_scale:g}")
    if status.reconnects:
        parts.append(_times(status.reconnects, "reconnect"))
    return ", ".join(parts)


def ended_line(status: "Status") -> str:
    """The one line after a live stream: how much of it there was."""
    length = duration(max(0.0, status.changed_at - status.started_at))
    counts = f"{_frames(status.frames_out)} restored, {status.frames_dropped} dropped"
    return f"{status.source}: {counts}, {_times(status.reconnects, 'reconnect')} in {length}"


def _times(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def printable(text: str, kept: str = "") -> str:
    """File names and tags may hold what would command a terminal: shown as Python escapes it."""
    return "".join(
        sign if sign.isprintable() or sign in kept else sign.encode("unicode_escape").decode()
        for sign in text
    )


def pace(fps: float) -> str:
    return f"{fps:.1f} fps" if fps >= 1 else f"{fps:.2f} fps"


def duration(seconds: float) -> str:
    """`0:03`, `12:45`, `1:02:03`; tenths of a second below ten."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain(value: object) -> object:
    """A value of ours as JSON has it: values as objects, fractions and paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _fields(value: "pipeline.Progress | pipeline.Summary | Status") -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _emit(name: str, **more: object) -> None:
    event = {"event": name, **{key: plain(value) for key, value in more.items()}}
    # In ASCII: a name or a tag need not be UTF-8, and a pipe need not either.
    sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")
    sys.stdout.flush()


class _Handler(logging.Handler):
    """Log records to a reporter: warnings of ours are said, those of libraries are details."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.DEBUG)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING and record.name != "py.warnings":
            self._reporter.warn(message)
        else:
            self._reporter.detail(f"{record.name}: {message}")
