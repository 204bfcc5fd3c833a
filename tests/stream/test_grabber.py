"""What the process that reads a source sends, asked here without the process."""

import time
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.stream import wire
from lfdn_video.stream.addresses import Source, parse_source
from lfdn_video.stream.capture import grabber
from tests.support.clips import Clip, changing_size, planes

SHORT = Clip(codec="ffv1", pts=tuple(range(6)))


def grabbed(source: str | Path, **more: Any) -> list[Any]:
    messages: list[Any] = []
    grabber.grab(wire.CaptureRequest(source=parse_source(str(source)), **more), messages.append)
    return messages


def pictures(messages: list[Any]) -> list[wire.StampedFrame]:
    return [each for each in messages if isinstance(each, wire.StampedFrame)]


def test_every_frame_of_a_file_comes_as_it_is_and_then_the_end(tmp_path: Path) -> None:
    clip = SHORT.make(tmp_path / "clip.mkv")
    *_, last = messages = grabbed(clip)
    assert [[plane.tobytes() for plane in p.frame.planes] for p in pictures(messages)] == planes(
        clip
    )
    assert last == wire.Ended()


def test_a_file_is_played_in_real_time(tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=(0, 5, 10)).make(tmp_path / "clip.mkv")
    stamps = [picture.stamp_s for picture in pictures(grabbed(clip))]
    # An upper limit would be one for the machine's load.
    assert stamps[-1] - stamps[0] >= 0.4 - 0.05


def test_a_test_source_needs_no_file() -> None:
    messages = grabbed("lavfi:testsrc2=size=64x48:rate=25:duration=0.2")
    assert [p.frame.width for p in pictures(messages)] == [64] * 5
    assert messages[-1].error is None


def test_a_picture_of_another_size_says_so(tmp_path: Path) -> None:
    messages = grabbed(changing_size(tmp_path / "clip.mkv"))
    infos = [p.frame.info for p in pictures(messages)]
    assert [(info.width, info.height) for info in infos if info is not None] == [
        *[(64, 48)] * 5,
        *[(32, 64)] * 5,
    ]


def test_audio_comes_with_a_header_and_on_the_clock_of_the_pictures(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(10)), audio="aac").make(tmp_path / "clip.mp4")
    messages = grabbed(clip, audio=True)
    assert [type(each) for each in messages].count(wire.AudioHeader) == 1
    audio = [each for each in messages if isinstance(each, wire.AudioPacket)]
    first = pictures(messages)[0].stamp_s
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
def test_what_cannot_be_opened_ends_with_the_reason(source: str, words: str) -> None:
    (ended,) = grabbed(source)
    assert words in ended.error
    assert "secret" not in ended.error


def test_what_ffmpeg_was_built_without_is_not_tried_again() -> None:
    (ended,) = grabbed("srt://127.0.0.1:9?passphrase=secretsecret")
    assert ended.final
    assert "srt://127.0.0.1:9?passphrase=***: this FFmpeg was built without srt://" in ended.error


def test_a_file_may_not_open_others(tmp_path: Path) -> None:
    clip = SHORT.make(tmp_path / "clip.mkv")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{clip}\n")
    (ended,) = grabbed(playlist)
    assert "is a playlist" in ended.error


def test_waiting_does_not_add_up() -> None:
    pace, began_s = grabber._Pace(), time.monotonic()
    for number in range(20):
        pace.until(number / 100)
    assert time.monotonic() - began_s >= 0.18


def test_what_comes_in_time_does_not_pile_up() -> None:
    """At a camera's own pace, with jitter, a slow clock and a jump."""
    backlog = grabber._Backlog()
    for number in range(5000):
        time_s = number / 25 + (100 if number > 2000 else 0)
        jitter_s = 0.3 * (number % 7 == 0)
        backlog.note(time_s, 1000 + 1.0005 * number / 25 + jitter_s, key=number % 25 == 0)
        assert not backlog.piles_up


def test_what_comes_ever_later_piles_up_until_a_key_frame_is_in_time() -> None:
    backlog = grabber._Backlog()
    for number in range(100):
        backlog.note(number / 25, number / 15, key=number % 25 == 0)
    assert backlog.piles_up
    backlog.note(4.0, 4.1, key=False)
    assert backlog.piles_up
    backlog.note(4.04, 4.14, key=True)
    assert not backlog.piles_up


def test_opencv_gives_what_ffmpeg_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands for the camera: OpenCV reads those, too."""
    clip = Clip(codec="mpeg4", pts=tuple(range(5))).make(tmp_path / "clip.mp4")
    monkeypatch.setattr(grabber, "ffmpeg_name", lambda _: None)
    source = Source("camera", str(clip))
    messages: list[Any] = []
    grabber.grab(wire.CaptureRequest(source=source), messages.append)
    assert [p.frame.format.name for p in pictures(messages)] == ["gbrp"] * 5
    assert "gives no pictures any more" in messages[-1].error
