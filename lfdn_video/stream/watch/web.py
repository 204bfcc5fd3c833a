"""The web page of a live stream: where it listens, and the thread that serves it.

    with serve(board, "0.0.0.0:8080") as page:
        print(page.url)

On any other address than this computer's own a token is needed, since a camera shows people. What
is served is `web_app.py`'s; it needs the extra `[web]`.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import quote, urlsplit

from lfdn_video.errors import OptionError
from lfdn_video.stream.board import Board
from lfdn_video.stream.watch.guard import SHORTEST_TOKEN, Guard, is_loopback, new_token

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_ADDRESS = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
EXTRA = ("aiohttp", "prometheus_client")
EVERY_ADDRESS = ("0.0.0.0", "::")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is being served. `url` has the token, if one is needed: show it, never log it."""

    url: str


@contextmanager
def serve(
    board: Board, address: str = DEFAULT_ADDRESS, *, token: str | None = None
) -> Generator[Page]:
    """Serve the page of `board` while the block runs.

    `address` is `host:port`, a host or a port; port 0 takes a free one. Without a `token` one is
    made if `address` can be reached from elsewhere. OptionError if it cannot be listened on, and if
    the extra `[web]` is missing.
    """
    _check_extra()
    host, port = _host_and_port(address)
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise OptionError(f"token: is too short; use {SHORTEST_TOKEN} characters or more")
    if token is None and not is_loopback(host):
        token = new_token()
    with ExitStack() as stack:
        listening = stack.enter_context(_listen(host, port))
        stack.enter_context(_thread(board, Guard(token), listening))
        yield Page(_url(host, listening.getsockname()[1], token))


def _check_extra() -> None:
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"the web page needs {' and '.join(missing)}; run pip install 'lfdn-video[web]'"
        )


def _host_and_port(address: str) -> tuple[str, int]:
    if address.isdecimal():
        address = f":{address}"
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or DEFAULT_HOST, parts.port
    except ValueError:  # a port that is no number, or too large; brackets that do not match
        host, port = "", None
    if not host or parts.netloc != address or "@" in address:
        raise OptionError(f"{address}: is no address; write HOST:PORT, as {DEFAULT_ADDRESS}")
    return host, DEFAULT_PORT if port is None else port


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        raise OptionError(
            f"{host}:{port}: cannot be listened on: {error.strerror}; choose another address"
        ) from error


def _url(host: str, port: int, token: str | None) -> str:
    if host in EVERY_ADDRESS:
        host = _own_address()
    shown = f"[{host}]" if ":" in host else host
    query = "" if token is None else f"?token={quote(token, safe='')}"
    return f"http://{shown}:{port}/{query}"


def _own_address() -> str:
    """By which others reach this computer, as far as it knows. Nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: any that is not here
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


@contextmanager
def _thread(board: Board, guard: Guard, listening: socket.socket) -> Generator[None]:
    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(
        target=_run, args=(board, guard, listening, started), name="web", daemon=True
    )
    thread.start()
    try:
        stop = started.result()
        try:
            yield
        finally:
            stop()
    finally:
        thread.join()


def _run(
    board: Board,
    guard: Guard,
    listening: socket.socket,
    started: Future[Callable[[], object]],
) -> None:
    """What the thread does. What goes wrong is the starter's, or later a line in the log."""
    try:
        from lfdn_video.stream.watch.web_app import run

        asyncio.run(run(board, guard, listening, started.set_result))
    except BaseException as error:  # noqa: BLE001 (handed over to the thread that waits for it)
        if not started.done():
            started.set_exception(error)
        else:
            _log.exception("the web page ended")
