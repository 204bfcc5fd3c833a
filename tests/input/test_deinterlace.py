"""Interlaced video: a warning about it, and deinterlacing that keeps every frame."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from lfdn_video import restore
from lfdn_video.errors import OutputError
from lfdn_video.inference.engine import Engine
from lfdn_video.input.reader import Reader
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.output import choices, segments
from tests.support.clips import Clip, corrupt_packet, times
from tests.support.fakes import NetworkFailureError, fail_after, identity

INTERLACED = {"flags": "+ildct+ilme", "x264-params": "tff=1", "g": "1", "bf": "0", "crf": "1"}
PTS = [0, 1, 2, 4, 5, 9, 10]


def clip(path: Path, codec: str = "libx264", **options: str) -> Path:
    """Make an interlaced clip at a variable frame rate."""
    return Clip(codec=codec, pts=PTS, options={**INTERLACED, **options}).make(path)


def moving_bar(path: Path) -> Path:
    """Make a clip of a bar that moves between the two fields of each frame, so that it combs."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25, options=INTERLACED)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gray"
        for number in range(8):
            picture = np.full((64, 96), 40, np.uint8)
            for field in (0, 1):
                left = 8 + 8 * number + 4 * field
                picture[field::2, left : left + 16] = 220
            frame = VideoFrame.from_ndarray(picture, format="gray")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combs(planes: tuple[np.ndarray, ...]) -> float:
    """Return the mean difference of neighbouring lines, which combing raises."""
    luma = planes[0].astype(np.int16)
    return float(np.abs(np.diff(luma, axis=0)).mean())


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_reader_warns_of_interlaced_video(tmp_path: Path, codec: str) -> None:
    with Reader(clip(tmp_path / "clip.mkv", codec)) as reader:
        frames = list(reader.frames())
    assert reader.info.interlaced
    assert len(frames) == len(PTS)
    assert [
        w for w in reader.warnings if "is interlaced but restored as if it were progressive" in w
    ]


def test_deinterlacing_removes_combing_and_keeps_pts(tmp_path: Path) -> None:
    path = moving_bar(tmp_path / "bar.mkv")
    with Reader(path) as reader, Reader(path, deinterlace=True) as whole:
        before, after = list(reader.frames()), list(whole.frames())
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert not whole.warnings
    for one, other in zip(before[1:-1], after[1:-1], strict=True):
        assert combs(other.planes) < 0.2 * combs(one.planes)


def test_unmarked_video_is_deinterlaced_on_request(tmp_path: Path) -> None:
    """Where no frame is marked as interlaced, the marks are not trusted."""
    plain = Clip(pts=range(5)).make(tmp_path / "plain.mkv")
    with Reader(plain) as reader, Reader(plain, deinterlace=True) as whole:
        pairs = list(zip(reader.frames(), whole.frames(), strict=True))
    assert all(one.pts == other.pts for one, other in pairs)
    assert not any(np.array_equal(one.planes[0], other.planes[0]) for one, other in pairs)


@pytest.mark.parametrize("number", [0, 3, 6])
def test_deinterlacing_keeps_all_frames_after_a_corrupt_packet(tmp_path: Path, number: int) -> None:
    path = corrupt_packet(clip(tmp_path / "clip.mkv"), number)
    with Reader(path) as reader, Reader(path, deinterlace=True) as whole:
        before, after = list(reader.frames()), list(whole.frames())
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert whole.corrupt_packets == 1


def test_deinterlacing_keeps_the_frames_of_a_span(tmp_path: Path) -> None:
    path, span = clip(tmp_path / "clip.mkv"), SpanOptions(start_s=0.04, end_s=0.3)
    with Reader(path, span) as reader, Reader(path, span, deinterlace=True) as whole:
        before, after = list(reader.frames()), list(whole.frames())
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert len(after) == 4


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p10le", "gray", "nv12"])
def test_deinterlacing_keeps_the_pixel_format(tmp_path: Path, name: str) -> None:
    codec = "rawvideo" if name == "nv12" else "ffv1"
    path = Clip(codec=codec, pixel_format=name).make(tmp_path / "clip.nut")
    with Reader(path, deinterlace=True) as reader:
        frames = list(reader.frames())
    assert len(frames) == 10
    assert {frame.format for frame in frames} == {reader.info.format}


def test_restore_deinterlaces_from_file_to_file(tmp_path: Path) -> None:
    source, target = clip(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    with Engine(identity) as engine:
        options = EncodeOptions(codec="ffv1")
        summary = restore(source, target, deinterlace=True, encode=options, engine=engine)
    assert summary.frames == len(PTS)
    assert times(target) == times(source)
    with av.open(str(target)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


def test_resume_refuses_a_run_with_another_deinterlace_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 3)
    monkeypatch.setattr(choices, "MAX_DIRECT_SEGMENTS", 1)
    source, target = clip(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    with pytest.raises(NetworkFailureError), Engine(fail_after(6)) as engine:
        restore(source, target, deinterlace=True, temporal="off", engine=engine)
    with pytest.raises(OutputError, match="had another source"), Engine(identity) as engine:
        restore(source, target, encode=EncodeOptions(resume=True), engine=engine)
