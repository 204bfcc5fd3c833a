"""Decoding times of packets of two encoders in one stream."""

import itertools

import pytest

from lfdn_video.output.copied import assign_decoding_times


@pytest.mark.parametrize(
    ("pts", "dts"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 2, 1, 4, 3], [-1, 0, 1, 2, 3]),
        # One encoder without reordering, then one with two frames of it: one tick each.
        ([0, 1, 2, 3, 7, 5, 4, 6], [-2, -1, 0, 1, 2, 3, 4, 5]),
        ([10, 40, 20, 50], [0, 10, 20, 40]),
    ],
)
def test_times_increase_and_come_before_what_is_shown(pts: list[int], dts: list[int]) -> None:
    ticks = 10 if pts[0] else 1
    found = list(assign_decoding_times(pts, ticks))
    assert found == dts
    assert all(a < b for a, b in itertools.pairwise(found))
    assert all(a <= b for a, b in zip(found, pts, strict=True))
