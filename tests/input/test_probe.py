"""The description of a video file, and the errors for what is not a video."""

import os
from fractions import Fraction
from pathlib import Path

import pytest

from lfdn_video.errors import InputError
from lfdn_video.input.probe import probe_video
from lfdn_video.media import Colour
from tests.support.clips import Clip, audio_only, truncate, with_cover


def test_probe_lists_all_streams_and_chapters(tmp_path: Path) -> None:
    clip = Clip(audio="aac", subtitles=True, chapters=True, attachment=True)
    info = probe_video(clip.make(tmp_path / "rich.mkv"))
    kinds = [(stream.type, stream.codec) for stream in info.streams]
    audio = [("audio", "aac"), ("audio", "aac")]
    others = [("subtitle", "ass"), ("attachment", "font/ttf")]
    assert kinds == [("video", "ffv1"), *audio, *others]
    assert [chapter.title for chapter in info.chapters] == ["Start", "Ende"]


def test_probe_reads_details_of_audio_and_video_streams(tmp_path: Path) -> None:
    info = probe_video(Clip(audio="aac").make(tmp_path / "clip.mkv"))
    audio = info.streams[1]
    assert (audio.language, audio.title, audio.default) == ("deu", "Ton deu", True)
    assert (audio.channels, audio.sample_rate, audio.layout) == (2, 48_000, "stereo")
    assert (info.streams[0].width, info.streams[0].height) == (64, 48)


def test_probe_reads_time_base_and_colour_tags(tmp_path: Path) -> None:
    clip = Clip(pts=range(40, 60), colour=(9, 1, 9, 16), sample_aspect_ratio=Fraction(4, 3))
    info = probe_video(clip.make(tmp_path / "clip.mkv"))
    assert info.colour == Colour(9, 1, 9, 16)
    assert (info.time_base, info.start_pts) == (Fraction(1, 1000), 1600)
    assert info.average_rate == 25


def test_duration_excludes_the_start_offset(tmp_path: Path) -> None:
    info = probe_video(Clip(pts=range(25, 50)).make(tmp_path / "late.mkv"))
    assert info.duration_s == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("counter_clockwise", "flip", "clockwise"),
    [(0, False, 0), (90, False, 270), (180, False, 180), (270, False, 90), (90, True, 270)],
)
def test_probe_reads_rotation_and_flip(
    tmp_path: Path, ending: str, counter_clockwise: int, flip: bool, clockwise: int
) -> None:
    clip = Clip(codec="libx264", rotation=counter_clockwise, flip=flip)
    info = probe_video(clip.make(tmp_path / f"turned.{ending}"))
    assert (info.rotation, info.flip) == (clockwise, flip)


def test_file_name_with_colon_and_percent_is_taken_literally(tmp_path: Path) -> None:
    odd = Clip().make(tmp_path / "clip.mkv").rename(tmp_path / "http:%03d.mkv")
    assert probe_video(odd).width == 64


@pytest.mark.parametrize("content", ["#EXTM3U\n#EXTINF:1,\nclip.mkv\n", "ffconcat version 1.0\n"])
def test_playlist_is_refused(tmp_path: Path, content: str) -> None:
    Clip().make(tmp_path / "clip.mkv")
    (tmp_path / "list.mp4").write_text(content + "file clip.mkv\n")
    with pytest.raises(InputError, match="is a playlist"):
        probe_video(tmp_path / "list.mp4")


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.mp4: no such file"):
        probe_video(tmp_path / "gone.mp4")


def test_empty_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="the file is empty"):
        probe_video(tmp_path / "empty.mp4")


def test_text_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 99)
    with pytest.raises(InputError, match="Invalid data found when processing input"):
        probe_video(tmp_path / "text.mp4")


def test_audio_only_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video in it, only audio"):
        probe_video(audio_only(tmp_path / "audio.mp4"))


def test_audio_file_with_a_cover_is_an_input_error(tmp_path: Path) -> None:
    song = tmp_path / "song.mp4"
    with_cover(audio_only(tmp_path / "audio.mp4"), song)
    with pytest.raises(InputError, match="no video in it, only audio; give a file with video"):
        probe_video(song)


@pytest.mark.parametrize(("matrix", "kind"), [(8, "YCgCo"), (14, "ICtCp")])
def test_unsupported_colour_matrix_is_refused(tmp_path: Path, matrix: int, kind: str) -> None:
    clip = Clip(codec="libx264", pixel_format="yuv444p", colour=(matrix, 1, 2, 2))
    with pytest.raises(InputError, match=f"is coded in {kind}, which is not supported; convert"):
        probe_video(clip.make(tmp_path / "clip.mkv"))


def test_colour_matrix_of_gray_video_is_ignored(tmp_path: Path) -> None:
    clip = Clip(pixel_format="gray", colour=(8, 1, 2, 2))
    assert probe_video(clip.make(tmp_path / "clip.mkv")).format.name == "gray"


def test_folder_and_pipe_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        probe_video(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is a device or a pipe"):
        probe_video(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(("ending", "share"), [("mp4", 0.6), ("mkv", 0.05)])
def test_file_truncated_before_its_first_frame_is_refused(
    tmp_path: Path, ending: str, share: float
) -> None:
    clip = Clip(codec="libx264").make(tmp_path / f"clip.{ending}")
    with pytest.raises(InputError, match="truncated"):
        probe_video(truncate(clip, share))
