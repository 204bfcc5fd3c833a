"""Recordings of a killed program play up to the last second; those of a stopped program are
complete."""

from __future__ import annotations

import json
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from lfdn_video.input.reader import Reader
from tests.support.programs import Program

SAMPLE = Path(__file__).parents[2] / "samples" / "rainy_dashcam.mp4"
LOST_S = 1.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


def recording(folder: Path, name: str) -> tuple[Path, Program]:
    file = folder / name
    return file, Program(folder, SAMPLE, "--loop", "--record", file, "--scale", "0.25")


def read_times(file: Path) -> tuple[list[float], Reader]:
    """The pts of its frames in seconds, and the reader, closed."""
    with Reader(file) as reader:
        return [float(frame.pts * reader.info.time_base) for frame in reader.frames()], reader


def began_at(reader: Reader) -> float:
    return datetime.fromisoformat(reader.info.metadata["creation_time"]).timestamp()


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_recording_of_a_killed_program_plays_up_to_the_last_second(
    name: str, tmp_path: Path
) -> None:
    file, program = recording(tmp_path, name)
    with program:
        status = program.wait_for_frames(20)
        program.stop(signal.SIGKILL)
    times, reader = read_times(file)
    # Frames of the second before the kill may be missing, but no older ones.
    assert len(times) >= status["frames_out"] - LOST_S * max(1.0, status["fps_out"])
    assert "audio" in [stream.type for stream in reader.info.streams]


def test_last_recorded_frame_was_captured_just_before_the_kill(tmp_path: Path) -> None:
    file, program = recording(tmp_path, "out.mkv")
    with program:
        status = program.wait_for_frames(40)
        killed_at = time.time()
        program.stop(signal.SIGKILL)
    times, reader = read_times(file)
    behind_s = killed_at - began_at(reader) - times[-1]
    frame_s = 1 / max(status["fps_out"], 0.1)  # the newest frame may not have been restored yet
    assert behind_s < LOST_S + status["latency_s"] + frame_s


def test_sigterm_leaves_a_complete_recording(tmp_path: Path) -> None:
    file, program = recording(tmp_path, "out.mkv")
    with program:
        program.wait_for_frames(20)
        exit_code, said = program.stop(signal.SIGTERM)
    times, reader = read_times(file)
    assert exit_code == 128 + signal.SIGTERM
    last = json.loads(said.splitlines()[-1])  # no error line comes after it
    assert (last["event"], last["state"], last["frames_out"]) == ("done", "ended", len(times))
    assert reader.warnings == []
    assert reader.info.duration_s == pytest.approx(times[-1], abs=1.0)
