"""The commands of `lfdn-video` that work on files; `live.py` and `serve.py` have the others.

torch and FFmpeg are imported when a command needs them, so that `--help` is quick.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lfdn_video.cli.batch import BATCH, ManyOptions, is_batch, restore_batch
from lfdn_video.cli.bench import bench
from lfdn_video.cli.foresight import Foreseen, Foresight, Setting, foresee_run
from lfdn_video.cli.live import live
from lfdn_video.cli.options import (
    DEGRADATION,
    DEINTERLACE,
    ENCODER,
    FRAME_RATE,
    JSON,
    NETWORK,
    ONLY_WHEN_NEEDED,
    QUIET,
    SPAN,
    TEMPORAL,
    TRACE,
    VERBOSE,
    ReportOptions,
    add_options,
    pass_options,
    target_options,
)
from lfdn_video.cli.parameters import FILE
from lfdn_video.cli.program import Program, check_is_file, command_line
from lfdn_video.cli.review import (
    REVIEW,
    Review,
    ReviewOptions,
    compare_command,
    report_command,
)
from lfdn_video.cli.serve import serve
from lfdn_video.cli.targets import default_target
from lfdn_video.errors import LfdnVideoError, OptionError
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions, Temporal

if TYPE_CHECKING:
    from lfdn_video.cli.reporters import Reporter
    from lfdn_video.options import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of every run from a source to a target."""

    output: str | None = None
    """The target; None: `default_target` names it."""
    deinterlace: bool = False
    """Deinterlace the source first."""
    span: SpanOptions = field(default_factory=SpanOptions)
    """Part of the source to process."""
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    """Encoding of the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions(RunOptions):
    """Options of a restoration."""

    weights: Path | None = None
    """Weights file; None: the packaged weights of the task."""
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    """Device, precision, tiles and batch."""
    temporal: Temporal = "auto"
    """Use of neighbouring frames; for `derain` only."""
    only_when_needed: bool = False
    """Copy what is dry; for `derain` only."""
    trace: Path | None = None
    """File for a timeline; None: none."""
    review: ReviewOptions = field(default_factory=ReviewOptions)
    """What is written besides the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradationOptions:
    """Options of rain and blur; see `inference.degradation.make_degrading_engine`."""

    seed: int = 1
    """Seed of the random draws."""
    density: float = 1.0
    """Rain: number of drops, relative to heavy rain."""
    exposure: float = 0.8
    """Blur: exposure time as a share of the frame interval, above 0, up to 1."""
    shake: float = 1.0
    """Blur: strength of the camera shake; 0 is a tripod."""


_add_restore_options = add_options(
    *SPAN,
    DEINTERLACE,
    ONLY_WHEN_NEEDED,
    *NETWORK,
    *ENCODER,
    FRAME_RATE,
    *BATCH,
    *REVIEW,
    TRACE,
    JSON,
    QUIET,
    VERBOSE,
)


@click.group(
    cls=Program,
    short_help="Remove rain and motion blur from videos.",  # of the man page
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="lfdn-video", message="%(prog)s %(version)s")
def main() -> None:
    """Remove rain and motion blur from videos and images, offline.

    Audio, subtitles, chapters, tags and timestamps of a video are kept.
    """


@main.command(short_help="Remove rain from INPUT.")
@click.argument("sources", type=FILE, metavar="INPUT...", nargs=-1)
@add_options(*target_options("NAME.derained.EXT"))
@add_options(TEMPORAL)
@_add_restore_options
@pass_options
def derain(
    sources: tuple[str, ...], *, options: RestoreOptions, many: ManyOptions, reporter: "Reporter"
) -> None:
    """Remove rain from INPUT.

    INPUT is a video, an image, a folder of images, or a pattern such as frame_%05d.png; or several
    files and folders of them, for which TARGET is a folder.
    """
    _restore("derain", sources, options, many, reporter)


@main.command(short_help="Remove motion blur from INPUT.")
@click.argument("sources", type=FILE, metavar="INPUT...", nargs=-1)
@add_options(*target_options("NAME.deblurred.EXT"))
@_add_restore_options
@pass_options
def deblur(
    sources: tuple[str, ...], *, options: RestoreOptions, many: ManyOptions, reporter: "Reporter"
) -> None:
    """Remove motion blur from INPUT.

    INPUT is a video, an image, a folder of images, or a pattern such as frame_%05d.png; or several
    files and folders of them, for which TARGET is a folder.
    """
    _restore("deblur", sources, options, many, reporter)


@main.command(short_help="Add synthetic rain or motion blur to INPUT.")
@click.argument("kind", type=click.Choice(["rain", "blur"]))
@click.argument("source", type=FILE, metavar="INPUT")
@add_options(*target_options("NAME.rainy.EXT or NAME.blurred.EXT"))
@add_options(*SPAN, DEINTERLACE, *DEGRADATION, *ENCODER, FRAME_RATE, JSON, QUIET, VERBOSE)
@pass_options
def degrade(
    kind: Literal["rain", "blur"],
    source: str,
    *,
    options: RunOptions,
    degradation: DegradationOptions,
    reporter: "Reporter",
) -> None:
    """Add synthetic rain or motion blur to INPUT, to test a restoration.

    Drops fall consistently from frame to frame. Blur follows the motion in the video and a
    simulated hand-held camera. INPUT is a video or a folder of consecutive frames.
    """
    target = _start_run(kind, source, options, reporter)
    from lfdn_video.inference.degradation import WHOLE_FRAMES, make_degrading_engine
    from lfdn_video.pipeline import restore

    with make_degrading_engine(
        kind,
        seed=degradation.seed,
        density=degradation.density,
        exposure=degradation.exposure,
        shake=degradation.shake,
    ) as engine:
        summary = restore(
            source,
            target,
            engine=engine,
            inference=WHOLE_FRAMES,
            temporal="off",
            encode=options.encode,
            span=options.span,
            deinterlace=options.deinterlace,
            on_progress=Foresight(None, reporter.report_progress, reporter.report_estimate),
        )
    reporter.report_summary(summary)


@main.command(short_help="Show what is in INPUT, and its time to derain.")
@click.argument("source", type=FILE, metavar="INPUT")
@click.option(
    "--estimate/--no-estimate",
    "estimates",
    default=None,
    help="Also restore the first seconds, to say what a run takes.  [default: on a terminal]",
)
@add_options(JSON, VERBOSE)
@pass_options
def probe(source: str, *, estimates: bool | None, report: ReportOptions) -> None:
    """Show the streams, format and tags of INPUT, and how long derain would take."""
    check_is_file(source)
    from lfdn_video.cli import tables
    from lfdn_video.input.open import open_reader

    if estimates is None:
        estimates = sys.stdout.isatty() and not report.as_json
    with open_reader(source) as reader:
        info = reader.info
    if not report.as_json:
        tables.print_info(info)
        if estimates:
            tables.print_foreseen(_foresee(source))
    elif estimates:
        tables.print_json(tables.add_foreseen(info, _foresee(source)))
    else:
        tables.print_json(info)


@main.command(short_help="Compare a restored TARGET with its SOURCE.")
@click.argument("source", type=FILE, metavar="SOURCE")
@click.argument("target", type=FILE, metavar="TARGET")
@add_options(*SPAN, JSON, VERBOSE)
@pass_options
def verify(source: str, target: str, *, span: SpanOptions, report: ReportOptions) -> None:
    """Compare a restored TARGET with its SOURCE: frames, timestamps, streams, chapters, tags and
    colour.

    Decodes both to the end. Exits with 1 if anything is missing or changed. Use the --start and
    --end that TARGET was made with.
    """
    check_is_file(source)
    check_is_file(target)
    from lfdn_video.cli import tables
    from lfdn_video.verify import verify

    if not tables.print_checks(verify(source, target, span), as_json=report.as_json):
        raise click.exceptions.Exit(1)


@main.command(short_help="Check this installation.")
@add_options(JSON, VERBOSE)
@pass_options
def doctor(*, report: ReportOptions) -> None:
    """Check versions, devices, encoders and weights, and restore a generated clip.

    Exits with 1 if anything required does not work.
    """
    from lfdn_video.cli import tables
    from lfdn_video.cli.doctor import examine

    if not tables.print_checks(examine(), as_json=report.as_json):
        raise click.exceptions.Exit(1)


@main.command(short_help="List the video encoders that work here.")
@add_options(JSON, VERBOSE)
@pass_options
def encoders(*, report: ReportOptions) -> None:
    """List the video encoders for --codec, and which of them open on this machine.

    FFmpeg names encoders of hardware that is not here; they are listed with the driver's words.
    """
    from lfdn_video.cli import tables
    from lfdn_video.cli.doctor import try_encoders

    tables.print_checks(try_encoders(), as_json=report.as_json)


for command in (bench, live, serve, compare_command, report_command):
    main.add_command(command)


def _foresee(source: str) -> Foreseen | str:
    """Foresee a run; where it fails, return why: what is in the file was shown nevertheless."""
    try:
        return foresee_run(source)
    except LfdnVideoError as error:
        return f"no time: {error}"


def _start_run(task: str, source: str, options: RunOptions, reporter: "Reporter") -> str:
    """Report the start of a run. Returns its target."""
    check_is_file(source)
    if options.output == "":
        raise OptionError("output: the name is empty; give a file, or leave the option out")
    target = options.output or default_target(source, task)
    reporter.report_start(task, source, target)
    return target


def _restore(
    task: "Task",
    sources: tuple[str, ...],
    options: RestoreOptions,
    many: ManyOptions,
    reporter: "Reporter",
) -> None:
    """Restore one source, or many."""
    if not is_batch(sources, many):
        restore_file(task, sources[0], options, reporter)
        return
    from lfdn_video.batch.values import Recipe

    if options.trace is not None:
        raise OptionError("trace: is for a single file; leave it out")
    if options.review != ReviewOptions():
        raise OptionError("compare, report: for a single file alone; leave them out")
    folder = options.output
    if folder is None and len(sources) == 1 and Path(sources[0]).is_dir():
        folder = default_target(sources[0], task)
    recipe = Recipe(
        task=task,
        weights=options.weights,
        inference=options.inference,
        encode=options.encode,
        span=options.span,
        deinterlace=options.deinterlace,
        temporal=options.temporal,
        only_when_needed=options.only_when_needed,
    )
    restore_batch(sources, folder, recipe, many, reporter)


def restore_file(task: "Task", source: str, options: RestoreOptions, reporter: "Reporter") -> None:
    """Run a restoration, and write what is wanted about it.

    Args:
        task: `derain` or `deblur`.
        source: the source, as it was given.
        options: all options of the run.
        reporter: told of everything.
    """
    target = _start_run(task, source, options, reporter)
    review = Review(source, target, options.review, options.encode.overwrite, reporter)
    review.check()
    from lfdn_video.pipeline import restore

    setting = Setting(
        task=task,
        target=target,
        has_own_weights=options.weights is not None,
        inference=options.inference,
        encode=options.encode,
    )
    summary = restore(
        source,
        target,
        task=task,
        weights=options.weights,
        inference=options.inference,
        encode=options.encode,
        span=options.span,
        deinterlace=options.deinterlace,
        temporal=options.temporal,
        only_when_needed=options.only_when_needed,
        on_progress=Foresight(setting, reporter.report_progress, reporter.report_estimate),
        trace=options.trace,
    )
    for line in review.write(
        task,
        summary,
        options.span,
        deinterlace=options.deinterlace,
        command=command_line(click.get_current_context()),
    ):
        reporter.report_note(line)
    reporter.report_summary(summary)
