"""`lfdn-video live`: restores a camera or a stream in real time; shows, records and pushes it.

The session (`lfdn_video.stream.session`) runs in a thread of its own. The main thread stays free
for signals: a stop signal ends the session, which then completes its recordings.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from lfdn_video.cli.live_source import (
    DEFAULT_WEB_ADDRESS,
    check_web,
    list_inputs,
    parse_live_source,
)
from lfdn_video.cli.options import (
    ENCODER,
    JSON,
    NETWORK,
    QUIET,
    VERBOSE,
    ReportOptions,
    add_options,
    open_reporter,
    options_from,
    pass_options,
)
from lfdn_video.cli.parameters import FILE, AutoOrNumber, Interval, Seconds, parse_key_values
from lfdn_video.cli.program import StopRequested
from lfdn_video.errors import OptionError
from lfdn_video.files import Inputs
from lfdn_video.options import (
    MIN_SCALE,
    EncodeOptions,
    InferenceOptions,
    LiveOptions,
    Prefer,
    Task,
    Temporal,
)

if TYPE_CHECKING:
    from lfdn_video.cli.reporters import Reporter
    from lfdn_video.stream.board import Board
    from lfdn_video.stream.session import LiveSink, Session

REPORT_INTERVAL_S = 0.25
STDOUT = "-"

_LIVE = LiveOptions()

SOURCE = (
    click.option(
        "--camera",
        type=click.IntRange(0),
        metavar="NUMBER",
        help="Camera number, instead of SOURCE.",
    ),
    click.option(
        "--list", "lists_cameras", is_flag=True, help="List the cameras of this machine and exit."
    ),
    click.option("--loop", is_flag=True, help="Play a file in a loop."),
    click.option(
        "--stall-timeout",
        "stall_timeout_s",
        type=Interval(),
        metavar="TIME",
        help=f"Reopen SOURCE after TIME without a frame.  [default: {_LIVE.stall_timeout_s:g}s]",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0),
        metavar="N",
        help="Give up after N failed retries in a row.  "
        "[default: never for addresses, nor for a camera that has been live]",
    ),
    click.option(
        "--input-option",
        "input_options",
        multiple=True,
        callback=parse_key_values,
        metavar="NAME=VALUE",
        help="FFmpeg option for opening SOURCE, such as video_size=1280x720; may be repeated.",
    ),
    click.option("--duration", "duration_s", type=Seconds(), help="Stop after this time."),
)
LATENCY = (
    click.option(
        "--max-latency",
        "max_latency_s",
        type=Seconds(),
        metavar="SECONDS",
        help="Longest time from capture to display, kept by scaling down the network's input.  "
        f"[default: {_LIVE.max_latency_s:g}]",
    ),
    click.option(
        "--scale",
        type=AutoOrNumber(),
        metavar=f"auto|{MIN_SCALE}..1",
        help="Scale of the network's input; the output has full size.  [default: auto]",
    ),
    click.option(
        "--prefer",
        type=click.Choice(get_args(Prefer)),
        default=_LIVE.prefer,
        show_default=True,
        help="On a slow device, keep the bound on latency, or remove rain and be later.",
    ),
    click.option(
        "--temporal",
        type=click.Choice(get_args(Temporal)),
        default=_LIVE.temporal,
        show_default=True,
        help="Remove rain that only neighbouring frames reveal; auto: while latency allows it.",
    ),
    click.option(
        "--delay",
        type=click.Choice([0, 1]),
        default=_LIVE.delay,
        show_default=True,
        help="Later frames that each frame waits for, to find more of its rain.",
    ),
)
WATCH = (
    click.option(
        "--web",
        is_flag=False,
        flag_value=DEFAULT_WEB_ADDRESS,
        metavar="[HOST:PORT]",
        help=f"Serve a web page with the live view.  [default: {DEFAULT_WEB_ADDRESS}]",
    ),
    click.option(
        "--token",
        envvar="LFDN_VIDEO_TOKEN",
        show_envvar=True,
        help="Access token of the page; generated if HOST is not this computer.",
    ),
    click.option("--no-window", is_flag=True, help="Do not open a window."),
)
SINKS = (
    click.option(
        "--record",
        type=FILE,
        metavar="FILE",
        help="Record to FILE (.mkv, .mp4, ...); may contain a date: cam_%Y%m%d_%H%M%S.mkv.",
    ),
    click.option(
        "--rotate",
        "rotate_s",
        type=Interval(),
        metavar="TIME",
        help="Start a new file at every multiple of TIME: 15m, 1h, 1d, ...",
    ),
    click.option("--overwrite", is_flag=True, help="Replace FILE if it exists."),
    click.option(
        "--out",
        metavar="TARGET",
        help="Push to rtsp://, rtmp://, srt:// or udp:// (MPEG-TS), or write to stdout (-).",
    ),
    click.option(
        "--format",
        "out_format",
        type=click.Choice(["y4m", "raw"]),
        help="Format on stdout: YUV4MPEG2 or raw RGB frames.  [default: y4m]",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Options of the live view."""

    web: str | None = None
    """Address of the web page, `HOST:PORT`; None: no page."""
    token: str | None = None
    """Access token of the page; None: generated where one is needed."""
    no_window: bool = False
    """Do not open a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """Targets of the restored frames. Raises OptionError for an impossible combination."""

    record: str | None = None
    """Name of a recording, or a pattern of names with a date."""
    rotate_s: float | None = None
    """Interval in seconds after which a new file starts; None: one file."""
    out: str | None = None
    """Address to push to, or `-` for stdout."""
    out_format: Literal["y4m", "raw"] | None = None
    """Format on stdout; None: y4m."""

    def __post_init__(self) -> None:
        if self.rotate_s is not None and self.record is None:
            raise OptionError("rotate: applies to recordings only; add --record")
        if self.out_format is not None and self.out != STDOUT:
            raise OptionError("format: applies to --out - only; an address implies the format")

    def describe(self) -> str:
        """Name the targets without credentials, as docs/json.md documents it for `start`."""
        from lfdn_video.stream.addresses import mask_secrets

        targets = [self.record, self.out and mask_secrets(self.out)]
        return ", ".join(target for target in targets if target) or "nothing is written"


class LiveCommand(click.Command):
    """`live`, where `--list` runs instead of the command and ignores all other options."""

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.pop("lists_cameras"):
            if (source := ctx.params["source"]) is not None:
                raise click.UsageError(f"--list: takes no SOURCE; leave out {source!r}", ctx)
            return _list_cameras(ctx)
        return super().invoke(ctx)


@click.command(cls=LiveCommand, short_help="Restore a camera or a stream in real time.")
@click.argument("source", type=FILE, metavar="[SOURCE]", required=False)
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    default="derain",
    show_default=True,
    help="Restoration task.",
)
@add_options(*SOURCE, *LATENCY, *WATCH, *SINKS, *NETWORK, *ENCODER, JSON, QUIET, VERBOSE)
@pass_options
def live(
    source: str | None,
    *,
    task: Task,
    camera: int | None,
    live_options: LiveOptions,
    inference: InferenceOptions,
    weights: Path | None,
    watch: WatchOptions,
    sinks: SinkOptions,
    encode: EncodeOptions,
    report: ReportOptions,
    reporter: "Reporter",
) -> None:
    """Restore SOURCE in real time, and show, record or push the result.

    SOURCE is the number of a camera (default: 0), an address (rtsp://, rtmp://, http://, srt://,
    udp://), a file, which is played in real time, or lavfi: and an FFmpeg test source, such as
    lavfi:testsrc2=size=640x360:rate=25.

    The network always takes the newest frame; older ones are dropped and counted. A source that
    fails or stalls is reopened. Without --web, --record and --out, the result is shown in a window.
    """
    if report.as_json and sinks.out == STDOUT:
        raise OptionError("out: stdout has the stream; leave out --json")
    check_web(watch.web, source)
    live_source = parse_live_source(source, camera)
    from lfdn_video.stream.board import Board, Status
    from lfdn_video.stream.live import live_engine
    from lfdn_video.stream.session import Session

    board = Board(Status(source=str(live_source), task=task))
    show_window = None
    exit_code = 0
    if not (watch.web or watch.no_window or sinks.record or sinks.out):
        show_window = _load_window()
    with ExitStack() as stack:
        inputs = list_inputs(live_source, weights)
        open_sinks = _open_sinks(stack, sinks, encode, board, inputs, lambda: session.stopped)
        reporter.report_start(task, str(live_source), sinks.describe())
        if watch.web:
            reporter.report_note(f"watch it at {_serve_page(stack, board, watch.web, watch.token)}")
        shows = show_window is not None or bool(watch.web)
        session = Session(live_source, board, live_options, sinks=open_sinks, shows=shows)
        networks = stack.enter_context(live_engine(task, weights=weights, inference=inference))

        def restore() -> None:
            for _ in session.frames(networks.runner, inference, networks.lighter):
                pass

        try:
            with _note_restored_frames(board):
                _run_until_stopped(session, restore, board, reporter, show_window)
        except StopRequested as stop:  # the regular end of a stream that has none
            exit_code = stop.exit_code
    reporter.report_live_summary(board.status)
    if exit_code:
        raise click.exceptions.Exit(exit_code)


def _list_cameras(ctx: click.Context) -> None:
    report = options_from(ReportOptions, ctx.params)
    with open_reporter(ctx, report, events=False):
        from lfdn_video.cli import tables
        from lfdn_video.stream.capture.cameras import list_cameras

        tables.print_cameras(list_cameras(), as_json=report.as_json)


def _load_window() -> Callable[["Board"], None]:
    """Load the window. Raises LfdnVideoError if there is no screen."""
    from lfdn_video.stream.watch import preview, screen

    screen.check_screen()
    return preview.watch


def _serve_page(stack: ExitStack, board: "Board", address: str, token: str | None) -> str:
    """Serve the page until the stack is closed. Returns the URL to show.

    It contains the token if it was generated, since the user does not know it yet.
    """
    from lfdn_video.stream.watch import web

    page = stack.enter_context(web.serve(board, address, token=token))
    return page.url.partition("?")[0] if token else page.url


def _open_sinks(
    stack: ExitStack,
    options: SinkOptions,
    encode: EncodeOptions,
    board: "Board",
    inputs: Inputs,
    stopped: Callable[[], bool],
) -> list["LiveSink"]:
    """Open the recording and the output; the stack closes them."""
    sinks: list[LiveSink] = []
    if options.record is not None:
        from lfdn_video.stream.sinks.recording import Recording

        recording = Recording(
            options.record,
            rotate_s=options.rotate_s,
            encode=encode,
            inputs=inputs,
            on_file=lambda path: board.update(recording=None if path is None else str(path)),
            on_failure=lambda reason: board.update(recording_error=reason),
        )
        sinks.append(stack.enter_context(recording))
    if options.out == STDOUT:
        from lfdn_video.stream.sinks.pipe import Pipe

        pipe = Pipe(sys.stdout.fileno(), options.out_format or "y4m", stopped=stopped)
        sinks.append(stack.enter_context(pipe))
    elif options.out is not None:
        from lfdn_video.stream.sinks.push import Push

        sinks.append(stack.enter_context(Push(options.out, encode=encode)))
    return sinks


def _run_until_stopped(
    session: "Session",
    restore: Callable[[], None],
    board: "Board",
    reporter: "Reporter",
    show_window: Callable[["Board"], None] | None,
) -> None:
    """Restore in a thread until the source ends, the window is closed, or a signal arrives."""
    from lfdn_video.background import Worker

    worker = Worker(restore, name="model")

    def report() -> None:
        while not worker.wait(REPORT_INTERVAL_S):
            reporter.report_status(board.status)

    try:
        if show_window is None:
            report()
        else:
            Worker(report, name="report")  # ends when the other worker does
            show_window(board)
    finally:
        session.stop()
        worker.result()  # waits, so that recordings are complete, and raises the session's error


@contextmanager
def _note_restored_frames(board: "Board") -> Generator[None]:
    """Add the number of restored frames to an error that ends the block."""
    try:
        yield
    except BaseException as error:
        status = board.status
        if status.frames_out:
            error.add_note(f"{status.frames_out} frames were restored")
        raise
