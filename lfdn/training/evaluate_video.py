"""Evaluation on sequences of consecutive frames: one row per frame, then one per sequence.

The protocol of single frames is that of `lfdn.training.evaluate`. Besides, flicker and warping
error (`lfdn.video_metrics`) compare each frame with the previous one. Prints nothing.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from torch import Tensor, nn

from lfdn.datasets.images import DataError, ImageSource, to_tensor, write_image
from lfdn.datasets.sequences import FrameSequence, SequenceFrame
from lfdn.files import write_beside
from lfdn.metrics import SSIM_WINDOW_PX, luma
from lfdn.training import evaluate
from lfdn.video_metrics import Motion, estimate_motion, flicker, warping_error

PROTOCOL = {
    **evaluate.PROTOCOL,
    "flicker": "mean |e(t) - e(t - 1)| of the error e of Y, in 8-bit codes",
    "warping_error": "mean |Y(t) - Y(t - 1) moved along the flow| where the flow is valid, in "
    "8-bit codes; input, output and truth on the same flow: DIS between frames of the truth, or "
    "of the input where there is none; valid if forward and backward flow agree",
    "mean": "of a sequence: over frames, or pairs of consecutive frames, and for the warping error "
    "over valid px; of all: unweighted, over sequences; equal images count as 100 dB",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of a frame, or the mean of many; None where something cannot be measured.

    PSNR is in dB, flicker and warping error in 8-bit codes, time in seconds per frame. The
    fields other than those of `input` and `output` are explained below them.
    """

    input_psnr_y: float | None = None
    output_psnr_y: float | None = None
    input_ssim_y: float | None = None
    output_ssim_y: float | None = None
    input_psnr_rgb: float | None = None
    output_psnr_rgb: float | None = None
    input_ssim_rgb: float | None = None
    output_ssim_rgb: float | None = None
    input_flicker: float | None = None
    output_flicker: float | None = None
    input_warping_error: float | None = None
    output_warping_error: float | None = None
    truth_warping_error: float | None = None
    """What noise, changing light and errors of the flow leave even in the truth."""
    valid_share: float | None = None
    """Share of px, 0…1, over which the warping error is taken."""
    seconds: float | None = None
    """Time of the network; None for frames that were restored before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRow(Scores):
    """The scores of one frame; what compares it with the previous one is None in the first."""

    sequence: str
    frame: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRow(Scores):
    """The mean scores of one sequence, or of several."""

    name: str
    frames: int


@dataclass(frozen=True, slots=True)
class _Images:
    """A frame in all its forms, `[1, 3, H, W]` each."""

    degraded: Tensor
    output: Tensor
    truth: Tensor | None


def evaluate_video(
    network: nn.Module | None,
    sequences: Sequence[FrameSequence],
    *,
    device: str = "cpu",
    feed_clean: bool = False,
    save: Path | None = None,
) -> Iterator[FrameRow]:
    """Score every frame of the sequences, by itself and against the previous one.

    Args:
        network: `[1, 3, H, W]` to the same, RGB in 0…1; restores each frame by itself. None to
            score the frames of `SequenceFrame.restored` instead.
        sequences: To be measured.
        device: Such as `cpu`, `cuda` or `cuda:1`.
        feed_clean: Feed the truth instead, to measure what the network does to clean frames.
        save: Folder for the restored frames, PNG, in a folder for each sequence.

    Yields:
        One row for each frame, in order.

    Raises:
        DataError: An image cannot be read, the images of a sequence differ in size or are too
            small for SSIM, or a frame has no truth or no restored form where it needs one.
    """
    if network is not None:
        network = network.to(device).eval()
    for sequence in sequences:
        previous: _Images | None = None
        for frame in sequence.frames:
            source = frame.truth if feed_clean else frame.degraded
            degraded = _read(source, f"{frame.degraded}: has no clean counterpart to feed")
            truth = None if frame.truth is None else to_tensor(frame.truth.read())
            seconds = None
            if network is None:
                output = _read(frame.restored, f"{frame.degraded}: has no restored frame")
            else:
                output, seconds = evaluate.restore(network, degraded, device=device)
            images = _Images(degraded, output, truth)
            _check_sizes(frame, images, previous)
            if save is not None:
                write_image(output, save / sequence.name / f"{frame.name}.png")
            scores = _score_frame(images) | ({} if previous is None else _compare(previous, images))
            yield FrameRow(sequence=sequence.name, frame=frame.name, seconds=seconds, **scores)
            previous = images


def summarize_sequences(rows: Sequence[FrameRow]) -> list[SequenceRow]:
    """Compute the mean of each sequence.

    Args:
        rows: All rows of `evaluate_video`, in order.
    """
    by_sequence: dict[str, list[FrameRow]] = {}
    for row in rows:
        by_sequence.setdefault(row.sequence, []).append(row)
    return [
        SequenceRow(name=name, frames=len(group), **_average(group, weigh_by_valid=True))
        for name, group in by_sequence.items()
    ]


def average_sequences(rows: Sequence[SequenceRow]) -> SequenceRow:
    """Compute the unweighted mean of one or more sequences; its name states how many."""
    frames = sum(row.frames for row in rows)
    return SequenceRow(name=f"mean of {len(rows)}", frames=frames, **_average(rows))


def write_csv(rows: Sequence[FrameRow], path: Path, *, overwrite: bool = True) -> None:
    """Write the rows as CSV, with a header of the field names; what is not measured stays empty.

    Args:
        rows: The rows.
        path: The file to write.
        overwrite: Replace a file that exists.

    Raises:
        TargetError: It cannot be written, or exists.
    """
    names = ["sequence", "frame", *(field.name for field in fields(Scores))]
    with (
        write_beside(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _read(source: ImageSource | None, error: str) -> Tensor:
    if source is None:
        raise DataError(error)
    return to_tensor(source.read())


def _check_sizes(frame: SequenceFrame, images: _Images, previous: _Images | None) -> None:
    height, width = images.degraded.shape[-2:]
    if previous is not None and previous.degraded.shape != images.degraded.shape:
        raise DataError(
            f"{frame.degraded}: {width}x{height} px, unlike the frame before; "
            "a sequence needs one size"
        )
    for source, image in ((frame.truth, images.truth), (frame.restored, images.output)):
        if image is not None and image.shape != images.degraded.shape:
            raise DataError(
                f"{source}: another size than its frame, which has {width}x{height} px; "
                "they must be of one size"
            )
    if min(height, width) < SSIM_WINDOW_PX:
        raise DataError(
            f"{frame.degraded}: a side is shorter than the {SSIM_WINDOW_PX} px of SSIM's window; "
            "leave the sequence out with --exclude"
        )


def _score_frame(images: _Images) -> dict[str, float]:
    if images.truth is None:
        return {}
    references = [images.truth]
    return evaluate.score("input", images.degraded, references) | evaluate.score(
        "output", images.output, references
    )


def _compare(previous: _Images, images: _Images) -> dict[str, float | None]:
    """Compare a frame with the previous one, in all forms, on the same motion."""
    if images.truth is None or previous.truth is None:
        motion = estimate_motion(previous.degraded, images.degraded)
    else:
        motion = estimate_motion(previous.truth, images.truth)
    scores: dict[str, float | None] = {"valid_share": motion.valid_share}
    truth = _luma_pair(previous.truth, images.truth)
    if truth is not None:
        scores["truth_warping_error"] = _warping_error(truth, motion)
    for side, pair in (
        ("input", _luma_pair(previous.degraded, images.degraded)),
        ("output", _luma_pair(previous.output, images.output)),
    ):
        assert pair is not None
        scores[f"{side}_warping_error"] = _warping_error(pair, motion)
        if truth is not None:
            scores[f"{side}_flicker"] = flicker(pair, truth)
    return scores


def _luma_pair(previous: Tensor | None, image: Tensor | None) -> tuple[Tensor, Tensor] | None:
    return None if previous is None or image is None else (luma(previous), luma(image))


def _warping_error(pair: tuple[Tensor, Tensor], motion: Motion) -> float | None:
    error = warping_error(pair, [motion])
    return None if math.isnan(error) else error


def _average(rows: Sequence[Scores], *, weigh_by_valid: bool = False) -> dict[str, float | None]:
    """Average each score over the rows that have it."""
    averages = {}
    for name in (field.name for field in fields(Scores)):
        having = [row for row in rows if getattr(row, name) is not None]
        weights = None
        if weigh_by_valid and name.endswith("warping_error"):
            weights = [row.valid_share or 0.0 for row in having]
        averages[name] = fmean((getattr(row, name) for row in having), weights) if having else None
    return averages
