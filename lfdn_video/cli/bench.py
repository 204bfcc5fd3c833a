"""`lfdn-video bench`: how fast the network alone is here, in each way to run it.

What a run with decoding and encoding takes is in `foresight.py`.
"""

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, get_args

import click

from lfdn_video.cli.formatting import escape_unprintable, format_duration
from lfdn_video.cli.options import JSON, VERBOSE, ReportOptions, add_options, pass_options
from lfdn_video.cli.parameters import FILE
from lfdn_video.cli.program import check_is_file
from lfdn_video.errors import LfdnVideoError
from lfdn_video.options import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lfdn_video.inference.throughput import Candidate
    from lfdn_video.media import Frame, VideoInfo

SIZE = (1280, 720)
"""Width and height of the frames without a clip, in px."""
FRAMES = 8
"""Frames of a clip that are held in memory."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one way to run the network is."""

    device: str
    """Name of the device."""
    precision: str
    """Precision of the network."""
    network: str
    """`full` or `lite`."""
    fps: float | None
    """Frames per second of the network alone; None: it does not run here."""
    seconds: float | None = None
    """Seconds for all frames of the clip; None without a clip, or if its length is unknown."""
    problem: str = field(default="")
    """Why it does not run; empty if it does."""


@click.command(short_help="Measure how fast the network is here.")
@click.argument("clip", type=FILE, metavar="[CLIP]", required=False)
@click.option(
    "--task", type=click.Choice(get_args(Task)), default="derain", show_default=True,
    help="Restoration task.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600, min_open=True),
    default=3.0,
    show_default=True,
    help="Seconds for each line.",
)
@add_options(JSON, VERBOSE)
@pass_options
def bench(clip: str | None, *, task: Task, seconds: float, report: ReportOptions) -> None:
    """Measure frames per second for each device, precision and network of this machine.

    For frames of CLIP, or of 1280×720 px; the network alone, without decoding and encoding.
    """
    if clip is not None:
        check_is_file(clip)
    from lfdn_video.cli import tables

    info, frames = _read_frames(clip) if clip is not None else _draw_frames()
    total = info.frame_count if clip is not None else None
    rows = []
    if not report.as_json:
        name = f"{escape_unprintable(clip)}, " if clip else ""
        click.echo(f"{name}{info.width}×{info.height}, the network alone; * is the default")
        takes = "  the clip takes" if total else ""
        click.echo(f"  {'device':8}{'precision':11}{'network':9}{'fps':>10}{takes}")
    for row in _measure_all(task, info, frames, total, seconds):
        rows.append(row)
        if not report.as_json:
            click.echo(_format_row(row, is_default=len(rows) == 1))
    if report.as_json:
        size = [info.width, info.height]
        tables.print_json({"clip": clip, "size": size, "task": task, "speeds": rows})


def _read_frames(clip: str) -> "tuple[VideoInfo, list[Frame]]":
    from lfdn_video.input.open import open_reader

    with open_reader(clip) as reader:
        return reader.info, list(islice(reader.frames(), FRAMES))


def _draw_frames() -> "tuple[VideoInfo, list[Frame]]":
    from lfdn_video.inference.throughput import draw_source

    return draw_source(*SIZE, FRAMES)


def _measure_all(
    task: Task, info: "VideoInfo", frames: "list[Frame]", total: int | None, seconds: float
) -> "Iterator[Speed]":
    from lfdn_video.inference.throughput import list_candidates

    for candidate in list_candidates(task):
        yield _measure(task, candidate, info, frames, total, seconds)


def _measure(
    task: Task,
    candidate: "Candidate",
    info: "VideoInfo",
    frames: "list[Frame]",
    total: int | None,
    seconds: float,
) -> Speed:
    from lfdn_video.inference.engine import load_engine
    from lfdn_video.inference.throughput import measure_fps

    names = candidate.device, candidate.precision, candidate.network
    try:
        with load_engine(task, options=candidate.inference) as engine:
            fps = measure_fps(frames, info, engine, seconds=seconds)
    except LfdnVideoError as error:  # a missing extra, or too little memory
        return Speed(*names, fps=None, problem=str(error))
    return Speed(*names, fps=fps, seconds=total / fps if total else None)


def _format_row(row: Speed, *, is_default: bool) -> str:
    mark = "*" if is_default else " "
    line = f"{mark} {row.device:8}{row.precision:11}{row.network:9}"
    if row.fps is None:
        return f"{line}{'–':>10}  {row.problem}"
    takes = f"  {format_duration(row.seconds):>14}" if row.seconds is not None else ""
    return f"{line}{row.fps:10.2f}{takes}"
