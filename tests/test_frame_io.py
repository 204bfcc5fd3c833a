"""Warnings: kept once, logged once."""

import logging

import pytest

from lfdn_video.frame_io import Warnings


def test_warnings_keep_and_log_each_note_once(caplog: pytest.LogCaptureFixture) -> None:
    warnings = Warnings()
    with caplog.at_level(logging.WARNING):
        for subject in ("a.mkv", "a.mkv", "b.mkv"):
            warnings.add(subject, "is interlaced")
    assert warnings == ["a.mkv: is interlaced", "b.mkv: is interlaced"]
    assert caplog.messages == list(warnings)
