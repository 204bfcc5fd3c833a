"""Real time for sources that have none of their own: a file is read as if it were live."""

import time

LARGEST_GAP_S = 5.0
"""A larger step between two timestamps is a discontinuity: the clock starts anew there."""

LATEST_S = 0.5
"""A frame later than this delays all later ones, instead of making them come in a burst."""


class NoPace:
    """For live sources: nothing waits, frames are stamped when they arrive."""

    def wait_until(self, _: float | None) -> float | None:
        """Return None at once: the time of presentation is unknown."""
        return None

    def restart(self) -> None:
        """Do nothing."""


class RealTimePace:
    """For files and test sources: each packet or frame waits until its time has come."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        """What timestamp 0 is by `time.monotonic`; None before the first one."""
        self._last_s: float | None = None

    def wait_until(self, time_s: float | None) -> float | None:
        """Sleep until a timestamp of the source is due.

        Args:
            time_s: the timestamp in seconds; None if unknown, then nothing waits.

        Returns:
            The time now by `time.monotonic`; None if `time_s` is.
        """
        if time_s is None:
            return None
        now_s = time.monotonic()
        if self._start_s is None or self._is_discontinuity(time_s):
            self._start_s = now_s - time_s
        self._last_s = time_s
        late_s = now_s - self._start_s - time_s
        if late_s < 0:
            time.sleep(-late_s)
        elif late_s > LATEST_S:
            self._start_s = now_s - time_s
        return time.monotonic()

    def restart(self) -> None:
        """Let the next timestamp be due at once, as when a file is played again."""
        self._start_s = None

    def _is_discontinuity(self, time_s: float) -> bool:
        return self._last_s is not None and abs(time_s - self._last_s) > LARGEST_GAP_S


Pace = NoPace | RealTimePace
