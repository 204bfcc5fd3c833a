"""Timecode tags and the tracks that MOV and MP4 make from them."""

from fractions import Fraction
from pathlib import Path

import pytest

from lfdn_video.options import SpanOptions
from lfdn_video.output.timecode import shift_timecode
from tests.support.ffmpeg_program import make, probe
from tests.test_containers import copy

NTSC = Fraction(30_000, 1001)


@pytest.mark.parametrize(
    ("timecode", "start_s", "rate", "expected"),
    [
        ("10:20:30:00", 2, 25, "10:20:32:00"),
        ("10:20:30:24", Fraction(1, 25), 25, "10:20:31:00"),
        ("23:59:59:24", Fraction(1, 25), 25, "00:00:00:00"),
        ("00:00:59;29", Fraction(1001, 30_000), NTSC, "00:01:00;02"),
        ("00:09:59;29", Fraction(1001, 30_000), NTSC, "00:10:00;00"),
        ("00:00:59:29", Fraction(1001, 30_000), NTSC, "00:01:00:00"),
        ("00:00:00;00", 107_892 / NTSC, NTSC, "01:00:00;00"),
        ("00:00:00;00", 107_892 / NTSC, 2 * NTSC, "01:00:00;00"),
        ("23:59:59;29", Fraction(1001, 30_000), NTSC, "00:00:00;00"),
        ("10:20:30:00", 0, 25, "10:20:30:00"),
        ("10:20:30:00", 2, None, "10:20:30:00"),
        ("noon", 2, 25, "noon"),
    ],
)
def test_timecode_is_that_of_the_first_frame(
    timecode: str, start_s: Fraction | int, rate: Fraction | int | None, expected: str
) -> None:
    found = shift_timecode(timecode, Fraction(start_s), None if rate is None else Fraction(rate))
    assert found == expected


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize("ending", ["mov", "mp4", "mxf", "mkv"])
@pytest.mark.parametrize("start_s", [None, 2])
def test_timecode_track_is_kept_and_moved(tmp_path: Path, ending: str, start_s: int | None) -> None:
    video = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=3", "-c:v", "libx264")
    source = make(tmp_path / "in.mov", *video, "-timecode", "10:20:30:00")
    target = tmp_path / f"out.{ending}"
    assert copy(source, target, None, SpanOptions(start_s=start_s)) == []
    found = probe(target, "-show_entries", "stream=codec_tag_string:stream_tags:format_tags")
    tags = [each.get("tags", {}) for each in (*found["streams"], found["format"])]
    timecodes = {value for each in tags for tag, value in each.items() if tag.lower() == "timecode"}
    assert timecodes == {"10:20:32:00" if start_s else "10:20:30:00"}
    if ending in ("mov", "mp4"):
        assert [each["codec_tag_string"] for each in found["streams"]] == ["avc1", "tmcd"]
