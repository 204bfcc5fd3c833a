"""Timestamps that go back: reordered frames, and recordings that were joined into one file."""

from fractions import Fraction

REORDER_FRAMES = 16
"""Frames by which a keyframe's presentation may lag behind its place in the file: H.264's and
HEVC's largest reordering depth."""


class DiscontinuityCounter:
    """Counts the discontinuities in the timestamps of one stream.

    Where recordings were joined, timestamps jump back and the same pts comes again. The count and
    the pts together are unique.

    Args:
        least: a jump back of at least this much is a discontinuity, in the unit of the timestamps
            (ticks or seconds); a smaller one is mere reordering.
    """

    def __init__(self, least: int | Fraction) -> None:
        self.count = 0
        self._least = least
        self._last: int | Fraction | None = None

    def observe(self, time: int | Fraction) -> int:
        """Take in the stream's next timestamp and return the discontinuities up to it."""
        if self._last is not None and self._last - time >= self._least:
            self.count += 1
        self._last = time
        return self.count
