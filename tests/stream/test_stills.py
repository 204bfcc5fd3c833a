"""Frames of a live session as files."""

import re

import cv2
import numpy as np
import pytest

from lfdn_video.media import Image
from lfdn_video.stream.board import View
from lfdn_video.stream.watch import stills
from tests.support.sessions import picture, view


def decode(content: bytes) -> Image:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def test_snapshot_of_both_has_raw_on_the_left_and_restored_on_the_right() -> None:
    one = view(3)
    pixels = decode(stills.encode_snapshot(one, "both"))
    assert np.array_equal(pixels, np.concatenate([one.raw, one.restored], axis=1))


@pytest.mark.parametrize("side", ["raw", "restored"])
def test_snapshot_of_one_side_is_lossless(side: stills.Side) -> None:
    one = view(3)
    assert np.array_equal(decode(stills.encode_snapshot(one, side)), getattr(one, side))


def test_jpeg_is_close_to_its_image() -> None:
    one = picture(3)
    change = np.abs(decode(stills.encode_jpeg(one)).astype(int) - one)
    assert change.mean() < 3  # JPEG, at the bar's edges


def test_jpeg_of_a_wide_image_is_scaled_down() -> None:
    wide = picture(1, height=400, width=2 * stills.MAX_JPEG_WIDTH_PX)
    assert decode(stills.encode_jpeg(wide)).shape == (200, stills.MAX_JPEG_WIDTH_PX, 3)


def test_snapshot_name_has_task_time_and_side() -> None:
    one = View(1, picture(1), picture(1), 1_795_600_000.25, 0.1)
    pattern = r"derain-2026-11-\d\d-\d{6}\.250-both\.png"
    assert re.fullmatch(pattern, stills.snapshot_name(one, "both", "derain"))
