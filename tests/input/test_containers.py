"""Containers that show their streams only in the packets, and PyAV's own complaints."""

import struct
from pathlib import Path

import av
import pytest

from lfdn_video.errors import InputError
from lfdn_video.ffmpeg import is_pyav_error, pyav_errors
from lfdn_video.input.reader import Reader
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.capture import grabber
from tests.support.clips import Clip
from tests.support.ffmpeg_program import TONE, VIDEO, make

LATE_STREAMS = {
    "flv": ("-c:v", "libx264", "-c:a", "aac"),
    "vob": ("-c:v", "mpeg2video", "-c:a", "ac3"),
    "mpg": ("-c:v", "mpeg1video", "-c:a", "mp2"),
    "swf": ("-c:v", "flv", "-c:a", "mp3", "-ar", "44100"),
    "nut": ("-c:v", "ffv1", "-c:a", "pcm_s16le"),
    "ts": ("-c:v", "libx264", "-c:a", "mp2"),
}


def dhav(path: Path, h264: Path) -> Path:
    """Wrap an H.264 file's access units as Dahua recorders do: a head, the unit, a tail each."""
    content = b""
    with av.open(str(h264)) as container:
        for number, packet in enumerate(each for each in container.demux(video=0) if each.size):
            kind = 0xFD if packet.is_keyframe else 0xFC
            # A block of the encoding (0x81: H.264, 25 fps) and one of the size in units of 8.
            extra = struct.pack("<BBBB", 0x81, 0, 2, 25) + struct.pack("<BBBB", 0x80, 0, 8, 6)
            size = 24 + len(extra) + packet.size + 8
            head = struct.pack(
                "<4sBBBBIIIHBB", b"DHAV", kind, 0, 0, 0, number, size, 0, number * 40, len(extra), 0
            )
            content += head + extra + bytes(packet) + b"dhav" + struct.pack("<I", size)
    path.write_bytes(content)
    return path


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize("ending", LATE_STREAMS)
def test_container_without_early_streams_is_read_to_its_end(tmp_path: Path, ending: str) -> None:
    source = make(tmp_path / f"clip.{ending}", *VIDEO, *TONE, *LATE_STREAMS[ending])
    reader = Reader(source)
    assert {stream.type for stream in reader.info.streams} == {"video", "audio"}
    assert len(list(reader.frames())) == 20


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize("ending", LATE_STREAMS)
def test_live_shows_container_without_early_streams(tmp_path: Path, ending: str) -> None:
    source = make(tmp_path / f"clip.{ending}", *VIDEO, *TONE, *LATE_STREAMS[ending])
    messages: list[object] = []
    grabber.grab(wire.CaptureRequest(source=parse_source(str(source)), audio=True), messages.append)
    assert sum(isinstance(each, wire.StampedFrame) for each in messages) == 20
    assert messages[-1] == wire.Ended()


@pytest.mark.needs_ffmpeg
def test_file_of_a_dahua_recorder_is_read(tmp_path: Path) -> None:
    h264 = make(tmp_path / "clip.h264", *VIDEO, "-c:v", "libx264", "-bf", "0")
    assert len(list(Reader(dhav(tmp_path / "clip.dav", h264)).frames())) == 20


def _complain() -> None:
    av.open("", format="no such format")  # a ValueError of PyAV itself


def test_complaint_of_pyav_is_the_error_of_the_file() -> None:
    with pytest.raises(InputError, match=r"^a\.xyz: cannot be read: .*; convert it"):  # noqa: SIM117
        with pyav_errors(Path("a.xyz")):
            _complain()


def test_error_of_our_own_code_passes_unchanged() -> None:
    with pytest.raises(ValueError, match=r"^ours$") as caught, pyav_errors(Path("a.xyz")):
        raise ValueError("ours")
    assert not is_pyav_error(caught.value)


def test_child_hands_over_what_it_did_not_expect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grabber, "open_container", lambda _: _complain())
    source = Clip().make(tmp_path / "clip.mkv")
    messages: list[wire.Ended] = []
    grabber.grab(wire.CaptureRequest(source=parse_source(str(source))), messages.append)  # type: ignore[arg-type]
    assert messages[-1].error is not None
    assert messages[-1].error.endswith("convert it with another program first, for example to .mkv")
    monkeypatch.setattr(grabber, "open_container", lambda _: dict[str, str]()["ours"])
    grabber.grab(wire.CaptureRequest(source=parse_source(str(source))), messages.append)  # type: ignore[arg-type]
    assert messages[-1].error is not None
    assert messages[-1].error.endswith("KeyError: 'ours'; this is a bug in lfdn-video")
