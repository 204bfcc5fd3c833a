"""What `lfdn-video serve` shows: a table on a terminal, else what its reporter does."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from lfdn_video.cli.formatting import escape_unprintable
from lfdn_video.cli.reporters import ECHO_COLUMNS, BarReporter, Reporter
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.watch.health import assess_health

WIDE_COLUMNS = 90
"""Below, there is room for the most important columns only."""

STYLES = {"live": "green", "failed": "bold red", "ended": "dim", "stalled": "yellow"}


class View:
    """Passes every status on to the reporter. A context manager.

    Args:
        reporter: the command's reporter.
        boards: those of the cameras.
        config: the configuration file, to name it.
        target: where recordings are written.
    """

    def __init__(
        self, reporter: Reporter, boards: Sequence[Board], config: Path, target: str
    ) -> None:
        self.reporter = reporter
        self.boards = boards
        self._config = config
        self._target = target

    def __enter__(self) -> Self:
        self.reporter.report_start("serve", str(self._config), self._target)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self) -> None:
        """Show the cameras' state now. Call it often."""
        for board in self.boards:
            self.reporter.report_status(board.status)


class TableView(View):
    """A table on the terminal, below the messages; it is gone at the end."""

    def __enter__(self) -> Self:
        console = self.reporter.console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._live.start()
        self._next_s = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self) -> None:
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + 0.5
        width = self.reporter.console.width - ECHO_COLUMNS
        table = make_table([board.status for board in self.boards], width)
        self._live.update(table, refresh=True)


def choose_view(reporter: Reporter, boards: Sequence[Board], config: Path, target: str) -> View:
    """Choose by the reporter; see `View` for the arguments."""
    kind = TableView if isinstance(reporter, BarReporter) else View
    return kind(reporter, boards, config, target)


def make_table(statuses: Sequence[Status], width: int) -> Table:
    """Make a table of the cameras.

    Args:
        statuses: one for each camera.
        width: of the table, in columns.
    """
    is_wide = width >= WIDE_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), width=width)
    table.add_column("camera", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("state", no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        ("fps", "latency", "scale", "dropped", "reconnects") if is_wide else ("fps", "latency")
    )
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    if is_wide:
        table.add_column("recording", no_wrap=True, overflow="ellipsis", ratio=1)
    for status in statuses:
        table.add_row(*_cells(status, is_wide=is_wide))
    return table


def _cells(status: Status, *, is_wide: bool) -> list[Text]:
    health = assess_health(status, 0.0)
    word = Text(health, style=STYLES.get(health, "yellow"))
    if status.message and health != "live":
        message = status.message.removeprefix(f"{status.source}: ")
        word.append(f" {escape_unprintable(message)}", style="default")
    elif status.too_small and status.frames_out:
        word.append(" too small to remove rain", style="yellow")
    is_live = health == "live" and status.frames_out > 0
    fps = f"{status.fps_out:.1f}/{status.fps_in:.1f}" if is_live else "–"
    cells = [Text(str(status.camera)), word, Text(fps)]
    cells.append(Text(f"{1000 * status.latency_s:.0f} ms" if is_live else "–"))
    if is_wide:
        scale = f"{100 * status.inference_scale:.0f} %" if is_live else "–"
        cells += [Text(scale), Text(str(status.frames_dropped)), Text(str(status.reconnects))]
        file = escape_unprintable(Path(status.recording).name) if status.recording else ""
        failed = Text("failed", style="bold red")
        cells.append(failed if status.recording_error else Text(file))
    return cells
