"""Waits before a failed source is opened again."""

import time

import pytest

from lfdn_video.stream.capture.reconnect import Outage


def test_waits_between_tries_grow_up_to_five_seconds_then_to_thirty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outage = Outage()
    assert [outage.add_failure() for _ in range(5)] == [1, 2, 4, 5, 5]
    monkeypatch.setattr(time, "monotonic", lambda: outage._since_s + 3600)
    assert outage.add_failure() == 30
