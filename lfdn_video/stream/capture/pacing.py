"""Plays sources without a pace of their own, such as files, in real time."""

import time
from typing import Protocol

MAX_GAP_S = 5.0
"""A larger step between timestamps, in seconds, is a discontinuity, which resets the clock."""

MAX_LATENESS_S = 0.5
"""A frame later than this, in seconds, delays all later ones instead of letting them burst."""


class Pace(Protocol):
    """Decides when the packets and frames of a source are due."""

    def wait_until(self, time_s: float | None) -> float | None:
        """Wait until a timestamp of the source is due.

        Args:
            time_s: the timestamp in seconds; None, if unknown, does not wait.

        Returns:
            The current time by `time.monotonic`; None if this pace never waits.
        """

    def restart(self) -> None:
        """Reset the clock at the next timestamp, as when a file is played again."""


class LivePace:
    """For live sources, which have a pace of their own: never waits."""

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
