"""Frames of two files that belong together."""

from pathlib import Path

import numpy as np
import pytest

from lfdn_video.errors import InputError
from lfdn_video.input.open import open_reader
from lfdn_video.review.pairs import View, open_pairs
from tests.support import drawn
from tests.support.clips import Clip
from tests.support.fakes import video_info


def paired_levels(before: Path, after: Path) -> tuple[list[tuple[int, int]], int, int]:
    """The grey levels of the pairs, and the numbers of frames without a partner."""
    with open_pairs(before, after) as pairs:
        levels = [
            (int(pair.before.frame.planes[0][0, 0]), int(pair.after.frame.planes[0][0, 0]))
            for pair in pairs
        ]
        return levels, pairs.unpaired_before, pairs.unpaired_after


def levels(*greys: int) -> list[drawn.Grey]:
    return [np.full((16, 16), grey, np.uint8) for grey in greys]


def test_frame_that_is_missing_shifts_no_other(tmp_path: Path) -> None:
    whole = drawn.write(tmp_path / "a.mkv", levels(1, 2, 3, 4))
    part = drawn.write(tmp_path / "b.mkv", levels(1, 2, 4), [0, 40, 120])
    assert paired_levels(whole, part) == ([(1, 1), (2, 2), (4, 4)], 1, 0)
    assert paired_levels(part, whole) == ([(1, 1), (2, 2), (4, 4)], 0, 1)


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    one = drawn.write(tmp_path / "a.mkv", levels(1, 2, 3))
    late = drawn.write(tmp_path / "b.mkv", levels(1, 2, 3), [5000, 5040, 5080])
    assert paired_levels(one, late) == ([(1, 1), (2, 2), (3, 3)], 0, 0)


def test_end_that_is_missing_is_counted(tmp_path: Path) -> None:
    whole = drawn.write(tmp_path / "a.mkv", levels(1, 2, 3, 4))
    part = drawn.write(tmp_path / "b.mkv", levels(1, 2))
    assert paired_levels(whole, part) == ([(1, 1), (2, 2)], 2, 0)


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    one = drawn.write(tmp_path / "a.mkv", levels(1))
    other = drawn.write(tmp_path / "b.mkv", [np.zeros((32, 16), np.uint8)])
    with (
        open_pairs(one, other) as pairs,
        pytest.raises(InputError, match=r"b\.mkv: is 16×32 and .*a\.mkv is 16×16"),
    ):
        list(pairs)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_luma_lies_as_the_image_does(tmp_path: Path, rotation: int, flip: bool) -> None:
    clip = Clip(rotation=rotation, flip=flip, pixel_format="gray").make(tmp_path / "a.mkv")
    with open_reader(clip) as reader:
        view = View(next(reader.frames()), reader.info)
    assert np.abs(view.luma() - view.image()[:, :, 0]).max() < 1


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [("yuv420p", 16, 235), ("yuvj420p", 0, 255), ("yuv420p10le", 64, 940), ("gray", 0, 255)],
)
def test_luma_is_in_codes_of_8_bits(name: str, black: int, white: int) -> None:
    info = video_info(name, height=2, width=2)
    planes = [np.full(s, white, info.format.dtype) for s in info.format.plane_shapes(2, 2)]
    planes[0][0] = black
    frame = type("Frame", (), {"planes": planes, "format": info.format})()
    assert View(frame, info).luma().tolist() == [[0, 0], [255, 255]]
