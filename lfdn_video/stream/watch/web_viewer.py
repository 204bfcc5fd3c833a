"""The WebSocket between the live page and the server: its protocol, for one viewer.

The page requests each frame, so it receives them as fast as it can show them, never faster:

    page -> server    next raw | restored | both      the next frame that was not sent yet
                      again raw | restored | both     the newest frame, even if it was sent before
                      prefer latency | quality        what to keep on a slow device
                      ping X                          requests X back
    server -> page    {"status": {...}}               twice a second, see `health_report`
                      {"pong": "X"}
                      a binary message                a frame

A binary message is four bytes with the length of a JSON header, big-endian, then that header, then
one JPEG, or raw and restored of the same frame.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Literal

from aiohttp import WSMsgType, web

from lfdn_video.stream.board import View
from lfdn_video.stream.watch.feed import Feed

STATUS_EVERY_S = 0.5
MIN_FRAME_INTERVAL_S = 1 / 30
"""Shortest time, in seconds, between two frames for one viewer."""
MAX_PENDING = 4
"""Largest number of pending requests of a page; more are ignored."""

logger = logging.getLogger(__name__)


class WebViewer:
    """One open page."""

    def __init__(self, socket: web.WebSocketResponse, feed: Feed) -> None:
        """Serve `feed` over `socket`, which the caller has prepared and closes."""
        self._socket = socket
        self._feed = feed
        self._requests: asyncio.Queue[str] = asyncio.Queue(MAX_PENDING)
        self._last_sent = 0

    async def serve(self) -> None:
        """Answer the page until it leaves."""
        try:
            async with asyncio.TaskGroup() as group:
                senders = [
                    group.create_task(self._send_status()),
                    group.create_task(self._send_frames()),
                ]
                async for message in self._socket:
                    if message.type is WSMsgType.TEXT:
                        await self._handle_message(message.data)
                for sender in senders:
                    sender.cancel()
        except* ConnectionError:
            logger.debug("a viewer of the page left")

    async def _handle_message(self, text: str) -> None:
        command, _, argument = text.partition(" ")
        if command == "next" and not self._requests.full():
            self._requests.put_nowait(argument)
        # Sent right away, not queued: a dead source has no next frame to wait for.
        elif command == "again" and self._feed.view is not None:
            await self._socket.send_bytes(await self._pack_frame(self._feed.view, argument))
        elif command == "prefer" and argument in ("latency", "quality"):
            self._feed.set_preference("latency" if argument == "latency" else "quality")
        elif command == "ping":
            await self._socket.send_json({"pong": argument})

    async def _send_status(self) -> None:
        while True:
            await self._socket.send_json({"status": self._feed.report()})
            await asyncio.sleep(STATUS_EVERY_S)

    async def _send_frames(self) -> None:
        while True:
            side = await self._requests.get()
            view = await self._feed.wait_for_view(self._last_sent)
            self._last_sent = view.number
            await self._socket.send_bytes(await self._pack_frame(view, side))
            await asyncio.sleep(MIN_FRAME_INTERVAL_S)

    async def _pack_frame(self, view: View, side: str) -> bytes:
        """Build a binary message; any side but `raw` and `restored` means both."""
        sides: list[Literal["raw", "restored"]] = []
        if side != "restored":
            sides.append("raw")
        if side != "raw":
            sides.append("restored")
        contents = await asyncio.gather(*(self._feed.get_jpeg(view, each) for each in sides))
        return pack_frame(view, dict(zip(sides, contents, strict=True)))


def pack_frame(view: View, contents: Mapping[str, bytes], **more: str) -> bytes:
    """Build a binary message.

    Args:
        view: the view.
        contents: JPEGs by side.
        more: further fields of its header.
    """
    header = {
        "number": view.number,
        "captured_at": view.captured_at,
        "age_s": max(0.0, time.time() - view.captured_at),
        "sizes": {side: len(content) for side, content in contents.items()},
        **more,
    }
    head = json.dumps(header).encode()
    return b"".join([len(head).to_bytes(4, "big"), head, *contents.values()])
