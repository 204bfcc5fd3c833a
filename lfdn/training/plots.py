"""The curves of a run as a picture: loss, validation PSNR and learning rate over the steps.

matplotlib draws them; it is in the extra `[report]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lfdn.training.figures import read_columns

NAME = "curves.png"
SIZE_IN = (8.0, 8.0)
DPI = 110
LIGHT, DARK, QUIET = "#9db8d9", "#1f5fa8", "#777777"
GRID = "#e3e3e3"
MARKED_POINTS = 40
"""A curve of fewer points is marked at each."""


def draw_curves(run: Path) -> Path:
    """Draw `steps.csv` and `metrics.csv` of a run folder.

    Args:
        run: The run folder, with at least one of the two.

    Returns:
        The picture, `curves.png` in the folder; one that exists is replaced.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The picture cannot be written.
        ValueError: A file holds something else than numbers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, metrics = read_columns(run / "steps.csv"), read_columns(run / "metrics.csv")
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    loss, psnr, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    loss.set_title(run.name or str(run), loc="left")
    draw_loss(loss, steps, metrics)
    draw_psnr(psnr, metrics)
    _draw_rate(rate, steps or metrics)
    rate.set_xlabel("step")
    rate.set_xlim(left=0)
    partial = run / f".{NAME}.partial"
    figure.savefig(partial, format="png")
    partial.replace(run / NAME)
    return run / NAME


def draw_loss(axes: Any, steps: dict[str, list[float]], metrics: dict[str, list[float]]) -> None:
    """Draw the loss: that of `steps.csv` lightly, the mean between two validations on top.

    Args:
        axes: Of matplotlib.
        steps: Columns of `steps.csv`; may be empty.
        metrics: Columns of `metrics.csv`; may be empty.
    """
    if steps:
        axes.plot(steps["step"], steps["loss"], color=LIGHT, linewidth=0.9, label="of some steps")
    if metrics:
        label = "mean between validations"
        axes.plot(metrics["step"], metrics["loss"], color=DARK, **_mark(metrics), label=label)
    _finish(axes, "training loss")


def draw_psnr(axes: Any, metrics: dict[str, list[float]]) -> None:
    """Draw the PSNR of the validation images: degraded as a line, restored as a curve.

    Args:
        axes: Of matplotlib.
        metrics: Columns of `metrics.csv`, also of older versions, which had no RGB; may be empty.
    """
    for kind, colour in (("y", DARK), ("rgb", "#b5542c")):
        if f"validation_psnr_{kind}" in metrics:
            values = metrics[f"validation_psnr_{kind}"]
            before = metrics[f"validation_input_psnr_{kind}"]
            name = kind.upper()
            axes.plot(metrics["step"], values, color=colour, **_mark(metrics), label=name)
            # The same images each time, so one line for all of them.
            axes.axhline(before[-1], color=colour, linestyle=":", linewidth=1.2,
                         label=f"{name}, degraded")  # fmt: skip
    _finish(axes, "validation PSNR, dB")


def _draw_rate(axes: Any, columns: dict[str, list[float]]) -> None:
    if columns:
        axes.plot(columns["step"], columns["learning_rate"], color=QUIET, linewidth=1.4)
        axes.set_ylim(bottom=0)
    _finish(axes, "learning rate")


def _mark(columns: dict[str, list[float]]) -> dict[str, Any]:
    few = len(columns["step"]) <= MARKED_POINTS
    return {"linewidth": 1.6, "marker": "o" if few else "", "markersize": 3}


def _finish(axes: Any, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small", ncols=2)
