"""Options that commands share, and the decorators that pass them to commands as typed values.

    @add_options(*SPAN, *ENCODER)
    @pass_options
    def command(source: str, *, span: SpanOptions, encode: EncodeOptions) -> None: ...

To add an option to every command that encodes, add a field to `EncodeOptions` and a `click.option`
with the same parameter name to `ENCODER`; the commands stay as they are.
"""

import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, get_args

import click

from lfdn_video.cli.parameters import (
    FILE,
    DeviceName,
    EncoderName,
    Rate,
    Seconds,
    WordOrInteger,
    parse_key_values,
)
from lfdn_video.options import (
    DEFAULT_CODEC,
    IMAGE_RATE,
    InferenceOptions,
    Network,
    Precision,
    Temporal,
    min_tile_px,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from lfdn_video.cli.reporters import Reporter

    _Options = TypeVar("_Options", bound=DataclassInstance)

_Command = TypeVar("_Command", bound=Callable[..., Any])

_INFERENCE = InferenceOptions()

SPAN = (
    click.option(
        "--start", "start_s", type=Seconds(), help="Start time, as seconds or [HH:]MM:SS[.ms]."
    ),
    click.option("--end", "end_s", type=Seconds(), help="End time, exclusive."),
)
DEINTERLACE = click.option("--deinterlace", is_flag=True, help="Deinterlace first.")
NETWORK = (
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Weights file made by `lfdn train`.  [default: the packaged weights]",
    ),
    click.option(
        "--network",
        type=click.Choice(get_args(Network)),
        default=_INFERENCE.network,
        show_default=True,
        help="Network: full, or lite, 2.5 to 3 times as fast and less thorough. auto: that "
        "of --weights, else full, or for live the one that keeps up.",
    ),
    click.option(
        "--device",
        type=DeviceName(),
        default=_INFERENCE.device,
        show_default=True,
        metavar="NAME",
        help="Device for the network: auto, cpu, cuda, cuda:1 or mps.",
    ),
    click.option(
        "--precision",
        type=click.Choice(get_args(Precision)),
        default=_INFERENCE.precision,
        show_default=True,
        help="Precision of the network. The fastest on a CPU need the openvino extra: bfloat16 if "
        "it computes in that, else int8.",
    ),
    click.option(
        "--tile",
        type=WordOrInteger("auto", "off", least=min_tile_px(_INFERENCE.overlap_px)),
        default=_INFERENCE.tile,
        show_default=True,
        metavar="auto|off|PX",
        help="Tile size, or off for whole frames; smaller tiles need less memory.",
    ),
    click.option(
        "--batch",
        type=WordOrInteger("auto"),
        default=_INFERENCE.batch,
        show_default=True,
        metavar="auto|N",
        help="Tiles per batch.",
    ),
)
TEMPORAL = click.option(
    "--temporal",
    type=click.Choice(get_args(Temporal)),
    default="auto",
    show_default=True,
    help="Remove rain that only neighbouring frames reveal; auto: in videos and numbered images.",
)
ONLY_WHEN_NEEDED = click.option(
    "--only-when-needed",
    is_flag=True,
    help="Look for rain first, and copy segments without any, packet by packet.",
)
TRACE = click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a timeline of decoding, network and encoding, for chrome://tracing or "
    "ui.perfetto.dev.",
)
DEGRADATION = (
    click.option("--seed", type=int, default=1, show_default=True, help="Random seed."),
    click.option(
        "--density",
        type=click.FloatRange(0, 20),
        default=1.0,
        show_default=True,
        help="Rain: density of the drops, relative to heavy rain.",
    ),
    click.option(
        "--exposure",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.8,
        show_default=True,
        help="Blur: exposure time, as a share of the time between frames.",
    ),
    click.option(
        "--shake",
        type=click.FloatRange(0, 10),
        default=1.0,
        show_default=True,
        help="Blur: strength of the camera shake; 0 is a tripod.",
    ),
)
ENCODER = (
    click.option(
        "--codec",
        type=EncoderName(),
        metavar="NAME",
        help="Video encoder, by its FFmpeg name.  "
        f"[default: {DEFAULT_CODEC}, or what the container needs]",
    ),
    click.option(
        "--crf",
        type=float,
        metavar="NUMBER",
        help="Constant quality on the encoder's own scale; lower is better.  "
        "[default: visually lossless; for live: 20]",
    ),
    click.option("--preset", metavar="NAME", help="Encoder preset; trades speed for file size."),
    click.option(
        "--pix-fmt",
        "pixel_format",
        metavar="NAME",
        help="Pixel format to encode.  [default: the source's; for live: yuv420p]",
    ),
    click.option(
        "--codec-option",
        "codec_options",
        multiple=True,
        callback=parse_key_values,
        metavar="NAME=VALUE",
        help="Any other encoder option; may be repeated.",
    ),
)
FRAME_RATE = click.option(
    "--rate",
    "frame_rate",
    type=Rate(),
    metavar="FPS",
    help=f"Frame rate of a video made from images.  [default: {IMAGE_RATE}]",
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on stdout; see docs/json.md."
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, help="Print details, and tracebacks of errors."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Options of a command's own output."""

    as_json: bool = False
    """JSON on stdout: events if the command reports progress, else one document."""
    quiet: bool = False
    """Errors only."""
    verbose: bool = False
    """Details, and tracebacks of errors."""


def target_options(default: str) -> tuple[Callable[[_Command], _Command], ...]:
    """Make the options of a command that writes a target; `default` says what it is called."""
    return (
        click.option(
            "-o",
            "--output",
            type=FILE,
            metavar="TARGET",
            help="Video, image, folder or pattern to write.  "
            f"[default: beside INPUT, such as {default}]",
        ),
        click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists."),
        click.option(
            "--resume", is_flag=True, help="Continue an interrupted run with the same TARGET."
        ),
    )


def add_options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return a decorator that adds options to a command; `--help` keeps their order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):  # decorators apply from the bottom up
            command = option(command)
        return command

    return decorate


def pass_options(command: Callable[..., None]) -> Callable[..., None]:
    """Pass a command its options as the types in its signature.

    A parameter whose type is a dataclass receives one made from the options (`options_from`). A
    parameter `reporter` receives the open reporter of the command. Any other parameter receives the
    value of the option or argument of its name. An option without a parameter is a TypeError.

    Args:
        command: the function that runs the command.

    Returns:
        A function for `click.command` that takes the values of all options by name.
    """
    parameters = inspect.signature(command).parameters
    kinds = {
        name: each.annotation for name, each in parameters.items() if _is_group(each.annotation)
    }
    grouped = option_names(ReportOptions).union(*map(option_names, kinds.values()))
    has_reporter = "reporter" in parameters

    @click.pass_context
    @wraps(command)
    def run(ctx: click.Context, /, **values: Any) -> None:
        report = options_from(ReportOptions, values)
        with open_reporter(ctx, report, events=has_reporter) as reporter:
            arguments = {name: values[name] for name in values if name not in grouped}
            arguments |= {name: options_from(kind, values) for name, kind in kinds.items()}
            if has_reporter:
                arguments["reporter"] = reporter
            command(**arguments)

    return run


def options_from(kind: "type[_Options]", values: Mapping[str, Any]) -> "_Options":
    """Make a dataclass from the options that are named like its fields.

    Args:
        kind: a dataclass whose fields all have defaults. Nested dataclasses are made in the
            same way.
        values: the parameters of a command, by name. Where one is None or missing, the field
            keeps its default.

    Returns:
        An instance of `kind`.

    Raises:
        OptionError: the dataclass refuses a value.
    """
    # None counts as "not given": the default of an option belongs to the dataclass alone.
    given: dict[str, Any] = {}
    for each in fields(kind):
        if _is_group(each.type):
            given[each.name] = options_from(each.type, values)
        elif values.get(each.name) is not None:
            given[each.name] = values[each.name]
    return kind(**given)


def option_names(kind: "type[DataclassInstance]") -> set[str]:
    """Return the names of all options that `options_from` reads for a dataclass."""
    names: set[str] = set()
    for each in fields(kind):
        if _is_group(each.type):
            names |= option_names(each.type)
        else:
            names.add(each.name)
    return names


@contextmanager
def open_reporter(
    ctx: click.Context, report: ReportOptions, *, events: bool
) -> Generator["Reporter"]:
    """Open the reporter of a command, and store it in the context for the error handler.

    Args:
        ctx: the context of the command.
        report: options of the output.
        events: True if `--json` means events. Otherwise it means a document, which the command
            prints itself, and the reporter prints text.

    Yields:
        The reporter.
    """
    from lfdn_video.cli.reporters import choose_reporter

    reporter = choose_reporter(
        as_json=report.as_json and events, quiet=report.quiet, verbose=report.verbose
    )
    ctx.find_root().obj = reporter
    with reporter:
        yield reporter


def _is_group(annotation: object) -> "TypeGuard[type[DataclassInstance]]":
    """Tell whether the type of a parameter or a field is a dataclass."""
    return isinstance(annotation, type) and is_dataclass(annotation)
