"""The clocks of sources: files play in real time, and all that is read gets a time of capture."""

import time
from collections import deque
from typing import Protocol

MAX_GAP_S = 5.0
"""A larger step between timestamps, in seconds, is a discontinuity, which resets the clock."""

MAX_LATENESS_S = 0.5
"""A frame later than this, in seconds, delays all later ones instead of letting them burst."""

CLOCK_FRAMES = 48
"""Number of frames whose arrivals are compared with their timestamps."""

CLOCK_RANK = 8
"""One frame in this many may arrive earlier than the clock says. Arrivals are late by chance, under
load by much, and early only where the source itself has changed."""

CLOCK_TOLERANCE_S = 0.03
"""The clock is only corrected if it is wrong by more than this, in seconds: corrections of audio
can be heard."""

MAX_SHIFT_S = 3.0
"""A stamp that differs more than this from the arrival, in seconds, is not used."""


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


class SourceClock:
    """Puts a source's timestamps on the clock of `time.monotonic`, by the arrivals of its frames.

    Arrivals alone are late by what network and decoder happen to need, and differ between video and
    audio of one moment; the timestamps keep both together.
    """

    def __init__(self) -> None:
        self._offsets_s: deque[float] = deque(maxlen=CLOCK_FRAMES)
        self._offset_s: float | None = None
        """Stamp minus timestamp, in seconds; None before the first packet or frame."""
        self._last_s = float("-inf")

    def stamp_frame(self, time_s: float | None, arrival_s: float) -> float:
        """Return the stamp of a frame, and correct the clock by it.

        Args:
            time_s: its timestamp, in seconds; None if unknown.
            arrival_s: the time it was read, by `time.monotonic`.

        Returns:
            Its stamp by `time.monotonic`, not after its arrival and not before the last frame's.
        """
        if time_s is None:
            return arrival_s
        self._offsets_s.append(arrival_s - time_s)
        offset_s = sorted(self._offsets_s)[len(self._offsets_s) // CLOCK_RANK]
        if self._offset_s is None or abs(offset_s - self._offset_s) > CLOCK_TOLERANCE_S:
            self._offset_s = offset_s
        self._last_s = min(arrival_s, max(self.stamp(time_s, arrival_s), self._last_s))
        return self._last_s

    def stamp(self, time_s: float, arrival_s: float) -> float:
        """Return the stamp of a packet that is no frame; see `stamp_frame`."""
        if self._offset_s is None or abs(time_s + self._offset_s - arrival_s) > MAX_SHIFT_S:
            self._offset_s = arrival_s - time_s
            self._offsets_s.clear()
        return time_s + self._offset_s
