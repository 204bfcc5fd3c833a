"""Where the temporal stage is on, and why not elsewhere."""

import pytest

from lfdn_video.options import Temporal
from lfdn_video.temporal.choice import Off, find_reason_off


@pytest.mark.parametrize(
    ("temporal", "task", "consecutive", "frames", "reason"),
    [
        ("auto", "derain", True, None, None),
        ("auto", "derain", True, 1, None),
        ("off", "derain", True, 9, "not asked for"),
        ("off", "deblur", True, 9, "not asked for"),
        ("auto", "deblur", True, 9, "not for this task"),
        ("auto", "rain", True, 9, "not for this task"),
        ("auto", "derain", False, 1, "a single image"),
        ("auto", "derain", False, 9, "images not numbered in a row"),
        ("auto", "derain", False, None, "images not numbered in a row"),
    ],
)
def test_reason(
    temporal: Temporal, task: str, consecutive: bool, frames: int | None, reason: Off | None
) -> None:
    found = find_reason_off(temporal, task, consecutive=consecutive, frames=frames)
    assert found == reason
