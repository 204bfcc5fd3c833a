"""The newest frame of a source, and the source kept open whatever happens to it."""

import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.errors import InputError
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import Source, parse_source
from lfdn_video.stream.capture import capture
from lfdn_video.stream.capture.capture import Capture, Captured, Patience
from tests.support.clips import Clip
from tests.support.waiting import threads, wait_until

TEST_SOURCE = "lavfi:testsrc2=size=64x48:rate=25"


class Told:
    """What a capture reports."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.messages: list[str] = []

    def __call__(self, state: str, message: str = "") -> None:
        self.states.append(state)
        self.messages.append(message)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def _no_thread_left() -> Generator[None]:
    yield
    assert threads() == set()


@pytest.fixture
def silent() -> Generator[str]:
    """The address of a server that accepts everybody and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://user:secret@127.0.0.1:{listening.getsockname()[1]}/video"


def capturing(source: str | Path | Source, told: Told, **more: Any) -> Capture:
    parsed = source if isinstance(source, Source) else parse_source(str(source))
    return Capture(wire.CaptureRequest(source=parsed), Patience(**more), report=told)


def taken(open_capture: Capture) -> Generator[Captured]:
    while not open_capture.over:
        if (frame := open_capture.take(0.5)) is not None:
            yield frame


def test_frames_that_nobody_takes_are_dropped_and_counted(told: Told) -> None:
    with capturing(TEST_SOURCE, told) as source:
        wait_until(lambda: source.counts.frames_in >= 10)
        first = source.take(0)
        assert first is not None
        assert first.number >= 10
    counts = source.counts
    assert counts.frames_in == 1 + counts.dropped


def test_a_file_ends_and_its_last_frame_is_not_lost(told: Told, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=tuple(range(5))).make(tmp_path / "clip.mkv")
    with capturing(clip, told) as source:
        numbers = [frame.number for frame in taken(source)]
    assert numbers[-1] == source.counts.frames_in == 5
    assert told.states == ["live"]


def test_times_are_those_of_capture_and_increase(told: Told) -> None:
    began = time.time()
    with capturing(TEST_SOURCE, told) as source:
        frames = [frame for frame, _ in zip(taken(source), range(5), strict=False)]
    stamps = [frame.stamp_s for frame in frames]
    assert stamps == sorted(set(stamps))
    assert all(began - 1 < frame.captured_at < time.time() for frame in frames)


def test_a_missing_file_is_an_error_at_once(told: Told) -> None:
    with capturing("nothing.mp4", told) as source, pytest.raises(InputError, match="no such file"):
        list(taken(source))


def test_a_missing_camera_is_an_error_at_once(told: Told) -> None:
    with capturing("/dev/video63", told) as source, pytest.raises(InputError, match="camera"):
        list(taken(source))


def test_an_address_is_tried_as_often_as_asked(told: Told) -> None:
    with (
        capturing("rtsp://user:secret@127.0.0.1:9/x", told, retries=1) as source,
        pytest.raises(InputError, match="Connection refused") as failed,
    ):
        list(taken(source))
    assert told.states == ["connecting"]
    assert "secret" not in f"{told.messages} {failed.value}"


def test_a_source_that_says_nothing_is_opened_again(
    told: Told, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is open all the time; that is not what is watched."""
    monkeypatch.setattr(capture, "OPENING_S", 1.0)
    request = wire.CaptureRequest(source=parse_source(silent), patience_s=60)
    with Capture(request, Patience(stall_s=1.0), report=told):
        wait_until(lambda: len(told.messages) >= 2)
    assert "no frame for 1 s" in told.messages[0]
    assert "secret" not in str(told.messages)


def test_who_waits_is_let_go_at_once_when_it_is_closed(told: Told, silent: str) -> None:
    with capturing(silent, told) as source:
        time.sleep(0.5)
        source.close()
        began_s = time.monotonic()
        assert source.take(60) is None
    assert time.monotonic() - began_s < 30


def test_a_process_that_is_killed_is_started_again(told: Told) -> None:
    with capturing(TEST_SOURCE, told) as source:
        source._goes_on = lambda tries: True  # type: ignore[method-assign]  # as for a camera
        wait_until(lambda: source.counts.frames_in >= 3)
        assert source._grabber is not None
        source._grabber.kill()
        wait_until(lambda: source.counts.reconnects == 1, "a reconnect")
    assert told.states[:3] == ["live", "reconnecting", "live"]
    assert "ended by itself" in told.messages[1]


def test_waits_grow_but_stay_below_what_a_returning_source_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outage = capture._Outage()
    assert [outage.next_wait_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    monkeypatch.setattr(time, "monotonic", lambda: outage._since_s + 3600)
    assert outage.next_wait_s() == 30
