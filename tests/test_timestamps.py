"""Discontinuities in timestamps, and pts that are missing, repeated or go back."""

from lfdn_video.timestamps import DiscontinuityCounter, PtsRepairer
from tests.support.fakes import video_info

FRAME_TICKS = 40  # 25 frames per second in a time base of 1/1000 s


def test_counter_counts_jumps_back() -> None:
    counter = DiscontinuityCounter(min_jump=100)
    assert [counter.observe(time) for time in (0, 500, 0, 400, 300)] == [0, 0, 1, 1, 2]


def test_counter_ignores_reordering() -> None:
    counter = DiscontinuityCounter(min_jump=100)
    assert [counter.observe(time) for time in (0, 120, 40, 80, 400)] == [0, 0, 0, 0, 0]


def repair(*raw_pts: int | None) -> list[int]:
    """Repair the pts of frames that do not state their duration."""
    repairer = PtsRepairer(video_info())
    return [repairer.repair(pts, 0) for pts in raw_pts]


def test_increasing_pts_are_kept() -> None:
    assert repair(3, 43, 90, 1000) == [3, 43, 90, 1000]


def test_missing_pts_follow_at_the_frame_rate() -> None:
    assert repair(None, None, 100, None) == [0, FRAME_TICKS, 100, 100 + FRAME_TICKS]


def test_missing_pts_follow_after_the_stated_duration() -> None:
    repairer = PtsRepairer(video_info())
    assert [repairer.repair(None, 0), repairer.repair(None, 25)] == [0, 25]


def test_repeated_and_disordered_pts_are_moved_by_a_tick() -> None:
    assert repair(0, 80, 80, 40, 160) == [0, 80, 81, 82, 160]


def test_pts_after_a_discontinuity_continue_without_a_gap() -> None:
    assert repair(10_000, 0, 40, 80) == [10_000, 10_040, 10_080, 10_120]
