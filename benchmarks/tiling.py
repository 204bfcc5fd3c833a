"""Compare tiles of several sizes with the whole image, on one image of 1280×720.

    python -m benchmarks.tiling IMAGE_OR_VIDEO
    python -m benchmarks.tiling --smoke
    python -m benchmarks.tiling RAINY --clean CLEAN --json benchmarks/results/tiling.json

For each tile size, against the result of the whole image:

    psnr_db       PSNR between the two results, RGB, peak 1
    step          largest difference between neighbouring pixels of (tiled - whole) across a border
                  of tiles, in 8-bit codes: a visible seam would be such a step
    elsewhere     the same away from borders, for comparison
    line          like `step`, averaged along the border, as an eye would
    to_clean_db   PSNR to the clean image, if there is one: shows which result is better

An overlap of 0 shows the seams of a grid without blending.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clips import SAMPLE
from benchmarks.reports import write_json
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.tiles import Grid
from lfdn_video.input.open import open_reader
from lfdn_video.options import InferenceOptions

HEIGHT, WIDTH = 720, 1280
SIZES_PX = (192, 256, 384, 512, 768)
OVERLAPS_PX = (0, 32, 64)
CODES = 255


@dataclass(frozen=True)
class Row:
    """One grid, and its comparison with the whole image. None: does not apply."""

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


def read_first_frame(source: Path) -> Tensor:
    """Decode the first frame as RGB `[1, 3, 720, 1280]`, scaled to cover that size and cropped."""
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


def compute_residual(engine: Engine, image: Tensor, grid: Grid) -> Tensor:
    """Compute the residual of an image tile by tile; the result is on the CPU."""
    on_device = image.to(engine.device)
    residuals = [engine.compute_residual(tile).result() for tile in grid.split(on_device)]
    with engine.compute_context():
        merged = grid.merge(residuals)
    return torch.from_numpy(engine.download((merged,)).result()[0])


def time_residual(engine: Engine, image: Tensor, grid: Grid, repeats: int) -> tuple[Tensor, float]:
    """Compute the residual `repeats` times; return it and the median of the seconds."""
    seconds = []
    residual = image
    for _ in range(repeats):
        start_s = time.perf_counter()
        residual = compute_residual(engine, image, grid)
        seconds.append(time.perf_counter() - start_s)
    return residual, median(seconds)


def compute_psnr_db(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10(F.mse_loss(one.clamp(0, 1), other.clamp(0, 1))))


def find_borders(starts: Iterable[int], size: int, length: int) -> list[int]:
    """List the positions on an axis where tiles begin or end, except for the image's edges."""
    found = {edge for start in starts for edge in (start, start + size)}
    return sorted(edge for edge in found if 0 < edge < length)


def measure_steps(difference: Tensor, grid: Grid) -> tuple[float, float, float, float]:
    """Measure the largest step of a pixel at borders and elsewhere, then of a line's average."""
    tops = {box.top for box in grid.boxes}
    lefts = {box.left for box in grid.boxes}
    down = find_borders(tops, grid.tile_height, grid.height)
    across = find_borders(lefts, grid.tile_width, grid.width)
    found = [
        _measure_axis(difference, down, axis=2),
        _measure_axis(difference, across, axis=3),
    ]
    at, off, line, line_off = (max(values) for values in zip(*found, strict=True))
    return at, off, line, line_off


def _measure_axis(difference: Tensor, edges: list[int], axis: int) -> tuple[float, ...]:
    pixels = difference.diff(dim=axis).abs().amax(dim=(0, 1, 5 - axis))
    lines = difference.mean(dim=5 - axis, keepdim=True).diff(dim=axis).abs().amax(dim=(0, 1))
    at = torch.zeros(len(pixels), dtype=torch.bool)
    at[[edge - 1 for edge in edges]] = True
    return tuple(
        float(values[where].max()) * CODES if bool(where.any()) else 0.0
        for values in (pixels, lines.flatten())
        for where in (at, ~at)
    )


def compare_grids(
    engine: Engine, image: Tensor, clean: Tensor | None, sizes_px: Iterable[int], repeats: int
) -> list[Row]:
    """Compare every tile size and overlap with the whole image, which is the first row."""

    def to_clean(residual: Tensor) -> float | None:
        return None if clean is None else compute_psnr_db(image + residual, clean)

    whole_grid = Grid.single_tile(HEIGHT, WIDTH)
    whole, seconds = time_residual(engine, image, whole_grid, repeats)
    rows = [Row("whole", 1, 0, seconds, to_clean_db=to_clean(whole))]
    for tile_px in sizes_px:
        for overlap_px in OVERLAPS_PX:
            grid = Grid(HEIGHT, WIDTH, tile_px=tile_px, overlap_px=overlap_px)
            tiled, seconds = time_residual(engine, image, grid, repeats)
            step, elsewhere, line, line_elsewhere = measure_steps(tiled - whole, grid)
            rows.append(
                Row(
                    tile=f"{grid.tile_width}x{grid.tile_height}",
                    tiles=len(grid),
                    overlap_px=overlap_px,
                    seconds=seconds,
                    psnr_db=compute_psnr_db(image + tiled, image + whole),
                    step=step,
                    elsewhere=elsewhere,
                    line=line,
                    line_elsewhere=line_elsewhere,
                    to_clean_db=to_clean(tiled),
                )
            )
    return rows


def format_table(rows: list[Row]) -> str:
    """Format rows as aligned columns under the names of their fields."""
    names = list(asdict(rows[0]))
    cells = [names] + [[_format_cell(value) for value in asdict(row).values()] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _format_cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path), default=SAMPLE)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights file instead of packaged weights."
)
@click.option(
    "--clean",
    "clean_path",
    type=click.Path(exists=True, path_type=Path),
    help="Clean image of the same frame.",
)
@click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda, ...")
@click.option(
    "--sizes", default=",".join(map(str, SIZES_PX)), show_default=True, help="Tile sizes, in px."
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Number of timings."
)
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
@click.option("--smoke", is_flag=True, help="Check that it runs: one tile size.")
def main(
    source: Path,
    weights: Path | None,
    clean_path: Path | None,
    device: str,
    sizes: str,
    repeats: int,
    report: Path | None,
    smoke: bool,
) -> None:
    """Restore the first frame of SOURCE whole and in tiles, and compare."""
    sizes = str(max(SIZES_PX)) if smoke else sizes
    options = InferenceOptions(device=device)
    with load_engine("derain", weights=weights, options=options) as engine:
        image = read_first_frame(source)
        clean = None if clean_path is None else read_first_frame(clean_path)
        rows = compare_grids(
            engine, image, clean, [int(size) for size in sizes.split(",")], repeats
        )
    click.echo(format_table(rows))
    write_json(report, {"source": source.name, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
