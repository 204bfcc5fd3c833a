"""`only_when_needed`: dry segments are the source's packets, and nothing is lost at the seams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lfdn_video.errors import OptionError
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.pipeline import Summary, restore
from lfdn_video.progress import Progress
from lfdn_video.verify import verify
from tests.support import ffmpeg_program
from tests.support.seams import GROUP, RATE, X264, deraining_engine, make_clip, read_packets

MIDDLE = range(GROUP, 2 * GROUP)
VBR_PTS = {number: number * 200 + 37 * (number % 5) for number in range(3 * GROUP)}

H264 = {
    "b-frames": X264,
    "no b-frames": X264 | {"bf": "0"},
    "baseline": X264 | {"profile": "baseline"},
    "sets in band": X264 | {"x264-params": "repeat-headers=1"},
    "other number": X264 | {"x264-params": "sps-id=1"},
}


OPEN_GOP = X264 | {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}


def gate(source: Path, target: Path, **options: object) -> Summary:
    encode = EncodeOptions(preset="veryfast", **options)  # type: ignore[arg-type]
    with deraining_engine() as engine:
        return restore(source, target, engine=engine, only_when_needed=True, encode=encode)


def findings(summary: Summary) -> list[str]:
    assert summary.gate is not None
    return [segment.finding for segment in summary.gate.segments]


def assert_seamless(source: Path, target: Path, summary: Summary) -> None:
    """Every frame at its time, in another FFmpeg; copied packets and audio byte for byte."""
    times = ffmpeg_program.frame_times(target)
    expected = ffmpeg_program.frame_times(source)
    assert len(times) == len(expected)
    assert times == pytest.approx(expected, abs=2e-3)
    assert ffmpeg_program.decoded_audio(target) == ffmpeg_program.decoded_audio(source)
    assert list(read_packets(source, "audio").values()) == list(
        read_packets(target, "audio").values()
    )
    before, after = read_packets(source), read_packets(target)
    assert summary.gate is not None
    first_s = min(before)
    for segment in summary.gate.segments:
        same = [
            before[time] == after[time]
            for time in before
            if segment.start_s <= time - first_s < segment.end_s
        ]
        assert len(same) == segment.packets
        assert all(same) if segment.copied else not any(same), segment


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize(
    ("options", "suffix"),
    [*((options, ".mp4") for options in H264.values()), (X264, ".mkv")],
    ids=[*H264, "mkv"],
)
def test_dry_segments_of_h264_are_copied(
    options: Mapping[str, str], suffix: str, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / f"a{suffix}", MIDDLE, options=options)
    target = tmp_path / f"b{suffix}"
    summary = gate(source, target)
    assert findings(summary) == ["dry", "rain", "dry"]
    assert summary.frames == 3 * GROUP
    assert_seamless(source, target, summary)
    assert {check.state for check in verify(source, target)} <= {"ok", "warning"}


@pytest.mark.needs_ffmpeg
def test_rain_at_both_ends_and_variable_frame_rate(tmp_path: Path) -> None:
    rainy = [*range(GROUP), *range(2 * GROUP, 3 * GROUP)]
    source = make_clip(tmp_path / "a.mp4", rainy, pts=VBR_PTS)
    summary = gate(source, tmp_path / "b.mp4")
    assert findings(summary) == ["rain", "dry", "rain"]
    assert_seamless(source, tmp_path / "b.mp4", summary)


@pytest.mark.needs_ffmpeg
def test_coarse_ticks_leave_room_for_decoding_times(tmp_path: Path) -> None:
    """One tick a frame: reordered frames of one encoder must not overlap those of another."""
    source = make_clip(tmp_path / "a.mp4", MIDDLE, tick=RATE)
    summary = gate(source, tmp_path / "b.mp4")
    assert findings(summary) == ["dry", "rain", "dry"]
    assert_seamless(source, tmp_path / "b.mp4", summary)


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx265", ".mp4", {"x265-params": "repeat-headers=1:keyint=20:min-keyint=20:open-gop=0"}),
        ("libvpx-vp9", ".webm", {"g": str(GROUP), "cpu-used": "8", "deadline": "realtime"}),
    ],
)
def test_dry_segments_of_other_codecs_are_copied(
    codec: str, suffix: str, options: Mapping[str, str], tmp_path: Path
) -> None:
    params = options.get("x265-params")
    own = dict(options) | ({"x265-params": f"{params}:log-level=error"} if params else {})
    source = make_clip(tmp_path / f"a{suffix}", MIDDLE, codec=codec, options=own)
    target = tmp_path / f"b{suffix}"
    with deraining_engine() as engine:
        summary = restore(
            source, target, engine=engine, only_when_needed=True, encode=EncodeOptions(codec=codec)
        )
    assert findings(summary) == ["dry", "rain", "dry"]
    assert_seamless(source, target, summary)


@pytest.mark.needs_ffmpeg
def test_dry_clip_is_copied_whole(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", [])
    summary = gate(source, tmp_path / "b.mp4")
    assert set(findings(summary)) == {"dry"}
    assert summary.frames == 3 * GROUP
    assert_seamless(source, tmp_path / "b.mp4", summary)


@pytest.mark.needs_ffmpeg
def test_open_groups_are_cut_where_nothing_leads(tmp_path: Path) -> None:
    """Leading pictures refer to the group before: no border there."""
    source = make_clip(tmp_path / "a.mkv", MIDDLE, options=OPEN_GOP)
    summary = gate(source, tmp_path / "b.mkv")
    assert findings(summary) == ["rain"]


def test_frames_at_a_seam_have_their_neighbours(tmp_path: Path) -> None:
    """The temporal stage sees dry frames beyond the seam, and yields none of them."""
    source = make_clip(tmp_path / "a.mp4", MIDDLE)
    summary = gate(source, tmp_path / "b.mp4")
    assert summary.temporal is not None
    assert summary.temporal.frames + sum(summary.temporal.left.values()) == GROUP


@pytest.mark.needs_ffmpeg
def test_interrupted_run_is_resumed_with_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfdn_video.output.choices.choose_segment_frames", lambda _: 6)
    source = make_clip(tmp_path / "a.mp4", MIDDLE)
    whole = gate(source, tmp_path / "whole.mp4")

    def stop(progress: Progress) -> None:
        if progress.frames_done == GROUP + 14:
            raise KeyboardInterrupt

    target = tmp_path / "b.mp4"
    with deraining_engine() as engine, pytest.raises(KeyboardInterrupt):
        restore(
            source,
            target,
            engine=engine,
            only_when_needed=True,
            on_progress=stop,
            encode=EncodeOptions(preset="veryfast"),
        )
    monkeypatch.setattr("lfdn_video.pipeline.Survey", None)  # it is not made again
    summary = gate(source, target, resume=True)
    assert summary.kept_frames == 12
    assert summary.gate == whole.gate
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.needs_ffmpeg
def test_span_cuts_no_group(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", [])
    target = tmp_path / "b.mp4"
    with deraining_engine() as engine:
        summary = restore(
            source,
            target,
            engine=engine,
            only_when_needed=True,
            span=SpanOptions(start_s=2, end_s=10),
        )
    assert findings(summary) == ["cut by the span", "dry", "cut by the span"]
    assert ffmpeg_program.frame_times(target) == pytest.approx(
        [number / RATE for number in range(8 * RATE)], abs=2e-3
    )


@pytest.mark.parametrize(
    ("codec", "suffix", "encode", "words"),
    [
        ("mpeg4", ".mp4", EncodeOptions(), "packets of mpeg4 are not copied"),
        ("libx264", ".mp4", EncodeOptions(codec="libx265"), "use --codec libx264"),
        ("libx264", ".ts", EncodeOptions(), "timestamps may jump back in mpegts"),
    ],
)
def test_source_that_cannot_be_copied_is_restored_whole(
    codec: str, suffix: str, encode: EncodeOptions, words: str, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / f"a{suffix}", [], frames=6, codec=codec, options={})
    with deraining_engine() as engine:
        summary = restore(
            source,
            tmp_path / "b.mp4",
            engine=engine,
            only_when_needed=True,
            encode=replace(encode, preset="ultrafast"),
        )
    assert summary.frames == 6
    assert summary.gate is not None
    assert summary.gate.copied_frames == 0
    assert words in (summary.gate.off or "")
    assert any(words in warning for warning in summary.warnings)


def test_deblur_is_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", [], frames=3)
    with pytest.raises(OptionError, match="only when needed: is for derain"):
        restore(source, tmp_path / "b.mp4", task="deblur", only_when_needed=True)
    assert not (tmp_path / "b.mp4").exists()
