"""The newest frame of a source, and the source reopened whatever happens to it."""

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
from lfdn_video.stream.capture.capture import Capture, CapturedFrame
from lfdn_video.stream.capture.reconnect import Patience
from tests.support.clips import Clip
from tests.support.waiting import threads, wait_until

TEST_SOURCE = "lavfi:testsrc2=size=64x48:rate=25"


class StateLog:
    """A listener that records the states of a capture."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.messages: list[str] = []

    def __call__(self, state: str, message: str = "") -> None:
        self.states.append(state)
        self.messages.append(message)


@pytest.fixture
def state_log() -> StateLog:
    return StateLog()


@pytest.fixture(autouse=True)
def _no_thread_left() -> Generator[None]:
    yield
    assert threads() == set()


@pytest.fixture
def silent() -> Generator[str]:
    """The address of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://user:secret@127.0.0.1:{listening.getsockname()[1]}/video"


def capturing(source: str | Path | Source, state_log: StateLog, **more: Any) -> Capture:
    parsed = source if isinstance(source, Source) else parse_source(str(source))
    return Capture(wire.CaptureRequest(source=parsed), Patience(**more), on_state=state_log)


def fetch_all(open_capture: Capture) -> Generator[CapturedFrame]:
    while not open_capture.ended:
        if (frame := open_capture.wait_for_frame(0.5)) is not None:
            yield frame


def test_frames_that_nobody_fetches_are_dropped_and_counted(state_log: StateLog) -> None:
    with capturing(TEST_SOURCE, state_log) as source:
        wait_until(lambda: source.counts.frames_in >= 10)
        first = source.wait_for_frame(0)
        assert first is not None
        assert first.number >= 10
    counts = source.counts
    assert counts.frames_in == 1 + counts.dropped


def test_file_ends_and_its_last_frame_is_not_lost(state_log: StateLog, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=tuple(range(5))).make(tmp_path / "clip.mkv")
    with capturing(clip, state_log) as source:
        numbers = [frame.number for frame in fetch_all(source)]
    assert numbers[-1] == source.counts.frames_in == 5
    assert state_log.states == ["live"]


def test_stamps_are_times_of_capture_and_increase(state_log: StateLog) -> None:
    began = time.time()
    with capturing(TEST_SOURCE, state_log) as source:
        frames = [frame for frame, _ in zip(fetch_all(source), range(5), strict=False)]
    stamps = [frame.stamp_s for frame in frames]
    assert stamps == sorted(set(stamps))
    assert all(began - 1 < frame.captured_at < time.time() for frame in frames)


def test_missing_file_is_an_error_at_once(state_log: StateLog) -> None:
    with (
        capturing("nothing.mp4", state_log) as source,
        pytest.raises(InputError, match="no such file"),
    ):
        list(fetch_all(source))


def test_missing_camera_is_an_error_at_once(state_log: StateLog) -> None:
    with capturing("/dev/video63", state_log) as source, pytest.raises(InputError, match="camera"):
        list(fetch_all(source))


def test_address_is_retried_as_often_as_asked(state_log: StateLog) -> None:
    with (
        capturing("rtsp://user:secret@127.0.0.1:9/x", state_log, retries=1) as source,
        pytest.raises(InputError, match="Connection refused") as failed,
    ):
        list(fetch_all(source))
    assert state_log.states == ["connecting"]
    assert "secret" not in f"{state_log.messages} {failed.value}"


def test_silent_source_is_opened_again(
    state_log: StateLog, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket stays open all the time: frames are watched, not sockets."""
    monkeypatch.setattr(capture, "OPENING_S", 1.0)
    request = wire.CaptureRequest(source=parse_source(silent), patience_s=60)
    with Capture(request, Patience(stall_s=1.0), on_state=state_log):
        wait_until(lambda: len(state_log.messages) >= 2)
    assert "no frame for 1 s" in state_log.messages[0]
    assert "secret" not in str(state_log.messages)


def test_close_ends_a_wait_for_a_frame_at_once(state_log: StateLog, silent: str) -> None:
    with capturing(silent, state_log) as source:
        time.sleep(0.5)
        source.close()
        began_s = time.monotonic()
        assert source.wait_for_frame(60) is None
    assert time.monotonic() - began_s < 30


def test_killed_grabber_is_started_again(state_log: StateLog) -> None:
    with capturing(TEST_SOURCE, state_log) as source:
        source._may_retry = lambda tries: True  # type: ignore[method-assign]  # as for a camera
        wait_until(lambda: source.counts.frames_in >= 3)
        assert source._grabber is not None
        source._grabber.kill()
        wait_until(lambda: source.counts.reconnects == 1, "a reconnect")
    assert state_log.states[:3] == ["live", "reconnecting", "live"]
    assert "exited unexpectedly" in state_log.messages[1]
