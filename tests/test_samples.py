"""The sample clips are what their README says, and the script that makes them works."""

from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from lfdn_video.errors import InputError
from lfdn_video.input.open import open_reader
from tests.support.scripts import load

FOLDER = Path(__file__).parent.parent / "samples"
SIZE_LIMIT_BYTES = 5_000_000
CLIPS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".mp4", ".mkv"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("samples/make_samples.py")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A clip of 103 tiny grey frames, as many as the scripts skip and three more."""
    path = tmp_path / "source.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 54, 96, "yuv420p"
        for pts in range(103):
            picture = np.full((81, 96), pts + 60, np.uint8)
            frame = VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times_s(name: str) -> list[float]:
    with open_reader(FOLDER / name) as reader:
        return [float(frame.pts * reader.info.time_base) for frame in reader.frames()]


def test_readme_lists_every_clip() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in CLIPS if f"`{name}`" not in text] == []


def test_clips_are_small_in_total() -> None:
    assert sum((FOLDER / name).stat().st_size for name in CLIPS) < SIZE_LIMIT_BYTES


def test_rainy_clip_has_audio() -> None:
    with open_reader(FOLDER / "rainy_dashcam.mp4") as reader:
        assert [stream.type for stream in reader.info.streams] == ["video", "audio"]
    assert len(times_s("rainy_dashcam.mp4")) == 85


def test_variable_rate_clip_has_uneven_steps() -> None:
    steps = np.diff(times_s("variable_rate.mp4"))
    assert len(steps) == 59
    assert steps.max() > 10 * steps.min()


def test_odd_size_clip_has_odd_sides_and_10_bits() -> None:
    with open_reader(FOLDER / "odd_size_10bit.mkv") as reader:
        info = reader.info
    assert (info.width % 2, info.height % 2, info.format.name) == (1, 1, "yuv420p10le")


def test_rotated_clip_is_rotated_clockwise() -> None:
    with open_reader(FOLDER / "rotated.mp4") as reader:
        assert (reader.info.rotation, reader.info.flip) == (90, False)
        assert reader.info.width > reader.info.height


def test_clip_of_many_streams_has_one_of_each_type() -> None:
    with open_reader(FOLDER / "many_streams.mkv") as reader:
        info = reader.info
    kinds = [stream.type for stream in info.streams]
    assert kinds == ["video", "audio", "audio", "subtitle", "subtitle", "attachment"]
    assert [chapter.title for chapter in info.chapters] == ["Empty", "A car comes"]


def test_truncated_clip_cannot_be_opened() -> None:
    with (
        pytest.raises(InputError, match=r"truncated\.mp4: "),
        open_reader(FOLDER / "truncated.mp4"),
    ):
        pass


def test_clip_cut_short_plays_its_beginning() -> None:
    assert 10 < len(times_s("cut_short.mp4")) < 85


def test_script_makes_the_rotated_clip(script: ModuleType, source: Path, tmp_path: Path) -> None:
    script.make_rotated(tmp_path / "rotated.mp4", source)
    with open_reader(tmp_path / "rotated.mp4") as reader:
        assert reader.info.rotation == 90


def test_script_makes_the_clip_of_many_streams(
    script: ModuleType, source: Path, tmp_path: Path
) -> None:
    script.make_many_streams(tmp_path / "many.mkv", source)
    with open_reader(tmp_path / "many.mkv") as reader:
        assert len(reader.info.streams) == 6
