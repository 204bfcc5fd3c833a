"""The address of the page, its token, and that nothing remains after serving."""

import logging
import socket
import threading
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from lfdn_video.errors import InputError, OptionError
from lfdn_video.options import LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.session import Session
from lfdn_video.stream.watch import web
from lfdn_video.stream.watch.web import serve
from tests.support.fakes import identity_engine
from tests.support.sessions import living_board

EVERYWHERE = "0.0.0.0:0"


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def body(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def test_loopback_address_needs_no_token() -> None:
    with serve(living_board(), "127.0.0.1:0") as page:
        assert urlsplit(page.url).query == ""
        assert status(page.url) == 200


def test_password_of_the_source_is_on_no_page() -> None:
    """The camera refuses the connection, and FFmpeg's error contains the address."""
    source = parse_source("rtsp://viewer:hunter2@127.0.0.1:9/door?key=hunter2")
    board = Board(Status(source=str(source), task="derain"))
    session = Session(source, board, LiveOptions(retries=0))
    with serve(board, "127.0.0.1:0") as page, identity_engine() as engine:
        with pytest.raises(InputError, match="refused"):
            list(session.frames(engine))
        bodies = [body(page.url + path) for path in ("", "page.js", "healthz", "metrics")]
    assert "127.0.0.1:9" in bodies[2] + bodies[3]
    assert not any("hunter2" in each for each in bodies)


def test_other_address_gets_a_token() -> None:
    with serve(living_board(), EVERYWHERE) as page:
        parts = urlsplit(page.url)
        (token,) = parse_qs(parts.query)["token"]
        here = f"http://127.0.0.1:{parts.port}/"
        assert (status(here), status(f"{here}?token={token}x")) == (401, 401)
        assert status(f"{here}healthz?token={token}") == 503  # access, but no frame yet


def test_each_start_generates_another_token() -> None:
    with serve(living_board(), EVERYWHERE) as one, serve(living_board(), EVERYWHERE) as other:
        assert urlsplit(one.url).query != urlsplit(other.url).query


def test_given_token_is_required_on_loopback_too() -> None:
    with serve(living_board(), "localhost:0", token="eight & more") as page:
        assert page.url.endswith("/?token=eight%20%26%20more")
        assert status(page.url.partition("?")[0]) == 401


def test_short_token_is_refused() -> None:
    with pytest.raises(OptionError, match="token: is too short"), serve(living_board(), token="me"):
        pass


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("", ("127.0.0.1", 8080)),
        ("8000", ("127.0.0.1", 8000)),
        (":8000", ("127.0.0.1", 8000)),
        ("localhost", ("localhost", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:8000", ("::1", 8000)),
        ("192.168.1.5:0", ("192.168.1.5", 0)),
    ],
)
def test_address_is_parsed_with_defaults(address: str, found: tuple[str, int]) -> None:
    assert web._parse_address(address) == found


@pytest.mark.parametrize(
    "address", ["localhost:http", "localhost:70000", "http://localhost", "a@b:1", "[::1", "a/b"]
)
def test_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="is not an address; use HOST:PORT"):
        web._parse_address(address)


def test_port_in_use_is_an_option_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(OptionError, match="cannot listen: Address already in use"),
            serve(living_board(), address),
        ):
            pass


def test_foreign_address_is_an_option_error() -> None:
    with (
        pytest.raises(OptionError, match="cannot listen: "),
        serve(living_board(), "203.0.113.7:0"),  # an address that is not this computer's
    ):
        pass


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    with (
        pytest.raises(OptionError, match=r"pip install 'lfdn-video\[web\]'"),
        serve(living_board(), "127.0.0.1:0"),
    ):
        pass


def test_server_leaves_no_thread() -> None:
    before = threading.active_count()
    with serve(living_board(), "127.0.0.1:0") as page:
        status(page.url)
    assert threading.active_count() == before


def test_port_is_free_after_serving() -> None:
    with serve(living_board(), "127.0.0.1:0") as page:
        port = urlsplit(page.url).port
    with serve(living_board(), f"127.0.0.1:{port}") as again:
        assert status(again.url) == 200


def test_error_of_the_server_thread_is_raised_by_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("lfdn_video.stream.watch.web_app.serve_until_stopped", broken)
    with pytest.raises(ZeroDivisionError), serve(living_board(), "127.0.0.1:0"):
        pass


def test_token_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(living_board(), EVERYWHERE) as page:
        token = parse_qs(urlsplit(page.url).query)["token"][0]
        port = urlsplit(page.url).port
        for path in ("/", "/healthz", "/metrics", "/nothing", "/snapshot.png"):
            status(f"http://127.0.0.1:{port}{path}?token={token}")
        for request in (f"GET /?token={token} HTTP/9\r\n\r\n", f"G(T /?token={token} x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(request.encode())
                client.recv(1024)
    assert token not in caplog.text
