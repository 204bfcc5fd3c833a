"""The health of a live session in one word."""

import pytest

from lfdn_video.stream.board import Status
from lfdn_video.stream.watch.health import FRESH_S, HEALTH_STATES, assess_health

LIVE = Status(source="camera", task="derain", state="live")


def test_live_session_with_a_fresh_frame_is_live() -> None:
    assert assess_health(LIVE, 0.1) == "live"


@pytest.mark.parametrize("silent_s", [None, FRESH_S + 0.1])
def test_live_session_without_a_fresh_frame_is_stalled(silent_s: float | None) -> None:
    assert assess_health(LIVE, silent_s) == "stalled"


def test_other_states_are_kept_however_long_the_silence() -> None:
    assert assess_health(Status(source="camera", task="derain", state="reconnecting"), 99.0) == (
        "reconnecting"
    )


def test_health_states_are_the_session_states_and_stalled() -> None:
    assert HEALTH_STATES == ("connecting", "live", "reconnecting", "ended", "failed", "stalled")
