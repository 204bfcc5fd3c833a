"""What `lfdn evaluate` measures and shows: the scores of images, or of sequences of frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lfdn.commands.options import check_folder, list_inputs, read_samples, read_sequences
from lfdn.files import check_target, try_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.table import Table
    from torch import nn

    from lfdn.files import Inputs
    from lfdn.training.evaluate_video import SequenceRow

IMAGE_COLUMNS = {
    "psnr_y": "PSNR dB, Y",
    "ssim_y": "SSIM, Y",
    "psnr_rgb": "PSNR dB, RGB",
    "ssim_rgb": "SSIM, RGB",
}
"""Scores and their headings."""
VIDEO_COLUMNS = {**IMAGE_COLUMNS, "flicker": "flicker", "warping_error": "warping error"}
SIDES = ("input", "output")
NONE = "–"

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure, and where to write it: options of the command."""

    sets: tuple[str, ...]
    exclude: tuple[str, ...]
    limit: int | None
    device: str
    feed_clean: bool
    weights: Path
    csv_path: Path | None
    save: Path | None
    overwrite: bool

    def check_targets(self, inputs: Inputs, names: Iterable[str]) -> None:
        """Check the targets before the work, which may take hours.

        Args:
            inputs: The images that are read.
            names: Of the restored images, without a suffix, in the folder `save`.

        Raises:
            lfdn.files.TargetError: One of them cannot be written.
        """
        inputs.add(self.weights, "the weights file")
        if self.save is not None:
            check_folder(self.save, inputs, overwrite=self.overwrite)
            for name in names:
                inputs.refuse(self.save / f"{name}.png")
                inputs.add(self.save / f"{name}.png", "a restored image")
        if self.csv_path is not None:
            check_target(self.csv_path, inputs, overwrite=self.overwrite)
            try_target(self.csv_path)


@dataclass(frozen=True, slots=True)
class Report:
    """The means, what they are means of, and a table of both; its title names the data."""

    mean: dict[str, Any]
    about: dict[str, Any]
    table: Table


def measure_images(network: nn.Module, job: Job) -> Report:
    """Score the network on pairs of images.

    Raises:
        click.UsageError: A data set is not LAYOUT=PATH, or its layout is unknown.
        lfdn.datasets.images.DataError: A data set is not as expected, or cannot be measured.
        OSError: A target cannot be written.
    """
    from rich.table import Table

    from lfdn.datasets.samples import limit_samples
    from lfdn.training import evaluate

    found = read_samples(job.sets, job.exclude)
    samples = limit_samples(found, job.limit)
    job.check_targets(list_inputs(found), (sample.name for sample in samples))
    measured = evaluate.evaluate(
        network, samples, device=job.device, feed_clean=job.feed_clean, save=job.save
    )
    rows = _show_progress(measured, len(samples))
    if job.csv_path:
        evaluate.write_csv(rows, job.csv_path, overwrite=job.overwrite)
    mean = evaluate.average_rows(rows)
    of_all = f" out of {len(found)}" if len(samples) < len(found) else ""
    title = f"{' '.join(job.sets)}, {mean.name}{of_all} images, {mean.seconds:.3f} s each"
    table = Table("", *IMAGE_COLUMNS.values(), title=title)
    for side in SIDES:
        values = (getattr(mean, f"{side}_{name}") for name in IMAGE_COLUMNS)
        table.add_row(side, *(f"{value:.3f}" for value in values))
    about = {
        "pictures": len(rows),
        "limit": job.limit,
        **_describe_run(job),
        "protocol": evaluate.PROTOCOL,
    }
    return Report(asdict(mean), about, table)


def measure_video(network: nn.Module | None, job: Job, *, restored: Path | None) -> Report:
    """Score the network, or frames in the folder `restored`, on sequences of consecutive frames.

    Raises:
        click.UsageError: A data set is not LAYOUT=PATH, or its layout is not one of sequences.
        lfdn.datasets.images.DataError: A data set or `restored` is not as expected, or cannot be
            measured.
        OSError: A target cannot be written.
    """
    from lfdn.datasets.sequences import add_restored_frames, limit_sequences
    from lfdn.training import evaluate_video

    sequences = read_sequences(job.sets, job.exclude)
    if restored is not None:
        sequences = add_restored_frames(sequences, restored)
    inputs = list_inputs(
        (), *(path for s in sequences for frame in s.frames for path in frame.files)
    )
    sequences = limit_sequences(sequences, job.limit)
    found = [(sequence.name, frame) for sequence in sequences for frame in sequence.frames]
    job.check_targets(inputs, (f"{name}/{frame.name}" for name, frame in found))
    measured = evaluate_video.evaluate_video(
        network, sequences, device=job.device, feed_clean=job.feed_clean, save=job.save
    )
    rows = _show_progress(measured, sum(len(sequence.frames) for sequence in sequences))
    if job.csv_path:
        evaluate_video.write_csv(rows, job.csv_path, overwrite=job.overwrite)
    by_sequence = evaluate_video.summarize_sequences(rows)
    mean = evaluate_video.average_sequences(by_sequence)
    about = {
        "sequences": [asdict(row) for row in by_sequence],
        "limit": job.limit,
        **(_describe_run(job) if restored is None else {}),
        "protocol": evaluate_video.PROTOCOL,
    }
    return Report(asdict(mean), about, _tabulate_video(by_sequence, mean, job))


def _describe_run(job: Job) -> dict[str, str]:
    return {"fed": "clean" if job.feed_clean else "degraded", "device": job.device}


def _tabulate_video(by_sequence: list[SequenceRow], mean: SequenceRow, job: Job) -> Table:
    """Show each sequence in three rows, and the mean where there are several."""
    from rich.table import Table

    time = "" if mean.seconds is None else f", {mean.seconds:.3f} s each"
    alone = "" if job.limit is None else f", the first {job.limit} of each sequence"
    title = f"{' '.join(job.sets)}, {mean.frames} frames{alone}{time}"
    table = Table("", "", *VIDEO_COLUMNS.values(), title=title)
    for row in [*by_sequence, mean] if len(by_sequence) > 1 else by_sequence:
        for side in (*SIDES, "truth"):
            values = [getattr(row, f"{side}_{name}", None) for name in VIDEO_COLUMNS]
            if side != "truth" or any(value is not None for value in values):
                cells = (NONE if value is None else f"{value:.3f}" for value in values)
                table.add_row(row.name if side == SIDES[0] else "", side, *cells)
        table.add_section()
    return table


def _show_progress(rows: Iterator[_Row], total: int) -> list[_Row]:
    """Collect the rows, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return list(
        track(rows, "evaluating", total=total, console=console,
              disable=not console.is_terminal, transient=True)
    )  # fmt: skip
