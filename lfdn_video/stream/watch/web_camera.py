"""What the server of the live page answers about one camera: `web_app.py` says where.

live           WebSocket: frames and status, see `web_viewer.py`
stream.mjpg    the restored stream as MJPEG, for players and home automation; ?show=raw
snapshot.png   the newest frame, lossless; ?show=raw, restored or both
healthz        200 while the session is live, 503 otherwise
"""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from aiohttp import WSCloseCode, hdrs, web

from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.metrics import Metrics
from lfdn_video.stream.watch.web_viewer import MIN_FRAME_INTERVAL_S, WebViewer

HEARTBEAT_S = 20.0
MAX_VIEWERS = 32
STOP_POLL_S = 0.5
BOUNDARY = "picture"

logger = logging.getLogger(__name__)


class Viewers:
    """The open pages and streams of all cameras, which the server's end closes.

    Args:
        metrics: counts them, too.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sockets: set[web.WebSocketResponse] = set()
        self.stopping = asyncio.Event()
        """Set when the server ends; MJPEG streams poll it."""

    @contextmanager
    def admit(self) -> Generator[None]:
        """Count a viewer while the block runs. Raises HTTPServiceUnavailable if there are many."""
        if self._metrics.viewers >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} viewers are connected already\n")
        self._metrics.viewers += 1
        try:
            yield
        finally:
            self._metrics.viewers -= 1

    async def open_socket(self, request: web.Request) -> web.WebSocketResponse:
        """Answer a request for a WebSocket; `forget` it at its end."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, compress=False, max_msg_size=1024)
        await socket.prepare(request)
        self._sockets.add(socket)
        return socket

    def forget(self, socket: web.WebSocketResponse) -> None:
        """A WebSocket has ended."""
        self._sockets.discard(socket)

    async def close(self) -> None:
        """End them all."""
        self.stopping.set()
        await asyncio.gather(
            *(socket.close(code=WSCloseCode.GOING_AWAY) for socket in self._sockets)
        )


class CameraRoutes:
    """The routes of one camera.

    Args:
        feed: its frames and status.
        viewers: those of the server.
    """

    def __init__(self, feed: Feed, viewers: Viewers) -> None:
        self._feed = feed
        self._viewers = viewers

    def under(self, prefix: str) -> list[web.RouteDef]:
        """Return the routes, at addresses that start with `prefix`, which ends in a slash."""
        return [
            web.get(f"{prefix}live", self._live),
            web.get(f"{prefix}stream.mjpg", self._mjpeg_stream),
            web.get(f"{prefix}snapshot.png", self._snapshot),
            web.get(f"{prefix}healthz", self._healthz),
        ]

    async def _live(self, request: web.Request) -> web.StreamResponse:
        with self._viewers.admit():
            socket = await self._viewers.open_socket(request)
            try:
                await WebViewer(socket, self._feed).serve()
            finally:
                self._viewers.forget(socket)
        return socket

    async def _mjpeg_stream(self, request: web.Request) -> web.StreamResponse:
        side = request.query.get("show", "restored")
        if side not in ("raw", "restored"):
            return web.Response(status=400, text="show: raw or restored\n")
        with self._viewers.admit():
            response = web.StreamResponse()
            response.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
            await response.prepare(request)
            try:
                await self._send_parts(response, "raw" if side == "raw" else "restored")
            except ConnectionError:
                logger.debug("a viewer of the MJPEG stream left")
        return response

    async def _send_parts(
        self, response: web.StreamResponse, side: Literal["raw", "restored"]
    ) -> None:
        """Send each new frame as one part of the MJPEG stream, until the server stops."""
        number = 0
        while not self._viewers.stopping.is_set():
            try:
                # With a timeout, so that a dead source does not keep the server from stopping.
                view = await asyncio.wait_for(self._feed.wait_for_view(number), STOP_POLL_S)
            except TimeoutError:
                continue
            number = view.number
            content = await self._feed.get_jpeg(view, side)
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
            await response.write(head.encode() + b"\r\n\r\n" + content + b"\r\n")
            await asyncio.sleep(MIN_FRAME_INTERVAL_S)

    async def _snapshot(self, request: web.Request) -> web.Response:
        wanted = request.query.get("show", "both")
        side = next((side for side in stills.SIDES if side == wanted), None)
        if side is None:
            return web.Response(status=400, text=f"show: {', '.join(stills.SIDES)}\n")
        view = self._feed.view
        if view is None:
            return web.Response(status=503, text="there is no frame yet\n")
        content = await asyncio.to_thread(stills.encode_snapshot, view, side)
        status = self._feed.status
        name = stills.snapshot_name(view, side, status.camera or status.task)
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
        return web.Response(body=content, content_type="image/png", headers=headers)

    async def _healthz(self, _: web.Request) -> web.Response:
        healthy = self._feed.health == "live"
        report = {"status": "ok" if healthy else "unavailable", **self._feed.report()}
        return web.json_response(report, status=200 if healthy else 503)
