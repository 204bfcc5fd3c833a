"""Timestamps that jump back: reordered frames, and recordings that were joined into one file.

`DiscontinuityCounter` numbers the joined parts; `PtsRepairer` makes the pts of frames increase.
"""

from fractions import Fraction

from lfdn_video.media import VideoInfo

REORDER_FRAMES = 16
"""Frames by which a keyframe's presentation may lag behind its place in the file: H.264's and
HEVC's largest reordering depth."""


class DiscontinuityCounter:
    """Counts the discontinuities in the timestamps of one stream.

    Where recordings were joined, timestamps jump back and pts repeat. Count and pts together are
    unique.

    Args:
        min_jump: smallest jump back that is a discontinuity, in the unit of the timestamps (ticks
            or seconds); a smaller one is reordering.
    """

    def __init__(self, min_jump: int | Fraction) -> None:
        self.count = 0
        self._min_jump = min_jump
        self._last: int | Fraction | None = None

    def observe(self, time: int | Fraction) -> int:
        """Count a discontinuity before the next timestamp, if there is one; return the count."""
        if self._last is not None and self._last - time >= self._min_jump:
            self.count += 1
        self._last = time
        return self.count


class PtsRepairer:
    """Makes the pts of a stream's frames strictly increasing; valid ones are kept."""

    def __init__(self, info: VideoInfo) -> None:
        self.frame_ticks = info.frame_ticks
        self.last_pts: int | None = None
        """The pts returned last, in ticks; None before the first frame."""
        self._start_pts = info.start_pts
        self._offset = 0

    def repair(self, raw_pts: int | None, duration: int) -> int:
        """Return the pts to give the next frame, above the one before.

        Args:
            raw_pts: the file's pts in ticks; None if it has none.
            duration: the frame's duration in the file, in ticks; 0 if unknown.
        """
        if self.last_pts is None:
            pts = self._start_pts if raw_pts is None else raw_pts
        elif raw_pts is None:
            pts = self.last_pts + (duration or self.frame_ticks)
        else:
            pts = self._advance(raw_pts, self.last_pts)
        self.last_pts = pts
        return pts

    def _advance(self, raw_pts: int, last_pts: int) -> int:
        pts = raw_pts + self._offset
        if pts > last_pts:
            return pts
        if last_pts - pts < REORDER_FRAMES * self.frame_ticks:
            return last_pts + 1  # a duplicate or out of order; moved as little as possible
        # A discontinuity, as where recordings were joined: the rest follows without a gap.
        self._offset += last_pts + self.frame_ticks - pts
        return last_pts + self.frame_ticks
