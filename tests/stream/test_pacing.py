"""Files played in real time."""

import time

from lfdn_video.stream.capture.pacing import RealTimePace


def test_errors_of_sleep_do_not_add_up() -> None:
    pace = RealTimePace()
    began_s = time.monotonic()
    for number in range(20):
        pace.wait_until(number / 100)
    assert time.monotonic() - began_s >= 0.18
