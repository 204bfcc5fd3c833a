"""Files played in real time."""

import time

import pytest

from lfdn_video.stream.capture.pacing import CLOCK_FRAMES, RealTimePace, SourceClock


def test_errors_of_sleep_do_not_add_up() -> None:
    pace = RealTimePace()
    began_s = time.monotonic()
    for number in range(20):
        pace.wait_until(number / 100)
    assert time.monotonic() - began_s >= 0.18


def test_backlog_of_the_start_does_not_delay_the_clock() -> None:
    """FFmpeg hands over at once what it read while it probed, here 15 frames."""
    clock = SourceClock()
    for number in range(15):
        clock.stamp_frame(number / 25, 100.6)
    for number in range(15, 30):
        assert clock.stamp_frame(number / 25, 100 + number / 25) == 100 + number / 25
    assert clock.stamp(1.2, 101.5) == pytest.approx(101.2)


def test_late_arrivals_do_not_move_frames() -> None:
    clock = SourceClock()
    for number in range(2 * CLOCK_FRAMES):
        late_s = 0.3 * (number % 4 == 1)
        stamp_s = clock.stamp_frame(number / 25, 100 + number / 25 + late_s)
        assert stamp_s == pytest.approx(100 + number / 25)


def test_stamps_are_never_in_the_future_and_never_go_back() -> None:
    clock, last_s = SourceClock(), 0.0
    for time_s, arrival_s in ((0, 100.0), (0.04, 100.3), (0.02, 100.31), (9, 101.0), (8, 101.1)):
        stamp_s = clock.stamp_frame(time_s, arrival_s)
        assert last_s <= stamp_s <= arrival_s
        last_s = stamp_s


def test_timestamps_that_jump_set_the_clock_anew() -> None:
    clock = SourceClock()
    clock.stamp_frame(5.0, 100.0)
    assert clock.stamp_frame(7000.0, 100.04) == pytest.approx(100.04)
    assert clock.stamp(7000.5, 100.7) == pytest.approx(100.54)
