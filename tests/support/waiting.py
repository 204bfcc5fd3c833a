"""Waiting in tests: long enough for a slow and busy machine, and no longer than needed."""

import threading
import time
from collections.abc import Callable

PATIENCE_S = 120.0


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not happen within {PATIENCE_S:g} s"
        time.sleep(0.02)


def threads() -> set[str]:
    """Return the names of all threads but the main one and those that libraries keep."""
    ours = {"capture", "watchdog", "model", "sync", "push"}
    return {thread.name for thread in threading.enumerate()} & ours
