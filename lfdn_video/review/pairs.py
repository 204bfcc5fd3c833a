"""Two files frame by frame: which frame of the one is which of the other.

Frames are paired by their times from the first frame, so that one that is missing shifts no other.
Images have no times of their own; they are paired in order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lfdn_video.errors import InputError
from lfdn_video.frame_io import FrameReader
from lfdn_video.input.open import open_reader
from lfdn_video.media import FALLBACK_RATE, Frame, FrameFormat, Image, VideoInfo
from lfdn_video.options import SpanOptions

CODES = 255.0
"""Luma is compared in 8-bit codes: 0 is black, 255 white, whatever depth and range."""

Codes: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
"""`[H, W]`, float32, upright, in `CODES`."""

OnFrame: TypeAlias = Callable[[int, int | None], None]
"""Called after each pair with the number done and, if it is known, of all."""

RGB_WEIGHTS = (0.587, 0.114, 0.299)  # of G, B and R, the order of the planes


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A frame of one of the files, with what is needed to show it."""

    frame: Frame
    info: FrameFormat

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px, upright."""
        height, width = self.frame.planes[0].shape
        return (height, width) if self.info.rotation % 180 else (width, height)

    def luma(self) -> Codes:
        """Return the luma as it is stored, without its chroma, in 8-bit codes."""
        planes = self.frame.planes
        if self.info.format.family == "rgb":
            weighted = zip(planes, RGB_WEIGHTS, strict=False)
            parts = [plane.astype(np.float32) * np.float32(weight) for plane, weight in weighted]
            values: Codes = parts[0] + parts[1] + parts[2]
        else:
            values = planes[0].astype(np.float32)
        zero, scale = self._luma_range()
        values -= np.float32(zero)
        values *= np.float32(CODES / scale)
        upright: Codes = np.rot90(values, -(self.info.rotation // 90))
        return upright[:, ::-1] if self.info.flip else upright

    def image(self) -> Image:
        """Return the frame as upright RGB `[H, W, 3]`, uint8."""
        from lfdn_video.inference.colour import PlaneConverter

        return PlaneConverter(self.info).to_image(self.frame.planes)

    def _luma_range(self) -> tuple[float, float]:
        """Return black, and white above black, in codes of the plane."""
        if self.info.colour.is_full_range(self.info.format):
            return 0.0, float(self.info.format.peak)
        step = 1 << (self.info.format.depth - 8)
        return 16.0 * step, 219.0 * step


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A frame of both files."""

    number: int
    """Counts pairs, from 0."""
    time_s: float
    """Time of the frame in the first file, in seconds."""
    before: View
    after: View

    @property
    def is_identical(self) -> bool:
        """True if both have the same format and every sample is the same."""
        one, other = self.before.frame, self.after.frame
        same = one.format == other.format and self.before.size == self.after.size
        planes = zip(one.planes, other.planes, strict=False)
        return same and all(np.array_equal(*both) for both in planes)


class Pairs:
    """The frames of two files, paired; iterate once. Made by `open_pairs`."""

    def __init__(
        self, before: FrameReader, after: FrameReader, on_frame: OnFrame | None = None
    ) -> None:
        self.before: VideoInfo = before.info
        self.after: VideoInfo = after.info
        self.unpaired_before = 0
        """Frames of the first file that the second does not have; grows while iterating."""
        self.unpaired_after = 0
        """Frames of the second file that the first does not have; grows while iterating."""
        self._readers = (before, after)
        self._on_frame = on_frame

    @property
    def readers(self) -> tuple[FrameReader, FrameReader]:
        """The readers of both files, with their counts and warnings."""
        return self._readers

    def __iter__(self) -> Iterator[Pair]:
        with ExitStack() as stack:
            first, second = (
                stack.enter_context(closing(reader.frames())) for reader in self._readers
            )
            number = 0
            expected = self.before.expected_frames(self._readers[0].span)
            for one, other in self._match(first, second):
                pair = Pair(
                    number,
                    float(one.pts * self.before.time_base),
                    View(one, one.info or self.before),
                    View(other, other.info or self.after),
                )
                _check_sizes(pair, self)
                yield pair
                number += 1
                if self._on_frame is not None:
                    self._on_frame(number, expected)
        if not number:
            raise InputError(f"{self.after.path}: has no frame of {self.before.path}")

    def _match(
        self, first: Generator[Frame], second: Generator[Frame]
    ) -> Generator[tuple[Frame, Frame]]:
        """Yield the frames that belong together, and count the others."""
        one, other = next(first, None), next(second, None)
        origin = one.pts if one is not None else 0
        other_origin = other.pts if other is not None else 0
        in_order = self.before.from_images or self.after.from_images
        tolerance_s = _tolerance_s(self.before)
        while one is not None and other is not None:
            apart_s = (one.pts - origin) * self.before.time_base
            apart_s -= (other.pts - other_origin) * self.after.time_base
            if in_order or abs(apart_s) <= tolerance_s:
                yield one, other
                one, other = next(first, None), next(second, None)
            elif apart_s < 0:
                self.unpaired_before += 1
                one = next(first, None)
            else:
                self.unpaired_after += 1
                other = next(second, None)
        self.unpaired_before += (one is not None) + sum(1 for _ in first)
        self.unpaired_after += (other is not None) + sum(1 for _ in second)


@contextmanager
def open_pairs(
    before: str | Path,
    after: str | Path,
    span: SpanOptions | None = None,
    *,
    deinterlace: bool = False,
    on_frame: OnFrame | None = None,
) -> Generator[Pairs]:
    """Open two files whose frames belong together.

    Args:
        before: the source: a video, or images.
        after: the result, which begins where `span` does.
        span: the part of `before` that `after` was made of; None: all of it.
        deinterlace: deinterlace `before`, as for `after`.
        on_frame: called after each pair.

    Yields:
        Their frames, to be iterated over once.

    Raises:
        InputError: one of them cannot be read; while iterating, the frames differ in size, or
            have no time in common.
    """
    with (
        open_reader(before, span, deinterlace=deinterlace) as first,
        open_reader(after) as second,
    ):
        yield Pairs(first, second, on_frame)


def _tolerance_s(info: VideoInfo) -> Fraction:
    """Half a frame: a container with a constant rate moves frames by that much."""
    return 1 / (2 * (info.average_rate or FALLBACK_RATE))


def _check_sizes(pair: Pair, pairs: Pairs) -> None:
    if pair.before.size != pair.after.size:
        one, other = ("×".join(map(str, view.size)) for view in (pair.before, pair.after))
        raise InputError(
            f"{pairs.after.path}: is {other} and {pairs.before.path} is {one}; "
            "compare frames of one size"
        )
