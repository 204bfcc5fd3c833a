"""How much rain a network leaves, by kind of rain: one property of drawn streaks at a time.

    python -m benchmarks.rain_probe --data rain100=FOLDER
    python -m benchmarks.rain_probe --data rain100=FOLDER --weights FILE --json FILE
    python -m benchmarks.rain_probe --data rain100=FOLDER --scale 0.5 --property sigma_px
    python -m benchmarks.rain_probe --smoke

Streaks are drawn on clean pictures and on a plain dark wall. The base is `BASE`; each row changes
one property of it. Of the rain r - c that was added to a picture c, the share that is left in the
network's output o is its projection

    left = sum((o - c) · (r - c)) / sum((r - c)²)

so rain that is taken whole has 0 %, and dark traces instead of streaks are below it. `dry` is the
picture without rain, fed in: its output against itself, PSNR-Y in dB, the mean and the worst.
With `--scale` the network sees a smaller picture, as in `live` (`stream/scaling.py`).
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

import lfdn
from benchmarks.scenes.rain import BASE, RainKind
from lfdn.cpu import optimize_for_cpu
from lfdn.datasets import layouts
from lfdn.datasets.images import to_tensor
from lfdn.degrade.rain import draw_lines
from lfdn.metrics import luma, psnr, round_to_8_bit
from lfdn.training.evaluate import EQUAL_DB

LARGEST_PX = (480, 640)
WALL_GREY = 0.15
WALL_NOISE = 0.006


VARIED: dict[str, tuple[float, ...]] = {
    "coverage": (0.0005, 0.002, 0.008, 0.03, 0.10, 0.30),
    "slant_deg": (0.0, 8.0, 30.0, 45.0, 60.0),
    "sigma_px": (0.5, 0.8, 1.3, 3.0, 5.0),
    "length_px": (3.0, 6.0, 20.0, 80.0),
    "contrast": (0.06, 0.12, 0.35, 0.7),
    "part": (1 / 3, 1.0),
}
SMOKE: dict[str, tuple[float, ...]] = {"coverage": (0.03,), "part": (1 / 3,)}


@dataclass(frozen=True)
class Row:
    """What is left of one kind of rain, as shares of 1."""

    property: str
    value: float
    pictures: float | None
    """Mean over the pictures; None without pictures."""
    worst: float | None
    """The picture of which most is left."""
    wall: float


class Scaled(torch.nn.Module):
    """A network on a smaller picture, its residual enlarged and added to the whole one."""

    def __init__(self, network: torch.nn.Module, scale: float) -> None:
        super().__init__()
        self._network = network
        self._scale = scale

    def forward(self, image: Tensor) -> Tensor:
        size = [round(side * self._scale) for side in image.shape[2:]]
        small = F.interpolate(image, size, mode="bilinear", antialias=True)
        residual = self._network(small) - small
        return image + F.interpolate(residual, list(image.shape[2:]), mode="bilinear")


def draw_wall(height: int, width: int) -> Tensor:
    """A plain dark wall in a little noise, `[1, 3, H, W]`."""
    noise = torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(1))
    return (WALL_GREY + WALL_NOISE * noise).clamp(0, 1)


def add_rain(clean: Tensor, streaks: RainKind) -> Tensor:
    """Draw streaks on `[1, 3, H, W]`, the same ones each time."""
    height, width = clean.shape[2:]
    slant, length, sigma = (
        torch.full((1, 1, 1, 1), value)
        for value in (math.radians(streaks.slant_deg), streaks.length_px, streaks.sigma_px)
    )
    density = streaks.coverage / (streaks.length_px * streaks.sigma_px * math.sqrt(2 * math.pi))
    generator = torch.Generator().manual_seed(2)
    wet = round(streaks.part * width)
    # Counted rather than drawn by chance: the sparsest rain has one streak at least.
    count = max(1, round(density * height * wet))
    places = torch.randperm(height * wet, generator=generator)[:count]
    drops = torch.zeros((1, 1, height, width))
    drops[0, 0, places // wet, places % wet] = 1
    lines = draw_lines(drops, slant, length, sigma)
    return round_to_8_bit((clean + streaks.contrast * lines.clamp(0, 1)).clamp(0, 1))


def measure_left(network: torch.nn.Module, clean: Tensor, streaks: RainKind) -> float:
    rainy = add_rain(clean, streaks)
    added = rainy - clean
    with torch.inference_mode():
        remains = round_to_8_bit(network(rainy)) - clean
    return ((remains * added).sum() / added.square().sum()).item()


def measure_dry_db(network: torch.nn.Module, clean: Tensor) -> float:
    with torch.inference_mode():
        restored = round_to_8_bit(network(clean))
    return min(EQUAL_DB, psnr(luma(restored), luma(clean)).item())


def probe(
    network: torch.nn.Module, pictures: Sequence[Tensor], varied: dict[str, tuple[float, ...]]
) -> Iterator[Row]:
    wall = draw_wall(*LARGEST_PX)
    for name, values in varied.items():
        for value in values:
            streaks = replace(BASE, **{name: value})
            shares = [measure_left(network, picture, streaks) for picture in pictures]
            yield Row(
                property=name,
                value=value,
                pictures=sum(shares) / len(shares) if shares else None,
                worst=max(shares, default=None),
                wall=measure_left(network, wall, streaks),
            )


def read_pictures(sets: Sequence[str], count: int) -> list[Tensor]:
    """Read clean pictures, evenly spread over the sets, cropped to at most `LARGEST_PX`."""
    samples = layouts.read_sets(sets)
    chosen = samples[:: max(1, len(samples) // count)][:count]
    height, width = LARGEST_PX
    return [to_tensor(sample.clean.read()[:height, :width]) for sample in chosen]


@click.command()
@click.option("--weights", default="derain", show_default=True, help="Weights file, or a task.")
@click.option("--data", "sets", multiple=True, help="LAYOUT=PATH, as for `lfdn evaluate`.")
@click.option("--pictures", "count", default=4, show_default=True, help="Pictures of the sets.")
@click.option("--scale", type=click.FloatRange(0.1, 1), default=1.0, show_default=True)
@click.option("--property", "names", multiple=True, type=click.Choice(list(VARIED)))
@click.option("--json", "target", type=click.Path(path_type=Path), help="File for the figures.")
@click.option("--smoke", is_flag=True, help="Two kinds of rain, on the wall alone.")
def main(
    weights: str,
    sets: tuple[str, ...],
    count: int,
    scale: float,
    names: tuple[str, ...],
    target: Path | None,
    smoke: bool,
) -> None:
    """Print the share of rain left, by kind of rain."""
    network: torch.nn.Module = optimize_for_cpu(lfdn.load(weights))
    if scale < 1:
        network = Scaled(network, scale)
    varied = SMOKE if smoke else {name: VARIED[name] for name in names or VARIED}
    pictures = read_pictures(sets, count) if sets and not smoke else []
    click.echo(f"{'':24}pictures   worst    wall")
    rows = []
    for row in probe(network, pictures, varied):
        rows.append(row)
        shares = ("-" if x is None else f"{x:.0%}" for x in (row.pictures, row.worst, row.wall))
        name = f"{row.property} {row.value:.4g}"
        click.echo(f"{name:24}" + "".join(f"{share:>8}" for share in shares))
    dry_db = [measure_dry_db(network, image) for image in (*pictures, draw_wall(*LARGEST_PX))]
    mean_db = sum(dry_db) / len(dry_db)
    click.echo(f"dry to itself, PSNR-Y: mean {mean_db:.1f}, worst {min(dry_db):.1f} dB")
    if target is not None:
        about = {
            "weights": weights,
            "data": list(sets),
            "pictures": len(pictures),
            "scale": scale,
        }
        report = {**about, "base": asdict(BASE), "rows": [asdict(row) for row in rows],
                  "dry_db": dry_db}  # fmt: skip
        target.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
