"""`verify` fails every change of a copied stream, and passes every right form of it."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from lfdn_video.verify import verify
from lfdn_video.verify_streams import StreamContent, find_time_difference
from tests.support.ffmpeg_program import make
from tests.test_containers import clip, copy

pytestmark = pytest.mark.needs_ffmpeg

SUBTITLES = """1
00:00:00,100 --> 00:00:00,300
Rain

2
00:00:00,400 --> 00:00:00,700
<i>More rain</i>
"""

STREAMS = ("-map", "0:v", "-map", "0:a:0", "-map", "0:a:1", "-map", "0:s")

MUTATIONS: dict[str, tuple[str, ...]] = {
    "audio stretched": (*STREAMS, "-c", "copy", "-bsf:a:0", "setts=pts=PTS*1.5:dts=DTS*1.5"),
    "audio shifted": (*STREAMS, "-c", "copy", "-bsf:a:1", "setts=pts=PTS+100:dts=DTS+100"),
    "audio swapped": ("-map", "0:v", "-map", "0:a:1", "-map", "0:a:0", "-map", "0:s", "-c", "copy"),
    "audio dropped": ("-map", "0:v", "-map", "0:a:0", "-map", "0:s", "-c", "copy"),
    "audio twice": (
        *("-map", "0:v", "-map", "0:a:0", "-map", "0:a:0", "-map", "0:s", "-c", "copy"),
    ),
    "audio replaced": (*STREAMS, "-c", "copy", "-c:a:0", "aac", "-filter:a:0", "volume=0.3"),
    "audio at another pitch": (
        *(*STREAMS, "-c", "copy", "-c:a:0", "flac"),
        *("-filter:a:0", "asetrate=60000,aresample=48000,apad=whole_dur=0.8"),
    ),
    "audio cut": (*STREAMS, "-c", "copy", "-c:a:0", "flac", "-filter:a:0", "atrim=0:0.5"),
    "audio without language": (*STREAMS, "-c", "copy", "-metadata:s:a:0", "language="),
    "audio of another language": (*STREAMS, "-c", "copy", "-metadata:s:a:0", "language=fre"),
    "audio without title": (*STREAMS, "-c", "copy", "-metadata:s:a:0", "title="),
    "audio of another title": (*STREAMS, "-c", "copy", "-metadata:s:a:0", "title=Other"),
    "audio without disposition": (*STREAMS, "-c", "copy", "-disposition:a:1", "0"),
    "subtitles stretched": (*STREAMS, "-c", "copy", "-bsf:s", "setts=pts=PTS*1.5:dts=DTS*1.5"),
    "subtitles shifted": (*STREAMS, "-c", "copy", "-bsf:s", "setts=pts=PTS+200:dts=DTS+200"),
    "subtitles dropped": ("-map", "0:v", "-map", "0:a", "-c", "copy"),
    "subtitles without disposition": (*STREAMS, "-c", "copy", "-disposition:s", "0"),
    "subtitle missing": (*STREAMS, "-c", "copy", "-bsf:s", "noise=drop='gt(n,0)'"),
    "video stretched": (*STREAMS, "-c", "copy", "-bsf:v", "setts=pts=PTS*1.5:dts=DTS*1.5"),
    "range relabelled": (*STREAMS, "-c", "copy", "-bsf:v", "h264_metadata=video_full_range_flag=1"),
    "matrix relabelled": (*STREAMS, "-c", "copy", "-bsf:v", "h264_metadata=matrix_coefficients=9"),
    "frame missing": (*STREAMS, "-c", "copy", "-bsf:v", "noise=drop='eq(n,19)'"),
    "tag missing": (*STREAMS, "-c", "copy", "-metadata", "artist="),
}

RIGHT: dict[str, tuple[str, tuple[str, ...]]] = {
    "the same": ("mkv", (*STREAMS, "-c", "copy")),
    "text in another form": ("mkv", (*STREAMS, "-c", "copy", "-c:s", "ass")),
}


def source(folder: Path) -> Path:
    text = folder / "in.srt"
    text.write_text(SUBTITLES)
    video = "color=black:size=64x48:rate=25:duration=0.8,format=yuv420p,geq=lum='20+N*10'"
    tones = ("sine=440:duration=0.8:sample_rate=48000", "sine=900:duration=0.8:sample_rate=48000")
    inputs = [word for each in (video, *tones) for word in ("-f", "lavfi", "-i", each)]
    tags: tuple[str, ...] = ("-metadata:s:a:0", "language=ger", "-metadata:s:a:0", "title=Main")
    tags += ("-metadata:s:a:1", "language=eng", "-metadata", "artist=Cloud")
    tags += ("-disposition:a:1", "hearing_impaired", "-disposition:s", "forced")
    maps = ("-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s")
    codecs = ("-c:v", "libx264", "-bf", "0", "-g", "1", "-c:a", "flac", "-c:s", "srt")
    return make(folder / "in.mkv", *inputs, "-i", text, *maps, *codecs, *tags)


def failed(one: Path, other: Path) -> list[str]:
    return [f"{each.name}: {each.text}" for each in verify(one, other) if each.state == "failed"]


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_fails(tmp_path: Path, name: str) -> None:
    before = source(tmp_path)
    assert failed(before, make(tmp_path / "out.mkv", "-i", before, *MUTATIONS[name])) != []


@pytest.mark.parametrize("name", RIGHT)
def test_right_file_passes(tmp_path: Path, name: str) -> None:
    ending, words = RIGHT[name]
    before = source(tmp_path)
    assert failed(before, make(tmp_path / f"out.{ending}", "-i", before, *words)) == []


def test_rate_of_30000_1001_passes_in_matroska(tmp_path: Path) -> None:
    video = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30000/1001:duration=1")
    before = make(tmp_path / "in.ts", *video, "-c:v", "libx264", "-preset", "ultrafast")
    copy(before, tmp_path / "out.mkv")
    assert failed(before, tmp_path / "out.mkv") == []


def test_pcm_in_other_packets_passes(tmp_path: Path) -> None:
    before = clip(tmp_path / "in.dv", "-target", "pal-dv", "-ac", "2")
    copy(before, tmp_path / "out.mp4")
    assert failed(before, tmp_path / "out.mp4") == []


def test_as_many_packets_of_pcm_cut_elsewhere_pass() -> None:
    before = replace(content("pcm_s16le", ("0", "0.017", "0.033")), sizes=[1602, 1600, 1602])
    moved = content("pcm_s16le", ("0", "0.021", "0.043"))
    assert (
        find_time_difference(before, replace(moved, sizes=[2048, 2048, 708]), Fraction(0)) is None
    )
    assert find_time_difference(before, replace(moved, sizes=before.sizes), Fraction(0)) is not None


def test_aac_without_headers_passes(tmp_path: Path) -> None:
    before = clip(tmp_path / "in.ts", "-c:v", "libx264", "-c:a", "aac")
    copy(before, tmp_path / "out.mp4")
    assert failed(before, tmp_path / "out.mp4") == []


def test_gray_passes(tmp_path: Path) -> None:
    before = clip(tmp_path / "in.mkv", "-pix_fmt", "gray", "-c:v", "ffv1")
    copy(before, tmp_path / "out.mkv")
    assert failed(before, tmp_path / "out.mkv") == []


def content(codec: str, times: tuple[str, ...], *, text: str = "") -> StreamContent:
    return StreamContent(
        Fraction(1, 1000),
        codec,
        times_s=[Fraction(time) for time in times],
        texts=[text for _ in times if text],
    )


def test_times_of_as_many_packets_of_another_audio_codec_are_not_compared() -> None:
    before = content("pcm_s16be", ("0", "0.1", "0.2"))
    after = content("aac", ("0", "0.021", "0.043"))
    assert find_time_difference(before, after, Fraction(0)) is None
    late = find_time_difference(before, replace(after, codec="pcm_s16be"), Fraction(0))
    assert late is not None


def test_times_of_subtitles_in_another_codec_are_compared() -> None:
    before = content("subrip", ("0", "1", "2"), text="Rain")
    after = content("mov_text", ("0", "1.5", "3"), text="Rain")
    assert find_time_difference(before, after, Fraction(0)) is not None
    assert find_time_difference(before, replace(before, codec="mov_text"), Fraction(0)) is None
