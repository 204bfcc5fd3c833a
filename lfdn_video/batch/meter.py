"""How much of a batch is done, by the bytes of its sources: known without opening a file."""

import time

INTERVAL_S = 0.25
"""Seconds between two reports."""


class Meter:
    """Counts bytes, and estimates how long the rest takes."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._done_bytes = 0
        self._restored_bytes = 0
        self._start_s: float | None = None
        self._due_s = float("-inf")

    def start(self) -> None:
        """A file is begun."""
        self._start_s = self._start_s or time.perf_counter()

    def end(self, size: int, *, restored: bool) -> None:
        """A file has ended; one that failed tells nothing about the speed."""
        self._done_bytes += size
        self._restored_bytes += size if restored else 0

    def is_due(self) -> bool:
        """Tell whether progress should be reported again."""
        if (now_s := time.perf_counter()) < self._due_s:
            return False
        self._due_s = now_s + INTERVAL_S
        return True

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first file was begun."""
        return 0.0 if self._start_s is None else time.perf_counter() - self._start_s

    def share(self, partial: float) -> float:
        """Part of the bytes that is done; `partial`: bytes of files that are in work."""
        return (
            min(1.0, (self._done_bytes + partial) / self.total_bytes) if self.total_bytes else 1.0
        )

    def eta_s(self, partial: float) -> float | None:
        """Seconds left at the speed so far; None before anything is restored."""
        restored = self._restored_bytes + partial
        if not restored:
            return None
        left = max(0.0, self.total_bytes - self._done_bytes - partial)
        return left * self.elapsed_s / restored
