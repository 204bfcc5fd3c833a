"""Whole picture against tiles of several sizes, with given weights, on one 1280×720 picture.

    python benchmarks/tiling.py PICTURE_OR_VIDEO
    python benchmarks/tiling.py --smoke
    python benchmarks/tiling.py RAINY --clean CLEAN --json benchmarks/results/tiling.json

For each size of tile, against the whole picture's result:

    PSNR        how near the two results are, RGB, peak 1
    step        the largest difference between neighbouring pixels of (tiled - whole), where a tile
                begins or ends; in 8-bit codes. A seam would be such a step.
    elsewhere   the same everywhere else, for comparison
    line        the same as `step`, of the average along the border: what an eye follows
    to clean    PSNR to the clean picture, if there is one: which is the better result

`overlap 0` shows what a grid without blending would do.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.tiles import Grid
from lfdn_video.input.open import open_reader
from lfdn_video.options import InferenceOptions

SAMPLE = Path(__file__).parent.parent / "samples" / "rainy_dashcam.mp4"
HEIGHT, WIDTH = 720, 1280
SIZES_PX = (192, 256, 384, 512, 768)
OVERLAPS_PX = (0, 32, 64)
CODES = 255


@dataclass(frozen=True)
class Row:
    """One way of cutting, and how it compares. None: does not apply."""

    tile: str
    tiles: int
    overlap_px: int
    seconds: float
    psnr_db: float | None = None
    step: float | None = None
    elsewhere: float | None = None
    line: float | None = None
    line_elsewhere: float | None = None
    to_clean_db: float | None = None


def first_picture(source: Path) -> Tensor:
    """The first frame as RGB `[1, 3, 720, 1280]`, scaled to cover that and cropped."""
    with open_reader(source) as reader:
        frames = reader.frames()
        frame = next(frames)
        frames.close()
        converter = PlaneConverter(frame.info or reader.info)
    rgb = converter.to_rgb([torch.from_numpy(plane) for plane in frame.planes])
    scale = max(HEIGHT / rgb.shape[2], WIDTH / rgb.shape[3])
    size = (round(rgb.shape[2] * scale), round(rgb.shape[3] * scale))
    scaled = F.interpolate(rgb, size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (size[0] - HEIGHT) // 2, (size[1] - WIDTH) // 2
    return scaled[:, :, top : top + HEIGHT, left : left + WIDTH].contiguous()


def residual_by_tiles(engine: Engine, picture: Tensor, grid: Grid) -> Tensor:
    """On the CPU, whatever the engine's device."""
    on_device = picture.to(engine.device)
    residuals = [engine.compute_residual(tile).result() for tile in grid.split(on_device)]
    with engine.compute_context():
        merged = grid.merge(residuals)
    return torch.from_numpy(engine.download((merged,)).result()[0])


def timed(engine: Engine, picture: Tensor, grid: Grid, repeats: int) -> tuple[Tensor, float]:
    seconds = []
    residual = picture
    for _ in range(repeats):
        start_s = time.perf_counter()
        residual = residual_by_tiles(engine, picture, grid)
        seconds.append(time.perf_counter() - start_s)
    return residual, median(seconds)


def psnr_db(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10(F.mse_loss(one.clamp(0, 1), other.clamp(0, 1))))


def borders(starts: Iterable[int], size: int, length: int) -> list[int]:
    """Before which pixel of an axis a tile begins, or after which one ends, but for the edges."""
    found = {edge for start in starts for edge in (start, start + size)}
    return sorted(edge for edge in found if 0 < edge < length)


def largest_steps(difference: Tensor, grid: Grid) -> tuple[float, float, float, float]:
    """Largest step of a pixel at borders and elsewhere, then of the average along a line."""
    tops = {box.top for box in grid.boxes}
    lefts = {box.left for box in grid.boxes}
    down = borders(tops, grid.tile_height, grid.height)
    across = borders(lefts, grid.tile_width, grid.width)
    found = [
        _axis_steps(difference, down, axis=2),
        _axis_steps(difference, across, axis=3),
    ]
    at, off, line, line_off = (max(values) for values in zip(*found, strict=True))
    return at, off, line, line_off


def _axis_steps(difference: Tensor, edges: list[int], axis: int) -> tuple[float, ...]:
    pixels = difference.diff(dim=axis).abs().amax(dim=(0, 1, 5 - axis))
    lines = difference.mean(dim=5 - axis, keepdim=True).diff(dim=axis).abs().amax(dim=(0, 1))
    at = torch.zeros(len(pixels), dtype=torch.bool)
    at[[edge - 1 for edge in edges]] = True
    return tuple(
        float(values[where].max()) * CODES if bool(where.any()) else 0.0
        for values in (pixels, lines.flatten())
        for where in (at, ~at)
    )


def compare(
    engine: Engine, picture: Tensor, clean: Tensor | None, sizes_px: Iterable[int], repeats: int
) -> list[Row]:
    """The whole picture first, then every size with every overlap it can have."""

    def to_clean(residual: Tensor) -> float | None:
        return None if clean is None else psnr_db(picture + residual, clean)

    whole_grid = Grid.single_tile(HEIGHT, WIDTH)
    whole, seconds = timed(engine, picture, whole_grid, repeats)
    rows = [Row("whole", 1, 0, seconds, to_clean_db=to_clean(whole))]
    for tile_px in sizes_px:
        for overlap_px in OVERLAPS_PX:
            grid = Grid(HEIGHT, WIDTH, tile_px=tile_px, overlap_px=overlap_px)
            tiled, seconds = timed(engine, picture, grid, repeats)
            step, elsewhere, line, line_elsewhere = largest_steps(tiled - whole, grid)
            rows.append(
                Row(
                    tile=f"{grid.tile_width}x{grid.tile_height}",
                    tiles=len(grid),
                    overlap_px=overlap_px,
                    seconds=seconds,
                    psnr_db=psnr_db(picture + tiled, picture + whole),
                    step=step,
                    elsewhere=elsewhere,
                    line=line,
                    line_elsewhere=line_elsewhere,
                    to_clean_db=to_clean(tiled),
                )
            )
    return rows


def table(rows: list[Row]) -> str:
    names = list(asdict(rows[0]))
    cells = [names] + [[_cell(value) for value in asdict(row).values()] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path), default=SAMPLE)
@click.option("--weights", type=click.Path(path_type=Path), help="Instead of those that ship.")
@click.option("--clean", "clean_path", type=click.Path(exists=True, path_type=Path))
@click.option("--device", default="cpu", show_default=True)
@click.option("--sizes", default=",".join(map(str, SIZES_PX)), show_default=True, help="In px.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the result here.")
@click.option("--smoke", is_flag=True, help="One size of tile: only shows that it runs.")
def main(
    source: Path,
    weights: Path | None,
    clean_path: Path | None,
    device: str,
    sizes: str,
    repeats: int,
    target: Path | None,
    smoke: bool,
) -> None:
    """Restore the first picture of SOURCE whole and in tiles, and compare."""
    sizes = str(max(SIZES_PX)) if smoke else sizes
    options = InferenceOptions(device=device)
    with load_engine("derain", weights=weights, options=options) as engine:
        picture = first_picture(source)
        clean = None if clean_path is None else first_picture(clean_path)
        rows = compare(engine, picture, clean, [int(size) for size in sizes.split(",")], repeats)
    click.echo(table(rows))
    if target is not None:
        result = {"source": source.name, "rows": [asdict(row) for row in rows]}
        target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
