"""Serves the web page of live sessions: address, token, thread.

    with serve(board, "0.0.0.0:8080") as page:
        print(page.url)

An address that other computers can reach requires a token, since cameras show people. `web_app.py`
answers the requests; it needs the extra `[web]`.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import quote, urlsplit

from lfdn_video.errors import OptionError
from lfdn_video.stream.board import Board
from lfdn_video.stream.watch.guard import MIN_TOKEN_CHARACTERS, Guard, is_loopback, new_token

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_ADDRESS = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
EXTRA = ("aiohttp", "prometheus_client")
EVERY_ADDRESS = ("0.0.0.0", "::")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is being served."""

    url: str
    """Its address, including the token if one is required: show it, never log it."""


@contextmanager
def serve(
    board: Board | Sequence[Board], address: str = DEFAULT_ADDRESS, *, token: str | None = None
) -> Generator[Page]:
    """Serve the page of a session, or of several, while the block runs.

    Args:
        board: the session to show, or several, whose statuses name their cameras.
        address: `HOST:PORT`, a host or a port; port 0 chooses a free one.
        token: secret that viewers need. If None, one is generated if other computers can reach
            `address`; otherwise none is required.

    Yields:
        The page, ready for requests.

    Raises:
        OptionError: `address` or `token` cannot be used, or the extra `[web]` is not installed.
    """
    host, port = check_options(address, token)
    if token is None and not is_loopback(host):
        token = new_token()
    with ExitStack() as stack:
        listening = stack.enter_context(_listen(host, port))
        boards = [board] if isinstance(board, Board) else board
        stack.enter_context(_serving_thread(boards, Guard(token), listening))
        yield Page(_page_url(host, listening.getsockname()[1], token))


def check_options(address: str, token: str | None) -> tuple[str, int]:
    """Check what can be told before the page is served; `serve` does it, too.

    Args:
        address: `HOST:PORT`, a host or a port.
        token: the token; None: there is none, or it will be generated.

    Returns:
        Host and port.

    Raises:
        OptionError: one of them cannot be used, or the extra `[web]` is not installed.
    """
    _check_extra()
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        raise OptionError(f"token: is too short; use {MIN_TOKEN_CHARACTERS} characters or more")
    return _parse_address(address)


def _check_extra() -> None:
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"the web page needs {' and '.join(missing)}; run pip install 'lfdn-video[web]'"
        )


def _parse_address(address: str) -> tuple[str, int]:
    if address.isdecimal():
        address = f":{address}"
    try:
        parts = urlsplit(f"//{address}")
        host = parts.hostname or DEFAULT_HOST
        port = parts.port
    except ValueError:  # an invalid port, or unbalanced brackets
        host = ""
        port = None
    if not host or parts.netloc != address or "@" in address:
        raise OptionError(f"{address}: is not an address; use HOST:PORT, such as {DEFAULT_ADDRESS}")
    return host, DEFAULT_PORT if port is None else port


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, socket_address = found[0]
        return socket.create_server(socket_address[:2], family=family)
    except OSError as error:
        raise OptionError(
            f"{host}:{port}: cannot listen: {error.strerror}; choose another address"
        ) from error


def _page_url(host: str, port: int, token: str | None) -> str:
    if host in EVERY_ADDRESS:
        host = _own_address()
    shown = f"[{host}]" if ":" in host else host
    query = "" if token is None else f"?token={quote(token, safe='')}"
    return f"http://{shown}:{port}/{query}"


def _own_address() -> str:
    """Find the address at which others reach this computer. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # any foreign address; this one is for documentation
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


@contextmanager
def _serving_thread(
    boards: Sequence[Board], guard: Guard, listening: socket.socket
) -> Generator[None]:
    """Run the server in a thread while the block runs."""
    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(
        target=_run_server, args=(boards, guard, listening, started), name="web", daemon=True
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


def _run_server(
    boards: Sequence[Board],
    guard: Guard,
    listening: socket.socket,
    started: Future[Callable[[], object]],
) -> None:
    """Serve; raise an early error in the starting thread, and log a later one."""
    try:
        from lfdn_video.stream.watch.web_app import serve_until_stopped

        asyncio.run(serve_until_stopped(boards, guard, listening, started.set_result))
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        else:
            logger.exception("the web page ended")
