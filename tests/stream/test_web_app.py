"""The routes of the live page: page, frames, health, metrics, and access to them."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from email.message import Message
from importlib.resources import files
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from lfdn_video.stream.watch import health, stills, web_camera
from lfdn_video.stream.watch.web import serve
from tests.support.sessions import Session, living_board, running, view

TOKEN = "a token for tests"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes


def get(url: str, **headers: str) -> Answer:
    """Send a GET request; redirects are not followed."""
    request = urllib.request.Request(url, headers=headers)
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=10) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@pytest.fixture
def session() -> Generator[Session]:
    with running() as live:
        yield live


@pytest.fixture
def url(session: Session) -> Generator[str]:
    """Address of a page with frames, ending in a slash."""
    with serve(session.board, "127.0.0.1:0") as page:
        wait_until(lambda: get(f"{page.url}healthz").status == 200)
        yield page.url


@pytest.fixture
def locked(session: Session) -> Generator[str]:
    """Address of a page that requires `TOKEN`, without it."""
    with serve(session.board, "127.0.0.1:0", token=TOKEN) as page:
        yield page.url.partition("?")[0]


def wait_until(true: Any, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def receive_messages(url: str, *said: str, count: int) -> list[Any]:
    """Receive `count` messages of the WebSocket: JSON as values, frames as bytes."""

    async def talk() -> list[Any]:
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}live") as socket:
            for text in said:
                await socket.send_str(text)
            return [(await socket.receive(10)).data for _ in range(count)]

    return [
        json.loads(message) if isinstance(message, str) else message
        for message in asyncio.run(talk())
    ]


def unpack_frame(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    length = int.from_bytes(message[:4], "big")
    header = json.loads(message[4 : 4 + length])
    rest = message[4 + length :]
    contents = []
    for size in header["sizes"].values():
        contents.append(rest[:size])
        rest = rest[size:]
    assert rest == b""
    return header, contents


def test_page_is_served_as_html(url: str) -> None:
    answer = get(url)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["", "page.css", "shared.js", "page.js", "live", "nothing", "metrics"]
)
def test_every_response_forbids_caching_and_foreign_content(url: str, path: str) -> None:
    headers = get(f"{url}{path}").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_page_files_contain_no_foreign_addresses() -> None:
    page = files("lfdn_video.stream.watch") / "page"
    named = [
        file.name
        for file in page.iterdir()
        for part in file.read_text(encoding="utf-8").split("http")[1:]
        if part.startswith(("://", "s://")) and not part.startswith("://www.w3.org/2000/svg")
    ]
    assert named == []


def test_healthz_is_ok_while_frames_arrive(url: str) -> None:
    answer = get(f"{url}healthz")
    report = json.loads(answer.body)
    assert (answer.status, report["status"], report["state"]) == (200, "ok", "live")


def test_healthz_is_unavailable_when_the_source_is_dead(url: str, session: Session) -> None:
    session.dies("Connection timed out")
    answer = get(f"{url}healthz")
    report = json.loads(answer.body)
    assert (answer.status, report["state"]) == (503, "reconnecting")
    assert report["message"] == "Connection timed out"


def test_healthz_is_unavailable_without_fresh_frames(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH_S", -1.0)
    answer = get(f"{url}healthz")
    assert (answer.status, json.loads(answer.body)["state"]) == (503, "stalled")


def test_metrics_forget_viewers_that_left(url: str) -> None:
    receive_messages(url, count=1)
    wait_until(lambda: b"lfdn_video_viewers 0.0" in get(f"{url}metrics").body)


@pytest.mark.parametrize("side", ["raw", "restored", "both"])
def test_snapshot_is_a_named_png_of_the_side_asked_for(url: str, side: str) -> None:
    answer = get(f"{url}snapshot.png?show={side}")
    pixels = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (180, 640 if side == "both" else 320, 3)
    assert f'-{side}.png"' in answer.headers["Content-Disposition"]


@pytest.mark.parametrize("path", ["snapshot.png", "stream.mjpg"])
def test_unknown_side_is_refused(url: str, path: str) -> None:
    assert get(f"{url}{path}?show=nonsense").status == 400


def test_snapshot_before_the_first_frame_is_unavailable() -> None:
    with serve(living_board(), "127.0.0.1:0") as page:
        assert get(f"{page.url}snapshot.png").status == 503


def test_status_is_sent_unasked(url: str) -> None:
    (message,) = receive_messages(url, count=1)
    assert message["status"]["task"] == "derain"


def test_raw_and_restored_are_of_the_same_frame(url: str) -> None:
    messages = receive_messages(url, "next both", count=2)
    header, (raw, restored) = unpack_frame(next(m for m in messages if isinstance(m, bytes)))
    assert list(header["sizes"]) == ["raw", "restored"]
    number = header["number"]
    assert (raw, restored) == (
        stills.encode_jpeg(view(number).raw),
        stills.encode_jpeg(view(number).restored),
    )


@pytest.mark.parametrize("side", ["raw", "restored"])
def test_one_side_can_be_requested_alone(url: str, side: str) -> None:
    messages = receive_messages(url, f"next {side}", count=2)
    header, contents = unpack_frame(next(m for m in messages if isinstance(m, bytes)))
    assert (list(header["sizes"]), len(contents)) == ([side], 1)


def test_frame_is_sent_once_and_again_on_request(url: str, session: Session) -> None:
    session.dies("silence")
    time.sleep(0.2)
    messages = receive_messages(url, "next both", "next both", "again both", count=3)
    numbers = [unpack_frame(m)[0]["number"] for m in messages if isinstance(m, bytes)]
    assert len(numbers) == 2
    assert len(set(numbers)) == 1


@pytest.mark.parametrize(("said", "kept"), [("quality", "quality"), ("speed", "latency")])
def test_page_chooses_what_to_keep(url: str, session: Session, said: str, kept: str) -> None:
    receive_messages(url, f"prefer {said}", "ping 1", count=2)
    assert session.board.status.prefer == kept


def test_page_chooses_nothing_where_the_scale_is_fixed(url: str, session: Session) -> None:
    session.board.update(prefer=None)
    receive_messages(url, "prefer quality", "ping 1", count=2)
    assert session.board.status.prefer is None


def test_ping_is_answered(url: str) -> None:
    assert {"pong": "12.5"} in receive_messages(url, "ping 12.5", count=2)


def test_unknown_messages_are_ignored(url: str) -> None:
    messages = receive_messages(
        url, "drop table", "next", "", "ping 1", *["next raw"] * 20, count=3
    )
    assert {"pong": "1"} in messages


def test_stream_is_mjpeg(url: str) -> None:
    with urllib.request.urlopen(f"{url}stream.mjpg", timeout=10) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        start = stream.read(200)
    assert start.startswith(b"--picture\r\nContent-Type: image/jpeg\r\n")
    assert b"\r\n\r\n\xff\xd8" in start


def test_slow_viewer_does_not_hold_up_the_session(url: str, session: Session) -> None:
    with urllib.request.urlopen(f"{url}stream.mjpg", timeout=10):  # a viewer that reads nothing
        before = session.board.status.frames_out
        wait_until(lambda: session.board.status.frames_out > before + 10)


@pytest.mark.parametrize("path", ["live", "stream.mjpg"])
def test_viewers_beyond_the_limit_are_refused(
    url: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_camera, "MAX_VIEWERS", 0)
    assert get(f"{url}{path}").status == 503


def test_stopping_server_closes_sockets_with_going_away(session: Session) -> None:
    async def stay(url: str) -> int | None:
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}live") as socket:
            watching.set()
            async for _ in socket:
                pass
            return socket.close_code

    watching, codes = threading.Event(), list[int | None]()
    with serve(session.board, "127.0.0.1:0") as page:
        viewer = threading.Thread(target=lambda: codes.append(asyncio.run(stay(page.url))))
        viewer.start()
        assert watching.wait(10)
    viewer.join(10)
    assert codes == [1001]


@pytest.mark.parametrize(
    "path", ["", "page.js", "live", "stream.mjpg", "snapshot.png", "healthz", "metrics", "nothing"]
)
def test_nothing_is_served_without_the_token(locked: str, path: str) -> None:
    answer = get(f"{locked}{path}")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="lfdn-video"')
    assert b"camera.test" not in answer.body


def test_token_in_the_address_is_traded_for_a_cookie(locked: str) -> None:
    answer = get(f"{locked}?token={TOKEN.replace(' ', '+')}")
    cookie = answer.headers["Set-Cookie"]
    assert (answer.status, answer.headers["Location"]) == (303, "./")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert get(locked, Cookie=cookie.partition(";")[0]).status == 200


def test_wrong_token_leaves_the_address_too(locked: str) -> None:
    answer = get(f"{locked}?token=another+secret")
    assert (answer.status, answer.headers["Location"]) == (303, "./?wrong")
    assert "Set-Cookie" not in answer.headers
    asked = get(f"{locked}?wrong")
    assert asked.status == 401
    assert b"This is not the right token." in asked.body


def test_bearer_token_is_accepted(locked: str) -> None:
    assert get(f"{locked}metrics", Authorization=f"Bearer {TOKEN}").status == 200
    assert get(f"{locked}metrics", Authorization="Bearer wrong").status == 401
    assert get(f"{locked}metrics", Authorization=f"Basic {TOKEN}").status == 401


def test_foreign_host_name_is_refused(url: str) -> None:
    assert get(url, Host="evil.test").status == 403


def test_foreign_origin_cannot_open_the_socket(url: str) -> None:
    assert get(f"{url}live", Origin="http://evil.test").status == 403
