"""Feeds the newest views of a board to many viewers, each encoded as JPEG at most once.

Runs in the event loop of the web server (`web_app.py`). Nothing is encoded without a viewer. Slow
viewers skip frames and delay nobody. Knows no network.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from lfdn_video.options import Prefer
from lfdn_video.stream.board import Board, Status, View
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.health import Health, assess_health, health_report

FeedSide: TypeAlias = Literal["raw", "restored", "small"]
"""What is encoded of a view; `small`: restored, for a page with many cameras."""


class Feed:
    """A board for coroutines, updated while `follow_board` runs."""

    def __init__(self, board: Board) -> None:
        """Read from `board`, which stays the caller's."""
        self._board = board
        self._view: View | None = None
        self._arrived_s = 0.0
        self._changed = asyncio.Condition()
        self._encodings: dict[str, tuple[int, asyncio.Task[bytes]]] = {}
        """By side: number of the last requested view, and the task that encodes it."""

    @property
    def status(self) -> Status:
        """The session's current status."""
        return self._board.status

    @property
    def view(self) -> View | None:
        """The newest view; None before the first."""
        return self._view

    @property
    def silent_s(self) -> float | None:
        """Seconds since the newest frame arrived; None if there was none yet."""
        return None if self._view is None else time.monotonic() - self._arrived_s

    @property
    def health(self) -> Health:
        """The session's state, or `stalled`."""
        return assess_health(self.status, self.silent_s)

    def report(self) -> dict[str, Any]:
        """Return the session's health and statistics as values for JSON."""
        return health_report(self.status, self.silent_s)

    def set_preference(self, prefer: Prefer) -> None:
        """Choose what the session keeps on a slow device, for all viewers, if it can choose."""
        if self.status.prefer is not None:
            self._board.update(prefer=prefer)

    async def follow_board(self) -> None:
        """Follow the board's views until it is closed."""
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(changed.set)

        with self._board.calling(wake):
            while True:
                changed.clear()
                # Asked before the view: one published just before the close is still shown.
                last = self._board.closed
                view = self._board.view
                if view is not None and view is not self._view:
                    async with self._changed:
                        self._view = view
                        self._arrived_s = time.monotonic()
                        self._changed.notify_all()
                if last:
                    return
                await changed.wait()

    async def wait_for_view(self, after: int) -> View:
        """Wait until there is a view whose number is above `after`, and return the newest."""
        self._board.want_views()
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._view is not None and self._view.number > after
            )
            assert self._view is not None
            return self._view

    async def get_jpeg(self, view: View, side: FeedSide) -> bytes:
        """Return one side of a view as JPEG; viewers of the same view share the encoding."""
        number, encoding = self._encodings.get(side, (0, None))
        if encoding is None or number != view.number:
            image = view.raw if side == "raw" else view.restored
            encode = stills.encode_small_jpeg if side == "small" else stills.encode_jpeg
            encoding = asyncio.create_task(asyncio.to_thread(encode, image))
            self._encodings[side] = view.number, encoding
        return await asyncio.shield(encoding)  # others may wait for it when this viewer leaves
