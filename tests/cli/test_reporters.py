"""Reporters: their output for a run, without running it."""

import io
import json
import logging
import warnings

import pytest
from rich.console import Console

from lfdn_video.cli import reporters
from tests.support.runs import progress, summary


def test_line_reporter_prints_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with reporters.LineReporter() as lines:
        lines.report_start("derain", "in.mp4", "out.mp4")
        for done in range(1, 101):
            now_s += 0.125
            lines.report_progress(progress(done))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split()[0] for line in printed.err.splitlines()[1:]] == ["41/85", "81/85"]


def test_warning_that_was_logged_and_summed_up_is_printed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with reporters.LineReporter() as lines:
        logging.getLogger("lfdn_video.output.writer").warning("clip.mkv: no [place] for it")
        lines.report_summary(summary("clip.mkv: no [place] for it"))
    assert capsys.readouterr().err.count("warning: clip.mkv: no [place] for it\n") == 1


def test_warning_of_a_library_is_a_detail(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), reporters.LineReporter():
        warnings.simplefilter("always")
        warnings.warn("something changed", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_verbose_prints_details(capsys: pytest.CaptureFixture[str]) -> None:
    with reporters.LineReporter(verbose=True):
        logging.getLogger("lfdn_video.inference.engine").debug("a detail")
    assert capsys.readouterr().err == "lfdn_video.inference.engine: a detail\n"


def test_bar_shows_a_name_with_brackets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    with reporters.BarReporter() as bar:
        bar.report_start("derain", "/videos/rain [4k].mp4", "out.mp4")
        bar.report_progress(progress())
        page = io.StringIO()
        Console(file=page, width=130).print(bar._bar.get_renderable())
    capsys.readouterr()
    assert "rain [4k].mp4" in page.getvalue()
    assert page.getvalue().rstrip().endswith("bottleneck: model")


def test_lines_of_a_terminal_break_between_words_and_keep_paths_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    path = "/a/folder/whose/name/is/longer/than/a/line.html"
    with reporters.BarReporter() as bar:
        bar.report_note("neighbouring frames: none changed (too few neighbours: 3)")
        bar.report_note(f"{path}: the report")
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert lines == [
        "neighbouring frames: none",
        "changed (too few neighbours:",
        "3)",
        f"{path}: the report",
    ]


def test_bar_shows_what_follows_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with reporters.BarReporter() as bar:
        bar.report_start("derain", "in.mp4", "out.mp4")
        bar.report_progress(progress(85, 85))
        bar.report_step("making the report", 3, 85)
        assert bar._bar.tasks[0].completed == 3
        page = io.StringIO()
        Console(file=page, width=100).print(bar._bar.get_renderable())
    capsys.readouterr()
    assert page.getvalue().rstrip().endswith("making the report")


def test_steps_of_unknown_number_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for reporter in (reporters.LineReporter(), reporters.BarReporter()):
        with reporter:
            for done in range(1, 4):
                reporter.report_step("measuring", done, None)
        assert capsys.readouterr().err.strip() == "measuring: 1 frames"


def test_step_without_a_run_has_a_bar_that_makes_room(capsys: pytest.CaptureFixture[str]) -> None:
    with reporters.BarReporter() as bar:
        bar.report_step("making the report", 3, 85)
        shown = [bar._bar.live.is_started]
        page = io.StringIO()
        Console(file=page, width=60).print(bar._bar.get_renderable())
        bar.report_step("making the report", 85, 85)
        shown.append(bar._bar.live.is_started)
    assert shown == [True, False]
    capsys.readouterr()
    assert page.getvalue().rstrip().endswith("making the report")


def test_bar_is_removed_before_an_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with reporters.BarReporter() as bar:
        bar.report_start("derain", "in.mp4", "out.mp4")
        bar.report_error("in.mp4: is corrupt", 1)
    assert "error: in.mp4: is corrupt" in capsys.readouterr().err.splitlines()


def test_progress_events_come_at_most_twice_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with reporters.EventReporter() as events:
        for done in range(1, 86):
            now_s += 0.125
            events.report_progress(progress(done))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frames_done"] for line in lines][:3] == [1, 5, 9]
    assert lines[-1]["frames_done"] == 85


@pytest.mark.parametrize("width", [60, 80, 100, 130])
def test_bar_keeps_share_and_time_left_with_a_long_name(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with reporters.BarReporter() as bar:
        bar.report_start("derain", f"/videos/{'a long name ' * 10}.mp4", "out.mp4")
        bar.report_progress(progress())
        page = io.StringIO()
        Console(file=page, width=width).print(bar._bar.get_renderable())
    capsys.readouterr()
    parts = ["12.3 fps", "3.2 s left", "done "]
    parts.append("52%" if width < 125 else "45/85")
    assert [part for part in parts if part not in page.getvalue()] == []
    assert len(page.getvalue().rstrip("\n").splitlines()) == 1
