"""Live frames in files: playable at any moment, with their timestamps, nothing overwritten."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import pytest

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.files import Inputs
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import EncodeOptions
from lfdn_video.stream.sinks.live_writer import LiveWriter
from lfdn_video.stream.sinks.recording import Recording
from lfdn_video.stream.wire import AudioHeader, AudioPacket
from tests.support.clips import Clip
from tests.support.fakes import noise_frames, video_info
from tests.support.ffmpeg_program import TONE, VIDEO, make, probe
from tests.support.waiting import threads

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
ENDINGS = ["mkv", "mp4", "mov", "webm"]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Generator[None]:
    yield
    assert threads() == set()


def frames(count: int, info: VideoInfo | None = None) -> list[Frame]:
    info = info or video_info()
    return [replace(frame, info=info) for frame in noise_frames(info, count)]


def record(
    recording: Recording, frames: Sequence[Frame], *, from_s: float = 0.0, step_s: float = 0.04
) -> None:
    for number, frame in enumerate(frames):
        since_s = from_s + number * step_s
        recording.write_frame(frame, 100 + since_s, NOON + since_s)


def times(path: Path) -> list[float]:
    with open_reader(path) as reader:
        return [float(frame.pts * reader.info.time_base) for frame in reader.frames()]


@pytest.mark.parametrize("ending", ENDINGS)
def test_timestamps_are_those_of_the_captures(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"out.{ending}"
    with Recording(file) as recording:
        for frame, since_s in zip(frames(4), (0, 0.04, 0.5, 0.533), strict=True):
            recording.write_frame(frame, 100 + since_s, NOON + since_s)
    assert times(file) == pytest.approx([0, 0.04, 0.5, 0.533], abs=0.0011)  # milliseconds


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_creation_time_is_the_first_capture(ending: str, tmp_path: Path) -> None:
    with Recording(tmp_path / f"out.{ending}") as recording:
        record(recording, frames(2))
    with open_reader(tmp_path / f"out.{ending}") as reader:
        assert reader.info.metadata["creation_time"] == "2026-11-25T12:00:00.000000Z"


@pytest.mark.parametrize("ending", ENDINGS)
def test_unfinished_file_can_be_played(ending: str, tmp_path: Path) -> None:
    """The copy made while the file is open is what a kill would leave."""
    with Recording(tmp_path / f"out.{ending}") as recording:
        record(recording, frames(100))
        shutil.copy(tmp_path / f"out.{ending}", tmp_path / f"cut.{ending}")
    assert times(tmp_path / f"cut.{ending}")[-1] >= 99 * 0.04 - 0.5


def test_rare_frames_are_written_without_waiting_for_the_next(tmp_path: Path) -> None:
    with Recording(tmp_path / "out.mkv") as recording:
        record(recording, frames(10), step_s=0.9)
        shutil.copy(tmp_path / "out.mkv", tmp_path / "cut.mkv")
    assert len(times(tmp_path / "cut.mkv")) >= 9


def test_new_file_begins_at_every_multiple_of_the_interval(tmp_path: Path) -> None:
    with Recording(tmp_path / "cam_%H%M%S.mkv", rotate_s=2) as recording:
        record(recording, frames(10), from_s=1.0, step_s=0.5)
    assert [len(times(file)) for file in recording.files] == [2, 4, 4]
    assert len(set(recording.files)) == 3


def test_frame_of_another_size_begins_a_new_file(tmp_path: Path) -> None:
    with Recording(tmp_path / "out.mkv") as recording:
        record(recording, frames(3))
        record(recording, frames(2, video_info(height=64, width=32)), from_s=1)
    assert recording.files == [tmp_path / "out.mkv", tmp_path / "out-2.mkv"]
    with open_reader(tmp_path / "out-2.mkv") as reader:
        assert (reader.info.width, reader.info.height) == (32, 64)


def test_existing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        Recording(tmp_path / "out.mkv")
    assert (tmp_path / "out.mkv").read_bytes() == b"old"


def test_existing_file_is_overwritten_if_allowed(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").write_bytes(b"old")
    with Recording(tmp_path / "out.mkv", encode=EncodeOptions(overwrite=True)) as recording:
        record(recording, frames(3))
    assert len(times(tmp_path / "out.mkv")) == 3


def test_pattern_whose_name_is_taken_gets_a_number(tmp_path: Path) -> None:
    """A service that is restarted must not fail."""
    for _ in range(2):
        with Recording(tmp_path / "cam_%Y.mkv") as recording:
            record(recording, frames(2))
    assert recording.files == [tmp_path / "cam_2026-2.mkv"]


def test_dated_folders_are_made(tmp_path: Path) -> None:
    with Recording(tmp_path / "%Y" / "%m" / "cam.mkv") as recording:
        record(recording, frames(2))
    assert recording.files == [tmp_path / "2026" / "11" / "cam.mkv"]


def test_on_file_is_called_for_every_file_and_the_end(tmp_path: Path) -> None:
    called_with: list[Path | None] = []
    with Recording(tmp_path / "out.mkv", on_file=called_with.append) as recording:
        record(recording, frames(2))
    assert called_with == [tmp_path / "out.mkv", None]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.avi", {}, "has no extension to record to; use one of .mkv"),
        ("missing/out.mkv", {}, "does not exist"),
        ("out.mkv", {"codec": "nonsense"}, "is no encoder"),
        ("out.webm", {"codec": "libx264"}, "cannot hold libx264"),
        ("out.mkv", {"codec_options": {"nonsense": "1"}}, "no such option"),
    ],
)
def test_unusable_name_or_encoding_is_refused_before_the_first_frame(
    name: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises((OptionError, OutputError), match=words):
        Recording(tmp_path / name, encode=EncodeOptions(**options))


def audio_of(clip: Path) -> list[AudioHeader | AudioPacket]:
    """Read the audio of a file as messages of a source."""
    from lfdn_video.stream.capture.audio import forward_audio
    from lfdn_video.stream.capture.pacing import SourceClock

    audio: list[AudioHeader | AudioPacket] = []
    with av.open(str(clip)) as container:
        forwarder = forward_audio(container, audio.append, SourceClock())  # type: ignore[arg-type]
        assert forwarder is not None
        for packet in container.demux(forwarder.stream):
            if packet.size:
                forwarder.forward(packet, 100 + float(packet.pts or 0) * float(packet.time_base))
    return audio


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_audio_is_copied_with_its_frames(ending: str, tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(25)), audio="aac").make(tmp_path / "clip.mp4")
    file = tmp_path / f"out.{ending}"
    with Recording(file) as recording:
        for message in audio_of(clip):
            recording.add_audio(message)
        record(recording, frames(25))
    with av.open(str(file)) as container:
        (stream,) = container.streams.audio
        found = [packet for packet in container.demux(stream) if packet.size]
    assert stream.codec_context.name == "aac"
    assert 0.8 < float(sum(p.duration or 0 for p in found) * found[0].time_base) < 1.1


@pytest.mark.parametrize(
    ("codec", "ending", "becomes"),
    [
        ("pcm_mulaw", "mp4", "aac"),
        ("pcm_s16le", "mp4", "aac"),
        ("alac", "webm", "opus"),
        ("aac", "webm", "opus"),
    ],
)
def test_audio_that_the_container_cannot_hold_is_transcoded(
    codec: str, ending: str, becomes: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(25)), audio=codec).make(tmp_path / "clip.mov")
    file = tmp_path / f"out.{ending}"
    with Recording(file) as recording:
        for message in audio_of(clip):
            recording.add_audio(message)
        record(recording, frames(25))
    assert times(file) == pytest.approx([number / 25 for number in range(25)], abs=0.0011)
    with av.open(str(file)) as container:
        (stream,) = container.streams.audio
        decoded = list(container.decode(stream))
    assert stream.codec_context.codec.canonical_name == becomes
    assert decoded[0].time == pytest.approx(0, abs=0.05)
    assert 0.8 < sum(frame.samples for frame in decoded) / decoded[0].sample_rate < 1.1
    assert f"becomes {becomes}: {ending} cannot hold it" in caplog.text


def test_transcoded_audio_keeps_gaps_of_hours_and_survives_a_clock_set_back(
    tmp_path: Path,
) -> None:
    """A camera may be away for a night; silence for that long would take gigabytes."""
    clip = Clip(codec="libx264", pts=tuple(range(25)), audio="pcm_mulaw").make(tmp_path / "c.mov")
    header, *packets = audio_of(clip)
    assert isinstance(header, AudioHeader)
    file = tmp_path / "out.mp4"
    writer = LiveWriter(f"file:{file}", "mp4", video_info(), EncodeOptions(), audio=header)
    for shift_s in (0.0, 36_000.0, 35_990.0, 36_020.0):
        writer.write_frame(frames(1)[0], 100 + shift_s)
        for packet in packets:
            assert isinstance(packet, AudioPacket)
            writer.write_audio(replace(packet, stamp_s=packet.stamp_s + shift_s))
    writer.close()
    with av.open(str(file)) as container:
        found = [packet for packet in container.demux(audio=0) if packet.size]
    at_s = [float((packet.pts or 0) * packet.time_base) for packet in found]
    assert len([each for each in at_s if each < 2]) > 20
    assert len([each for each in at_s if 36_000 <= each < 36_002]) > 20
    assert len([each for each in at_s if 36_019 <= each < 36_022]) > 20
    assert len(at_s) < 400


def test_corrupt_audio_costs_no_frame(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(25)), audio="aac").make(tmp_path / "c.mov")
    with Recording(tmp_path / "out.webm") as recording:
        for message in audio_of(clip):
            if isinstance(message, AudioPacket):
                message = replace(message, content=b"no AAC")
            recording.add_audio(message)
        record(recording, frames(25))
    assert len(times(tmp_path / "out.webm")) == 25


def test_full_disk_is_an_output_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "out.mkv").symlink_to("/dev/full")
    recording = Recording(tmp_path / "out.mkv", encode=EncodeOptions(overwrite=True))
    with pytest.raises(OutputError, match="No space left"), recording:
        record(recording, frames(200))


def test_recording_is_tried_again_and_leaves_no_empty_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]

    def open_writer(*words: Any, **more: Any) -> LiveWriter:
        if broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return LiveWriter(*words, **more)

    monkeypatch.setattr("lfdn_video.stream.sinks.recording.LiveWriter", open_writer)
    failures: list[str] = []
    pattern = tmp_path / "%H%M%S.mkv"
    with Recording(pattern, on_failure=failures.append, retry_s=0.05) as recording:
        record(recording, frames(2))
        assert len(failures) == 1  # the second frame is too early
        time.sleep(0.06)
        record(recording, frames(1), from_s=1)
        assert len(failures) == 2
        broken.clear()
        time.sleep(0.06)
        record(recording, frames(3), from_s=2)
    (file,) = tmp_path.iterdir()
    assert len(times(file)) == 3


def test_recording_that_fails_ends_and_the_session_goes_on(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "out.mkv").symlink_to("/dev/full")
    failures: list[str] = []
    recording = Recording(
        tmp_path / "out.mkv", encode=EncodeOptions(overwrite=True), on_failure=failures.append
    )
    record(recording, frames(200))  # raises nothing
    assert len(failures) == 1
    assert "No space left" in failures[0]
    with pytest.raises(OutputError, match="No space left"):
        recording.__exit__(None, None, None)


@pytest.mark.parametrize("codec", ["pcm_alaw", "pcm_mulaw"])
def test_audio_beside_the_table_of_the_container_is_recorded(tmp_path: Path, codec: str) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(25)), audio=codec).make(tmp_path / "clip.mov")
    with Recording(tmp_path / "out.mkv") as recording:
        for message in audio_of(clip):
            recording.add_audio(message)
        record(recording, frames(25))
    with av.open(str(tmp_path / "out.mkv")) as container:
        (stream,) = container.streams.audio
        assert stream.codec_context.name == codec
        assert sum(packet.size > 0 for packet in container.demux(stream)) > 10


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize("codec", ["eac3", "adpcm_ima_wav", "alac", "g726"])
def test_audio_keeps_codec_and_channels_in_matroska(codec: str, tmp_path: Path) -> None:
    """Players of E-AC-3 that was called AC-3, or of ADPCM without channels, play nothing."""
    words = ("-c:v", "libx264", "-c:a", codec, "-ar", "8000" if codec == "g726" else "48000")
    clip = make(tmp_path / "clip.mkv", *VIDEO, *TONE, *words)
    with Recording(tmp_path / "out.mkv") as recording:
        for message in audio_of(clip):
            recording.add_audio(message)
        record(recording, frames(20))
    shown = ("-select_streams", "a", "-show_entries", "stream=codec_name,channels")
    assert probe(tmp_path / "out.mkv", *shown) == probe(clip, *shown)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_aac_of_a_transport_stream_is_recorded_and_plays(ending: str, tmp_path: Path) -> None:
    """There, each packet has its parameters, which MP4 wants in its header."""
    clip = Clip(codec="libx264", pts=tuple(range(25)), audio="aac").make(tmp_path / "clip.ts")
    file = tmp_path / f"out.{ending}"
    with Recording(file) as recording:
        for message in audio_of(clip):
            recording.add_audio(message)
        record(recording, frames(25))
    with av.open(str(file)) as container:
        decoded = [frame.samples for frame in container.decode(audio=0)]
        assert container.streams.audio[0].codec_context.extradata
    assert 0.8 < sum(decoded) / 48_000 < 1.1


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_hevc_has_the_tag_of_apples_players(ending: str, tmp_path: Path) -> None:
    options = EncodeOptions(codec="libx265", codec_options={"x265-params": "log-level=none"})
    with Recording(tmp_path / f"out.{ending}", encode=options) as recording:
        record(recording, frames(5))
    with av.open(str(tmp_path / f"out.{ending}")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("name", ["clip.mkv", "link.mkv", "hard.mkv"])
def test_recording_never_replaces_its_source(name: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(b"source")
    (tmp_path / "link.mkv").symlink_to(clip)
    (tmp_path / "hard.mkv").hardlink_to(clip)
    options = EncodeOptions(overwrite=True)
    with pytest.raises(OutputError, match="is the source itself"):
        Recording(tmp_path / name, encode=options, inputs=Inputs([clip]))
    assert clip.read_bytes() == b"source"


def test_dated_recording_never_replaces_its_source(tmp_path: Path) -> None:
    """The check at the start knows one name only; a later file may have another."""
    clip = tmp_path / datetime.fromtimestamp(1_000_000_000).astimezone().strftime("%Y.mkv")
    clip.write_bytes(b"source")
    options = EncodeOptions(overwrite=True)
    with Recording(tmp_path / "%Y.mkv", encode=options, inputs=Inputs([clip])) as recording:
        recording.write_frame(frames(1)[0], 0.0, 1_000_000_000)
    assert recording.files == [clip.with_stem(f"{clip.stem}-2")]
    assert clip.read_bytes() == b"source"
