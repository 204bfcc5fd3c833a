"""SIGINT and SIGTERM during training: the loop ends with a checkpoint, and its workers with it."""

import signal
from types import FrameType


class StopSignals:
    """Records the first SIGINT or SIGTERM; a second one has its usual effect."""

    def __init__(self) -> None:
        self.requested = False
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, self._handle)
            except ValueError:  # not in the main thread
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal returned it

    def raise_if_requested(self) -> None:
        """Raise KeyboardInterrupt if a signal was received."""
        if self.requested:
            raise KeyboardInterrupt

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, signal.SIG_DFL)


def ignore_signals(_: int) -> None:
    """Ignore SIGINT and SIGTERM in a worker, which ends with its parent.

    Terminals and service managers send these signals to every process; a worker that died of one
    would take the last step's checkpoint with it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
