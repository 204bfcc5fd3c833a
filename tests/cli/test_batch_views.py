"""What a run over many files shows."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lfdn_video.batch.values import BatchProgress, BatchSummary, FileResult
from lfdn_video.cli import batch_views as views
from lfdn_video.cli.reporters import BarReporter, LineReporter, Reporter
from tests.support.runs import progress


def state(*, eta_s: float | None = 200.0, failed: int = 0) -> BatchProgress:
    return BatchProgress(
        files_done=12,
        files_total=40,
        files_failed=failed,
        share=0.41,
        elapsed_s=100.0,
        eta_s=eta_s,
        current={Path("card/[red]a.mp4"): progress()},
    )


def failure(number: int, *, earlier: bool = False) -> FileResult:
    source = Path(f"card/{number}.mp4")
    return FileResult(
        source=source,
        target=Path("dry") / source.name,
        state="failed",
        message=f"{source}: no video\x1b[2J; convert it",
        earlier=earlier,
    )


def summary(*files: FileResult, stopped: str = "") -> BatchSummary:
    return BatchSummary(folder=Path("dry"), files=files, seconds=62.0, stopped=stopped)


def shown(view: views.View) -> str:
    output = view.reporter.console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def line_view() -> views.LineView:
    reporter = LineReporter()
    reporter.console = Console(file=io.StringIO(), highlight=False, soft_wrap=True)
    return views.LineView(reporter, "derain")


def test_progress_is_one_line() -> None:
    assert views.format_batch(state(failed=3)) == (
        "12/40 files, 3 failed, 41%, about 3:20 left; [red]a.mp4: 45/85 frames"
    )
    assert views.format_batch(state(eta_s=None)) == "12/40 files, 41%; [red]a.mp4: 45/85 frames"


def test_summary_counts_by_state() -> None:
    line = views.format_batch_summary(summary(failure(1), failure(2, earlier=True)))
    assert line == (
        "dry: 0 restored, 0 finished before, 2 failed in 1:02; --retry tries 1 again that failed "
        "before"
    )


def test_table_is_bounded_and_escaped() -> None:
    view = line_view()
    view.show_summary(summary(*map(failure, range(views.MOST_FAILURES + 5))))
    text = shown(view)
    assert text.count("convert it") == views.MOST_FAILURES
    assert "5 more" in text
    assert "\x1b[2J" not in text
    assert "\\x1b[2J" in text


def test_log_is_not_wrapped() -> None:
    view = line_view()
    long = failure(1)
    view.show_summary(summary(replace(long, message=f"{long.source}: {'word ' * 50}; do")))
    assert len(shown(view).splitlines()) == 3


def test_full_disk_is_an_error() -> None:
    view = line_view()
    view.show_summary(summary(stopped="dry: the disk is full; run again when there is space"))
    assert "error: dry: the disk is full" in shown(view)


def test_lines_of_progress_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    view = line_view()
    view.progressed(state())
    assert shown(view) == ""
    view._next_s = 0
    view.progressed(state())
    view.progressed(state())
    assert len(shown(view).splitlines()) == 1


def test_bar_shows_names_as_they_are() -> None:
    reporter = BarReporter()
    reporter.console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with views.choose_view(reporter, "derain") as view:
        view.batch_started(Path("dry"), 40, 40)
        view.progressed(state())
        assert isinstance(view, views.BarView)
        view._bar.refresh()
    assert "[red]a.mp4" in shown(view)


def test_quiet_shows_no_progress() -> None:
    reporter = Reporter()
    reporter.console = Console(file=io.StringIO())
    with views.choose_view(reporter, "derain") as view:
        view.batch_started(Path("dry"), 40, 40)
        view.progressed(state())
    assert (type(view), shown(view)) == (views.View, "")
