"""The command line: `lfdn-video derain`, `deblur`, `degrade`, `verify`, ...

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
from fractions import Fraction
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lfdn_video.errors import InputError, LfdnVideoError, OptionError
from lfdn_video.options import (
    DEFAULT_CODEC,
    IMAGE_RATE,
    EncodeOptions,
    InferenceOptions,
    SpanOptions,
)

if TYPE_CHECKING:
    from lfdn_video.console import Reporter
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

_Command = TypeVar("_Command", bound=Callable[..., Any])


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


class _Seconds(click.ParamType[float]):
    """`12.5`, `1:30`, `1:02:03.250`, as seconds."""

    name = "time"
    _pattern = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = self._pattern.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is neither seconds nor [HH:]MM:SS[.ms]", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds


class _Rate(click.ParamType[Fraction]):
    """`25`, `29.97`, `30000/1001`, as a fraction."""

    name = "fps"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if rate <= 0:
            self.fail(f"{value!r} is no frame rate; write 25, 29.97 or 30000/1001", param, ctx)
        return rate


class _WordOrNumber(click.ParamType[str | int]):
    """One of some words, or a whole number from 1 on."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.name = "|".join((*words, "number"))

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        text = str(value)
        if text in self._words:
            return text
        if not text.isdecimal() or int(text) < 1:
            words = " nor ".join(self._words)
            self.fail(f"{text!r} is neither {words} nor a number from 1 on", param, ctx)
        return int(text)


def _key_values(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if not all(key and equals for key, equals, _ in pairs):
        raise click.BadParameter("write it as NAME=VALUE", ctx, param)
    return {key: value for key, _, value in pairs}


_INFERENCE = InferenceOptions()

_WHERE = [
    click.option(
        "-o",
        "--output",
        metavar="TARGET",
        help="Video, picture, folder or pattern to write.  "
        "[default: beside INPUT, as NAME.derained.EXT, NAME.deblurred.EXT, ...]",
    ),
    click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists."),
    click.option(
        "--resume", is_flag=True, help="Go on where an interrupted run on the same TARGET was."
    ),
]
_SPAN = [
    click.option(
        "--start", "start_s", type=_Seconds(), help="Begin here: seconds or [HH:]MM:SS[.ms]."
    ),
    click.option("--end", "end_s", type=_Seconds(), help="End before this time."),
]
_READING = [
    click.option("--deinterlace", is_flag=True, help="Make interlaced frames whole before."),
]
_NETWORK = [
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Weights of your own, from `lfdn train`.  [default: those in the package]",
    ),
    click.option(
        "--device",
        default=_INFERENCE.device,
        show_default=True,
        metavar="NAME",
        help="auto, cpu, cuda, cuda:1 or mps.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default=_INFERENCE.precision,
        show_default=True,
        help="Arithmetic of the network.",
    ),
    click.option(
        "--tile",
        type=_WordOrNumber("auto", "off"),
        default=_INFERENCE.tile,
        show_default=True,
        metavar="auto|off|PX",
        help="Side of the tiles that frames are cut into; smaller ones need less memory.",
    ),
    click.option(
        "--batch",
        type=_WordOrNumber("auto"),
        default=_INFERENCE.batch,
        show_default=True,
        metavar="auto|N",
        help="Tiles that go through the network at once.",
    ),
]
_ENCODER = [
    click.option(
        "--codec",
        metavar="NAME",
        help="Video encoder, by FFmpeg's name.  "
        f"[default: {DEFAULT_CODEC}, or what the container needs]",
    ),
    click.option(
        "--crf",
        type=float,
        metavar="NUMBER",
        help="Constant quality on the encoder's own scale; smaller is better.  "
        "[default: visually lossless]",
    ),
    click.option("--preset", metavar="NAME", help="The encoder's trade of speed for size."),
    click.option(
        "--pix-fmt",
        "pixel_format",
        metavar="NAME",
        help="Pixel format to encode.  [default: the source's]",
    ),
    click.option(
        "--codec-option",
        "codec_options",
        multiple=True,
        callback=_key_values,
        metavar="NAME=VALUE",
        help="Any other option of the encoder; may be given more than once.",
    ),
    click.option(
        "--rate",
        "frame_rate",
        type=_Rate(),
        metavar="FPS",
        help=f"Frame rate of a video made from pictures.  [default: {IMAGE_RATE}]",
    ),
]
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="JSON on stdout, as docs/json.md describes it."
)
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
_VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, help="Say more, and show tracebacks of errors."
)


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


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
_restores = _options(*_WHERE, *_SPAN, *_READING, *_NETWORK, *_ENCODER, _JSON, _QUIET, _VERBOSE)


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
@_options(*_WHERE, *_SPAN, *_READING, *_WORSE, *_ENCODER, _JSON, _QUIET, _VERBOSE)
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
        from lfdn_video.degrade import WHOLE_FRAMES, degrading_engine
        from lfdn_video.pipeline import restore

        with degrading_engine(
            kind, seed=seed, density=density, exposure=exposure, shake=shake
        ) as engine:
            return restore(source, target, engine=engine, inference=WHOLE_FRAMES, **options)

    _run(ctx, kind, source, restore, **chosen)


@main.command()
@click.argument("source", metavar="INPUT")
@_options(_JSON, _VERBOSE)
@click.pass_context
def probe(ctx: click.Context, /, source: str, as_json: bool, verbose: bool) -> None:
    """Show what is in INPUT, as this program sees it."""
    with _reporting(ctx, as_json=as_json, verbose=verbose, events=False):
        _check_local(source)
        from lfdn_video import tables
        from lfdn_video.reader import open_reader

        with open_reader(source) as reader:
            (tables.print_json if as_json else tables.print_info)(reader.info)


@main.command(short_help="Check that TARGET has everything of SOURCE.")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@_options(*_SPAN, _JSON, _VERBOSE)
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
    with _reporting(ctx, as_json=as_json, verbose=verbose, events=False):
        _check_local(source)
        _check_local(target)
        span = SpanOptions(**_taken(SpanOptions, chosen))
        from lfdn_video import tables
        from lfdn_video.verify import verify

        same = tables.print_checks(verify(source, target, span), as_json=as_json)
    if not same:
        ctx.exit(1)


@main.command(short_help="Check that this installation can do its work.")
@_options(_JSON, _VERBOSE)
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, verbose: bool) -> None:
    """Check versions, devices, encoders and weights, and restore a clip made on the spot.

    Ends with 1 if something that is needed does not work.
    """
    with _reporting(ctx, as_json=as_json, verbose=verbose, events=False):
        from lfdn_video import tables
        from lfdn_video.doctor import examine

        healthy = tables.print_checks(examine(), as_json=as_json)
    if not healthy:
        ctx.exit(1)


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
        raise InputError(f"{source}: is an address, and only files are read; download it first")


def _restore(ctx: click.Context, task: str, source: str, **chosen: Any) -> None:
    """Run a task with what was chosen on the command line."""

    def restore(source: str, target: str, **options: Any) -> "Summary":
        from lfdn_video.pipeline import restore

        inference = InferenceOptions(**_taken(InferenceOptions, chosen))
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
    **chosen: Any,
) -> None:
    """From `source` to its target by `restore`, saying how it goes."""
    with _reporting(ctx, as_json=as_json, quiet=quiet, verbose=verbose) as reporter:
        _check_local(source)
        target = chosen["output"] or default_target(source, task)
        encode = EncodeOptions(**_taken(EncodeOptions, chosen))
        span = SpanOptions(**_taken(SpanOptions, chosen))
        reporter.start(task, source, target)
        summary = restore(
            source,
            target,
            encode=encode,
            span=span,
            deinterlace=deinterlace,
            on_progress=reporter.progress,
        )
        reporter.done(summary)


def _taken(options: type[Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """What was chosen of the fields of `options`; what is None is left to its default."""
    names = options.__dataclass_fields__
    return {name: chosen[name] for name in names if chosen.get(name) is not None}


@contextmanager
def _reporting(
    ctx: click.Context,
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool = False,
    events: bool = True,
) -> Generator["Reporter"]:
    """The reporter of a command, kept for the handler of its errors."""
    from lfdn_video.console import choose_reporter

    reporter = choose_reporter(as_json=as_json and events, quiet=quiet, verbose=verbose)
    ctx.find_root().obj = reporter
    with reporter:
        yield reporter


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
    from lfdn_video.console import Reporter

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
