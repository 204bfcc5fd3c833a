"""Test data as sequences of consecutive frames, for measures over time.

`lfdn.datasets.layouts` finds the pairs; here they are put into sequences, in order, and checked to
be complete: a frame that is missing would count as motion.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import groupby, pairwise
from pathlib import Path

from lfdn.datasets.images import DataError, ImageSource, list_images
from lfdn.datasets.layouts import UnknownLayoutError, read_sets
from lfdn.datasets.samples import Sample

PAIR_LAYOUTS = ("pairs", "gopro", "gopro_gamma", "reds", "pack")
"""Layouts whose samples are consecutive frames with their truth."""
LAYOUT_WITHOUT_TRUTH = "sequences"
RUN_OF_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class SequenceFrame:
    """One frame of a sequence."""

    name: str
    degraded: ImageSource
    truth: ImageSource | None = None
    restored: ImageSource | None = None
    """The same frame as another program restored it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that its images are in: images, videos, or the pack that holds them."""
        images = (self.degraded, self.truth, self.restored)
        return tuple(image.archive or image.path for image in images if image is not None)


@dataclass(frozen=True, slots=True)
class FrameSequence:
    """Two or more consecutive frames, in order; all or none have a truth."""

    name: str
    frames: tuple[SequenceFrame, ...]


def read_frame_sequences(sets: Sequence[str], exclude: Sequence[str] = ()) -> list[FrameSequence]:
    """Read data sets, each named as `LAYOUT=PATH`, as sequences.

    The part of a sample's name before the last `/` is the sequence; where there is none, the whole
    set is one sequence, with the name of its folder. Frames are in the order of their numbers.

    Args:
        sets: With a layout of `PAIR_LAYOUTS`, or `sequences` for frames without truth.
        exclude: Shell patterns of sequences to leave out, such as `clip_000` or `clip_000/*`.

    Returns:
        The sequences of all sets, in the order given. Images are not read yet.

    Raises:
        UnknownLayoutError: A layout is unknown, or not one of sequences.
        DataError: A folder is not what its layout requires; the frames of a sequence do not match
            those of its truth one to one; a sequence has a single frame or a gap; two have the same
            name; or a pattern of `exclude` matches no sequence.
    """
    sequences = [sequence for text in sets for sequence in _read_set(text)]
    patterns = [pattern.removesuffix("/*") for pattern in exclude]
    for pattern in patterns:
        if not any(fnmatch(sequence.name, pattern) for sequence in sequences):
            known = ", ".join(sequence.name for sequence in sequences)
            raise DataError(f"--exclude: {pattern!r} matches no sequence; there are {known}")
    kept = [s for s in sequences if not any(fnmatch(s.name, pattern) for pattern in patterns)]
    if not kept:
        raise DataError("--exclude: leaves no sequence; exclude fewer")
    names = [sequence.name for sequence in kept]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"--data: two sequences are called {twice}; measure them one by one")
    return kept


def limit_sequences(sequences: Sequence[FrameSequence], limit: int | None) -> list[FrameSequence]:
    """Take the first frames of every sequence; None takes all."""
    return [replace(sequence, frames=sequence.frames[:limit]) for sequence in sequences]


def add_restored_frames(sequences: Sequence[FrameSequence], folder: Path) -> list[FrameSequence]:
    """Find the restored frames of every sequence.

    Args:
        sequences: As `read_frame_sequences` returns them.
        folder: Holds the frames of the only sequence, or a folder of frames for each one. They are
            matched by order, so there must be as many as in the sequence.

    Returns:
        The sequences with `SequenceFrame.restored` set.

    Raises:
        DataError: A folder is missing or has another number of images.
    """
    alone = len(sequences) == 1
    return [_add_restored(sequence, folder, alone=alone) for sequence in sequences]


def _read_set(text: str) -> list[FrameSequence]:
    layout, _, path = text.partition("=")
    if layout == LAYOUT_WITHOUT_TRUTH and path:
        return _read_without_truth(Path(path))
    samples = read_sets([text])  # names an unknown layout
    if layout not in PAIR_LAYOUTS:
        known = ", ".join((*PAIR_LAYOUTS, LAYOUT_WITHOUT_TRUTH))
        raise UnknownLayoutError(f"{layout!r} is no layout of sequences; use one of {known}")
    whole = Path(path.partition(",")[0]).resolve()
    if whole.is_file():
        whole = whole.with_suffix("")
    groups = groupby(sorted(samples, key=_make_sort_key), key=_get_sequence_name)
    sequences = []
    for name, group in groups:
        frames = list(group)
        _check_truth(frames)
        sequences.append(_make_sequence(name or whole.name, path, map(_make_frame, frames)))
    return sequences


def _read_without_truth(folder: Path) -> list[FrameSequence]:
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [
        _make_sequence(
            sequence.resolve().name,
            str(folder),
            (SequenceFrame(path.stem, ImageSource(path)) for path in _list_in_order(sequence)),
        )
        for sequence in inner or [folder]
    ]


def _make_sequence(name: str, where: str, frames: Iterable[SequenceFrame]) -> FrameSequence:
    sequence = FrameSequence(name, tuple(frames))
    if len(sequence.frames) < 2:
        raise DataError(f"{where}: sequence {name} has a single frame; it needs two or more")
    _check_numbers(sequence)
    return sequence


def _check_truth(samples: Sequence[Sample]) -> None:
    """Check that every sample is a pair, and that the truth has no frames besides."""
    if alone := next((sample for sample in samples if sample.degraded is None), None):
        raise DataError(f"{alone.clean}: has no degraded counterpart; evaluate pairs")
    clean = samples[0].clean
    if clean.archive is None:
        count = len(list_images(clean.path.parent))
        if count != len(samples):
            raise DataError(
                f"{clean.path.parent}: {count} images for {len(samples)} degraded frames; "
                "a sequence needs one for each"
            )


def _check_numbers(sequence: FrameSequence) -> None:
    """Refuse a gap in frames that are numbered one by one."""
    found = [RUN_OF_DIGITS.findall(frame.name.rpartition("/")[2]) for frame in sequence.frames]
    if not all(found):
        return
    numbers = [int(digits[-1]) for digits in found]
    steps = [following - number for number, following in pairwise(numbers)]
    if 1 in steps and set(steps) != {1}:
        index = next(index for index, step in enumerate(steps) if step != 1)
        raise DataError(
            f"{sequence.frames[index].degraded}: the next frame is number {numbers[index + 1]}; "
            "a sequence needs consecutive frames"
        )


def _add_restored(sequence: FrameSequence, folder: Path, *, alone: bool) -> FrameSequence:
    below = folder / sequence.name
    where = folder if alone and not below.is_dir() else below
    images = _list_in_order(where)
    if len(images) != len(sequence.frames):
        raise DataError(
            f"{where}: {len(images)} images for the {len(sequence.frames)} frames of "
            f"{sequence.name}; it needs one for each"
        )
    pairs = zip(sequence.frames, images, strict=True)
    frames = tuple(replace(frame, restored=ImageSource(image)) for frame, image in pairs)
    return replace(sequence, frames=frames)


def _list_in_order(folder: Path) -> list[Path]:
    return sorted(list_images(folder), key=lambda path: (_split_numbers(path.stem), path.name))


def _make_frame(sample: Sample) -> SequenceFrame:
    assert sample.degraded is not None  # `_check_truth`
    return SequenceFrame(sample.name.rpartition("/")[2], sample.degraded, sample.clean)


def _make_sort_key(sample: Sample) -> tuple[list[str | int], str, list[str | int], str]:
    sequence, _, frame = sample.name.rpartition("/")
    return _split_numbers(sequence), sequence, _split_numbers(frame), frame


def _get_sequence_name(sample: Sample) -> str:
    return sample.name.rpartition("/")[0]


def _split_numbers(text: str) -> list[str | int]:
    """Split a name so that frame 10 comes after frame 9; text and numbers take turns."""
    parts = RUN_OF_DIGITS.split(text)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
