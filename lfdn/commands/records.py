"""What `lfdn train` leaves to be looked at: events for TensorBoard, plots."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import click

from lfdn.commands.observer import Observer

if TYPE_CHECKING:
    from pathlib import Path

    from lfdn.training.figures import MetricsRow, StepsRow
    from lfdn.training.summary import RunSummary

FLUSH_S = 20
"""Events are written at least this often."""
DRAW_INTERVAL_S = 60.0
"""Plots are drawn at validations, at most this often, and at the end."""

logger = logging.getLogger(__name__)


class TensorBoard(Observer):
    """Writes rows as scalars and validation images as pictures, to `tensorboard/`.

    Args:
        run: The run folder.

    Raises:
        click.ClickException: TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise click.ClickException(
                "--tensorboard: not installed; pip install 'lfdn-video[tensorboard]'"
            ) from error
        self._run = run
        self._open: Any = SummaryWriter
        self._writer: Any = None

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def begin(self, summary: RunSummary) -> None:
        """Open a file of events; those of steps after the checkpoint are hidden."""
        self._writer = self._open(
            str(self._run / "tensorboard"), purge_step=summary.step + 1, flush_secs=FLUSH_S
        )

    def note_row(self, row: StepsRow) -> None:
        """Write loss, gradient norm and learning rate."""
        for name in ("loss", "gradient_norm", "learning_rate"):
            self._writer.add_scalar(f"training/{name}", getattr(row, name), row.step)

    def note_metrics(self, row: MetricsRow) -> None:
        """Write the scores, and the validation images: degraded, restored, clean."""
        from lfdn.datasets.images import ImageSource
        from lfdn.training.checkpoint import RunFolder

        for kind in ("y", "rgb"):
            for name in (f"input_psnr_{kind}", f"psnr_{kind}"):
                value = getattr(row, f"validation_{name}")
                self._writer.add_scalar(f"validation/{name}", value, row.step)
        sheet = RunFolder(self._run).name_sheet(row.step)
        if sheet.exists():
            pixels = ImageSource(sheet).read()
            self._writer.add_image("validation", pixels, row.step, dataformats="HWC")


class Curves(Observer):
    """Draws the figures of a run as `curves.png`; says once if matplotlib is missing.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._drawn_s: float | None = None
        self._is_due = False

    def begin(self, summary: RunSummary) -> None:  # noqa: ARG002 (as the base class)
        """Find out whether plots can be drawn."""
        from importlib.util import find_spec

        if find_spec("matplotlib") is None:
            logger.info("no curves.png: it needs matplotlib; pip install 'lfdn-video[report]'")
            return
        self._drawn_s = time.monotonic()

    def note_row(self, row: StepsRow) -> None:  # noqa: ARG002
        """Remember that there is something to draw."""
        self._is_due = True

    def note_metrics(self, row: MetricsRow) -> None:  # noqa: ARG002
        """Draw, if the last time is long ago."""
        self._is_due = True
        if self._drawn_s is not None and time.monotonic() - self._drawn_s >= DRAW_INTERVAL_S:
            self._draw()
            self._drawn_s = time.monotonic()

    def __exit__(self, *error: object) -> None:
        if self._drawn_s is not None and self._is_due:
            self._draw()

    def _draw(self) -> None:
        from lfdn.training.plots import draw_curves

        try:
            draw_curves(self._run)
        except (OSError, ValueError) as error:  # the run is worth more than its picture
            logger.warning("%s: curves.png was not drawn: %s", self._run, error)
        self._is_due = False
