"""The page of all cameras: its routes, and the WebSocket of one viewer.

    live       WebSocket, below
    healthz    200 while a camera is live, 503 while none is

The page requests each frame, as that of one camera does (`web_viewer.py`):

    page -> server    next NAME           that camera's next frame
                      again NAME          its newest frame, even if it was sent before
                      ping X              requests X back
    server -> page    {"status": {...}}   twice a second, see `health_report_of_all`
                      {"pong": "X"}
                      a binary message    a frame, as for one camera, with `camera` in its header
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import WSMsgType, web

from lfdn_video.stream.board import View
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.health import health_report_of_all
from lfdn_video.stream.watch.web_camera import Viewers
from lfdn_video.stream.watch.web_viewer import STATUS_EVERY_S, pack_frame

MIN_SMALL_INTERVAL_S = 0.1
"""Shortest time between two frames of one camera: on this page they are small, and many."""

logger = logging.getLogger(__name__)


def report_all(feeds: Sequence[Feed]) -> dict[str, Any]:
    """Return the health and statistics of all cameras as values for JSON."""
    return health_report_of_all([feed.report() for feed in feeds])


class WallRoutes:
    """The routes of the page with all cameras.

    Args:
        feeds: their frames and status, by name.
        viewers: those of the server.
    """

    def __init__(self, feeds: Mapping[str, Feed], viewers: Viewers) -> None:
        self._feeds = feeds
        self._viewers = viewers

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/live", self._live), web.get("/healthz", self._healthz)]

    async def _live(self, request: web.Request) -> web.StreamResponse:
        with self._viewers.admit():
            socket = await self._viewers.open_socket(request)
            try:
                await WallViewer(socket, self._feeds).serve()
            finally:
                self._viewers.forget(socket)
        return socket

    async def _healthz(self, _: web.Request) -> web.Response:
        report = report_all(list(self._feeds.values()))
        return web.json_response(report, status=200 if report["live"] else 503)


class WallViewer:
    """One open page with all cameras.

    Args:
        socket: the WebSocket, prepared; the caller closes it.
        feeds: frames and status by name of the camera.
    """

    def __init__(self, socket: web.WebSocketResponse, feeds: Mapping[str, Feed]) -> None:
        self._socket = socket
        self._feeds = feeds
        self._wanted = {name: asyncio.Event() for name in feeds}

    async def serve(self) -> None:
        """Answer the page until it leaves."""
        try:
            async with asyncio.TaskGroup() as group:
                senders = [group.create_task(self._send_status())]
                senders += [group.create_task(self._send_frames(name)) for name in self._feeds]
                async for message in self._socket:
                    if message.type is WSMsgType.TEXT:
                        await self._handle_message(message.data)
                for sender in senders:
                    sender.cancel()
        except* ConnectionError:
            logger.debug("a viewer of the page left")

    async def _handle_message(self, text: str) -> None:
        command, _, argument = text.partition(" ")
        if command == "ping":
            await self._socket.send_json({"pong": argument})
        elif argument in self._feeds:
            view = self._feeds[argument].view
            if command == "next":
                self._wanted[argument].set()
            elif command == "again" and view is not None:
                await self._send(argument, view)

    async def _send_status(self) -> None:
        while True:
            await self._socket.send_json({"status": report_all(list(self._feeds.values()))})
            await asyncio.sleep(STATUS_EVERY_S)

    async def _send_frames(self, name: str) -> None:
        """Send one camera's frames, each when it is asked for."""
        last_sent = 0
        while True:
            await self._wanted[name].wait()
            self._wanted[name].clear()
            view = await self._feeds[name].wait_for_view(last_sent)
            last_sent = view.number
            await self._send(name, view)
            await asyncio.sleep(MIN_SMALL_INTERVAL_S)

    async def _send(self, name: str, view: View) -> None:
        content = await self._feeds[name].get_jpeg(view, "small")
        await self._socket.send_bytes(pack_frame(view, {"restored": content}, camera=name))
