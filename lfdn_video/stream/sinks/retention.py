"""Removes recordings that are too old, and the oldest while they take too much room.

Only those that `ledger.py` lists: files that this program wrote and that nobody changed since.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Self

from lfdn_video.stream.sinks.ledger import Ledger, Recorded

INTERVAL_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long recordings are kept, and how many."""

    seconds: float | None = None
    """Those whose last frame is older are removed; None: age does not matter."""
    size_bytes: int | None = None
    """The oldest are removed while all take more, those being written included; None: any size."""


class Retention:
    """Applies the policy while its context is entered, in a thread.

    Args:
        ledger: the recordings, open.
        keep: the policy.
    """

    def __init__(self, ledger: Ledger, keep: Keep) -> None:
        self._ledger = ledger
        self._keep = keep
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Apply the policy once more, as the last recordings are complete now."""
        self._done.set()
        self._thread.join()

    def apply(self, now: float) -> list[Recorded]:
        """Remove what is not to be kept.

        Args:
            now: the time, in seconds since the epoch.

        Returns:
            What was removed, oldest first.
        """
        removed = []
        left_bytes = self._ledger.measure_open_bytes()
        complete = self._ledger.list_complete()
        left_bytes += sum(each.size_bytes for each in complete)
        for recorded in complete:
            if not self._is_too_old(recorded, now) and not self._is_too_much(left_bytes):
                continue
            if self._ledger.remove(recorded):
                left_bytes -= recorded.size_bytes
                removed.append(recorded)
        return removed

    def _is_too_old(self, recorded: Recorded, now: float) -> bool:
        return self._keep.seconds is not None and now - recorded.ended_at > self._keep.seconds

    def _is_too_much(self, size_bytes: int) -> bool:
        return self._keep.size_bytes is not None and size_bytes > self._keep.size_bytes

    def _run(self) -> None:
        is_last = False
        while True:
            removed = self.apply(time.time())
            if removed:
                logger.info("removed %d recordings, %s the last", len(removed), removed[-1].file)
            if is_last:
                return
            is_last = self._done.wait(INTERVAL_S)
