"""`open_writer`: what writes a target is chosen by the target's name."""

from pathlib import Path

import pytest

from lfdn_video.errors import OutputError
from lfdn_video.input.reader import Reader
from lfdn_video.media import VideoInfo
from lfdn_video.options import EncodeOptions
from lfdn_video.output.images import ImageWriter
from lfdn_video.output.open import open_writer
from lfdn_video.output.writer import Writer
from tests.support.clips import Clip

LOSSLESS = EncodeOptions(codec="ffv1")


def described(path: Path) -> VideoInfo:
    return Reader(path).info


def test_open_writer_tells_images_from_videos(tmp_path: Path) -> None:
    info = described(Clip().make(tmp_path / "in.mkv"))
    assert isinstance(open_writer(tmp_path / "out.mp4", info), Writer)
    assert isinstance(open_writer(tmp_path / "out_%03d.png", info), ImageWriter)


@pytest.mark.parametrize("slash", ["", "/"])
def test_video_written_to_a_folder_keeps_its_name(tmp_path: Path, slash: str) -> None:
    info = described(Clip().make(tmp_path / "in.mkv"))
    (tmp_path / "results").mkdir()
    writer = open_writer(f"{tmp_path}/results{slash}", info, LOSSLESS)
    assert isinstance(writer, Writer)
    assert writer.target == tmp_path / "results" / "in.mkv"


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    info = described(Clip().make(tmp_path / "in.mkv"))
    with pytest.raises(OutputError, match=r"the folder .*results does not exist"):
        open_writer(f"{tmp_path}/results/", info)


def test_folder_of_the_source_is_refused(tmp_path: Path) -> None:
    info = described(Clip().make(tmp_path / "in.mkv"))
    with pytest.raises(OutputError, match="is the source itself"):
        open_writer(tmp_path, info, EncodeOptions(overwrite=True))
