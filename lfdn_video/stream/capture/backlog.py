"""Notices when a live source sends frames faster than this machine decodes them.

Then packets wait in a socket's buffer and latency grows without end, where nobody sees it: each
frame is stamped only when it is read. The sign is that packets arrive ever later by their own
timestamps.
"""

BEHIND_S = 1.0
"""A packet this much later than the earliest seen: packets pile up."""
CAUGHT_UP_S = 0.2
"""A keyframe less late than this: they do not any more."""

DRIFT = 0.001
"""Seconds per second by which a camera's clock may be slow, which is no backlog."""

MAX_BACKLOG_S = 50.0
"""A packet later than this is a discontinuity of the timestamps and no backlog."""


class Backlog:
    """Compares arrival times with timestamps. `piles_up` says whether packets wait."""

    def __init__(self) -> None:
        self.piles_up = False
        self._least_offset_s: float | None = None
        """Arrival minus timestamp of the least late packet, with `DRIFT` added since."""
        self._last_arrival_s = 0.0

    def add_packet(self, time_s: float | None, arrival_s: float, *, keyframe: bool) -> None:
        """Take a packet into account.

        A backlog ends at a keyframe only, as the frames after any other packet need frames that
        were not decoded.

        Args:
            time_s: its timestamp in seconds; None if unknown, then it does not count.
            arrival_s: the time it was read, by `time.monotonic`.
            keyframe: whether it can be decoded by itself.
        """
        if time_s is None:
            return
        offset_s = arrival_s - time_s
        if self._least_offset_s is not None:
            self._least_offset_s += DRIFT * (arrival_s - self._last_arrival_s)
        if self._least_offset_s is None or not 0 < offset_s - self._least_offset_s < MAX_BACKLOG_S:
            self._least_offset_s = offset_s
        self._last_arrival_s = arrival_s
        behind_s = offset_s - self._least_offset_s
        if behind_s > BEHIND_S:
            self.piles_up = True
        elif behind_s < CAUGHT_UP_S and keyframe:
            self.piles_up = False
