"""The server of the live page: its routes, in an event loop of aiohttp.

    /              the page (`page/`); /page.css, /page.js, /icon.svg
    /live          WebSocket: frames and status, see `web_viewer.py`
    /stream.mjpg   the restored stream as MJPEG, for players and home automation; ?show=raw
    /snapshot.png  the newest frame, lossless; ?show=raw, restored or both
    /healthz       200 while the session is live, 503 otherwise
    /metrics       for Prometheus

`web_access.py` checks every request; frames come from `feed.py`. `web.py` starts the server, and
imports this module late, since aiohttp belongs to an extra.
"""

import asyncio
import logging
import socket as sockets
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Literal

from aiohttp import WSCloseCode, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from lfdn_video.stream.board import Board
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.guard import Guard
from lfdn_video.stream.watch.metrics import Metrics
from lfdn_video.stream.watch.web_access import AccessControl
from lfdn_video.stream.watch.web_viewer import MIN_FRAME_INTERVAL_S, WebViewer

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
TOKEN_PAGE = "refused.html"

HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

HEARTBEAT_S = 20.0
MAX_VIEWERS = 32
SHUTDOWN_S = 1.0
BOUNDARY = "picture"

logger = logging.getLogger(__name__)


class _OwnErrorsOnly(logging.Filter):
    """Keeps malformed requests out of the log: they may contain a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


logger.addFilter(_OwnErrorsOnly())


async def serve_until_stopped(
    board: Board,
    guard: Guard,
    listening: sockets.socket,
    started: Callable[[Callable[[], object]], object],
) -> None:
    """Serve the page until the stop function is called.

    Args:
        board: the session to show.
        guard: the rules for access.
        listening: a listening socket; the caller closes it.
        started: called once the server accepts requests, with a function that stops it from any
            thread.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    runner = web.AppRunner(
        _Site(Feed(board), guard, listening.getsockname()[1]).app,
        access_log=None,  # addresses may hold the token
        logger=logger,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        started(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
    finally:
        await runner.cleanup()


class _Site:
    """The routes and their shared state."""

    def __init__(self, feed: Feed, guard: Guard, port: int) -> None:
        self._feed = feed
        self._metrics = Metrics(feed)
        self._sockets: set[web.WebSocketResponse] = set()
        self._stopping = asyncio.Event()
        page = files("lfdn_video.stream.watch") / "page"
        self._files = {
            path: ((page / name).read_bytes(), content_type)
            for path, (name, content_type) in FILES.items()
        }
        token_page = (page / TOKEN_PAGE).read_text(encoding="utf-8")
        access = AccessControl(guard, port=port, token_page=token_page)
        self.app = web.Application(middlewares=[access.middleware], client_max_size=1024)
        self.app.add_routes(
            [
                *(web.get(path, self._file) for path in FILES),
                web.get("/live", self._live),
                web.get("/stream.mjpg", self._mjpeg_stream),
                web.get("/snapshot.png", self._snapshot),
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics_page),
            ]
        )
        self.app.on_response_prepare.append(_add_headers)
        self.app.on_shutdown.append(self._close_viewers)
        self.app.cleanup_ctx.append(self._run_feed)

    async def _run_feed(self, _: web.Application) -> AsyncGenerator[None]:
        feeding = asyncio.create_task(self._feed.follow_board())
        yield
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding

    async def _close_viewers(self, _: web.Application) -> None:
        self._stopping.set()  # MJPEG streams poll it; WebSockets are closed here
        await asyncio.gather(
            *(socket.close(code=WSCloseCode.GOING_AWAY) for socket in self._sockets)
        )

    @contextmanager
    def _count_viewer(self) -> Generator[None]:
        """Count a viewer while the block runs."""
        self._metrics.viewers += 1
        try:
            yield
        finally:
            self._metrics.viewers -= 1

    def _check_viewer_limit(self) -> None:
        if self._metrics.viewers >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} viewers are connected already\n")

    async def _file(self, request: web.Request) -> web.Response:
        content, content_type = self._files[request.path]
        return web.Response(body=content, content_type=content_type, charset="utf-8")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        self._check_viewer_limit()
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, compress=False, max_msg_size=1024)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            with self._count_viewer():
                await WebViewer(socket, self._feed).serve()
        finally:
            self._sockets.discard(socket)
        return socket

    async def _mjpeg_stream(self, request: web.Request) -> web.StreamResponse:
        side = request.query.get("show", "restored")
        if side not in ("raw", "restored"):
            return web.Response(status=400, text="show: raw or restored\n")
        self._check_viewer_limit()
        response = web.StreamResponse()
        response.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        await response.prepare(request)
        with self._count_viewer():
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
        while not self._stopping.is_set():
            try:
                # With a timeout, so that a dead source does not keep the server from stopping.
                view = await asyncio.wait_for(self._feed.wait_for_view(number), SHUTDOWN_S / 2)
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
        name = stills.snapshot_name(view, side, self._feed.status.task)
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
        return web.Response(body=content, content_type="image/png", headers=headers)

    async def _healthz(self, _: web.Request) -> web.Response:
        healthy = self._feed.health == "live"
        report = {"status": "ok" if healthy else "unavailable", **self._feed.report()}
        return web.json_response(report, status=200 if healthy else 503)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        content, content_type = self._metrics.render(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=content, headers={hdrs.CONTENT_TYPE: content_type})


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
