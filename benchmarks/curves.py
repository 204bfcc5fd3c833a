"""Draw the curves of the training runs behind the packaged weights.

    python -m benchmarks.curves
    python -m benchmarks.curves --check
    python -m benchmarks.curves --smoke

Reads `benchmarks/results/*_run_*.csv` and `lite_*.csv`, the `metrics.csv` of those runs, and
writes `docs/training_curves.png`. Needs the extra `[report]`.
"""

import hashlib
import re
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import click
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lfdn.training.figures import read_columns
from lfdn.training.plots import draw_loss, draw_psnr

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "training_curves.png"
PATTERNS = ("derain_run_*.csv", "lite_derain*.csv", "deblur_run_*.csv", "lite_deblur*.csv")
DIGEST = "Inputs"
"""Key of the PNG's text that holds the digest of what was drawn."""
COLUMNS = 4
CELL_IN = (3.5, 2.6)
DPI = 90
PALETTE = 64
"""Colours: four times smaller than with all of them."""


def list_runs() -> list[Path]:
    """List the CSV files, rain before blur and lite at the end of each."""
    return [path for pattern in PATTERNS for path in sorted(RESULTS.glob(pattern))]


def compute_digest(runs: list[Path]) -> str:
    """Compute a digest of names and contents."""
    digest = hashlib.sha256()
    for path in runs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_digest(picture: Path) -> str:
    """Return the digest of what a picture shows; empty if there is none."""
    if not picture.exists():
        return ""
    with Image.open(picture) as image:
        return str(image.info.get(DIGEST, ""))


def draw(runs: list[Path], target: Path) -> None:
    """Draw a cell for each run: validation PSNR above, training loss below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(runs) // COLUMNS)
    size = (COLUMNS * CELL_IN[0], rows * CELL_IN[1])
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.subfigures(rows, COLUMNS, squeeze=False).flat
    legend: tuple[list[Any], list[str]] = ([], [])
    for cell, path in zip(cells, runs, strict=False):
        psnr, loss = cell.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_run(psnr, loss, path)
        legend = max(legend, psnr.get_legend_handles_labels(), key=lambda found: len(found[1]))
    figure.legend(*legend, loc="outside lower right", ncols=4, frameon=False)
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    text = PngInfo()
    text.add_text("Software", "python -m benchmarks.curves")
    text.add_text(DIGEST, compute_digest(runs))
    with Image.open(drawn) as image:
        few_colours = image.convert("RGB").quantize(PALETTE)
        few_colours.save(target, format="PNG", optimize=True, pnginfo=text)


def _draw_run(psnr: Any, loss: Any, path: Path) -> None:
    metrics = read_columns(path)
    hours, steps = metrics["seconds"][-1] / 3600, metrics["step"][-1]
    name = re.sub(r"_run|_", " ", path.stem).replace("  ", " ")
    took = f"{hours:.1f} h" if hours >= 0.5 else f"{60 * hours:.1f} min"
    psnr.set_title(f"{name}: {steps:,.0f} steps, {took}", loc="left", fontsize="medium")
    draw_psnr(psnr, metrics)
    draw_loss(loss, {}, metrics)
    for axes, label in ((psnr, "PSNR, dB"), (loss, "loss")):
        axes.set_ylabel(label, fontsize="small")
        axes.tick_params(labelsize="small")
        axes.locator_params(axis="y", nbins=4)
        axes.locator_params(axis="x", nbins=4)
        axes.get_legend().remove()
    loss.set_xlim(left=0)


@click.command()
@click.option("--check", is_flag=True, help="Fail if the picture is stale.")
@click.option("--smoke", is_flag=True, help="Check that it runs: draw two runs, keep nothing.")
def main(*, check: bool, smoke: bool) -> None:
    """Write docs/training_curves.png."""
    runs = list_runs()
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            draw(runs[:2], Path(folder) / "curves.png")
    elif check:
        if read_digest(PICTURE) != compute_digest(runs):
            raise click.ClickException(f"{PICTURE}: is stale; run python -m benchmarks.curves")
    else:
        draw(runs, PICTURE)
        click.echo(f"{PICTURE}: {len(runs)} runs, {PICTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
