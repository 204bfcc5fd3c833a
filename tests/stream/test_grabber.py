"""Messages of the grabber, called here without its process."""

from pathlib import Path
from typing import Any

import pytest

from lfdn_video.stream import wire
from lfdn_video.stream.addresses import Source, parse_source
from lfdn_video.stream.capture import grabber
from tests.support.clips import Clip, changing_size, planes

SHORT = Clip(codec="ffv1", pts=tuple(range(6)))


def grab_all(source: str | Path, **more: Any) -> list[Any]:
    messages: list[Any] = []
    grabber.grab(wire.CaptureRequest(source=parse_source(str(source)), **more), messages.append)
    return messages


def frames_in(messages: list[Any]) -> list[wire.StampedFrame]:
    return [each for each in messages if isinstance(each, wire.StampedFrame)]


def test_file_gives_every_frame_unchanged_and_then_the_end(tmp_path: Path) -> None:
    clip = SHORT.make(tmp_path / "clip.mkv")
    *_, last = messages = grab_all(clip)
    assert [[plane.tobytes() for plane in p.frame.planes] for p in frames_in(messages)] == planes(
        clip
    )
    assert last == wire.Ended()


def test_file_is_played_in_real_time(tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=(0, 5, 10)).make(tmp_path / "clip.mkv")
    stamps = [frame.stamp_s for frame in frames_in(grab_all(clip))]
    # An upper limit would be one for the machine's load.
    assert stamps[-1] - stamps[0] >= 0.4 - 0.05


def test_test_source_gives_its_frames() -> None:
    messages = grab_all("lavfi:testsrc2=size=64x48:rate=25:duration=0.2")
    assert [p.frame.width for p in frames_in(messages)] == [64] * 5
    assert messages[-1].error is None


def test_frames_of_another_size_have_an_info_of_that_size(tmp_path: Path) -> None:
    messages = grab_all(changing_size(tmp_path / "clip.mkv"))
    infos = [p.frame.info for p in frames_in(messages)]
    assert [(info.width, info.height) for info in infos if info is not None] == [
        *[(64, 48)] * 5,
        *[(32, 64)] * 5,
    ]


def test_audio_has_one_header_and_the_clock_of_the_frames(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(10)), audio="aac").make(tmp_path / "clip.mp4")
    messages = grab_all(clip, audio=True)
    assert [type(each) for each in messages].count(wire.AudioHeader) == 1
    audio = [each for each in messages if isinstance(each, wire.AudioPacket)]
    first = frames_in(messages)[0].stamp_s
    assert audio
    assert all(-0.5 < packet.stamp_s - first < 5 for packet in audio)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing.mp4", "no such file"),
        (__file__, "not a video"),
        ("lavfi:nonsense", "Filter not found"),
        ("rtsp://user:secret@127.0.0.1:9/x", "Connection refused"),
    ],
)
def test_source_that_cannot_be_opened_ends_with_the_reason(source: str, words: str) -> None:
    (ended,) = grab_all(source)
    assert words in ended.error
    assert "secret" not in ended.error


def test_protocol_ffmpeg_was_built_without_is_a_final_error() -> None:
    (ended,) = grab_all("srt://127.0.0.1:9?passphrase=secretsecret")
    assert ended.final
    assert "srt://127.0.0.1:9?passphrase=***: this FFmpeg was built without srt://" in ended.error


def test_playlist_may_not_open_other_files(tmp_path: Path) -> None:
    clip = SHORT.make(tmp_path / "clip.mkv")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{clip}\n")
    (ended,) = grab_all(playlist)
    assert "is a playlist" in ended.error


def test_opencv_reads_a_camera_that_ffmpeg_cannot_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands in for the camera: OpenCV reads those too."""
    clip = Clip(codec="mpeg4", pts=tuple(range(5))).make(tmp_path / "clip.mp4")
    monkeypatch.setattr(grabber, "find_ffmpeg_device", lambda _: None)
    source = Source("camera", str(clip))
    messages: list[Any] = []
    grabber.grab(wire.CaptureRequest(source=source), messages.append)
    assert [p.frame.format.name for p in frames_in(messages)] == ["gbrp"] * 5
    assert "delivers no more frames" in messages[-1].error
