"""`lfdn-video live`: a camera or a stream, restored as it comes, watched, recorded, passed on.

The session runs in a thread of its own, so that a signal which asks to stop finds this one free: it
stops the session, which completes what is being written. What a session does is `session.py`'s.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfdn_video.cli.options import (
    ENCODER,
    JSON,
    NETWORK,
    QUIET,
    VERBOSE,
    Interval,
    Seconds,
    key_values,
    reporting,
    taken,
    takes,
)
from lfdn_video.errors import InputError, OptionError
from lfdn_video.options import SMALLEST_SCALE, EncodeOptions, InferenceOptions, LiveOptions

if TYPE_CHECKING:
    from lfdn_video.cli.console import Reporter
    from lfdn_video.stream.addresses import Source
    from lfdn_video.stream.board import Board
    from lfdn_video.stream.session import Session, Sink
    from lfdn_video.stream.sinks.pipe import Pipe
    from lfdn_video.stream.sinks.push import Push
    from lfdn_video.stream.sinks.recording import Recording

LIVE = LiveOptions()
WAKE_S = 0.25
WEB_ADDRESS = "127.0.0.1:8080"
PIPE = "-"


class _Scale(click.ParamType[str | float]):
    """`auto`, or a number from the smallest scale to 1."""

    name = "scale"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | float:
        if str(value) == LIVE.scale:
            return str(value)
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither auto nor a number", param, ctx)


_SOURCE = [
    click.option("--camera", type=click.IntRange(0), metavar="NUMBER", help="Instead of SOURCE."),
    click.option(
        "--list", "lists", is_flag=True, help="Show the cameras of this machine, and end."
    ),
    click.option("--loop", is_flag=True, help="Begin a file again at its end."),
    click.option(
        "--stall-timeout",
        "stall_timeout_s",
        type=Interval(),
        metavar="TIME",
        help=f"Open SOURCE again after so long without a frame.  "
        f"[default: {LIVE.stall_timeout_s:g}s]",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0),
        metavar="N",
        help="Give up after so many failed tries in a row.  "
        "[default: never for addresses, nor for a camera that had been live]",
    ),
    click.option(
        "--input-option",
        "input_options",
        multiple=True,
        callback=key_values,
        metavar="NAME=VALUE",
        help="Any option of FFmpeg for opening SOURCE, such as video_size=1280x720.",
    ),
    click.option("--duration", "duration_s", type=Seconds(), help="End after so long."),
]
_POLICY = [
    click.option(
        "--max-latency",
        "max_latency_s",
        type=Seconds(),
        metavar="SECONDS",
        help="From capture until a picture is shown; kept by giving the network smaller ones.  "
        f"[default: {LIVE.max_latency_s:g}]",
    ),
    click.option(
        "--scale",
        type=_Scale(),
        metavar=f"auto|{SMALLEST_SCALE}..1",
        help="Of the pictures in the network; what is shown has its full size.  [default: auto]",
    ),
]
_WATCHING = [
    click.option(
        "--web",
        is_flag=False,
        flag_value=WEB_ADDRESS,
        metavar="[HOST:PORT]",
        help=f"Serve a page to watch it on.  [default: {WEB_ADDRESS}]",
    ),
    click.option(
        "--token",
        envvar="LFDN_VIDEO_TOKEN",
        show_envvar=True,
        help="What the page asks for; made if HOST is not this computer.",
    ),
    click.option(
        "--no-window", is_flag=True, help="Show no window, even if nothing else is asked."
    ),
]
_WRITING = [
    click.option(
        "--record",
        metavar="FILE",
        help="Record to FILE (.mkv, .mp4, ...); may hold a date: cam_%Y%m%d_%H%M%S.mkv.",
    ),
    click.option(
        "--rotate",
        "rotate_s",
        type=Interval(),
        metavar="TIME",
        help="Begin a new file at every multiple of 15m, 1h, 1d, ...",
    ),
    click.option("--overwrite", is_flag=True, help="Replace FILE if it exists."),
    click.option(
        "--out",
        metavar="TARGET",
        help="Pass the stream on: rtsp://, rtmp://, srt://, udp:// (MPEG-TS), or - for stdout.",
    ),
    click.option(
        "--format",
        "out_format",
        type=click.Choice(["y4m", "raw"]),
        help="Of stdout: YUV4MPEG2, or bare RGB pictures.  [default: y4m]",
    ),
]


@click.command(short_help="Restore a camera or a stream as it comes.")
@click.argument("source", metavar="[SOURCE]", required=False)
@click.option(
    "--task",
    type=click.Choice(["derain", "deblur"]),
    default="derain",
    show_default=True,
    help="What to take out.",
)
@takes(*_SOURCE, *_POLICY, *_WATCHING, *_WRITING, *NETWORK, *ENCODER, JSON, QUIET, VERBOSE)
@click.pass_context
def live(
    ctx: click.Context,
    /,
    source: str | None,
    *,
    camera: int | None,
    lists: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **chosen: Any,
) -> None:
    """Restore SOURCE as it comes, and show, record or pass on the result.

    SOURCE is the number of a camera (0, if none is given), an address (rtsp://, rtmp://, http://,
    srt://, udp://), a file, played in real time, or lavfi: and a test source of FFmpeg, such as
    lavfi:testsrc2=size=640x360:rate=25.

    The newest frame is restored whenever the network is free; others are dropped and counted. A
    source that fails or falls silent is opened again. Without --web, --record and --out, a window
    shows it.
    """
    events = not lists
    with reporting(ctx, as_json=as_json, quiet=quiet, verbose=verbose, events=events) as reporter:
        if lists:
            from lfdn_video.cli import tables
            from lfdn_video.stream.capture.cameras import list_cameras

            tables.print_cameras(list_cameras(), as_json=as_json)
            return
        if as_json and chosen["out"] == PIPE:
            raise OptionError("out: stdout has the stream, and cannot have --json too")
        _live(_source(source, camera), reporter, **chosen)


def _source(text: str | None, camera: int | None) -> "Source":
    from lfdn_video.stream.addresses import parse_source

    if text is not None and camera is not None:
        raise OptionError("camera: SOURCE is given already; give one of them")
    source = parse_source(text if text is not None else str(camera or 0))
    if source.kind == "file" and not Path(source.address).exists():
        raise InputError(f"{source}: no such file; check the name")
    return source


def _live(source: "Source", reporter: "Reporter", task: str, **chosen: Any) -> None:
    """From the words to a session, and through it."""
    from lfdn_video.stream.board import Board, Status

    options = LiveOptions(**taken(LiveOptions, chosen))
    inference = InferenceOptions(**taken(InferenceOptions, chosen))
    board = Board(Status(source=str(source), task=task))
    windowed = not (chosen["web"] or chosen["record"] or chosen["out"] or chosen["no_window"])
    watch = _window() if windowed else None
    with ExitStack() as stack:
        sinks: list[Sink] = []
        for sink in _sinks(board, chosen, lambda: session.stopped):
            stack.enter_context(sink)
            sinks.append(sink)
        reporter.start(task, str(source), _targets(chosen))
        if chosen["web"]:
            from lfdn_video.stream.watch import web

            page = stack.enter_context(web.serve(board, chosen["web"], token=chosen["token"]))
            # A token that was made here has to be told; one that was given is known.
            url = page.url.partition("?")[0] if chosen["token"] else page.url
            reporter.say(f"watch it at {url}")
        from lfdn_video.stream.live import live_engine
        from lfdn_video.stream.session import Session

        shows = watch is not None or bool(chosen["web"])
        session = Session(source, board, options, sinks=sinks, shows=shows)
        weights = chosen["weights"]
        engine = stack.enter_context(live_engine(task, weights=weights, inference=inference))

        def restore() -> None:
            for _ in session.frames(engine, inference):
                pass

        with _noted(board):
            _run(session, board, reporter, watch, restore)
    reporter.ended(board.status)


def _window() -> Callable[["Board"], None]:
    from lfdn_video.stream.watch import preview, screen

    screen.check_screen()
    return preview.watch


def _targets(chosen: dict[str, Any]) -> str:
    """Where it goes, in words; nothing secret."""
    from lfdn_video.stream.addresses import mask_secrets

    targets = [chosen["record"], chosen["out"] and mask_secrets(chosen["out"])]
    return ", ".join(target for target in targets if target) or "nothing is written"


def _sinks(
    board: "Board", chosen: dict[str, Any], stopped: Callable[[], bool]
) -> Generator["Recording | Push | Pipe"]:
    """Where frames go, beside the board; each to be entered before the next is asked for."""
    encode = EncodeOptions(**taken(EncodeOptions, chosen))
    out, record = chosen["out"], chosen["record"]
    if chosen["rotate_s"] is not None and record is None:
        raise OptionError("rotate: is for recordings; give --record too")
    if chosen["out_format"] is not None and out != PIPE:
        raise OptionError("format: is for --out -; a stream has the format of its address")
    if record is not None:
        from lfdn_video.stream.sinks.recording import Recording

        yield Recording(
            record,
            rotate_s=chosen["rotate_s"],
            encode=encode,
            on_file=lambda path: board.update(recording=None if path is None else str(path)),
        )
    if out == PIPE:
        from lfdn_video.stream.sinks.pipe import Pipe

        yield Pipe(sys.stdout.fileno(), chosen["out_format"] or "y4m", stopped=stopped)
    elif out is not None:
        from lfdn_video.stream.sinks.push import Push

        yield Push(out, encode=encode)


def _run(
    session: "Session",
    board: "Board",
    reporter: "Reporter",
    watch: Callable[["Board"], None] | None,
    restore: Callable[[], None],
) -> None:
    """Restore in a thread until that ends by itself, the user has enough, or a signal comes."""
    from lfdn_video.background import Worker

    worker = Worker(restore, name="model")

    def tell() -> None:
        while not worker.wait(WAKE_S):
            reporter.status(board.status)

    try:
        if watch is None:
            tell()
        else:
            Worker(tell, name="tell")  # which ends with the other one
            watch(board)
    finally:
        session.stop()
        worker.result()


@contextmanager
def _noted(board: "Board") -> Generator[None]:
    """What goes through here is told what had been done."""
    try:
        yield
    except BaseException as error:
        status = board.status
        if status.frames_out:
            error.add_note(f"{status.frames_out} frames were restored")
        raise
