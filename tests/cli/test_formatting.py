"""Numbers and summaries as text, and values as JSON has them."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.background import StageTimes
from lfdn_video.cli import formatting
from lfdn_video.stream.board import Status
from tests.support.runs import progress, summary


def test_progress_has_frames_speed_time_left_and_bottleneck() -> None:
    line = formatting.format_progress(progress())
    clock = r"done (\w+ )?\d\d:\d\d"
    assert re.fullmatch(
        rf"45/85 frames \(52%\), 12.3 fps, 3.2 s left, {clock}, bottleneck: model", line
    )


def test_progress_without_a_total_leaves_it_out() -> None:
    line = formatting.format_progress(progress(total=None))
    assert line == "45 frames, 12.3 fps, bottleneck: model"


def test_summary_has_target_speed_and_bottleneck() -> None:
    assert formatting.format_summary(summary()) == (
        "out.mp4: 85 frames in 0:10 (8.5 fps); bottleneck: model "
        "(busy: decode 10%, model 95%, encode 20%)"
    )


def test_summary_counts_corrupt_packets() -> None:
    assert formatting.format_summary(summary(corrupt=1)).endswith(
        "; 1 corrupt packet in the source"
    )


def test_summary_counts_repeated_and_missing_frames() -> None:
    line = formatting.format_summary(
        summary(corrupt=3, repeated=1, dropped={"cannot be decoded": 2})
    )
    assert line.endswith("; 1 frame repeated; 2 frames missing: cannot be decoded")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "0:10"), (3723, "1:02:03")]
)
def test_duration_has_tenths_below_ten_seconds(seconds: float, text: str) -> None:
    assert formatting.format_duration(seconds) == text


def test_values_become_jsonable() -> None:
    value = {"rate": Fraction(30000, 1001), "path": Path("a"), "eta": float("inf"), "at": (1, 2)}
    assert formatting.to_jsonable(value) == {
        "rate": "30000/1001",
        "path": "a",
        "eta": None,
        "at": [1, 2],
    }


def test_dataclasses_become_objects() -> None:
    assert formatting.to_jsonable(StageTimes(1.0, 0.25, 0.0)) == {
        "busy_s": 1.0,
        "input_wait_s": 0.25,
        "output_wait_s": 0.0,
    }


def live_status(**more: Any) -> Status:
    return Status(source="rtsp://camera", task="derain", **more)


def test_live_status_is_one_line() -> None:
    status = live_status(
        state="live", fps_in=25.0, fps_out=4.2, latency_s=0.31, frames_dropped=1, reconnects=2
    )
    line = formatting.format_status(replace(status, inference_scale=0.5))
    assert line == (
        "live, 25.0 fps in, 4.2 fps out, latency 0.31 s, 1 frame dropped, scale 0.5, 2 reconnects"
    )


def test_live_status_says_that_no_rain_is_removed() -> None:
    status = live_status(state="live", inference_scale=0.25, too_small=True)
    assert "too small to remove rain: 25 %" in formatting.format_status(status)


def test_status_with_trouble_has_its_reason() -> None:
    status = live_status(state="reconnecting", message="rtsp://camera: refused; trying again")
    assert formatting.format_status(status) == "reconnecting: refused; trying again"


def test_live_summary_has_frames_reconnects_and_duration() -> None:
    status = live_status(
        state="ended", started_at=100.0, changed_at=3761.0, frames_out=10, frames_dropped=3
    )
    assert formatting.format_live_summary(status) == (
        "rtsp://camera: 10 frames restored, 3 dropped, 0 reconnects in 1:01:01"
    )


def test_live_summary_tells_what_neighbouring_frames_did() -> None:
    left = {"nothing brighter": 4}
    status = live_status(temporal_frames=6, temporal_mean_change=1.25, temporal_left=left)
    assert formatting.format_live_summary(status).endswith(
        "; neighbouring frames: rain taken out of 6 (1.2/255), not of 4 (nothing brighter: 4)"
    )


def test_frame_rate_has_no_trailing_zeros() -> None:
    rates = (Fraction(25), Fraction(30000, 1001))
    assert [formatting.format_frame_rate(fps) for fps in rates] == ["25 fps", "29.97 fps"]
