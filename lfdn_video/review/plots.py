"""Plots of a report, as SVG that takes its colours and its font from the page.

matplotlib draws them with colours that stand for the page's own; those are put in their place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np

WIDTH_IN, HEIGHT_IN = 3.9, 2.0
DPI = 96  # so that a px of the page is a px of the plot
FONT_PT = 8.5
MAX_POINTS = 400
"""Longer series are drawn by the mean, and the span of all values, of groups of frames."""

ROOM_ABOVE = 1.12
COLOURS = {
    "#010203": "var(--quiet)",
    "#010204": "var(--line)",
    "#010205": "var(--before)",
    "#010206": "var(--accent)",
}
TEXT, GRID, BEFORE, AFTER = COLOURS


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a plot."""

    name: str
    """`source` or `result`; it chooses the colour."""
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot over time."""

    title: str
    unit: str
    times_s: Sequence[float]
    lines: tuple[Line, ...]
    decimals: int = 1
    note: str = ""
    """How it was measured."""
    from_zero: bool = True
    """The axis begins at 0."""

    @property
    def summary(self) -> str:
        """Say in words what the plot shows."""
        parts = [
            f"{line.name} {_format(np.mean(line.values), self.decimals)} on average, from "
            f"{_format(min(line.values), self.decimals)} to "
            f"{_format(max(line.values), self.decimals)}"
            for line in self.lines
        ]
        return f"{self.title}, {self.unit}: {'; '.join(parts)}."

    @property
    def means(self) -> str:
        """The mean of each line, from the source's to the result's."""
        return " → ".join(_format(np.mean(line.values), self.decimals) for line in self.lines)

    def draw(self) -> str:
        """Draw the plot as an `svg` element."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        with rc_context({"svg.fonttype": "none", "font.size": FONT_PT, "axes.linewidth": 0.8}):
            figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            for line in self.lines:
                self._draw_line(axes, line)
            self._set_axes(axes)
            file = StringIO()
            figure.savefig(file, format="svg", transparent=True)
        return _fit_into_page(file.getvalue(), self.title)

    def _draw_line(self, axes: Any, line: Line) -> None:
        colour = BEFORE if line.name == "source" else AFTER
        times, means, least, most = _group(self.times_s, line.values)
        marker = "o" if len(times) <= MAX_POINTS // 8 else ""
        axes.plot(times, means, color=colour, linewidth=1.6, marker=marker, markersize=2.6)
        if len(times) < len(line.values):
            axes.fill_between(times, least, most, color=colour, alpha=0.25, linewidth=0)

    def _set_axes(self, axes: Any) -> None:
        if self.from_zero:
            top = max(max(line.values) for line in self.lines)
            axes.set_ylim(0, top * ROOM_ABOVE or 1)
        axes.margins(x=0.01)
        axes.xaxis.set_major_formatter(lambda seconds, _: format_time(seconds))
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", nbins=4)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=TEXT, length=0, pad=5)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(GRID)


def format_time(seconds: float) -> str:
    """Format a time in a video: `4.2 s`, `1:05`, `1:01:05`."""
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _format(value: Any, decimals: int) -> str:
    return f"{float(value):.{decimals}f}"


def _group(times_s: Sequence[float], values: Sequence[float]) -> tuple[Any, Any, Any, Any]:
    """Return times, means, least and most of groups of values, at most `MAX_POINTS` of them."""
    count = max(1, min(MAX_POINTS, len(values)))
    groups = np.array_split(np.asarray(values, float), count)
    times = [each.mean() for each in np.array_split(np.asarray(times_s, float), count)]
    return (
        np.array(times),
        np.array([each.mean() for each in groups]),
        np.array([each.min() for each in groups]),
        np.array([each.max() for each in groups]),
    )


def _fit_into_page(drawn: str, title: str) -> str:
    """Make an element for a page of a whole SVG file: colours, ids of its own, no global style."""
    svg = drawn[drawn.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", svg)
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = svg.replace('href="#', f'href="#{prefix}-')
    # The size is the page's, and the figure around it says in words what it shows.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg)
    svg = svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
