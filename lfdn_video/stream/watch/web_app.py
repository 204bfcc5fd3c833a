"""The server behind the page of a live stream: aiohttp, one event loop, pictures by WebSocket.

    /              the page (`page/`); /page.css, /page.js, /icon.svg
    /live          WebSocket: pictures and numbers, see `_Viewer`
    /stream.mjpg   the restored stream as MJPEG, for players and home automation; ?show=raw
    /snapshot.png  the newest picture, lossless; ?show=raw, restored or both
    /healthz       200 while the stream is live, 503 otherwise
    /metrics       for Prometheus

Who may look is `guard.py`'s, pictures come from `feed.py`. Where it listens and in which thread it
runs is `web.py`'s, which also loads this module: aiohttp belongs to an extra.
"""

import asyncio
import json
import logging
import socket as sockets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from lfdn_video.stream.board import Board, View
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.guard import Guard
from lfdn_video.stream.watch.metrics import Metrics

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
REFUSED = "refused.html"
OPEN_TO_ALL = ("/page.css", "/icon.svg")  # the page that asks for the token needs them

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
ADVICE = {
    "host": "this name does not lead to this computer alone; open the page as http://localhost,"
    " or give the server a token\n",
    "origin": "only the page of this server itself may ask for this\n",
}

STATUS_EVERY_S = 0.5
SHORTEST_INTERVAL_S = 1 / 30  # of pictures, for each viewer
HEARTBEAT_S = 20.0
AHEAD = 4  # pictures a viewer may ask for before it got them
MAX_VIEWERS = 32
SHUTDOWN_S = 1.0
BOUNDARY = "picture"

_log = logging.getLogger(__name__)


class _OursOnly(logging.Filter):
    """Keeps what is wrong with a client's request out of the log: it may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_log.addFilter(_OursOnly())


async def run(
    board: Board,
    guard: Guard,
    listening: sockets.socket,
    started: Callable[[Callable[[], object]], object],
) -> None:
    """Serve until the function that `started` is given was called, from whatever thread."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    runner = web.AppRunner(
        _Site(Feed(board), guard, listening.getsockname()[1]).app,
        access_log=None,  # addresses may hold the token
        logger=_log,
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
    """The routes, and what they share."""

    def __init__(self, feed: Feed, guard: Guard, port: int) -> None:
        self._feed = feed
        self._guard = guard
        self._metrics = Metrics(feed)
        self._cookie = f"lfdn_video_{port}"  # cookies know no ports, so the name has to
        self._viewers: set[web.WebSocketResponse] = set()
        self._stopping = asyncio.Event()
        page = files("lfdn_video.stream.watch") / "page"
        self._files = {
            path: ((page / name).read_bytes(), content_type)
            for path, (name, content_type) in FILES.items()
        }
        self._refused = (page / REFUSED).read_text(encoding="utf-8")
        self.app = web.Application(middlewares=[self._guarded], client_max_size=1024)
        self.app.add_routes(
            [
                *(web.get(path, self._file) for path in FILES),
                web.get("/live", self._live),
                web.get("/stream.mjpg", self._stream),
                web.get("/snapshot.png", self._snapshot),
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics_page),
            ]
        )
        self.app.on_response_prepare.append(_add_headers)
        self.app.on_shutdown.append(self._close_viewers)
        self.app.cleanup_ctx.append(self._fed)

    async def _fed(self, _: web.Application) -> AsyncGenerator[None]:
        feeding = asyncio.create_task(self._feed.run())
        yield
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding

    async def _close_viewers(self, _: web.Application) -> None:
        self._stopping.set()
        await asyncio.gather(
            *(viewer.close(code=WSCloseCode.GOING_AWAY) for viewer in self._viewers)
        )

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        token = request.query.get("token") or _bearer(request)
        refusal = self._guard.refusal(
            host=request.headers.get(hdrs.HOST, ""),
            origin=request.headers.get(hdrs.ORIGIN),
            token=token,
            cookie=request.cookies.get(self._cookie),
        )
        if refusal == "token" and request.path not in OPEN_TO_ALL:
            return self._ask_for_token(request, wrong=token is not None)
        if refusal in ADVICE:
            return web.Response(status=403, text=ADVICE[refusal])
        if request.path == "/" and "token" in request.query and self._guard.cookie:
            # The token leaves the address, before it gets into histories and screenshots.
            answer = web.Response(status=303, headers={hdrs.LOCATION: "./"})
            answer.set_cookie(
                self._cookie,
                self._guard.cookie,
                httponly=True,
                samesite="Lax",
                secure=request.secure,
            )
            return answer
        return await handler(request)

    def _ask_for_token(self, request: web.Request, *, wrong: bool) -> web.Response:
        headers = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="lfdn-video"'}
        what = "This is not the right token." if wrong else "This page needs its token."
        if request.path != "/":
            return web.Response(status=401, text=f"{what}\n", headers=headers)
        text = self._refused.replace("{what}", what)
        return web.Response(status=401, text=text, content_type="text/html", headers=headers)

    async def _file(self, request: web.Request) -> web.Response:
        content, content_type = self._files[request.path]
        return web.Response(body=content, content_type=content_type, charset="utf-8")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        self._make_sure_of_room()
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, compress=False, max_msg_size=1024)
        await socket.prepare(request)
        self._viewers.add(socket)
        self._metrics.viewers += 1
        try:
            await _Viewer(socket, self._feed).serve()
        finally:
            self._viewers.discard(socket)
            self._metrics.viewers -= 1
        return socket

    def _make_sure_of_room(self) -> None:
        if self._metrics.viewers >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} are watching already\n")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        side = request.query.get("show", "restored")
        if side not in ("raw", "restored"):
            return web.Response(status=400, text="show: raw or restored\n")
        self._make_sure_of_room()
        answer = web.StreamResponse()
        answer.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        await answer.prepare(request)
        self._metrics.viewers += 1
        try:
            await self._send_parts(answer, "raw" if side == "raw" else "restored")
        except ConnectionError:
            _log.debug("a viewer of the MJPEG stream left")
        finally:
            self._metrics.viewers -= 1
        return answer

    async def _send_parts(self, answer: web.StreamResponse, side: Any) -> None:
        number = 0
        while not self._stopping.is_set():
            try:
                view = await asyncio.wait_for(self._feed.newer(number), SHUTDOWN_S / 2)
            except TimeoutError:
                continue
            number = view.number
            content = await self._feed.jpeg(view, side)
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
            await answer.write(head.encode() + b"\r\n\r\n" + content + b"\r\n")
            await asyncio.sleep(SHORTEST_INTERVAL_S)

    async def _snapshot(self, request: web.Request) -> web.Response:
        wanted = request.query.get("show", "both")
        side = next((side for side in stills.SIDES if side == wanted), None)
        if side is None:
            return web.Response(status=400, text=f"show: {', '.join(stills.SIDES)}\n")
        view = self._feed.view
        if view is None:
            return web.Response(status=503, text="there was no picture yet\n")
        content = await asyncio.to_thread(stills.png, view, side)
        name = stills.name(view, side, self._feed.status.task)
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
        return web.Response(body=content, content_type="image/png", headers=headers)

    async def _healthz(self, _: web.Request) -> web.Response:
        healthy = self._feed.condition == "live"
        report = {"status": "ok" if healthy else "unavailable", **_numbers(self._feed)}
        return web.json_response(report, status=200 if healthy else 503)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        content, content_type = self._metrics.page(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=content, headers={hdrs.CONTENT_TYPE: content_type})


class _Viewer:
    """One page that watches.

    It asks for each picture, `next raw`, `next restored` or `next both`, so that its own speed is
    the one it gets; `again …` asks for the newest though it was sent before, `ping X` for `X` back.
    It is sent its numbers, `{"status": …}`, and pictures: four bytes with the length of a header in
    JSON, that header, and one JPEG or two. They are of one moment.
    """

    def __init__(self, socket: web.WebSocketResponse, feed: Feed) -> None:
        self._socket = socket
        self._feed = feed
        self._wishes: asyncio.Queue[str] = asyncio.Queue(AHEAD)
        self._sent = 0

    async def serve(self) -> None:
        """Until it leaves."""
        try:
            async with asyncio.TaskGroup() as group:
                senders = [
                    group.create_task(self._send_numbers()),
                    group.create_task(self._send_pictures()),
                ]
                async for message in self._socket:
                    if message.type is WSMsgType.TEXT:
                        await self._answer(message.data)
                for sender in senders:
                    sender.cancel()
        except* ConnectionError:
            _log.debug("a viewer of the page left")

    async def _answer(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == "next" and not self._wishes.full():
            self._wishes.put_nowait(rest)
        elif word == "again" and self._feed.view is not None:
            await self._socket.send_bytes(await self._packed(self._feed.view, rest))
        elif word == "ping":
            await self._socket.send_json({"pong": rest})

    async def _send_numbers(self) -> None:
        while True:
            await self._socket.send_json({"status": _numbers(self._feed)})
            await asyncio.sleep(STATUS_EVERY_S)

    async def _send_pictures(self) -> None:
        while True:
            wish = await self._wishes.get()
            view = await self._feed.newer(self._sent)
            self._sent = view.number
            await self._socket.send_bytes(await self._packed(view, wish))
            await asyncio.sleep(SHORTEST_INTERVAL_S)

    async def _packed(self, view: View, wish: str) -> bytes:
        coded = {}
        if wish != "restored":
            coded["raw"] = self._feed.jpeg(view, "raw")
        if wish != "raw":
            coded["restored"] = self._feed.jpeg(view, "restored")
        contents = await asyncio.gather(*coded.values())
        header = {
            "number": view.number,
            "captured_at": view.captured_at,
            "age_s": max(0.0, time.time() - view.captured_at),
            "sizes": dict(zip(coded, map(len, contents), strict=True)),
        }
        head = json.dumps(header).encode()
        return b"".join([len(head).to_bytes(4, "big"), head, *contents])


def _numbers(feed: Feed) -> dict[str, Any]:
    """What the page and `/healthz` show; times as seconds ago, for clocks differ."""
    status, now = feed.status, time.time()
    return {
        "state": feed.condition,
        "state_for_s": max(0.0, now - status.changed_at) if status.changed_at else None,
        "running_for_s": max(0.0, now - status.started_at) if status.started_at else None,
        "silent_s": feed.silent_s,
        "message": status.message,
        "source": status.source,
        "task": status.task,
        "size": status.size,
        "inference_scale": status.inference_scale,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "frames_dropped": status.frames_dropped,
        "reconnects": status.reconnects,
        "fps_in": status.fps_in,
        "fps_out": status.fps_out,
        "latency_s": status.latency_s,
        "max_latency_s": status.max_latency_s,
        "recording": status.recording,
    }


def _bearer(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def _add_headers(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(HEADERS)
