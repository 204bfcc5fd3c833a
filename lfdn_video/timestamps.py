"""Timestamps that jump back: reordered frames, and recordings that were joined into one file.

`BestEffortTimes` chooses between a frame's pts and dts, `DiscontinuityCounter` numbers the joined
parts, and `PtsRepairer` makes the pts of frames increase.
"""

from fractions import Fraction

from lfdn_video.media import VideoInfo

REORDER_FRAMES = 16
"""Frames by which a keyframe's presentation may lag behind its place in the file: H.264's and
HEVC's largest reordering depth."""


class BestEffortTimes:
    """Chooses each decoded frame's time from its pts and dts, as FFmpeg's best-effort times do.

    Streams that were wrapped without their timestamps have pts in the order of decoding. They are
    out of order among decoded frames, while the dts of these keep the right distance. So the kind
    that went back less often is taken.
    """

    def __init__(self) -> None:
        self.pts_went_back = False
        """True once a pts was not above the one before it: pts do not identify frames."""
        self._faulty_pts = 0
        self._faulty_dts = 0
        self._last_pts: int | None = None
        self._last_dts: int | None = None

    def choose(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of the next decoded frame in ticks; None if it has neither."""
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
        if pts is not None:
            went_back = self._last_pts is not None and pts <= self._last_pts
            self._faulty_pts += went_back
            self.pts_went_back |= went_back
        self._last_dts = dts if dts is not None else pts
        self._last_pts = pts if pts is not None else dts
        if pts is None or (dts is not None and self._faulty_pts > self._faulty_dts):
            return dts
        return pts


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
