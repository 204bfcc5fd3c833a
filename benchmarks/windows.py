"""Over what area should the network take its statistics? PSNR for each answer, on pairs.

    python benchmarks/windows.py --weights deblur --data pairs=held_out --window 168 --tile 256

Instance norm and contrast attention take mean and deviation over all positions they are given: a
crop in training, the whole frame at work. Chu et al. ("Improving Image Restoration by Revisiting
Global Information Aggregation", ECCV 2022) take them over a window about each position instead.

    whole      over the whole picture, as the product does
    window N   over a window of N px about each position
    tile N     the picture cut into tiles of at most N px, each restored with its own statistics
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import click
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lfdn import LFDN, load
from lfdn.datasets.images import to_tensor
from lfdn.datasets.layouts import read_sets
from lfdn.datasets.samples import Sample, split_samples
from lfdn.metrics import luma, psnr, round_to_8_bit
from lfdn_video.inference.tiles import Grid

FEATURE_STRIDE_PX = 4  # the blocks work at a quarter of the picture's size
OVERLAP_PX = 32
CELLS = 8  # a window is as many cells wide: its edges move in steps of a cell

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]
Restore = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    statistics: str
    psnr_rgb: float
    psnr_y: float


def windowed(window_px: int) -> Moments:
    """Mean and variance over a window about each position, `[B, C, H, W]` each."""
    cell = max(1, round(window_px / FEATURE_STRIDE_PX / CELLS))

    def box(features: Tensor) -> Tensor:
        cells = F.avg_pool2d(features, cell, ceil_mode=True, count_include_pad=False)
        height, width = (min(CELLS + 1, side - (side % 2 == 0)) for side in cells.shape[2:])
        padding = (width // 2, width // 2, height // 2, height // 2)
        cells = F.avg_pool2d(F.pad(cells, padding, mode="replicate"), (height, width), stride=1)
        return F.interpolate(cells, features.shape[2:], mode="bilinear", align_corners=False)

    def moments(features: Tensor) -> tuple[Tensor, Tensor]:
        features = features.float()
        mean = box(features)
        return mean, (box(features * features) - mean * mean).clamp(min=0)

    return moments


@contextmanager
def statistics_over(window_px: int) -> Iterator[None]:
    """Inside, the network takes its moments over windows."""
    with patch("lfdn.model.moments", windowed(window_px)):
        yield


def in_tiles(network: LFDN, side_px: int) -> Restore:
    """The picture in tiles, overlapping as in the product."""

    def restore(image: Tensor) -> Tensor:
        grid = Grid(image.shape[-2], image.shape[-1], tile_px=side_px, overlap_px=OVERLAP_PX)
        return grid.merge([network(tile) for tile in grid.split(image)])

    return restore


def measure(restore: Restore, samples: list[Sample]) -> tuple[float, float]:
    """Mean PSNR on RGB and on Y, in dB."""
    rgb, y = [], []
    for sample in samples:
        if sample.degraded is None:
            raise click.UsageError(f"{sample.name}: has no degraded side; name pairs")
        clean = to_tensor(sample.clean.read())
        with torch.inference_mode():
            restored = round_to_8_bit(restore(to_tensor(sample.degraded.read())))
        rgb.append(psnr(restored, clean).item())
        y.append(psnr(luma(restored), luma(clean)).item())
    return fmean(rgb), fmean(y)


@click.command()
@click.option("--weights", default="derain", show_default=True)
@click.option("--data", "sets", multiple=True, required=True, metavar="LAYOUT=FOLDER")
@click.option(
    "--held-out", is_flag=True, help="Only the samples that training keeps for validation."
)
@click.option("--window", "windows", type=int, multiple=True, help="px, may be repeated.")
@click.option("--tile", "tiles", type=int, multiple=True, help="px, may be repeated.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the rows here.")
def main(
    weights: str,
    sets: tuple[str, ...],
    held_out: bool,
    windows: tuple[int, ...],
    tiles: tuple[int, ...],
    json_path: Path | None,
) -> None:
    """Compare statistics over the whole picture, windows and tiles."""
    samples, network = read_sets(sets), load(weights)
    if held_out:
        _, samples = split_samples(samples)
    rows = [Row("input", *measure(lambda image: image, samples))]
    rows.append(Row("whole", *measure(network, samples)))
    for window in windows:
        with statistics_over(window):
            rows.append(Row(f"window {window}", *measure(network, samples)))
    rows += [Row(f"tile {tile}", *measure(in_tiles(network, tile), samples)) for tile in tiles]
    table = Table("statistics over", "PSNR dB, RGB", "PSNR dB, Y", title=f"{weights}, {sets}")
    for row in rows:
        table.add_row(row.statistics, f"{row.psnr_rgb:.3f}", f"{row.psnr_y:.3f}")
    Console().print(table)
    if json_path:
        names = [
            f"{layout}={Path(place).name}"
            for layout, _, place in (text.partition("=") for text in sets)
        ]
        report = {"weights": weights, "data": names, "rows": [asdict(row) for row in rows]}
        json_path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
