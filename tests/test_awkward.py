"""Unusual video from file to file: every frame, time and tag is kept, or a warning says otherwise.

Each case is a clip made here and restored by an identity network with a lossless codec. Frames and
times are compared with what FFmpeg itself decodes from the source, and `verify` checks the pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video import restore
from lfdn_video.inference.engine import Engine
from lfdn_video.input.reader import Reader
from lfdn_video.options import EncodeOptions
from lfdn_video.pipeline import Summary
from lfdn_video.verify import verify
from tests.support.clips import Clip, changing_size, noise, planes, times, wall_clock
from tests.support.fakes import identity

LOSSLESS = EncodeOptions(codec="ffv1")
X264 = {"crf": "1", "preset": "ultrafast"}
ODD_TIMES = (0, 1, 2, 5, 6, 8, 13, 14, 20, 21, 22, 30)


def x264(**params: str | int) -> dict[str, str]:
    joined = ":".join(f"{name.replace('_', '-')}={value}" for name, value in params.items())
    return {"preset": "medium", "x264-params": joined}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A clip, and what restoring it is expected to report."""

    make: Callable[[Path], Path]
    ending: str = "mkv"
    target: str = "mkv"
    options: EncodeOptions = LOSSLESS
    warned: tuple[str, ...] = ()
    """Parts of the expected warnings; any other warning is a failure."""
    failed: tuple[str, ...] = ()
    """Checks of `verify` that are expected to fail."""
    same_planes: bool = True
    frames: int | None = None


def made(**clip: object) -> Callable[[Path], Path]:
    return Clip(**clip).make  # type: ignore[arg-type]  # any of its fields


def avi_of_wrong_length(path: Path) -> Path:
    """Make a clip of 12 frames whose header says 3."""
    Clip(codec="mpeg4", pts=range(12)).make(path)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        place = content.index(mark) + offset
        content[place : place + 4] = (3).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def raw_stream(path: Path) -> Path:
    """Make H.264 without a container, thus without timestamps."""
    clip = Clip(codec="libx264", pts=range(12), options=x264(bframes=2)).make(
        path.with_suffix(".mkv")
    )
    with av.open(str(clip)) as source, av.open(str(path), "w", format="h264") as container:
        copy = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                container.mux(packet)
    clip.unlink()
    return path


def changing_format(path: Path) -> Path:
    """Make a stream that is 4:2:0, and from the sixth frame on 4:4:4."""
    with av.open(str(path), "w") as container:
        clip = Clip(codec="libx264", options={**X264, "bf": "0"})
        stream = clip._add_video(container)
        assert isinstance(stream, VideoStream)
        for number in range(5):
            container.mux(stream.encode(clip._frame(number, number)))
        container.mux(stream.encode(None))
        other = av.CodecContext.create("libx264", "w")
        other.width, other.height, other.pix_fmt = 64, 48, "yuv444p"
        other.time_base, other.options = clip.time_base, {**X264, "bf": "0"}
        for number in range(5, 10):
            frame = noise(number, "yuv444p", (64, 48))
            frame.pts, frame.time_base = number, clip.time_base
            for packet in other.encode(frame):
                packet.stream, packet.time_base = stream, clip.time_base
                container.mux(packet)
    return path


def late_clock(path: Path) -> Path:
    """Make an MPEG-TS whose timestamps wrap around at 2³³ ticks after half a second."""
    early = Clip(codec="libx264", pts=range(25), audio="aac").make(path.with_name("early.ts"))
    wall_clock(early, path, 2**33 // 90_000 - 1)
    early.unlink()
    return path


def with_mastering(path: Path) -> Path:
    params = (
        "log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:master-display="
        "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    )
    return Clip(
        codec="libx265",
        pixel_format="yuv420p10le",
        colour=(9, 1, 9, 16),
        options={"x265-params": params},
    ).make(path)


def h265(**clip: object) -> Callable[[Path], Path]:
    return made(codec="libx265", options={"x265-params": "log-level=none"}, **clip)


CASES: Mapping[str, Case] = {
    "open GOP": Case(
        make=made(codec="libx264", pts=range(40), options=x264(open_gop=1, keyint=8, bframes=3))
    ),
    "open GOP, mp4": Case(
        make=made(codec="libx264", pts=range(40), options=x264(open_gop=1, keyint=8, bframes=3)),
        ending="mp4",
    ),
    "B-pyramid": Case(
        make=made(
            codec="libx264", pts=range(40),
            options=x264(bframes=8, ref=6, b_pyramid="normal", b_adapt=0),
        ),
        ending="mp4",
    ),
    "uneven times": Case(make=made(codec="libx264", pts=ODD_TIMES), ending="mp4"),
    "uneven times, in MP4": Case(
        make=made(codec="libx264", pts=ODD_TIMES), ending="mp4", target="mp4",
        options=EncodeOptions(codec="libx264", crf=0, preset="ultrafast"),
    ),
    "starts late": Case(make=made(codec="libx264", pts=range(30, 45)), ending="mp4"),
    "starts late, to MP4": Case(
        make=made(codec="libx264", pts=range(30, 45)), target="mp4",
        options=EncodeOptions(codec="libx264", crf=0, preset="ultrafast"),
    ),
    "edit list leaves frames out": Case(
        make=made(codec="libx264", pts=range(-5, 15), options={"bf": "0"}), ending="mp4", frames=15
    ),
    "negative times": Case(make=made(codec="libx264", pts=range(-5, 15), options={"bf": "2"})),
    "no count, no length": Case(make=made(codec="libx264", pts=range(12)), ending="ts"),
    "wrong count": Case(make=avi_of_wrong_length, ending="avi", frames=12),
    "no times at all": Case(make=raw_stream, ending="h264", frames=12),
    "size changes": Case(
        make=changing_size, ending="ts", warned=("changes to 32x64",), same_planes=False
    ),
    "format changes": Case(
        make=changing_format, ending="ts", warned=("changes to 64x48 yuv444p",), same_planes=False
    ),
    "anamorphic": Case(
        make=made(codec="libx264", sample_aspect_ratio=Fraction(16, 11)), ending="mp4",
        options=EncodeOptions(codec="libx264", crf=0, preset="ultrafast"),
    ),
    "anamorphic, where only the container could tell": Case(
        make=made(codec="libx264", sample_aspect_ratio=Fraction(64, 45)), ending="mp4",
        warned=("the sample aspect ratio 64/45 is lost",), failed=("picture",),
    ),
    **{
        f"rotated by {rotation}{' and flipped' if flip else ''}": Case(
            make=made(codec="libx264", rotation=rotation, flip=flip), ending="mp4"
        )
        for rotation in (0, 90, 180, 270)
        for flip in (False, True)
        if rotation or flip
    },
    **{
        name: Case(make=made(pixel_format=name))
        for name in ("yuv420p10le", "yuv422p12le", "yuv444p16le", "gbrp12le", "gray10le")
    },
    "HEVC, 12 bit": Case(make=h265(pixel_format="yuv422p12le")),
    "PQ": Case(make=h265(pixel_format="yuv420p10le", colour=(9, 1, 9, 16)), ending="mp4"),
    "HLG": Case(make=h265(pixel_format="yuv420p10le", colour=(9, 1, 9, 18)), ending="mp4"),
    "PQ, HEVC to HEVC": Case(
        make=h265(pixel_format="yuv420p10le", colour=(9, 1, 9, 16)), ending="mp4", target="mp4",
        options=EncodeOptions(
            codec="libx265", codec_options={"x265-params": "lossless=1:log-level=none"}
        ),
    ),
    "HDR10 metadata": Case(
        make=with_mastering,
        warned=("HDR mastering display is left out", "HDR light level is left out"),
        failed=("picture",),
    ),
    "full range": Case(make=made(codec="mjpeg", pixel_format="yuvj420p", colour=(1, 2, 1, 1))),
    "alpha": Case(make=made(pixel_format="yuva444p10le")),
    "alpha, ProRes": Case(
        make=made(codec="prores_ks", pixel_format="yuva444p10le", options={"profile": "4444"}),
        ending="mov",
    ),
    "alpha, RGB": Case(make=made(pixel_format="gbrap12le")),
    "alpha, VP9": Case(
        make=made(codec="libvpx-vp9", pixel_format="yuva420p"), ending="webm",
        warned=("transparency is left out",),
    ),
    "clock passes its end": Case(
        make=late_clock, ending="ts", frames=25, warned=("timestamps are rounded to 1/1000 s",)
    ),
    "one frame": Case(make=made(codec="libx264", pts=[0]), ending="mp4"),
    "1×1 px": Case(make=made(pixel_format="yuv444p", size=(1, 1))),
    "2×2 px": Case(make=made(size=(2, 2))),
    "a thousand frames a second": Case(
        make=made(codec="libx264", pts=range(50), time_base=Fraction(1, 1000)), ending="mp4"
    ),
    "a frame an hour": Case(
        make=made(codec="libx264", pts=[0, 90_000, 180_000, 190_000]), ending="mp4"
    ),
    "24000/1001": Case(
        make=made(codec="libx264", time_base=Fraction(1001, 24000), pts=range(20)), ending="mp4",
        warned=("timestamps are rounded to 1/1000 s by matroska",),
    ),
}  # fmt: skip


def run(source: Path, target: Path, options: EncodeOptions) -> Summary:
    with Engine(identity) as engine:
        return restore(source, target, encode=options, engine=engine)


@pytest.mark.parametrize("name", CASES)
def test_restore_keeps_frames_times_and_tags(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    source = case.make(tmp_path / f"in.{case.ending}")
    target = tmp_path / f"out.{case.target}"
    summary = run(source, target, case.options)
    expected = times(source)
    assert summary.frames == len(expected) == (case.frames or len(expected))
    found = times(target)
    tick_s = Fraction(1, 1000) if case.target == "mkv" else Fraction(0)
    assert len(found) == len(expected)
    if case.ending != "h264":
        off_s = found[0] - expected[0]
        worst_s = max(abs(b - a - off_s) for a, b in zip(expected, found, strict=True))
        assert worst_s <= tick_s
    if case.same_planes:
        assert planes(target) == planes(source)
    for words in case.warned:
        assert any(words in warning for warning in summary.warnings), summary.warnings
    unforeseen = [w for w in summary.warnings if not any(words in w for words in case.warned)]
    assert unforeseen == []
    failed = [check for check in verify(source, target) if check.state == "failed"]
    assert [check.name for check in failed] == list(case.failed), failed


IN = {
    "mkv": {"codec": "libx264", "audio": "libopus"},
    "webm": {"codec": "libvpx-vp9", "audio": "libopus"},
    "avi": {"codec": "mpeg4", "audio": "libmp3lame"},
    "mov": {"codec": "libx264", "audio": "aac"},
    "mp4": {"codec": "libx264", "audio": "aac"},
    "ts": {"codec": "libx264", "audio": "aac"},
}


@pytest.mark.parametrize("there", IN)
@pytest.mark.parametrize("here", IN)
def test_restore_from_every_container_to_every_other(tmp_path: Path, here: str, there: str) -> None:
    """Frames and times are kept; what does not fit the container is reported."""
    source = Clip(pts=range(20), **IN[here]).make(tmp_path / f"in.{here}")  # type: ignore[arg-type]
    target = tmp_path / f"out.{there}"
    summary = run(source, target, EncodeOptions())
    assert summary.frames == len(times(target)) == 20
    expected, found = times(source), times(target)
    off_s = found[0] - expected[0]
    worst_s = max(abs(b - a - off_s) for a, b in zip(expected, found, strict=True))
    assert worst_s <= Fraction(1, 1000)
    failed = [check for check in verify(source, target) if check.state == "failed"]
    assert {check.name for check in failed} <= {"stream", "tags"}
    told = " ".join(summary.warnings)
    if "is left out" in told:
        assert told.count("is left out") == 2
        return
    for check in failed:
        for lost in check.text.removeprefix("the ").rsplit(": ", 1)[-1].split("; "):
            assert lost in told


@pytest.mark.parametrize("ending", ["mkv", "ts", "mp4"])
def test_file_still_being_written_is_restored_as_far_as_possible(
    tmp_path: Path, ending: str
) -> None:
    """MP4 can only be read then if it is fragmented; else its index comes last."""
    source = tmp_path / f"in.{ending}"
    fragments = {"movflags": "frag_keyframe+empty_moov"} if ending == "mp4" else {}
    with av.open(str(source), "w", container_options=fragments) as container:
        stream = container.add_stream("libx264", 25, options={"g": "5", "bf": "0"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(200):
            frame: VideoFrame = noise(number, "yuv420p", (64, 48))
            frame.pts = number
            container.mux(stream.encode(frame))
        copy = tmp_path / f"now.{ending}"
        copy.write_bytes(source.read_bytes())
    summary = run(copy, tmp_path / "out.mkv", EncodeOptions(codec="ffv1"))
    assert 100 < summary.frames <= 200
    with Reader(source) as reader:
        whole = [frame.planes[0].tobytes() for frame in reader.frames()]
    with Reader(tmp_path / "out.mkv") as reader:
        found = [frame.planes[0].tobytes() for frame in reader.frames()]
    assert found[:100] == whole[:100]
