"""Discontinuities in timestamps."""

from lfdn_video.timestamps import DiscontinuityCounter


def test_counter_counts_jumps_back() -> None:
    counter = DiscontinuityCounter(least=100)
    assert [counter.observe(time) for time in (0, 500, 0, 400, 300)] == [0, 0, 1, 1, 2]


def test_counter_ignores_reordering() -> None:
    counter = DiscontinuityCounter(least=100)
    assert [counter.observe(time) for time in (0, 120, 40, 80, 400)] == [0, 0, 0, 0, 0]
