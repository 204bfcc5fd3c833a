"""Timeouts of silent sources, and waits before failed ones are reopened."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

FIRST_WAIT_S = 1.0
MAX_WAIT_S = 5.0
"""Bounds of the wait between two tries. It doubles with each try, and stays short enough to notice
within ten seconds that a source is back."""
LONG_OUTAGE_S = 600.0
LONG_OUTAGE_WAIT_S = 30.0
"""Wait between two tries after an outage this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits of the waits for a source."""

    stall_s: float = 10.0
    """Seconds without a frame after which the source is reopened."""
    retries: int | None = None
    """Consecutive failed tries that are followed by another one. None: no limit for addresses and
    for cameras that were live before; no retry for everything else."""


class Outage:
    """Counts the failed tries since the last frame, and spaces them."""

    def __init__(self) -> None:
        self.tries = 0
        self._since_s = time.monotonic()

    def add_failure(self) -> float:
        """Count one more failed try.

        Returns:
            Seconds to wait before the next one.
        """
        self.tries += 1
        if time.monotonic() - self._since_s > LONG_OUTAGE_S:
            return LONG_OUTAGE_WAIT_S
        return float(min(FIRST_WAIT_S * 2 ** min(self.tries - 1, 8), MAX_WAIT_S))


class Watchdog:
    """Calls a function unless it is fed in time. A context manager that owns a thread."""

    def __init__(self, on_timeout: Callable[[], None], first_s: float, then_s: float) -> None:
        """Prepare the watch; entering starts it.

        Args:
            on_timeout: called once, in the watchdog's thread.
            first_s: timeout of the first feeding, in seconds.
            then_s: timeout from one feeding to the next, in seconds.
        """
        self._on_timeout = on_timeout
        self._timeout_s = first_s
        self._then_s = then_s
        self._changed = threading.Condition()
        self._fed_s = time.monotonic()
        self._done = False
        self.timed_out_after_s: float | None = None
        """The timeout that ran out, in seconds; None if none did."""
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._done = True
            self._changed.notify_all()
        self._thread.join()

    def feed(self) -> None:
        """Restart the timeout."""
        with self._changed:
            self._fed_s = time.monotonic()
            self._timeout_s = self._then_s

    def _watch(self) -> None:
        # The lock is held except while waiting, so `on_timeout` never races with a feeding.
        with self._changed:
            while not self._done:
                left_s = self._fed_s + self._timeout_s - time.monotonic()
                if left_s <= 0:
                    self.timed_out_after_s = self._timeout_s
                    self._on_timeout()
                    return
                self._changed.wait(left_s)
