"""`lfdn-video live` from the command line: results, output and refusals."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lfdn_video.cli import commands as cli
from lfdn_video.inference import engine
from lfdn_video.input.open import open_reader
from lfdn_video.stream.board import Board
from lfdn_video.stream.capture.cameras import Camera
from tests.support.clips import Clip
from tests.support.fakes import identity_engine
from tests.support.programs import tiny_weights
from tests.support.waiting import threads

TEST_SOURCE = "lavfi:testsrc2=size=64x48:rate=25"
SHORT_SOURCE = f"{TEST_SOURCE}:duration=1"


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())
    yield
    assert threads() == set()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Clip(codec="ffv1", pts=tuple(range(10))).make(tmp_path / "clip.mkv")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["live", *map(str, words)], prog_name="lfdn-video")


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_test_source_is_recorded_and_summed_up(tmp_path: Path) -> None:
    file = tmp_path / "out.mkv"
    result = run(SHORT_SOURCE, "--record", file)
    assert result.exit_code == 0, result.stderr
    last = result.stderr.splitlines()[-1]
    restored = re.search(r"(\d+) frames restored, \d+ dropped, 0 reconnects in", last)
    assert restored is not None
    with open_reader(file) as reader:
        assert sum(1 for _ in reader.frames()) == int(restored[1])


def test_events_are_start_status_and_done(clip: Path) -> None:
    result = run(clip, "--no-window", "--json")
    first, *between, last = events(result)
    assert (first["event"], last["event"], last["state"]) == ("start", "done", "ended")
    assert {each["event"] for each in between} == {"status"}
    assert last["frames_in"] == last["frames_out"] + last["frames_dropped"] == 10


def test_stdout_has_the_stream_only(clip: Path, tmp_path: Path) -> None:
    words = ["--out", "-", "--format", "raw", "--weights", str(tiny_weights(tmp_path))]
    done = subprocess.run(
        [sys.executable, "-m", "lfdn_video", "live", str(clip), *words],
        capture_output=True,
        check=True,
        timeout=300,
    )
    assert len(done.stdout) > 0
    assert len(done.stdout) % (64 * 48 * 3) == 0


def test_page_is_served_at_the_given_address(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[object] = []

    @contextmanager
    def serve(board: Board, address: str, *, token: str | None) -> Generator[SimpleNamespace]:
        served.extend([address, token])
        yield SimpleNamespace(url="http://127.0.0.1:1234/?token=abc")

    monkeypatch.setattr("lfdn_video.stream.watch.web.serve", serve)
    result = run(SHORT_SOURCE, "--web", "127.0.0.1:1234", "--token", "abc")
    assert result.exit_code == 0, result.stderr
    assert served == ["127.0.0.1:1234", "abc"]
    assert "watch it at http://127.0.0.1:1234/\n" in result.stderr


def test_window_is_shown_without_other_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in the main thread, and the command ends when it is closed."""
    thread_names: list[str] = []

    def watch(board: Board) -> None:
        while board.wait_for_view(0, timeout_s=0.1) is None:
            pass
        thread_names.append(threading.current_thread().name)

    monkeypatch.setattr("lfdn_video.stream.watch.screen.check_screen", lambda: None)
    monkeypatch.setattr("lfdn_video.stream.watch.preview.watch", watch)
    assert run(TEST_SOURCE).exit_code == 0
    assert thread_names == ["MainThread"]


def test_cameras_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lfdn_video.stream.capture.cameras.list_cameras",
        lambda: [Camera(2, "Webcam", "/dev/video2")],
    )
    assert "Webcam" in run("--list").stdout
    assert json.loads(run("--list", "--json").stdout) == {
        "cameras": [{"number": 2, "name": "Webcam", "device": "/dev/video2"}]
    }


def test_machine_without_cameras_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfdn_video.stream.capture.cameras.list_cameras", list)
    assert "no camera" in run("--list").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["0", "--camera", "1"], "SOURCE is given too"),
        ([TEST_SOURCE, "--out", "-", "--json"], "leave out --json"),
        ([TEST_SOURCE, "--rotate", "1h", "--no-window"], "add --record"),
        ([TEST_SOURCE, "--format", "raw", "--no-window"], "applies to --out - only"),
        ([TEST_SOURCE, "--max-latency", "0", "--no-window"], "must be above 0"),
        ([TEST_SOURCE, "--scale", "2", "--no-window"], "must be from 0.25 to 1"),
        ([TEST_SOURCE, "--scale", "big", "--no-window"], "neither auto nor a number"),
        (["ftp://user:secret@host/x", "--no-window"], "cannot be opened as a stream"),
        ([TEST_SOURCE, "--out", "http://user:secret@host/x"], "is not an address to push to"),
        ([TEST_SOURCE, "--record", "out.mkv", "--rotate", "soon"], "is not an interval"),
    ],
)
def test_impossible_options_are_usage_errors(words: list[str], message: str) -> None:
    result = run(*words)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.mp4", "--no-window"], "no such file"),
        (["--camera", "63", "--no-window"], "camera 63"),
        (["lavfi:nonsense", "--no-window"], "Filter not found"),
        ([TEST_SOURCE, "--record", "out.avi"], "has no extension to record to"),
    ],
)
def test_missing_source_or_target_is_one_error_line(words: list[str], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]


def test_no_output_contains_a_password(caplog: pytest.LogCaptureFixture) -> None:
    """A session whose address fails: its lines, its events and its log."""
    address = "rtsp://admin:topsecret@127.0.0.1:9/1?token=alsosecret"
    words = (address, "--retries", "1", "--no-window", "--verbose")
    with caplog.at_level(logging.DEBUG):
        pushed = run(*words, "--out", "rtmp://h/live/thirdsecret")
        results = [run(*words), run(*words, "--json"), pushed]
    everything = "".join(result.output + repr(result.exception) for result in results) + caplog.text
    assert "rtsp://***@127.0.0.1:9/1?token=***: connecting: Connection refused" in results[0].stderr
    assert re.findall("topsecret|alsosecret|thirdsecret", everything) == []


def test_repeated_trouble_is_reported_once() -> None:
    result = run("rtsp://127.0.0.1:9/1", "--retries", "2", "--no-window")
    lines = [line for line in result.stderr.splitlines() if "connecting: " in line]
    assert len(lines) == 1


@pytest.mark.parametrize("source", ["{clip}", "lavfi:movie={clip}"])
@pytest.mark.parametrize("name", ["clip.mkv", "hard.mkv"])
def test_recording_never_replaces_the_source(clip: Path, source: str, name: str) -> None:
    clip.with_name("hard.mkv").hardlink_to(clip)
    before = clip.read_bytes()
    words = (source.format(clip=clip), "--no-window", "--overwrite")
    result = run(*words, "--record", clip.with_name(name))
    assert result.exit_code == 1
    assert "is the source itself" in result.stderr
    assert clip.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--web", "rtsp://u:secret@h/1"], 2, "is not HOST:PORT; write SOURCE first"),
        (["--list", "foo.mp4"], 2, "takes no SOURCE"),
        (["{photo}", "--no-window"], 1, "is an image, not a stream"),
    ],
)
def test_misplaced_source_is_refused(
    words: list[str], code: int, message: str, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.touch()
    result = run(*(word.format(photo=photo) for word in words))
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert "secret" not in result.stderr


def test_durations_are_written_with_units(clip: Path) -> None:
    assert run(clip, "--no-window", "--duration", "5s", "--stall-timeout", "10s").exit_code == 0
