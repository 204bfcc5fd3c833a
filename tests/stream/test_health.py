"""The one word for how a stream is."""

import pytest

from lfdn_video.stream.board import Status
from lfdn_video.stream.watch.health import FRESH_S, HEALTH_STATES, assess_health

LIVE = Status(source="camera", task="derain", state="live")


def test_live_with_a_fresh_picture_is_live() -> None:
    assert assess_health(LIVE, 0.1) == "live"


@pytest.mark.parametrize("silent_s", [None, FRESH_S + 0.1])
def test_live_without_a_fresh_picture_is_stalled(silent_s: float | None) -> None:
    assert assess_health(LIVE, silent_s) == "stalled"


def test_what_is_not_live_stays_what_it_is() -> None:
    assert assess_health(Status(source="camera", task="derain", state="reconnecting"), 99.0) == (
        "reconnecting"
    )


def test_there_are_as_many_words_as_states_and_one_more() -> None:
    assert HEALTH_STATES == ("connecting", "live", "reconnecting", "ended", "failed", "stalled")
