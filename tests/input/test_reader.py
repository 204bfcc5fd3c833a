"""The reader of videos: all frames, bit by bit, in order, also from corrupt files."""

import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lfdn_video.errors import InputError, OptionError
from lfdn_video.input.images import ImageReader
from lfdn_video.input.open import open_reader
from lfdn_video.input.reader import NONE_BEFORE, Reader
from lfdn_video.media import Frame
from lfdn_video.options import SpanOptions
from tests.support.clips import (
    Clip,
    audio_only,
    changing_size,
    corrupt_packet,
    corrupt_ts_packet,
    joined,
    planes,
    truncate,
)

LOSSLESS = {"crf": "0", "g": "5"}


def read(path: Path, span: SpanOptions | None = None) -> list[Frame]:
    with Reader(path, span) as reader:
        return list(reader.frames())


def times_of(frames: list[Frame], time_base: Fraction) -> list[Fraction]:
    return [frame.pts * time_base for frame in frames]


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p", "gray", "yuv410p"])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_planes_equal_those_of_the_decoder(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    path = Clip(pixel_format=name, size=size).make(tmp_path / "clip.mkv")
    found = [[plane.tobytes() for plane in frame.planes] for frame in read(path)]
    assert found == planes(path)


def test_yuvj_format_keeps_its_name(tmp_path: Path) -> None:
    path = Clip(codec="mjpeg", pixel_format="yuvj420p").make(tmp_path / "clip.mkv")
    assert {frame.format.name for frame in read(path)} == {"yuvj420p"}


def test_packed_rgb_becomes_planar(tmp_path: Path) -> None:
    path = Clip(pixel_format="bgr0").make(tmp_path / "clip.mkv")
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = [np.stack([f.planes[2], f.planes[0], f.planes[1]], axis=2) for f in read(path)]
    assert np.array_equal(found, expected)


def test_last_frames_are_flushed_from_the_decoder(tmp_path: Path) -> None:
    path = Clip(codec="libx264", pts=range(40), options={"bf": "3"}).make(tmp_path / "b.mp4")
    assert len(read(path)) == 40


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_variable_frame_rate_is_kept(tmp_path: Path, ending: str) -> None:
    pts = (0, 30, 40, 100, 110, 300, 310, 330, 700, 710)
    clip = Clip(codec="libx264", pts=pts, time_base=Fraction(1, 1000))
    with Reader(clip.make(tmp_path / f"vfr.{ending}")) as reader:
        found = times_of(list(reader.frames()), reader.info.time_base)
    assert found == [Fraction(each, 1000) for each in pts]


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_start_offset_is_kept(tmp_path: Path, ending: str) -> None:
    clip = Clip(codec="libx264", audio="aac", pts=range(30, 40))
    with Reader(clip.make(tmp_path / f"late.{ending}")) as reader:
        found = times_of(list(reader.frames()), reader.info.time_base)
    assert found == [Fraction(each, 25) for each in range(30, 40)]


def test_missing_pts_are_derived_from_the_frame_rate(tmp_path: Path) -> None:
    path = Clip(codec="libx264", options={"bf": "0"}).make(tmp_path / "raw.h264")
    with Reader(path) as reader:
        steps = np.diff([frame.pts * reader.info.time_base for frame in reader.frames()])
    assert set(steps) == {Fraction(1, 25)}


def test_frames_can_be_read_twice(tmp_path: Path) -> None:
    with Reader(Clip().make(tmp_path / "clip.mkv")) as reader:
        first, second = list(reader.frames()), list(reader.frames())
    assert [frame.pts for frame in first] == [frame.pts for frame in second]


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    with Reader(changing_size(tmp_path / "change.ts")) as reader:
        frames = list(reader.frames())
    assert {frame.planes[0].shape for frame in frames} == {(48, 64)}
    assert len(frames) == 10
    assert "changes to 32x64 yuv420p on the way" in reader.warnings[0]


@pytest.mark.parametrize("number", [0, 1, 12, 23, 24])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_frame_is_repeated_for_a_corrupt_packet(tmp_path: Path, ending: str, number: int) -> None:
    clip = Clip(codec="libx264", pts=range(25), options={"g": "1", **LOSSLESS, "bf": "0"})
    path = clip.make(tmp_path / f"clip.{ending}")
    whole = read(path)
    with Reader(corrupt_packet(path, number)) as reader:
        frames = list(reader.frames())
    lead = 1 if number == 0 else 0  # before the first good one there is none to repeat
    assert [frame.pts for frame in frames] == [frame.pts for frame in whole[lead:]]
    assert reader.corrupt_packets == 1
    assert reader.repeated_frames == 1 - lead
    assert dict(reader.dropped_frames) == ({NONE_BEFORE: 1} if lead else {})


def test_repeated_frame_is_a_copy_of_the_last_good_one(tmp_path: Path) -> None:
    path = Clip(codec="mjpeg", pixel_format="yuvj420p", pts=range(9)).make(tmp_path / "clip.mkv")
    with Reader(corrupt_packet(path, 4)) as reader:
        frames = list(reader.frames())
    assert np.array_equal(frames[4].planes[0], frames[3].planes[0])
    assert frames[4].planes[0] is not frames[3].planes[0]
    assert any("the last good frame is repeated" in warning for warning in reader.warnings)


def test_frames_are_repeated_for_corrupt_packets_between_b_frames(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=range(60), options={"g": "12", "bf": "2"})
    path = clip.make(tmp_path / "clip.mkv")
    for number in (20, 21, 40, 59):
        corrupt_packet(path, number)
    with Reader(path) as reader:
        assert len(list(reader.frames())) == 60
    assert (reader.corrupt_packets, reader.repeated_frames) == (4, 4)
    assert not reader.dropped_frames


@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_truncated_file_is_read_as_far_as_possible(tmp_path: Path, ending: str) -> None:
    path = Clip(codec="libx264", pts=range(50)).make(tmp_path / f"clip.{ending}")
    with Reader(truncate(path, 0.5)) as reader:
        assert 15 < len(list(reader.frames())) < 35


def test_reader_warns_of_a_truncated_file(tmp_path: Path) -> None:
    path = Clip(codec="libx264", pts=range(50)).make(tmp_path / "clip.mkv")
    with Reader(truncate(path, 0.5)) as reader:
        list(reader.frames())
    assert "is it truncated?" in reader.warnings[-1]


def make_recordings(tmp_path: Path, *counts: int) -> list[Path]:
    """Make clips with these numbers of frames, whose timestamps start at the same pts."""
    return [
        Clip(codec="libx264", pts=range(count), options={"g": "12", "bf": "2"}).make(
            tmp_path / f"part{number}.ts"
        )
        for number, count in enumerate(counts)
    ]


@pytest.mark.parametrize("counts", [(60, 8), (20, 60), (30, 30), (60, 20, 40)])
def test_each_frame_of_joined_recordings_is_read_once(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    clips = make_recordings(tmp_path, *counts)
    with Reader(joined(tmp_path / "joined.ts", *clips)) as reader:
        frames = list(reader.frames())
    assert [each.planes[0].tobytes() for each in frames] == [
        each.planes[0].tobytes() for clip in clips for each in read(clip)
    ]
    assert set(np.diff([frame.pts for frame in frames])) == {3600}
    assert reader.corrupt_packets == 0


def test_recording_shorter_than_the_reordering_depth_loses_no_frame(tmp_path: Path) -> None:
    frames = read(joined(tmp_path / "joined.ts", *make_recordings(tmp_path, 8, 60)))
    assert len(frames) == 68
    assert all(step > 0 for step in np.diff([frame.pts for frame in frames]))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("place", [15, -1])
def test_frame_is_repeated_for_a_corrupt_packet_in_joined_recordings(
    tmp_path: Path, number: int, place: int
) -> None:
    clips = make_recordings(tmp_path, 60, 20)
    corrupt_ts_packet(clips[number], place)
    with Reader(joined(tmp_path / "joined.ts", *clips)) as reader:
        frames = list(reader.frames())
    assert set(np.diff([frame.pts for frame in frames])) == {3600}
    assert (len(frames), reader.corrupt_packets) == (80, 1)


@pytest.mark.parametrize("counts", [(60, 20), (60, 60), (60, 20, 40)])
def test_span_of_joined_recordings_continues_after_a_discontinuity(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    clips = make_recordings(tmp_path, *counts)
    whole = read(joined(tmp_path / "joined.ts", *clips))
    frames = read(tmp_path / "joined.ts", SpanOptions(start_s=1))
    assert [frame.pts for frame in frames] == [frame.pts for frame in whole[25:]]
    assert np.array_equal(frames[0].planes[0], whole[25].planes[0])


def test_frame_is_repeated_for_a_corrupt_packet_in_a_span_of_joined_recordings(
    tmp_path: Path,
) -> None:
    clips = make_recordings(tmp_path, 60, 40)
    corrupt_ts_packet(clips[1], 15)
    with Reader(joined(tmp_path / "joined.ts", *clips), SpanOptions(start_s=1.4)) as reader:
        frames = list(reader.frames())
    assert set(np.diff([frame.pts for frame in frames])) == {3600}
    assert (len(frames), reader.corrupt_packets) == (65, 1)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("first", [1, 4, 5, 6, 17, 29])
def test_span_can_start_at_any_frame(tmp_path: Path, ending: str, first: int) -> None:
    clip = Clip(codec="libx264", pts=range(10, 40), options={"g": "6", "bf": "2", "crf": "0"})
    path = clip.make(tmp_path / f"clip.{ending}")
    whole = read(path)
    frames = read(path, SpanOptions(start_s=first / 25, end_s=(first + 3) / 25))
    expected = whole[first : first + 3]
    assert [frame.pts for frame in frames] == [frame.pts for frame in expected]
    assert np.array_equal(frames[0].planes[0], expected[0].planes[0])


def test_span_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = Clip().make(tmp_path / "clip.mkv")
    with pytest.raises(OptionError, match="3 s lies behind its end"):
        Reader(path, SpanOptions(start_s=3))


def test_span_without_frames_is_refused(tmp_path: Path) -> None:
    path = Clip(pts=(0, 1, 20)).make(tmp_path / "clip.mkv")
    with pytest.raises(InputError, match="no frame can be decoded in this span"):
        read(path, SpanOptions(start_s=0.1, end_s=0.3))


def test_closing_frames_early_neither_hangs_nor_leaves_threads(tmp_path: Path) -> None:
    path = Clip(codec="libx264", pts=range(60), size=(320, 240)).make(tmp_path / "clip.mp4")
    before, start_s = threading.active_count(), time.monotonic()
    for count in range(1, 12):
        frames = Reader(path).frames()
        for _ in range(count):
            next(frames)
        frames.close()
    assert threading.active_count() == before
    assert time.monotonic() - start_s < 60


def test_open_reader_tells_images_from_videos(tmp_path: Path) -> None:
    clip = Clip(codec="png", pixel_format="rgb24", pts=(0,)).make(tmp_path / "clip.mov")
    (tmp_path / "one.png").write_bytes(_first_packet(clip))
    assert isinstance(open_reader(clip), Reader)
    assert isinstance(open_reader(tmp_path / "one.png"), ImageReader)


def test_open_reader_refuses_audio_only_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video in it"):
        open_reader(audio_only(tmp_path / "audio.mp4"))


def _first_packet(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return bytes(next(container.demux(video=0)))
