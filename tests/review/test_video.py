"""Comparison videos, decoded: which part is of which file, and when it is shown."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.options import Layout
from lfdn_video.review.video import MID_GREY, name_comparison, write_comparison
from tests.support import drawn
from tests.support.clips import Clip, times

PTS = [0, 40, 100, 110, 260, 300]
SOURCE_GREY, RESULT_GREY = 90, 180


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A dark source and a bright result at a variable rate."""
    return (
        drawn.write(tmp_path / "a.mkv", flat(SOURCE_GREY), PTS),
        drawn.write(tmp_path / "b.mkv", flat(RESULT_GREY), PTS),
    )


def flat(grey: int) -> list[drawn.Grey]:
    return [np.full((90, 160), grey, np.uint8)] * len(PTS)


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        shown = container.decode(video=0)
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in shown]


def drawn_as(files: tuple[Path, Path], layout: Layout) -> list[NDArray[np.uint8]]:
    target = name_comparison(files[1])
    assert write_comparison(*files, target, layout) == len(PTS)
    return decoded(target)


def near(part: NDArray[np.uint8], grey: int) -> bool:
    return bool(np.abs(part.astype(int) - grey).max() <= 3)


def test_left_half_is_the_source_and_right_half_the_result(files: tuple[Path, Path]) -> None:
    for frame in drawn_as(files, "split"):
        assert frame.shape == (90, 160, 3)
        assert near(frame[30:, :70], SOURCE_GREY)
        assert near(frame[30:, 90:], RESULT_GREY)


def test_side_by_side_is_twice_as_wide(files: tuple[Path, Path]) -> None:
    for frame in drawn_as(files, "side"):
        assert frame.shape == (90, 320, 3)
        assert near(frame[30:, :150], SOURCE_GREY)
        assert near(frame[30:, 170:], RESULT_GREY)


def test_line_of_a_wipe_moves(files: tuple[Path, Path]) -> None:
    columns = [
        int((frame[60, :, 0] < (SOURCE_GREY + RESULT_GREY) / 2).sum())
        for frame in drawn_as(files, "wipe")
    ]
    assert columns == sorted(columns)
    assert columns[0] < columns[-1]


@pytest.mark.parametrize(("change", "shown"), [(0, MID_GREY), (10, 168), (-10, 88)])
def test_difference_is_around_mid_grey(tmp_path: Path, change: int, shown: int) -> None:
    one = drawn.write(tmp_path / "a.mkv", flat(100), PTS)
    other = drawn.write(tmp_path / "b.mkv", flat(100 + change), PTS)
    for frame in drawn_as((one, other), "diff"):
        assert near(frame[45:], shown)


def test_frames_have_the_sources_times(files: tuple[Path, Path]) -> None:
    write_comparison(*files, name_comparison(files[1]), "split")
    expected = [Fraction(time, 1000) for time in PTS]
    assert times(name_comparison(files[1])) == expected


def test_halves_are_labelled(files: tuple[Path, Path]) -> None:
    frame = drawn_as(files, "split")[0]
    for half in (frame[:20, :70], frame[:20, 90:]):
        assert half.max() > 240
        assert half.min() < 80


def test_odd_and_rotated_frames_are_shown_upright(tmp_path: Path) -> None:
    clip = Clip(size=(63, 47), rotation=90, pts=range(3)).make(tmp_path / "a.mkv")
    target = name_comparison(clip)
    assert write_comparison(clip, clip, target, "split") == 3
    assert decoded(target)[0].shape == (64, 48, 3)


def test_layout_that_does_not_exist_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="layout: 'onion' is none of split, side, wipe, diff"):
        write_comparison(*files, "out.mp4", "onion")  # type: ignore[arg-type]


def test_source_and_existing_files_are_not_replaced(files: tuple[Path, Path]) -> None:
    content = files[0].read_bytes()
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            write_comparison(*files, files[0], "split", overwrite=overwrite)
    assert files[0].read_bytes() == content
