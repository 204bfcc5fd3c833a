"""The command `demo`: a run that needs no video of one's own, and its report."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lfdn_video.cli.commands import RestoreOptions, restore_file
from lfdn_video.cli.options import NETWORK, QUIET, VERBOSE, add_options, pass_options
from lfdn_video.cli.review import ReviewOptions, name_report
from lfdn_video.errors import InputError

if TYPE_CHECKING:
    from lfdn_video.cli.reporters import Reporter

CLIP = Path(__file__).with_name("demo.mp4")
TARGET = "demo.derained.mp4"


@click.command("demo", short_help="Remove the rain from a short clip, and show it.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder for the result and its report.  [default: a new one for temporary files]",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo in FOLDER.")
@add_options(*NETWORK, QUIET, VERBOSE)
@pass_options
def demo(
    folder: Path | None,
    *,
    options: RestoreOptions,
    reporter: "Reporter",
) -> None:
    """Remove the rain from a short clip that comes with the program, and make its report.

    Prints the path of the report, which needs the report extra.
    """
    if not CLIP.is_file():
        raise InputError(f"{CLIP}: is missing; reinstall lfdn-video")
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="lfdn-video-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    target = str(folder / TARGET)
    wanted = replace(
        options,
        output=target,
        review=ReviewOptions(report=True),
    )
    restore_file("derain", str(CLIP), wanted, reporter)
    click.echo(name_report(target))
