"""Live from a real RTSP server that goes away, comes back, and wants a password."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from lfdn_video.background import Worker
from lfdn_video.options import LiveOptions
from lfdn_video.stream.addresses import mask_secrets, parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.session import Session
from tests.support import rtsp
from tests.support.fakes import identity_engine
from tests.support.programs import Program
from tests.support.waiting import threads, wait_until

RESUMED_S = 30.0
AWAY_S = (0.5, 3.0, 6.0)
"""`benchmarks/live.py rtsp` is the long form: 15 seconds each, resumed within ten. Here both are
looser, for busy machines."""

pytestmark = pytest.mark.skipif(not rtsp.is_there(), reason=f"needs {rtsp.NEEDED}")


@pytest.fixture
def server(tmp_path: Path) -> Generator[rtsp.Server]:
    with rtsp.Server(tmp_path, login="user:topsecret") as running:
        yield running


class Watched:
    """A session that runs in a thread."""

    def __init__(self, address: str) -> None:
        self.board = Board(Status(source=mask_secrets(address), task="derain"))
        self._session = Session(parse_source(address), self.board, LiveOptions())
        self._worker = Worker(self._run, name="model")

    def _run(self) -> None:
        with identity_engine() as engine:
            for _ in self._session.frames(engine):
                pass

    def wait_for(self, frames: int) -> None:
        wait_until(lambda: self.board.status.frames_out >= frames, f"{frames} frames")

    def stop(self) -> Status:
        self._session.stop()
        self._worker.result()
        return self.board.status


def test_session_reconnects_each_time_the_server_returns(server: rtsp.Server) -> None:
    watched = Watched(server.address)
    watched.wait_for(10)
    resumed_s = []
    for away_s in AWAY_S:
        server.kill()
        wait_until(lambda: watched.board.status.state == "reconnecting")
        time.sleep(away_s)
        server.start()
        before, began_s = watched.board.status.frames_out, time.monotonic()
        watched.wait_for(before + 1)
        resumed_s.append(time.monotonic() - began_s)
    status = watched.stop()
    assert max(resumed_s) <= RESUMED_S, resumed_s
    assert status.reconnects == len(AWAY_S)
    assert status.frames_in == status.frames_out + status.frames_dropped
    assert threads() == set()


def count_frames() -> int:
    gc.collect()
    return sum(type(each).__name__ == "Frame" for each in gc.get_objects())


def test_memory_does_not_grow_with_reconnects(server: rtsp.Server) -> None:
    """Frames are what could pile up; other tests' modules may hold some of their own."""
    before = count_frames()
    watched = Watched(server.address)
    watched.wait_for(5)
    for _ in range(2):
        server.kill()
        wait_until(lambda: watched.board.status.state == "reconnecting")
        server.start()
        watched.wait_for(watched.board.status.frames_out + 5)
    watched.stop()
    assert count_frames() - before <= 2


def test_status_and_log_never_show_the_password(
    server: rtsp.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither while the server is there nor while it is away, at the most detailed log level."""
    with caplog.at_level(logging.DEBUG):
        watched = Watched(server.address)
        watched.wait_for(5)
        live = repr(watched.board.status)
        server.kill()
        wait_until(lambda: watched.board.status.message)
        away = repr(watched.board.status)
        watched.stop()
    assert "***@127.0.0.1" in away
    assert "topsecret" not in live + away + caplog.text + repr(watched.board.status)


def test_error_on_a_wrong_password_does_not_show_it(server: rtsp.Server) -> None:
    address = server.address.replace("topsecret", "wrongsecret")
    session = Session(
        parse_source(address), Board(Status(source="", task="")), LiveOptions(retries=0)
    )
    with identity_engine() as engine, pytest.raises(Exception, match="nauthorized") as refused:
        list(session.frames(engine))
    assert "wrongsecret" not in str(refused.value)


def test_command_records_a_stream_and_never_shows_its_password(
    server: rtsp.Server, tmp_path: Path
) -> None:
    file = tmp_path / "out.mkv"
    with Program(tmp_path, server.address, "--record", file, "--verbose") as program:
        program.wait_for_frames(5)
        server.kill()
        next(status for status in program.statuses() if status["state"] == "reconnecting")
        _, said = program.stop(15)
    assert file.stat().st_size > 0
    assert "topsecret" not in said + repr(program.events)
    assert b"topsecret" not in file.read_bytes()
