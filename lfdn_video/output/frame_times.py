"""Moves the pts of frames from the source's time base to the encoder's."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(slots=True)
class FrameTimes:
    """The pts of a run's frames, in order.

    Args:
        source_tick_s: the source's time base, in seconds.
        encoder_tick_s: the encoder's; at a constant rate one tick is one frame.
        first_pts: pts of the first frame, in the source's ticks; None before there is one.
        last_pts: pts of the last frame, in the encoder's ticks.
    """

    source_tick_s: Fraction
    encoder_tick_s: Fraction
    first_pts: int | None = None
    last_pts: int | None = None

    @property
    def first_s(self) -> Fraction:
        """Time of the first frame in the source, in seconds."""
        assert self.first_pts is not None
        return self.first_pts * self.source_tick_s

    def place(self, pts: int, origin_s: Fraction) -> tuple[int, bool]:
        """Place the next frame.

        A frame whose tick is occupied gets the next one, so that none is lost.

        Args:
            pts: in the source's ticks.
            origin_s: time in the source that is 0 in the target, in seconds.

        Returns:
            Its pts in the encoder's ticks, and whether that is another time.
        """
        time_s = pts * self.source_tick_s - origin_s
        # The grid starts at the first frame: half a tick beside it, neighbours would be rounded
        # apart and together in turn.
        beside_s = (self.first_s - origin_s) % self.encoder_tick_s
        placed = round((time_s - beside_s) / self.encoder_tick_s)
        if self.last_pts is not None:
            placed = max(placed, self.last_pts + 1)
        self.last_pts = placed
        # Rounding to ticks moves frames of a truly constant rate by far less than this.
        moved_s = abs(placed * self.encoder_tick_s + beside_s - time_s)
        return placed, moved_s > self.encoder_tick_s / 4

    def to_encoder_ticks(self, source_ticks: int) -> int:
        """Convert a duration from the source's ticks."""
        return round(source_ticks * self.source_tick_s / self.encoder_tick_s)
