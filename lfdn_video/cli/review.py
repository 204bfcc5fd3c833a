"""The commands that show what a run did, and the options of a run that do so when it is done."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from lfdn_video.cli.options import (
    JSON,
    QUIET,
    SPAN,
    VERBOSE,
    ReportOptions,
    add_options,
    pass_options,
)
from lfdn_video.cli.parameters import FILE, Seconds
from lfdn_video.cli.program import check_is_file, command_line
from lfdn_video.errors import OptionError
from lfdn_video.options import Layout, SpanOptions

if TYPE_CHECKING:
    from lfdn_video.cli.reporters import Reporter
    from lfdn_video.pipeline import Summary

REPORT_SUFFIX = ".report.html"

REVIEW = (
    click.option(
        "--compare",
        type=click.Choice(get_args(Layout)),
        help="Also write TARGET's name with .compare.mp4: source and result in one labelled video.",
    ),
    click.option(
        "--report",
        is_flag=True,
        help="Also write TARGET's name with .report.html: before and after, plots, the audit.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """What a run writes besides its target, when it is done."""

    compare: Layout | None = None
    """How a comparison video shows the two; None: there is none."""
    report: bool = False
    """Write a report."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is written after a run; made before it, so that it is refused before the work.

    Args:
        source: the source of the run.
        target: its target, as it was asked for.
        options: what is wanted.
        overwrite: files that exist may be replaced.
        reporter: told how far it is.
    """

    source: str
    target: str
    options: ReviewOptions
    overwrite: bool
    reporter: "Reporter"

    def check(self) -> None:
        """Check that everything can be written.

        Raises:
            OptionError: the extra `[report]` is missing, or the target is no video.
            OutputError: a file cannot be written, or exists.
        """
        if self.options.compare is not None:
            from lfdn_video.image_files import ENCODERS

            suffix = Path(self.target).suffix.lower()
            if suffix in ENCODERS or not suffix:
                raise OptionError(
                    f"compare: {self.target} is no video file, and a comparison needs one; "
                    "leave the option out"
                )
            self._check_file(self._comparison)
        if self.options.report:
            from lfdn_video.files import Inputs
            from lfdn_video.review.report import check_report

            check_report(self._report, Inputs([Path(self.source)]), overwrite=self.overwrite)

    def write(
        self, task: str, summary: "Summary", span: SpanOptions, *, deinterlace: bool, command: str
    ) -> list[str]:
        """Write what is wanted about a finished run.

        Returns:
            A line about each file.

        Raises:
            LfdnVideoError: that fails; a note says that the target is complete, also after Ctrl-C.
        """
        try:
            return list(self._write(task, summary, span, deinterlace, command))
        except BaseException as error:  # Ctrl-C included: otherwise it says "nothing was written"
            error.add_note(f"{summary.target} is complete")
            raise

    def _write(
        self, task: str, summary: "Summary", span: SpanOptions, deinterlace: bool, command: str
    ) -> Iterator[str]:
        how: Any = {"span": span, "deinterlace": deinterlace, "overwrite": self.overwrite}
        if self.options.compare is not None:
            from lfdn_video.review.video import write_comparison

            on_frame = partial(self.reporter.report_step, "comparing")
            write_comparison(
                self.source,
                summary.target,
                self._comparison,
                self.options.compare,
                on_frame=on_frame,
                **how,
            )
            yield f"{self._comparison}: source and result in one video"
        if self.options.report:
            from lfdn_video.review.report import RunFacts, write_report
            from lfdn_video.verify import verify

            checks = tuple(verify(self.source, summary.target, span))
            facts = RunFacts(task=task, command=command, summary=summary, checks=checks)
            on_frame = partial(self.reporter.report_step, "making the report")
            write_report(
                self.source, summary.target, self._report, run=facts, on_frame=on_frame, **how
            )
            yield f"{self._report}: the report; open it in a browser"

    @property
    def _comparison(self) -> Path:
        from lfdn_video.review.video import name_comparison

        return name_comparison(Path(self.target))

    @property
    def _report(self) -> Path:
        return name_report(self.target)

    def _check_file(self, file: Path) -> None:
        from lfdn_video.files import Inputs, check_target, try_target

        check_target(file, Inputs([Path(self.source)]), overwrite=self.overwrite)
        try_target(file)


def name_report(target: str) -> Path:
    """Name the report about a target: `out.report.html` for `out.mp4`.

    Args:
        target: a file, a folder, or a pattern of images, whose report is in its folder.

    Returns:
        The HTML file's name.
    """
    path = Path(target)
    if re.search(r"%\d*d|[*?\[]", path.name):
        return path.with_name("report.html")
    return path.with_name(f"{path.stem}{REPORT_SUFFIX}")


@click.command("compare", short_help="Measure how B differs from A.")
@click.argument("before", type=FILE, metavar="A")
@click.argument("after", type=FILE, metavar="B")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Measure PSNR, SSIM and flicker on every Nth frame.",
)
@add_options(*SPAN, JSON, VERBOSE)
@pass_options
def compare_command(
    before: str, after: str, every: int, *, span: SpanOptions, report: ReportOptions
) -> None:
    """Measure how B differs from A, frame by frame: change, PSNR, SSIM, XPSNR, flicker.

    A is the source or, where there is one, the clean reference; B is judged. Use the --start and
    --end of A that B was made with.
    """
    check_is_file(before)
    check_is_file(after)
    from lfdn_video.cli import tables
    from lfdn_video.review.compare import compare

    reporter: Reporter = click.get_current_context().find_root().obj
    on_frame = partial(reporter.report_step, "measuring")
    found = compare(before, after, span=span, every=every, on_frame=on_frame)
    on_frame(found.frames, found.frames)  # the bar makes room, whatever the file said of its length
    if report.as_json:
        tables.print_json(found)
    else:
        tables.print_comparison(found)


@click.command("report", short_help="Show in a web page what a run did.")
@click.argument("source", type=FILE, metavar="SOURCE")
@click.argument("target", type=FILE, metavar="TARGET")
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="HTML file to write.  [default: beside TARGET, such as NAME.report.html]",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--reference",
    type=FILE,
    metavar="CLEAN",
    help="The same frames without rain, for PSNR, SSIM, rain left.",
)
@click.option(
    "--at",
    "at_s",
    type=Seconds(),
    multiple=True,
    help="Also show the frame at this time; may be repeated.",
)
@add_options(*SPAN, QUIET, VERBOSE)
@pass_options
def report_command(
    source: str,
    target: str,
    output: str | None,
    overwrite: bool,
    reference: str | None,
    at_s: tuple[float, ...],
    *,
    span: SpanOptions,
    reporter: "Reporter",
) -> None:
    """Show in one HTML file what was done to SOURCE to make TARGET.

    A slider between before and after, heat maps of the change, plots over time, and the audit. The
    file needs no network. Use the --start and --end that TARGET was made with.
    """
    for each in filter(None, (source, target, reference)):
        check_is_file(each)
    if output == "":
        raise OptionError("output: the name is empty; give a file, or leave the option out")
    from lfdn_video.files import Inputs
    from lfdn_video.review.report import RunFacts, check_report, write_report
    from lfdn_video.verify import verify

    file = Path(output) if output else name_report(target)
    inputs = [Path(each) for each in (source, target, reference) if each is not None]
    check_report(file, Inputs(inputs), overwrite=overwrite)
    checks = tuple(verify(source, target, span))
    write_report(
        source,
        target,
        file,
        reference=reference,
        span=span,
        at_s=at_s,
        overwrite=overwrite,
        run=RunFacts(command=command_line(click.get_current_context()), checks=checks),
        on_frame=partial(reporter.report_step, "making the report"),
    )
    reporter.report_note(f"{file}: the report; open it in a browser")
