"""What a run says, apart from what makes it say so."""

import io
import json
import logging
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lfdn_video.background import StageTimes
from lfdn_video.cli import console
from lfdn_video.pipeline import Progress, Summary
from lfdn_video.stream.board import Status


def progress(done: int = 45, total: int | None = 85, fps: float = 12.34) -> Progress:
    left_s = None if total is None else (total - done) / fps
    return Progress(done, total, done / fps, fps, left_s, "model")


def summary(
    *warnings: str, corrupt: int = 0, repeated: int = 0, dropped: dict[str, int] | None = None
) -> Summary:
    return Summary(
        frames=85,
        seconds=10.0,
        stages={
            "decode": StageTimes(1, 0, 9),
            "model": StageTimes(9.5, 0, 0),
            "encode": StageTimes(2, 8, 0),
        },
        bottleneck="model",
        warnings=warnings,
        target=Path("out.mp4"),
        corrupt_packets=corrupt,
        repeated_frames=repeated,
        dropped_frames=dropped or {},
    )


def test_the_progress_line() -> None:
    line = "45/85 frames, 12.3 fps, 3.2 s left, waiting for the model"
    assert console.progress_line(progress()) == line


def test_what_is_not_known_is_left_out() -> None:
    line = console.progress_line(progress(total=None))
    assert line == "45 frames, 12.3 fps, waiting for the model"


def test_the_summary_line() -> None:
    assert console.summary_line(summary()) == (
        "out.mp4: 85 frames in 0:10 (8.5 fps); everyone waited for the model "
        "(at work: decode 10 %, model 95 %, encode 20 %)"
    )


def test_the_summary_counts_damaged_packets() -> None:
    assert console.summary_line(summary(corrupt=1)).endswith("; 1 damaged packet in the source")


def test_the_summary_tells_where_every_frame_is() -> None:
    line = console.summary_line(summary(corrupt=3, repeated=1, dropped={"cannot be decoded": 2}))
    assert line.endswith("; 1 frame repeated; 2 frames not there: cannot be decoded")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "0:10"), (3723, "1:02:03")]
)
def test_durations(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_plain_lines_come_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with console.Lines() as lines:
        lines.start("derain", "in.mp4", "out.mp4")
        for done in range(1, 101):
            now_s += 0.125
            lines.progress(progress(done))
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split()[0] for line in told.err.splitlines()[1:]] == ["41/85", "81/85"]


def test_a_warning_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Lines() as lines:
        logging.getLogger("lfdn_video.output.writer").warning("clip.mkv: no [place] for it")
        lines.done(summary("clip.mkv: no [place] for it"))
    assert capsys.readouterr().err.count("warning: clip.mkv: no [place] for it\n") == 1


def test_a_librarys_warning_is_a_detail(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), console.Lines():
        warnings.simplefilter("always")
        warnings.warn("something changed", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_verbose_says_details(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Lines(verbose=True):
        logging.getLogger("lfdn_video.inference.engine").debug("a detail")
    assert capsys.readouterr().err == "lfdn_video.inference.engine: a detail\n"


def test_a_name_with_brackets_stays_in_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Bar() as bar:
        bar.start("derain", "/videos/rain [4k].mp4", "out.mp4")
        bar.progress(progress())
        page = io.StringIO()
        Console(file=page, width=100).print(bar._bar.get_renderable())
    capsys.readouterr()
    assert "rain [4k].mp4" in page.getvalue()
    assert page.getvalue().rstrip().endswith("waiting for the model")


def test_the_bar_is_gone_before_an_error_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Bar() as bar:
        bar.start("derain", "in.mp4", "out.mp4")
        bar.error("in.mp4: is damaged", 1)
    assert "error: in.mp4: is damaged" in capsys.readouterr().err.splitlines()


def test_json_comes_at_most_twice_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with console.Events() as told:
        for done in range(1, 86):
            now_s += 0.125
            told.progress(progress(done))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frames_done"] for line in lines][:3] == [1, 5, 9]
    assert lines[-1]["frames_done"] == 85


def test_values_become_plain() -> None:
    value = {"rate": Fraction(30000, 1001), "path": Path("a"), "eta": float("inf"), "at": (1, 2)}
    assert console.plain(value) == {"rate": "30000/1001", "path": "a", "eta": None, "at": [1, 2]}


def test_dataclasses_become_objects() -> None:
    assert console.plain(StageTimes(1.0, 0.25, 0.0)) == {
        "busy_s": 1.0,
        "input_wait_s": 0.25,
        "output_wait_s": 0.0,
    }


def live_status(**more: Any) -> Status:
    return Status(source="rtsp://camera", task="derain", **more)


def test_a_live_stream_is_told_in_a_line() -> None:
    status = live_status(
        state="live", fps_in=25.0, fps_out=4.2, latency_s=0.31, frames_dropped=1, reconnects=2
    )
    line = console.status_line(replace(status, inference_scale=0.5))
    assert line == (
        "live, 25.0 fps in, 4.2 fps out, 0.31 s behind, 1 frame dropped, network at 0.5, "
        "2 reconnects"
    )


def test_trouble_is_told_with_its_reason() -> None:
    status = live_status(state="reconnecting", message="rtsp://camera: refused; trying again")
    assert console.status_line(status) == "reconnecting: refused; trying again"


def test_the_end_of_a_live_stream_is_summed_up() -> None:
    status = live_status(
        state="ended", started_at=100.0, changed_at=3761.0, frames_out=10, frames_dropped=3
    )
    assert console.ended_line(status) == (
        "rtsp://camera: 10 frames restored, 3 dropped, 0 reconnects in 1:01:01"
    )
