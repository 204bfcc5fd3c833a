"""Detects a live source that sends frames faster than this machine decodes them.

Its packets wait in a socket's buffer, and latency grows without limit and unnoticed, since a frame
is stamped only when it is read. The symptom is packets that arrive later and later, compared with
their own timestamps.
"""

BEHIND_S = 1.0
"""Packets pile up if one is this much later than the earliest so far, in seconds."""
CAUGHT_UP_S = 0.2
"""The backlog ends at a keyframe that is less late than this, in seconds."""

DRIFT = 0.001
"""Seconds per second by which a camera's clock may be slow without a backlog."""

MAX_BACKLOG_S = 50.0
"""A packet later than this, in seconds, is a discontinuity, not a backlog."""


class Backlog:
    """Compares arrival times with timestamps; `piles_up` is True while packets wait."""

    def __init__(self) -> None:
        self.piles_up = False
        self._least_offset_s: float | None = None
        """Arrival minus timestamp of the least late packet, with `DRIFT` added since."""
        self._last_arrival_s = 0.0

    def add_packet(self, time_s: float | None, arrival_s: float, *, keyframe: bool) -> None:
        """Observe a packet; `piles_up` may change.

        A backlog ends only at a keyframe, since all other frames need frames that were not decoded.

        Args:
            time_s: its timestamp in seconds; None, if unknown, is ignored.
            arrival_s: the time it was read, by `time.monotonic`.
            keyframe: True if it can be decoded on its own.
        """
        if time_s is None:
            return
        offset_s = arrival_s - time_s
        if self._least_offset_s is not None:
            # Otherwise a slow camera clock would look like a backlog after hours.
            self._least_offset_s += DRIFT * (arrival_s - self._last_arrival_s)
        if self._least_offset_s is None or not 0 < offset_s - self._least_offset_s < MAX_BACKLOG_S:
            self._least_offset_s = offset_s
        self._last_arrival_s = arrival_s
        behind_s = offset_s - self._least_offset_s
        if behind_s > BEHIND_S:
            self.piles_up = True
        elif behind_s < CAUGHT_UP_S and keyframe:
            self.piles_up = False
