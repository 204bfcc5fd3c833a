"""The routes of the page with all cameras, and of each camera below it."""

import json
from collections.abc import Generator
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.web import serve
from tests.stream.test_web_app import TOKEN, get, receive_messages, unpack_frame, wait_until
from tests.support.sessions import Session, living_board

NAMES = ("door", "yard")


@pytest.fixture
def sessions() -> Generator[list[Session]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Session(living_board(camera=name))) for name in NAMES]


@pytest.fixture
def url(sessions: list[Session]) -> Generator[str]:
    with serve([session.board for session in sessions], "127.0.0.1:0") as page:
        wait_until(lambda: json.loads(get(f"{page.url}healthz").body)["live"] == 2)
        yield page.url


@pytest.mark.parametrize(
    "path",
    ["", "wall.css", "wall.js", "shared.js", "page.css", "cameras/door/", "cameras/yard/page.js"],
)
def test_pages_and_their_files_are_served(url: str, path: str) -> None:
    assert get(f"{url}{path}").status == 200


@pytest.mark.parametrize("path", ["stream.mjpg", "snapshot.png", "cameras/none/", "cameras/door"])
def test_there_is_no_camera_without_its_name(url: str, path: str) -> None:
    assert get(f"{url}{path}").status == 404


def test_health_is_that_of_all(url: str, sessions: list[Session]) -> None:
    sessions[0].dies("unplugged")
    answer = get(f"{url}healthz")
    report = json.loads(answer.body)
    assert (answer.status, report["status"], report["live"]) == (200, "ok", 1)
    assert [each["camera"] for each in report["cameras"]] == list(NAMES)
    assert get(f"{url}cameras/door/healthz").status == 503
    assert get(f"{url}cameras/yard/healthz").status == 200
    sessions[1].dies("unplugged, too")
    answer = get(f"{url}healthz")
    assert (answer.status, json.loads(answer.body)["status"]) == (503, "unavailable")


def test_metrics_have_the_camera_as_label(url: str) -> None:
    content = get(f"{url}metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(content)}
    for name in ("frames_in", "latency_seconds", "state", "stage_seconds", "recording"):
        labels = {sample.labels["camera"] for sample in families[f"lfdn_video_{name}"].samples}
        assert labels == set(NAMES)
    (viewers,) = families["lfdn_video_viewers"].samples
    assert viewers.labels == {}  # of the whole page


def test_small_frames_come_when_they_are_asked_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "SMALL_WIDTH_PX", 80)
    messages = receive_messages(url, "next door", "next yard", "again yard", "next none", count=6)
    frames = [unpack_frame(message) for message in messages if isinstance(message, bytes)]
    assert {header["camera"] for header, _ in frames} == set(NAMES)
    for _, (content,) in frames:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (45, 80, 3)
    status = next(message for message in messages if isinstance(message, dict))["status"]
    assert [each["camera"] for each in status["cameras"]] == list(NAMES)


def test_camera_has_its_own_page_and_snapshot(url: str) -> None:
    (message,) = receive_messages(f"{url}cameras/yard/", count=1)
    assert message["status"]["camera"] == "yard"
    answer = get(f"{url}cameras/door/snapshot.png")
    assert 'filename="door-' in answer.headers["Content-Disposition"]


def test_token_opens_the_page_of_a_camera_and_all_others(sessions: list[Session]) -> None:
    with serve([session.board for session in sessions], "127.0.0.1:0", token=TOKEN) as page:
        url = page.url.partition("?")[0]
        assert get(f"{url}cameras/door/").status == 401
        assert get(f"{url}cameras/door/snapshot.png").status == 401
        assert get(f"{url}cameras/door/page.css").status == 200  # of the page that asks for it
        answer = get(f"{url}cameras/door/?token={TOKEN.replace(' ', '%20')}")
        assert (answer.status, answer.headers["Location"]) == (303, "./")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert "Path=/" in answer.headers["Set-Cookie"]
        assert get(f"{url}cameras/yard/", Cookie=cookie).status == 200
        assert get(url, Cookie=cookie).status == 200
