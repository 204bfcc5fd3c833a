"""The short form of `benchmarks/live_record.py`: audio in sync, and a disk that is full."""

from pathlib import Path

import pytest

from benchmarks.live_record import record_over_udp, record_until_full

SECONDS = 10
LATE_S = 0.3
"""On a busy machine; without a common clock of audio and video it was half a second."""


@pytest.mark.needs_ffmpeg
def test_transport_stream_over_udp_is_recorded_in_sync(tmp_path: Path) -> None:
    found = record_over_udp(tmp_path, SECONDS, "out.mp4", "--network", "lite")
    assert found["codecs"] == ["h264", "aac"]
    late = found["audio_late_s"]
    assert late["tones"] >= 1
    assert abs(late["median"] - found["source_audio_late_s"]["median"]) < LATE_S


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_ends_the_recording_and_not_the_session(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").symlink_to("/dev/full")
    found = record_until_full(tmp_path / "out.mkv")
    assert "No space left" in found["recording_error"]
    assert found["metric"] == ["lfdn_video_recording_failed 1.0"]
    assert found["state_afterwards"] == "live"
    assert found["frames_later"] > found["frames_when_full"]
    assert found["exit_code"] == 1
