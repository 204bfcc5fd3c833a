"""`lfdn-video bench`: how fast the network is here; and what a run would take, for other commands.

`bench` measures the network alone, in every way in which this machine can run it. `foresee_run`
starts a real run, with decoding and encoding, and ends it after a few seconds.
"""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
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

    from lfdn_video.inference.speed import Candidate
    from lfdn_video.media import Frame, VideoInfo
    from lfdn_video.progress import Progress

SIZE = (1280, 720)
"""Width and height of the frames without a clip, in px."""
FRAMES = 8
"""Frames of a clip that are held in memory."""
FORESEE_S = 4.0
"""Seconds of a run from which the rest is estimated; a run itself takes ten."""


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


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a run would take, by its beginning."""

    seconds: float | None
    """Seconds from the loaded network to the finished target; None: unknown."""
    fps: float
    """Frames per second, decoding and encoding included."""
    device: str
    """Where the network runs."""
    precision: str
    """Its precision."""


def foresee_run(source: str | Path, seconds: float = FORESEE_S) -> Foreseen:
    """Restore the beginning of a source into a temporary file, to see what all of it would take.

    Args:
        source: a video, or images.
        seconds: how long to restore, after the first frame.

    Returns:
        What was measured; of all of it, if the source is shorter.

    Raises:
        LfdnVideoError: the source cannot be restored.
    """
    from lfdn_video.pipeline import restore

    seen: list[Progress] = []

    def stop_soon(progress: "Progress") -> None:
        seen.append(progress)
        if progress.elapsed_s >= seconds and progress.eta_s is not None:
            raise _EnoughError

    suffix = Path(source).suffix
    with TemporaryDirectory(prefix="lfdn-video-") as folder:
        target = Path(folder, f"target{suffix if suffix.lower() == '.mp4' else '.mkv'}")
        is_whole = True
        try:
            restore(source, target, on_progress=stop_soon)
        except _EnoughError:
            is_whole = False
    last = seen[-1]
    left_s = 0.0 if is_whole else last.eta_s
    total_s = None if left_s is None else last.elapsed_s + left_s
    return Foreseen(total_s, last.fps, last.device, last.precision)


class _EnoughError(Exception):
    """Ends a run that has been seen for long enough."""


def _read_frames(clip: str) -> "tuple[VideoInfo, list[Frame]]":
    from lfdn_video.input.open import open_reader

    with open_reader(clip) as reader:
        return reader.info, list(islice(reader.frames(), FRAMES))


def _draw_frames() -> "tuple[VideoInfo, list[Frame]]":
    from lfdn_video.inference.speed import draw_source

    return draw_source(*SIZE, FRAMES)


def _measure_all(
    task: Task, info: "VideoInfo", frames: "list[Frame]", total: int | None, seconds: float
) -> "Iterator[Speed]":
    from lfdn_video.inference.speed import list_candidates

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
    from lfdn_video.inference.speed import measure_fps

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
