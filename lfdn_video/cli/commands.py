"""The command line: `lfdn-video derain`, `deblur`, `degrade`, `verify`, ...; `live_command.py` too.

Turns words into options, calls `pipeline.restore`, and has one handler for everything that goes
wrong. What it looks like is in `console.py` and `tables.py`. torch and FFmpeg are loaded when a
command needs them, so that `--help` is there at once.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
Whenever it is not 0, there is no target; what a long run had finished is kept for `--resume`.
"""

import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from lfdn_video.cli.live import live
from lfdn_video.cli.options import (
    ENCODER,
    JSON,
    NETWORK,
    QUIET,
    RATE,
    READING,
    SPAN,
    VERBOSE,
    WHERE,
    reporting,
    taken,
    takes,
)
from lfdn_video.errors import InputError, LfdnVideoError, OptionError
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions

if TYPE_CHECKING:
    from lfdn_video.pipeline import Summary

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # by name: not every system has them all
REPEAT_S = 1.0  # a terminal and a wrapper may both pass on the same Ctrl-C
TARGET_WORDS = {
    "derain": "derained",
    "deblur": "deblurred",
    "rain": "rainy",
    "blur": "blurred",
}

OPTION_FOR = {
    "allow to overwrite it": "--overwrite",
    "go on by resuming": "--resume",
    "pass a file": "--weights",
    "use smaller tiles or a smaller batch": "--tile or --batch",
}
"""What errors of the library advise, as they end, and the option that does it here."""


class _Stopped(KeyboardInterrupt):
    """A signal that asks the program to stop: Ctrl-C, SIGTERM, a terminal that was closed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.word = "interrupted" if number == signal.SIGINT else "terminated"
        self.exit_code = 128 + number  # as shells have it


class _Program(click.Group):
    """The group of commands, with the one handler for what goes wrong in them."""

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, TextIOWrapper):  # names and tags need not be UTF-8
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with _stopped_by_signals():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own, and it knows what to do with them
        except _Stopped as error:
            left = _notes(error) or ["nothing was written"]
            _fail(ctx, "; ".join([error.word, *left]), error.exit_code, error)
        except LfdnVideoError as error:
            message = "; ".join([_with_option(str(error)), *_notes(error)])
            _fail(ctx, message, error.exit_code, error)
        except Exception as error:  # noqa: BLE001 (the last resort: a line instead of a traceback)
            what = f"{type(error).__name__}: {error}; this is a bug of lfdn-video"
            _fail(ctx, f"{what}, run again with --verbose for the traceback", 1, error)


_WORSE = [
    click.option("--seed", type=int, default=1, show_default=True, help="Of everything random."),
    click.option(
        "--density",
        type=click.FloatRange(0, 20),
        default=1.0,
        show_default=True,
        help="Rain: drops, as a factor on heavy rain.",
    ),
    click.option(
        "--exposure",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.8,
        show_default=True,
        help="Blur: share of a frame's time during which the shutter is open.",
    ),
    click.option(
        "--shake",
        type=click.FloatRange(0, 10),
        default=1.0,
        show_default=True,
        help="Blur: how much the camera shakes; 0 is a tripod.",
    ),
]
_TRACE = click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write when each stage was at work, for chrome://tracing or ui.perfetto.dev.",
)
_restores = takes(*WHERE, *SPAN, *READING, *NETWORK, *ENCODER, *RATE, _TRACE, JSON, QUIET, VERBOSE)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lfdn-video", message="%(prog)s %(version)s")
def main() -> None:
    """Take rain and motion blur out of videos and pictures, offline.

    Sound, subtitles, chapters, tags and timestamps stay as they are.
    """


@main.command()
@click.argument("source", metavar="INPUT")
@_restores
@click.pass_context
def derain(ctx: click.Context, /, source: str, **chosen: Any) -> None:
    """Take the rain out of INPUT.

    INPUT is a video, a picture, a folder of pictures, or a pattern such as frame_%05d.png.
    """
    _restore(ctx, "derain", source, **chosen)


@main.command()
@click.argument("source", metavar="INPUT")
@_restores
@click.pass_context
def deblur(ctx: click.Context, /, source: str, **chosen: Any) -> None:
    """Take the motion blur out of INPUT.

    INPUT is a video, a picture, a folder of pictures, or a pattern such as frame_%05d.png.
    """
    _restore(ctx, "deblur", source, **chosen)


@main.command()
@click.argument("kind", type=click.Choice(["rain", "blur"]))
@click.argument("source", metavar="INPUT")
@takes(*WHERE, *SPAN, *READING, *_WORSE, *ENCODER, *RATE, JSON, QUIET, VERBOSE)
@click.pass_context
def degrade(
    ctx: click.Context,
    /,
    kind: Any,
    source: str,
    *,
    seed: int,
    density: float,
    exposure: float,
    shake: float,
    **chosen: Any,
) -> None:
    """Put rain or motion blur into INPUT, to try a restoration on.

    Rain falls through the frames. Blur follows what really moves, and a hand-held camera. INPUT is
    a video, or a folder of pictures that follow each other.
    """

    def restore(source: str, target: str, **options: Any) -> "Summary":
        from lfdn_video.inference.degradation import WHOLE_FRAMES, degrading_engine
        from lfdn_video.pipeline import restore

        with degrading_engine(
            kind, seed=seed, density=density, exposure=exposure, shake=shake
        ) as engine:
            return restore(source, target, engine=engine, inference=WHOLE_FRAMES, **options)

    _run(ctx, kind, source, restore, **chosen)


@main.command()
@click.argument("source", metavar="INPUT")
@takes(JSON, VERBOSE)
@click.pass_context
def probe(ctx: click.Context, /, source: str, as_json: bool, verbose: bool) -> None:
    """Show what is in INPUT, as this program sees it."""
    with reporting(ctx, as_json=as_json, verbose=verbose, events=False):
        _check_local(source)
        from lfdn_video.cli import tables
        from lfdn_video.input.open import open_reader

        with open_reader(source) as reader:
            (tables.print_json if as_json else tables.print_info)(reader.info)


@main.command(short_help="Check that TARGET has everything of SOURCE.")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@takes(*SPAN, JSON, VERBOSE)
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    source: str,
    target: str,
    as_json: bool,
    verbose: bool,
    **chosen: Any,
) -> None:
    """Compare a restored TARGET with its SOURCE: frames, times, streams, chapters, tags, colour.

    Both are decoded to the end. Ends with 1 if something is missing or changed.
    """
    with reporting(ctx, as_json=as_json, verbose=verbose, events=False):
        _check_local(source)
        _check_local(target)
        span = SpanOptions(**taken(SpanOptions, chosen))
        from lfdn_video.cli import tables
        from lfdn_video.verify import verify

        same = tables.print_checks(verify(source, target, span), as_json=as_json)
    if not same:
        ctx.exit(1)


@main.command(short_help="Check that this installation can do its work.")
@takes(JSON, VERBOSE)
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, verbose: bool) -> None:
    """Check versions, devices, encoders and weights, and restore a clip made on the spot.

    Ends with 1 if something that is needed does not work.
    """
    with reporting(ctx, as_json=as_json, verbose=verbose, events=False):
        from lfdn_video.cli import tables
        from lfdn_video.cli.doctor import examine

        healthy = tables.print_checks(examine(), as_json=as_json)
    if not healthy:
        ctx.exit(1)


main.add_command(live)


def default_target(source: str, task: str) -> str:
    """`clip.mp4` becomes `clip.derained.mp4` beside it, and a folder `frames` `frames-derained`."""
    path = Path(source)
    if re.search(r"%\d*d|[*?\[]", path.name) and not path.exists():
        raise OptionError(f"{source}: a pattern does not name the result; do that with --output")
    if path.is_dir():
        path = path.resolve()
        return str(path.with_name(f"{path.name}-{TARGET_WORDS[task]}"))
    return str(path.with_name(f"{path.stem}.{TARGET_WORDS[task]}{path.suffix}"))


def _check_local(source: str) -> None:
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        raise InputError(
            f"{source}: is an address, and only files are read here; download it, or use live"
        )


def _restore(ctx: click.Context, task: str, source: str, **chosen: Any) -> None:
    """Run a task with what was chosen on the command line."""

    def restore(source: str, target: str, **options: Any) -> "Summary":
        from lfdn_video.pipeline import restore

        inference = InferenceOptions(**taken(InferenceOptions, chosen))
        weights = chosen["weights"]
        return restore(source, target, task=task, weights=weights, inference=inference, **options)

    _run(ctx, task, source, restore, **chosen)


def _run(
    ctx: click.Context,
    task: str,
    source: str,
    restore: Callable[..., "Summary"],
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    deinterlace: bool,
    trace: Path | None = None,
    **chosen: Any,
) -> None:
    """From `source` to its target by `restore`, saying how it goes."""
    with reporting(ctx, as_json=as_json, quiet=quiet, verbose=verbose) as reporter:
        _check_local(source)
        target = chosen["output"] or default_target(source, task)
        encode = EncodeOptions(**taken(EncodeOptions, chosen))
        span = SpanOptions(**taken(SpanOptions, chosen))
        reporter.start(task, source, target)
        summary = restore(
            source,
            target,
            encode=encode,
            span=span,
            deinterlace=deinterlace,
            on_progress=reporter.progress,
            trace=trace,
        )
        reporter.done(summary)


def _with_option(message: str) -> str:
    for advice, option in OPTION_FOR.items():
        if message.endswith(advice):
            return f"{message} with {option}"
    return message


def _notes(error: BaseException) -> list[str]:
    """What a run said of itself when the error went through it."""
    return [_with_option(note) for note in getattr(error, "__notes__", [])]


def _fail(ctx: click.Context, message: str, exit_code: int, error: BaseException) -> None:
    """One line about `error`, and the end."""
    from lfdn_video.cli.console import Reporter

    reporter = ctx.find_root().obj or Reporter()
    if reporter.verbose and not isinstance(error, KeyboardInterrupt):
        reporter.detail("".join(traceback.format_exception(error)).rstrip())
    reporter.error(" ".join(message.split()), exit_code)
    ctx.exit(exit_code)


@contextmanager
def _stopped_by_signals() -> Generator[None]:
    """Within, the first signal that asks to stop raises `_Stopped`, and so do later ones.

    Repeats that come at once are the same request; they would only disturb the cleaning up. What
    is ignored from the start, as under nohup, stays ignored; but for SIGINT, which shells ignore on
    behalf of every command a script puts in the background, and which still means "stop" when sent.
    """
    last_s = float("-inf")

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last_s
        before_s, last_s = last_s, time.monotonic()
        if last_s - before_s >= REPEAT_S:
            raise _Stopped(number)

    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    found = {number: signal.getsignal(number) for number in numbers}
    heeded = {
        number: handler
        for number, handler in found.items()
        if handler != signal.SIG_IGN or number == signal.SIGINT
    }
    for number in heeded:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
