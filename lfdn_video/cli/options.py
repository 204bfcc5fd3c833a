"""What the commands share: kinds of values, groups of options, the reporter.

The commands themselves are in `cli.py` and `live_command.py`.
"""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from lfdn_video.options import DEFAULT_CODEC, IMAGE_RATE, InferenceOptions

if TYPE_CHECKING:
    from lfdn_video.cli.console import Reporter

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Seconds(click.ParamType[float]):
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


class Interval(click.ParamType[float]):
    """`90`, `90s`, `15m`, `1h`, `1d`, as seconds."""

    name = "interval"
    _seconds: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
    _pattern = re.compile(r"(\d+(?:\.\d*)?)([smhd]?)", re.IGNORECASE)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = self._pattern.fullmatch(str(value))
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is no interval; write 90s, 15m, 1h or 1d", param, ctx)
        return float(match[1]) * self._seconds[match[2].lower()]


class Rate(click.ParamType[Fraction]):
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


class WordOrNumber(click.ParamType[str | int]):
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


def key_values(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if not all(key and equals for key, equals, _ in pairs):
        raise click.BadParameter("write it as NAME=VALUE", ctx, param)
    return {key: value for key, _, value in pairs}


_INFERENCE = InferenceOptions()

WHERE = [
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
SPAN = [
    click.option(
        "--start", "start_s", type=Seconds(), help="Begin here: seconds or [HH:]MM:SS[.ms]."
    ),
    click.option("--end", "end_s", type=Seconds(), help="End before this time."),
]
READING = [
    click.option("--deinterlace", is_flag=True, help="Make interlaced frames whole before."),
]
NETWORK = [
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
        type=click.Choice(["auto", "float32", "bfloat16", "float16", "int8"]),
        default=_INFERENCE.precision,
        show_default=True,
        help="Arithmetic of the network. int8, the fastest on a CPU, needs the extra openvino.",
    ),
    click.option(
        "--tile",
        type=WordOrNumber("auto", "off"),
        default=_INFERENCE.tile,
        show_default=True,
        metavar="auto|off|PX",
        help="Side of the tiles that frames are cut into; smaller ones need less memory.",
    ),
    click.option(
        "--batch",
        type=WordOrNumber("auto"),
        default=_INFERENCE.batch,
        show_default=True,
        metavar="auto|N",
        help="Tiles that go through the network at once.",
    ),
]
ENCODER = [
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
        callback=key_values,
        metavar="NAME=VALUE",
        help="Any other option of the encoder; may be given more than once.",
    ),
]
RATE = [
    click.option(
        "--rate",
        "frame_rate",
        type=Rate(),
        metavar="FPS",
        help=f"Frame rate of a video made from pictures.  [default: {IMAGE_RATE}]",
    ),
]
JSON = click.option(
    "--json", "as_json", is_flag=True, help="JSON on stdout, as docs/json.md describes it."
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, help="Say more, and show tracebacks of errors."
)


def takes(*each: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(each):
            command = option(command)
        return command

    return decorate


def taken(kind: type[Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """What was chosen of the fields of `kind`; what is None is left to its default."""
    names = kind.__dataclass_fields__
    return {name: chosen[name] for name in names if chosen.get(name) is not None}


@contextmanager
def reporting(
    ctx: click.Context,
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool = False,
    events: bool = True,
) -> Generator["Reporter"]:
    """The reporter of a command, kept for the handler of its errors."""
    from lfdn_video.cli.console import choose_reporter

    reporter = choose_reporter(as_json=as_json and events, quiet=quiet, verbose=verbose)
    ctx.find_root().obj = reporter
    with reporter:
        yield reporter
