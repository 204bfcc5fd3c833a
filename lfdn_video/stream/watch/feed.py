"""The newest pictures of a board for many viewers at once, each coded once.

Lives in the event loop of the web server (`web_app.py`). Nothing is coded while nobody looks; who
is slow misses pictures, and makes nobody wait. Knows no network.
"""

import asyncio
import time
from typing import Literal

from lfdn_video.stream.board import Board, Status, View
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.health import Condition, condition

WAIT_S = 0.2
"""So long the board is asked for a picture before the loop may end."""


class Feed:
    """What is on a board, for coroutines. `run` must be running."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._view: View | None = None
        self._came_at = 0.0
        self._changed = asyncio.Condition()
        self._coded: dict[str, tuple[int, asyncio.Task[bytes]]] = {}

    @property
    def status(self) -> Status:
        return self._board.status

    @property
    def view(self) -> View | None:
        return self._view

    @property
    def silent_s(self) -> float | None:
        """Seconds since the newest picture came; None if there was none yet."""
        return None if self._view is None else time.monotonic() - self._came_at

    @property
    def condition(self) -> Condition:
        return condition(self.status, self.silent_s)

    async def run(self) -> None:
        """Move pictures from the board to here, until it is closed."""
        number = 0
        while True:
            last = self._board.closed
            view = await asyncio.to_thread(self._board.wait, number, WAIT_S)
            if view is not None:
                number = view.number
                async with self._changed:
                    self._view, self._came_at = view, time.monotonic()
                    self._changed.notify_all()
            if last:
                return

    async def newer(self, after: int) -> View:
        """The newest picture whose number is above `after`, once there is one."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._view is not None and self._view.number > after
            )
            assert self._view is not None
            return self._view

    async def jpeg(self, view: View, side: Literal["raw", "restored"]) -> bytes:
        number, coding = self._coded.get(side, (0, None))
        if coding is None or number != view.number:
            picture = view.raw if side == "raw" else view.restored
            coding = asyncio.create_task(asyncio.to_thread(stills.jpeg, picture))
            self._coded[side] = view.number, coding
        return await asyncio.shield(coding)  # others may wait for it when this viewer leaves
