"""The summary that `lfdn train` prints before the first step, and how it says times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from lfdn.training.recipe import TrainOptions
    from lfdn.training.summary import RunSummary, SetSummary

WITHOUT_NAME = "samples"


def print_summary(console: Console, summary: RunSummary, *, run: Path, origin: str) -> None:
    """Print what a run is about to do: a line each for its parts, and its data sets.

    Args:
        console: Any width; long lines are wrapped.
        summary: The run.
        run: The run folder.
        origin: What the network starts from, such as `random weights`.
    """
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in _describe(summary, run, origin).items():
        grid.add_row(name, Text(text))
    console.print(grid)
    console.print(_tabulate_sets(summary.sets))


def _describe(summary: RunSummary, run: Path, origin: str) -> dict[str, str]:
    """Describe the run in a few lines, each with its heading."""
    options = summary.options
    several = f"{summary.processes} processes, each " if summary.processes > 1 else ""
    threads = f", {count(summary.threads, 'thread')}" if summary.device == "cpu" else ""
    where = "images on the device" if options.resident else (
        f"crops made by {count(options.workers, 'process', 'processes')}"
    )  # fmt: skip
    lines = {
        "run": f"{run}, {_describe_start(summary)}",
        "network": f"{options.task}, {summary.parameters:,} parameters, from {origin}",
        "device": f"{several}{summary.device}{threads}, {summary.precision}; {where}",
        "stages": _describe_stages(options),
        "training": _describe_recipe(summary),
        "figures": f"steps.csv every {count(options.log_every, 'step')}; validation on "
        f"{count(summary.validation_pairs, 'pair')} every {count(options.validate_every, 'step')}; "
        f"checkpoint every {count(options.checkpoint_every, 'step')}",
    }
    if options.task == "derain":
        layers = count(summary.streaks, "streak layer") if summary.streaks else "drawn streaks only"
        lines["rain"] = f"{options.rain}, {layers}"
    return lines


def _describe_start(summary: RunSummary) -> str:
    if not summary.step:
        return "new"
    parts = [f"resumed at step {summary.step:,} after {format_duration(summary.seconds)}"]
    for option, before, now in summary.grown:
        parts.append(
            f"made longer from {before:,g} to {now:,g} {option}: the learning rate goes on at "
            f"{summary.learning_rate:.3g}"
        )
    return "; ".join(parts)


def _describe_stages(options: TrainOptions) -> str:
    """Say `112 px × 16 up to step 12,000, then 224 px × 4 up to step 20,000`."""
    parts = []
    for stage in options.stages:
        share = 1.0 if stage is options.stages[-1] else stage.until
        end = f"{100 * share:.0f}%" if options.seconds else f"step {share * options.steps:,.0f}"
        parts.append(f"{stage.patch_px} px × {stage.batch} up to {end}")
    limit = f", for {format_duration(options.seconds)}" if options.seconds else ""
    margin = f", each with a margin of {options.margin_px} px" if options.margin_px else ""
    return ", then ".join(parts) + margin + limit


def _describe_recipe(summary: RunSummary) -> str:
    options = summary.options
    kind = "cosine to zero" if options.schedule == "cosine" else "a tenth every 500,000 steps"
    return (
        f"{options.optimizer}, learning rate {options.learning_rate:g}, {kind}; loss "
        f"{options.loss}; seed {options.seed}"
    )


def _tabulate_sets(sets: tuple[SetSummary, ...]) -> Table:
    """Count what each data set gives."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("data", overflow="fold")
    for heading in ("pairs", "clean", "validation", "crops"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in sets:
        table.add_row(
            each.name or WITHOUT_NAME,
            f"{each.pairs:,}" if each.pairs else "–",
            f"{each.clean:,}" if each.clean else "–",
            f"{each.held_back:,}",
            f"{100 * each.share:.1f}%",
        )
    return table


def count(number: int, one: str, many: str = "") -> str:
    """Say a number of things: `1 step`, `1,000 steps`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def format_duration(seconds: float) -> str:
    """Format a duration: `0:12`, `12:45`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_clock(at_s: float) -> str:
    """Format a time of day like `16:42`, with the weekday or the date if it is not today's.

    Args:
        at_s: Seconds since the epoch.

    Returns:
        Local time.
    """
    then, now = time.localtime(at_s), time.localtime()
    if then[:3] == now[:3]:
        return time.strftime("%H:%M", then)
    is_near = abs(at_s - time.time()) < 6 * 86_400
    return time.strftime("%a %H:%M" if is_near else "%Y-%m-%d %H:%M", then)
