"""The server of the live page: its routes, in an event loop of aiohttp.

    /              the page (`page/`), with page.css, shared.js, page.js, icon.svg
    /live, /stream.mjpg, /snapshot.png, /healthz     see `web_camera.py`
    /metrics       for Prometheus

With several cameras:

    /              the page of all; /live and /healthz, see `web_wall.py`
    /cameras/NAME/ the page of one, and all that belongs to it
    /metrics       of all

`web_access.py` checks every request; frames come from `feed.py`. `web.py` starts the server, and
imports this module late, since aiohttp belongs to an extra.
"""

import asyncio
import logging
import socket as sockets
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from importlib.resources import files

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from lfdn_video.stream.board import Board
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.guard import Guard
from lfdn_video.stream.watch.metrics import Metrics
from lfdn_video.stream.watch.web_access import AccessControl
from lfdn_video.stream.watch.web_camera import CameraRoutes, Viewers
from lfdn_video.stream.watch.web_wall import WallRoutes

CAMERA_PAGE = "index.html"
WALL_PAGE = "wall.html"
FILES = {
    CAMERA_PAGE: "text/html",
    WALL_PAGE: "text/html",
    "page.css": "text/css",
    "shared.js": "text/javascript",
    "page.js": "text/javascript",
    "wall.css": "text/css",
    "wall.js": "text/javascript",
    "icon.svg": "image/svg+xml",
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

SHUTDOWN_S = 1.0

logger = logging.getLogger(__name__)


class _OwnErrorsOnly(logging.Filter):
    """Keeps malformed requests out of the log: they may contain a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


logger.addFilter(_OwnErrorsOnly())


async def serve_until_stopped(
    boards: Sequence[Board],
    guard: Guard,
    listening: sockets.socket,
    started: Callable[[Callable[[], object]], object],
) -> None:
    """Serve the page until the stop function is called.

    Args:
        boards: the sessions to show; several have names.
        guard: the rules for access.
        listening: a listening socket; the caller closes it.
        started: called once the server accepts requests, with a function that stops it from any
            thread.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    runner = web.AppRunner(
        _Site([Feed(board) for board in boards], guard, listening.getsockname()[1]).app,
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

    def __init__(self, feeds: Sequence[Feed], guard: Guard, port: int) -> None:
        self._feeds = feeds
        self._metrics = Metrics(feeds)
        self._viewers = Viewers(self._metrics)
        page = files("lfdn_video.stream.watch") / "page"
        token_page = (page / TOKEN_PAGE).read_text(encoding="utf-8")
        self._files = {
            name: ((page / name).read_bytes(), content_type) for name, content_type in FILES.items()
        }
        access = AccessControl(guard, port=port, token_page=token_page)
        self.app = web.Application(middlewares=[access.middleware], client_max_size=1024)
        self.app.add_routes([*self._routes(), web.get("/metrics", self._metrics_page)])
        self.app.on_response_prepare.append(_add_headers)
        self.app.on_shutdown.append(self._close_viewers)
        self.app.cleanup_ctx.append(self._run_feeds)

    def _routes(self) -> Iterator[web.RouteDef]:
        """Yield the routes of the only camera at /, or of each under /cameras/ and of all at /."""
        named = {name: feed for feed in self._feeds if (name := feed.status.camera) is not None}
        yield from self._file_routes("/", WALL_PAGE if named else CAMERA_PAGE)
        if not named:
            yield from CameraRoutes(self._feeds[0], self._viewers).under("/")
            return
        yield from WallRoutes(named, self._viewers).routes()
        for name, feed in named.items():
            yield from self._file_routes(f"/cameras/{name}/", CAMERA_PAGE)
            yield from CameraRoutes(feed, self._viewers).under(f"/cameras/{name}/")

    def _file_routes(self, prefix: str, index: str) -> Iterator[web.RouteDef]:
        """Yield the routes of the files of a page; `index` is the page itself."""
        for name, (content, content_type) in self._files.items():
            if name == index or not name.endswith(".html"):
                path = prefix if name == index else f"{prefix}{name}"
                yield web.get(path, partial(_send_file, content, content_type))

    async def _run_feeds(self, _: web.Application) -> AsyncGenerator[None]:
        feeding = [asyncio.create_task(feed.follow_board()) for feed in self._feeds]
        yield
        for task in feeding:
            task.cancel()
        await asyncio.gather(*feeding, return_exceptions=True)

    async def _close_viewers(self, _: web.Application) -> None:
        await self._viewers.close()

    async def _metrics_page(self, request: web.Request) -> web.Response:
        content, content_type = self._metrics.render(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=content, headers={hdrs.CONTENT_TYPE: content_type})


async def _send_file(content: bytes, content_type: str, _: web.Request) -> web.Response:
    return web.Response(body=content, content_type=content_type, charset="utf-8")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
