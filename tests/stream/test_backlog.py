"""Sources that send faster than they are decoded."""

from lfdn_video.stream.capture.backlog import Backlog


def test_packets_in_time_are_no_backlog() -> None:
    """With jitter, a slow clock and a discontinuity."""
    backlog = Backlog()
    for number in range(5000):
        time_s = number / 25 + (100 if number > 2000 else 0)
        jitter_s = 0.3 * (number % 7 == 0)
        backlog.add_packet(
            time_s, 1000 + 1.0005 * number / 25 + jitter_s, keyframe=number % 25 == 0
        )
        assert not backlog.piles_up


def test_packets_ever_later_are_a_backlog_until_a_keyframe_is_in_time() -> None:
    backlog = Backlog()
    for number in range(100):
        backlog.add_packet(number / 25, number / 15, keyframe=number % 25 == 0)
    assert backlog.piles_up
    backlog.add_packet(4.0, 4.1, keyframe=False)
    assert backlog.piles_up
    backlog.add_packet(4.04, 4.14, keyframe=True)
    assert not backlog.piles_up
