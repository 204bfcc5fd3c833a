"""A stream pushed to players and servers, also to servers that are missing or hang."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from lfdn_video.background import Worker
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.stream.sinks import push
from lfdn_video.stream.sinks.push import Push
from lfdn_video.stream.sinks.pusher import ffmpeg_address
from tests.support import rtsp
from tests.support.fakes import noise_frames, video_info
from tests.support.waiting import threads, wait_until


@pytest.fixture(autouse=True)
def _no_thread_left() -> Generator[None]:
    yield
    assert threads() == set()


def frames(count: int) -> list[Frame]:
    info = video_info()
    return [replace(frame, info=info) for frame in noise_frames(info, count)]


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write(pushed: Push, frame: Frame) -> bool:
    """Write a frame now; return False, so that waiting goes on."""
    pushed.write_frame(frame, time.monotonic(), time.time())
    time.sleep(0.02)
    return False


def push_to_player(target: str, played: str, options: dict[str, str]) -> list[int]:
    """Push to `target` until a player of `played` has decoded three frames; return their widths."""
    seen: list[int] = []

    def play() -> None:
        with av.open(played, "r", options=options) as container:
            for frame in container.decode(video=0):
                seen.append(frame.width)
                if len(seen) == 3:
                    return

    player = Worker(play, name="player")
    with Push(target) as pushed:
        wait_until(lambda: write(pushed, frames(1)[0]) or len(seen) >= 3, "playing")
    player.result()
    return seen


def test_player_receives_mpeg_ts_over_udp() -> None:
    target = f"udp://127.0.0.1:{free_udp_port()}"
    assert push_to_player(target, f"{target}?timeout=60000000", {}) == [64] * 3


def test_server_receives_flv_over_rtmp() -> None:
    """FFmpeg itself is the server."""
    target = f"rtmp://127.0.0.1:{rtsp.free_port()}/live/key"
    assert push_to_player(target, target, {"listen": "1"}) == [64] * 3


@pytest.mark.skipif(not rtsp.is_there(), reason=f"needs {rtsp.NEEDED}")
def test_server_receives_the_stream_over_rtsp(tmp_path: Path) -> None:
    received = tmp_path / "received.mkv"
    with rtsp.Server(tmp_path, received=received.name) as server, Push(server.address) as pushed:
        wait_until(
            lambda: (
                write(pushed, frames(1)[0])
                or (received.exists() and received.stat().st_size > 20_000)
            ),
            "receiving",
        )
        assert pushed.connections == 1


def test_missing_protocol_raises_an_error_without_secrets() -> None:
    """PyAV's FFmpeg has no SRT."""
    with Push("srt://127.0.0.1:9?passphrase=secretsecret") as pushed:
        with pytest.raises(OutputError, match="srt://") as failed:
            wait_until(lambda: write(pushed, frames(1)[0]))
        assert "secretsecret" not in str(failed.value)


def test_missing_server_is_retried_and_its_key_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Push("rtmp://127.0.0.1:9/live/streamkey") as pushed:
        wait_until(lambda: write(pushed, frames(1)[0]) or pushed.connections >= 2)
    assert "rtmp://127.0.0.1:9/live/***: " in caplog.text
    assert "streamkey" not in caplog.text


def test_hanging_server_is_connected_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "STUCK_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = f"rtmp://127.0.0.1:{listening.getsockname()[1]}/live/key"
        large = video_info(height=1080, width=1920)
        frame = replace(noise_frames(large, 1)[0], info=large)
        with Push(target) as pushed:
            wait_until(lambda: write(pushed, frame) or pushed.connections >= 2)


def test_writing_never_waits_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one accepts the connection and then says nothing."""
    monkeypatch.setattr(push, "ENDING_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = f"rtmp://127.0.0.1:{listening.getsockname()[1]}/live/key"
        with Push(target) as pushed:
            frame = frames(1)[0]
            began_s = time.monotonic()
            for _ in range(1000):
                pushed.write_frame(frame, time.monotonic(), time.time())
            assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("http://host/x", {}, "is not an address to push to"),
        ("out.mkv", {}, "is not an address to push to"),
        ("rtmp://user:secret@host/live", {"codec": "ffv1"}, "cannot hold"),
        ("udp://127.0.0.1:1", {"codec": "nonsense"}, "is no encoder"),
    ],
)
def test_unusable_target_or_encoding_is_refused_at_once(
    target: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        Push(target, encode=EncodeOptions(**options))
    assert "secret" not in str(refused.value)


def test_udp_packets_hold_whole_mpeg_ts_packets() -> None:
    assert ffmpeg_address("udp://host:1") == "udp://host:1?pkt_size=1316"
    assert ffmpeg_address("udp://host:1?ttl=2") == "udp://host:1?ttl=2&pkt_size=1316"
    assert ffmpeg_address("rtmp://host/live") == "rtmp://host/live"
