"""Timestamps that go back: the reordering of frames, and recordings that were joined."""

from fractions import Fraction

REORDER_FRAMES = 16
"""A key frame may be shown this much later than it is stored: the deepest reordering there is."""


class DiscontinuityCounter:
    """Numbers the parts of a joined recording by one stream's times, in any unit.

    A part ends where the clock is set back by `least` or more; less is mere disorder.
    """

    def __init__(self, least: int | Fraction) -> None:
        self.count = 0
        self._least = least
        self._last: int | Fraction | None = None

    def observe(self, time: int | Fraction) -> int:
        """The part to which the next time belongs."""
        if self._last is not None and self._last - time >= self._least:
            self.count += 1
        self._last = time
        return self.count
