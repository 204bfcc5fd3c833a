"""Parts of a video that are restored apart, on several machines, and joined as one run's segments.

    packets' pts ─ divide ─▶ Part, Part, ... ─ restore(part=...) ─▶ segments ─ join ─▶ target

A part starts where a segment of an undivided run starts, and knows the times of its frames and of
those around it. So it decodes no more than it needs, and any difference between what packets say
and what a decoder shows is an error rather than a wrong frame.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from lfdn_video.errors import InputError
from lfdn_video.frame_io import FrameReader
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import SpanOptions

PART_FRAMES = 250
"""Frames of a part, about. Its neighbours on both sides are restored for it too, 3 % more work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive frames of a video; see `divide`."""

    number: int
    """Counts the parts of the video from 0."""
    origin_pts: int
    """Pts of the video's first frame, in ticks of the source."""
    before: tuple[int, ...] = ()
    """Pts of the frames before it that may be neighbours of its own."""
    pts: tuple[int, ...]
    """Pts of its own frames."""
    after: tuple[int, ...] = ()
    """Pts of the frames behind it that may be neighbours of its own."""
    span: SpanOptions
    """What has to be read for all of these."""

    @property
    def bounds(self) -> tuple[int, int]:
        """Pts of its own first and last frame."""
        return self.pts[0], self.pts[-1]

    def read(self, reader: FrameReader) -> Generator[Frame]:
        """Read the part's frames and those around them, and nothing else.

        Args:
            reader: opened for `span`.

        Raises:
            InputError: other frames come, or one of them is corrupt.
        """
        expected = [*self.before, *self.pts, *self.after]
        found = 0
        with closing(reader.frames()) as frames:
            for frame in frames:
                if found == len(expected) or frame.pts != expected[found]:
                    break
                found += 1
                yield frame
            else:
                if found == len(expected) and not reader.corrupt_packets:
                    return
        raise InputError(f"{reader.info.path}: cannot be restored in parts; restore it as a whole")


def divide(
    pts: Sequence[int], info: VideoInfo, *, segment_frames: int, reach: int
) -> tuple[Part, ...]:
    """Divide a video at the borders of segments.

    Args:
        pts: of all its frames, in order, in ticks of the source.
        info: the video.
        segment_frames: frames of a segment.
        reach: frames before and after a frame that may be its neighbours.

    Returns:
        The parts in order, each of about `PART_FRAMES` frames.
    """
    step = max(1, round(PART_FRAMES / segment_frames)) * segment_frames
    return tuple(
        _make_part(pts, info, number, number * step, min(len(pts), (number + 1) * step), reach)
        for number in range(-(-len(pts) // step))
    )


def _make_part(
    pts: Sequence[int], info: VideoInfo, number: int, first: int, end: int, reach: int
) -> Part:
    read_first, read_end = max(0, first - reach), min(len(pts), end + reach)

    def border_s(at: int) -> float:
        # Half-way between two frames, where no rounding of seconds matters.
        middle = (pts[at - 1] + pts[at]) / 2 - info.start_pts
        return float(middle * info.time_base)

    return Part(
        number=number,
        origin_pts=pts[0],
        before=tuple(pts[read_first:first]),
        pts=tuple(pts[first:end]),
        after=tuple(pts[end:read_end]),
        span=SpanOptions(
            start_s=border_s(read_first) if read_first else None,
            end_s=border_s(read_end) if read_end < len(pts) else None,
        ),
    )
