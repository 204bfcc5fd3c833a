"""Real time for sources that have none of their own: a file is read as if it were live."""

import time
from typing import Protocol

MAX_GAP_S = 5.0
"""A larger step between two timestamps is a discontinuity: the clock starts anew there."""

MAX_LATENESS_S = 0.5
"""A frame later than this delays all later ones, instead of making them come in a burst."""


class Pace(Protocol):
    """Decides when the packets and frames of a source are due."""

    def wait_until(self, time_s: float | None) -> float | None:
        """Wait until a timestamp of the source is due.

        Args:
            time_s: the timestamp in seconds; None if unknown, then nothing waits.

        Returns:
            The time now by `time.monotonic`; None if nothing was to be waited for.
        """

    def restart(self) -> None:
        """Start the clock anew at the next timestamp, as when a file is played again."""


class LivePace:
    """For live sources, which have a pace of their own: nothing waits."""

    def wait_until(self, time_s: float | None) -> float | None:  # noqa: ARG002
        return None

    def restart(self) -> None:
        pass


class RealTimePace:
    """For files and test sources: sleeps, so that timestamps are due in real time."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        """Timestamp 0 on the clock of `time.monotonic`; None before the first one."""
        self._last_s: float | None = None

    def wait_until(self, time_s: float | None) -> float | None:
        if time_s is None:
            return None
        now_s = time.monotonic()
        if self._start_s is None or self._is_discontinuity(time_s):
            self._start_s = now_s - time_s
        self._last_s = time_s
        late_s = now_s - self._start_s - time_s
        if late_s < 0:
            time.sleep(-late_s)
        elif late_s > MAX_LATENESS_S:
            self._start_s = now_s - time_s
        return time.monotonic()

    def restart(self) -> None:
        self._start_s = None

    def _is_discontinuity(self, time_s: float) -> bool:
        return self._last_s is not None and abs(time_s - self._last_s) > MAX_GAP_S
