"""Every frame at its time, from every container and into every one, judged by the ffmpeg program.

The frames of a clip are plain and grow brighter, so that their order can be seen.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lfdn_video.input.reader import Reader
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.output.writer import Writer
from lfdn_video.verify import verify
from tests.support.ffmpeg_program import (
    codecs,
    decoded_audio,
    ffmpeg,
    frame_times,
    make,
    packet_times,
    probe,
)

pytestmark = pytest.mark.needs_ffmpeg

FRAMES = 20
PLAIN = "color=black:size=64x48:rate=25:duration=0.8,format=yuv420p,geq=lum='20+N*10':cb=128:cr=128"
TONE = ("-f", "lavfi", "-i", "sine=duration=0.8:sample_rate=48000")
MILLISECOND = 0.001

SOURCES = {
    "avi": ("-c:v", "mpeg4", "-bf", "2", "-c:a", "mp3"),
    "h264.avi": ("-c:v", "libx264", "-bf", "3", "-c:a", "mp3"),
    "wmv": ("-c:v", "wmv2", "-c:a", "aac"),
    "asf": ("-c:v", "libx264", "-c:a", "aac"),
    "flv": ("-c:v", "libx264", "-c:a", "aac"),
    "f4v": ("-c:v", "libx264", "-c:a", "aac"),
    "ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"),
    "webm": ("-c:v", "libvpx", "-c:a", "libopus"),
    "mxf": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "pcm_s16le"),
    "vob": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "ac3"),
    "mpg": ("-c:v", "mpeg1video", "-c:a", "mp2"),
    "ts": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
    "mov": ("-c:v", "prores_ks", "-c:a", "pcm_s16be"),
    "mkv": ("-c:v", "ffv1", "-c:a", "flac"),
    "dv": ("-target", "pal-dv", "-ac", "2"),
    "m2v": ("-an", "-c:v", "mpeg2video", "-bf", "2"),
    "h264": ("-an", "-c:v", "libx264"),
    "mjpeg": ("-an", "-c:v", "mjpeg"),
    "ivf": ("-an", "-c:v", "libvpx"),
    "y4m": ("-an",),
}
TARGETS = (
    "mp4",
    "mov",
    "m4v",
    "mkv",
    "webm",
    "avi",
    "wmv",
    "mxf",
    "ogv",
    "flv",
    "mpg",
    "ts",
    "3gp",
)


def clip(path: Path, *codec: str) -> Path:
    return make(path, "-f", "lavfi", "-i", PLAIN, *TONE, *codec)


def copy(
    source: Path,
    target: Path,
    options: EncodeOptions | None = None,
    span: SpanOptions | None = None,
) -> list[str]:
    """Copy every frame from a reader to a writer; return the writer's warnings."""
    with Reader(source, span) as reader, Writer(target, reader.info, options, span) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return list(writer.warnings)


def brightness(path: Path) -> list[int]:
    """Decode each frame to one sample."""
    words = ("-vf", "scale=1:1,format=gray", "-vsync", "0", "-f", "rawvideo", "-")
    return list(ffmpeg("-i", path, *words))


def steps(times: list[float]) -> list[float]:
    return [round(after - before, 3) for before, after in pairwise(times)]


def check_frames(path: Path) -> None:
    shown = brightness(path)
    assert len(shown) == FRAMES
    assert shown == sorted(shown)
    # Only of the last frame the ffmpeg program may not know the time.
    assert set(steps(frame_times(path)[:-1])) == {0.04}


@pytest.mark.parametrize("ending", SOURCES)
def test_frames_of_every_source_keep_their_times(tmp_path: Path, ending: str) -> None:
    source = clip(tmp_path / f"in.{ending}", *SOURCES[ending])
    for target in (tmp_path / "out.mkv", tmp_path / "out.mp4"):
        copy(source, target)
        check_frames(target)


@pytest.mark.parametrize("ending", TARGETS)
def test_frames_in_every_target_have_their_times(tmp_path: Path, ending: str) -> None:
    source = clip(tmp_path / "in.mp4", "-c:v", "libx264", "-bf", "3", "-c:a", "aac")
    copy(source, tmp_path / f"out.{ending}")
    check_frames(tmp_path / f"out.{ending}")


def test_pts_out_of_order_become_best_effort_times(tmp_path: Path) -> None:
    """Raw H.264 with B-frames, wrapped by copying, has pts in the order of decoding."""
    raw = clip(tmp_path / "raw.h264", "-an", "-c:v", "libx264", "-bf", "3")
    source = make(tmp_path / "in.mp4", "-i", raw, "-c", "copy")
    copy(source, tmp_path / "out.mp4")
    before, after = frame_times(source), frame_times(tmp_path / "out.mp4")
    assert len(brightness(tmp_path / "out.mp4")) == len(before)
    best_effort = [before[0], *(t for t in before[1:] if t > before[0])]
    assert after[: len(best_effort) - 2] == pytest.approx(best_effort[:-2], abs=MILLISECOND)
    assert after == sorted(set(after))


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "flv", "wmv"])
def test_clock_of_a_transport_stream_starts_at_zero(tmp_path: Path, ending: str) -> None:
    source = clip(
        tmp_path / "in.ts", "-c:v", "libx264", "-c:a", "mp2", "-output_ts_offset", "36000"
    )
    target = tmp_path / f"out.{ending}"
    warnings = copy(source, target)
    found = probe(target, "-show_entries", "format=start_time,duration")["format"]
    assert float(found["start_time"]) < 0.2
    assert float(found["duration"]) < 1.1
    if ending != "avi":  # there, it always starts at the first frame
        assert any("clock starts at 3600" in note for note in warnings)
    if len(codecs(target)) > 1:
        offset = packet_times(source, "a:0")[0] - frame_times(source)[0]
        kept = packet_times(target, "a:0")[0] - frame_times(target)[0]
        # AAC in FLV, which is transcoded, begins with samples that are not heard.
        is_coarse = ending in ("avi", "flv")
        assert kept == pytest.approx(offset, abs=0.025 if is_coarse else 0.002)


def test_recording_on_the_wall_clock_starts_at_zero_in_mp4_and_says_so(tmp_path: Path) -> None:
    words = ("-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", "1700000000")
    source = clip(tmp_path / "in.mkv", *words)
    assert any("starts at 0" in note for note in copy(source, tmp_path / "out.mp4"))
    found = probe(tmp_path / "out.mp4", "-show_entries", "format=duration")["format"]
    assert float(found["duration"]) < 1.1


@pytest.mark.parametrize("ending", ["avi", "mp4"])
def test_raw_dv_has_the_rate_of_its_frames(tmp_path: Path, ending: str) -> None:
    source = clip(tmp_path / "in.dv", *SOURCES["dv"])
    info = Reader(source).info
    assert info.average_rate == 25
    assert info.frame_count == FRAMES
    copy(source, tmp_path / f"out.{ending}")
    (stream,) = probe(
        tmp_path / f"out.{ending}", "-select_streams", "v", "-show_entries", "stream=avg_frame_rate"
    )["streams"]
    assert stream["avg_frame_rate"] == "25/1"


def test_frames_at_other_times_are_told(tmp_path: Path) -> None:
    """MXF stores decoding times of H.264, so B-frames that the user asks for are out of order."""
    source = clip(tmp_path / "in.mp4", "-an", "-c:v", "libx264")
    options = EncodeOptions(codec="libx264", codec_options={"bf": "3"})
    warnings = copy(source, tmp_path / "out.mxf", options)
    assert "stores no order of presentation" in warnings[0]  # before the run
    assert any("from their time in mxf" in note for note in warnings)


KEPT_AUDIO = [
    ("mkv", "pcm_alaw", 8000, "mkv"),
    ("mkv", "pcm_mulaw", 8000, "mkv"),
    ("mov", "pcm_alaw", 8000, "mkv"),
    ("avi", "pcm_mulaw", 8000, "mkv"),
    ("avi", "adpcm_ima_wav", 48_000, "avi"),
    ("avi", "adpcm_ms", 48_000, "avi"),
    ("avi", "adpcm_ima_wav", 22_050, "avi"),
    ("avi", "adpcm_ms", 48_000, "mkv"),
    ("wmv", "wmav2", 48_000, "mkv"),
    ("mxf", "pcm_s16le", 48_000, "mxf"),
    ("mxf", "pcm_s24le", 48_000, "mxf"),
    ("mxf", "pcm_s16le", 48_000, "mov"),
    ("mkv", "flac", 48_000, "mp4"),
    ("mkv", "ac3", 48_000, "mpg"),
    ("mkv", "libopus", 48_000, "webm"),
    ("mov", "pcm_s24be", 48_000, "mkv"),
    ("mkv", "mp2", 44_100, "ts"),
    ("mkv", "aac", 44_100, "flv"),
]


@pytest.mark.parametrize(("ending", "codec", "rate", "into"), KEPT_AUDIO)
def test_audio_that_ffmpeg_can_mux_is_kept_with_its_clock(
    tmp_path: Path, ending: str, codec: str, rate: int, into: str
) -> None:
    video = ("-c:v", "mpeg2video") if "mxf" in (ending, into) else ("-c:v", "mpeg4")
    words = (*video, "-c:a", codec, "-ar", str(rate))
    source, target = clip(tmp_path / f"in.{ending}", *words), tmp_path / f"out.{into}"
    warnings = copy(source, target)
    assert not [note for note in warnings if "audio" in note]
    assert decoded_audio(target) == decoded_audio(source)
    before, after = packet_times(source, "a:0"), packet_times(target, "a:0")
    if len(after) == len(before):  # FFmpeg's demuxers cut PCM into packets of their own
        assert after[-1] - after[0] == pytest.approx(before[-1] - before[0], abs=0.002)


TRANSCODED_AUDIO = [
    ("pcm_s16le", "ts", "aac"),
    ("wmav2", "mp4", "aac"),
    ("flac", "webm", "opus"),
    ("alac", "avi", "mp3"),
    ("libvorbis", "flv", "aac"),
    ("aac", "mpg", "mp2"),
    ("libmp3lame", "mxf", "pcm_s16le"),
    ("libopus", "wmv", "mp3"),
    ("wmav2", "3gp", "aac"),
    ("libmp3lame", "ogv", "flac"),
]


def tone_begins_s(path: Path) -> float:
    """Return when the audio becomes loud, on the clock of the first frame."""
    words = ("-af", "aresample=8000:async=1:min_hard_comp=0.005:first_pts=0", "-ac", "1")
    samples = np.frombuffer(ffmpeg("-i", path, "-vn", *words, "-f", "s16le", "-"), np.int16)
    starts = [
        float(each["start_time"])
        for each in probe(path, "-show_entries", "stream=codec_type,start_time")["streams"]
        if each["codec_type"] == "video"
    ]
    start = float(probe(path, "-show_entries", "format=start_time")["format"]["start_time"])
    return float(np.argmax(np.abs(samples) > 2000)) / 8000 - (starts[0] - start)


@pytest.mark.parametrize(("codec", "into", "becomes"), TRANSCODED_AUDIO)
def test_audio_that_the_container_cannot_hold_is_transcoded_with_its_clock(
    tmp_path: Path, codec: str, into: str, becomes: str
) -> None:
    late = "aevalsrc='if(gt(t,0.3),0.5*sin(2*PI*440*t),0)':s=48000:d=0.8"
    words = ("-f", "lavfi", "-i", late, "-c:v", "mpeg4", "-c:a", codec)
    source = make(tmp_path / "in.mkv", "-f", "lavfi", "-i", PLAIN, *words)
    target = tmp_path / f"out.{into}"
    (note,) = [each for each in copy(source, target) if "becomes" in each]
    assert f"becomes {becomes}, " in note
    assert codecs(target)[1] == becomes
    assert len(decoded_audio(target)) == pytest.approx(len(decoded_audio(source)), rel=0.15)
    assert tone_begins_s(target) == pytest.approx(tone_begins_s(source), abs=0.035)
    (check,) = [each for each in verify(source, target) if "audio" in each.text]
    assert check.state == "warning", check.text
    check_frames(target)


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "nut", "webm", "flv", "wmv", "avi", "ts"])
def test_clock_that_wraps_after_the_start_loses_no_frame(tmp_path: Path, ending: str) -> None:
    """FFmpeg shows 33 bits that wrap as a clock that starts below zero."""
    offset = str(2**33 / 90_000 - 1.7)
    source = clip(tmp_path / "in.ts", "-c:v", "libx264", "-c:a", "mp2", "-output_ts_offset", offset)
    assert frame_times(source)[0] < 0
    copy(source, tmp_path / f"out.{ending}")
    check_frames(tmp_path / f"out.{ending}")
    assert frame_times(tmp_path / f"out.{ending}")[0] >= 0
    assert {each.state for each in verify(source, tmp_path / f"out.{ending}")} <= {"ok", "warning"}


def test_frames_half_a_frame_beside_a_constant_rate_stay_even(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.ts", "-c:v", "libx264", "-an", "-output_ts_offset", "0.1")
    assert frame_times(source)[0] % 0.04 == pytest.approx(0.02)
    copy(source, tmp_path / "out.mpg")
    check_frames(tmp_path / "out.mpg")


def test_audio_first_in_mpeg_ps_is_audited(tmp_path: Path) -> None:
    """Its demuxer numbers streams in the order of their first packets."""
    late = ("-itsoffset", "0.4", "-f", "lavfi", "-i", PLAIN, *TONE)
    source = make(tmp_path / "in.mkv", *late, "-c:v", "libx264", "-c:a", "libmp3lame")
    assert copy(source, tmp_path / "out.mpg") == []
    assert codecs(tmp_path / "out.mpg") == ["mp3", "mpeg2video"]
    check_frames(tmp_path / "out.mpg")


@pytest.mark.parametrize("ending", ["mkv", "avi", "ts", "mxf", "webm", "wmv", "flv", "mpg"])
def test_audio_that_an_edit_list_cuts_off_is_not_heard(tmp_path: Path, ending: str) -> None:
    words = ("-c:v", "libx264", "-g", "5", "-c:a", "aac")
    whole = clip(tmp_path / "whole.mp4", *words)
    source = make(tmp_path / "in.mp4", "-ss", "0.25", "-i", whole, "-c", "copy")
    target = tmp_path / f"out.{ending}"
    copy(source, target)
    assert {each.state for each in verify(source, target)} <= {"ok", "warning"}
    if ending not in ("mkv", "webm"):  # they say that it is before zero
        heard_s = [len(decoded_audio(path)) / 2 / 48_000 for path in (source, target)]
        assert heard_s[1] == pytest.approx(heard_s[0], abs=0.08)


@pytest.mark.parametrize("ending", ["avi", "mxf", "ogv"])
def test_late_audio_begins_with_silence_where_streams_start_together(
    tmp_path: Path, ending: str
) -> None:
    words = ("-f", "lavfi", "-i", PLAIN, "-itsoffset", "0.3", *TONE)
    source = make(tmp_path / "in.mkv", *words, "-c:v", "mpeg4", "-c:a", "libmp3lame")
    target = tmp_path / f"out.{ending}"
    copy(source, target)
    assert tone_begins_s(target) == pytest.approx(tone_begins_s(source), abs=0.05)
    if ending != "mxf":  # which ends with the video
        states = {each.state for each in verify(source, target)}
        assert states <= {"ok", "warning"}


@pytest.mark.parametrize("codec", ["dca", "eac3", "libvorbis", "libopus"])
def test_audio_of_which_avi_would_tell_a_wrong_clock_is_transcoded(
    tmp_path: Path, codec: str
) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", "-c:a", codec, "-strict", "-2")
    (note,) = [each for each in copy(source, tmp_path / "out.avi") if "becomes mp3" in each]
    assert "its clock would be wrong there" in note
    last = packet_times(tmp_path / "out.avi", "a:0")[-1]
    assert last == pytest.approx(0.8, abs=0.06)


def test_audio_of_another_rate_becomes_that_of_mxf(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", "-c:a", "pcm_s16le", "-ar", "22050")
    copy(source, tmp_path / "out.mxf")
    assert len(decoded_audio(tmp_path / "out.mxf")) / 2 / 48_000 == pytest.approx(0.8, abs=0.05)


def test_part_near_the_start_of_an_avi_keeps_its_audio(tmp_path: Path) -> None:
    """AVI's demuxer stands at the end of the file after a seek that failed."""
    words = ("-r", "30000/1001", "-c:v", "mpeg4", "-c:a", "libmp3lame")
    source = clip(tmp_path / "in.avi", *words)
    copy(source, tmp_path / "out.mp4", span=SpanOptions(start_s=0.4))
    length_s = len(decoded_audio(tmp_path / "out.mp4")) / 2 / 48_000
    assert length_s == pytest.approx(0.4, abs=0.06)


def test_transcoded_audio_of_a_part_begins_with_it(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", "-g", "1", "-c:a", "pcm_s16le")
    copy(source, tmp_path / "out.ts", span=SpanOptions(start_s=0.4))
    length_s = len(decoded_audio(tmp_path / "out.ts")) / 2 / 48_000
    assert length_s == pytest.approx(0.4, abs=0.05)


def test_audio_of_six_channels_is_mixed_down_where_it_must_be(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", "-c:a", "alac", "-ac", "6")
    copy(source, tmp_path / "out.avi")
    (stream,) = probe(tmp_path / "out.avi", "-select_streams", "a", "-show_streams")["streams"]
    assert (stream["codec_name"], stream["channels"]) == ("mp3", 2)
