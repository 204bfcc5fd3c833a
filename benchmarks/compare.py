"""How far two videos of the same frames lie apart: what a restoration changed, or an option.

    python benchmarks/compare.py SOURCE RESTORED
    python benchmarks/compare.py SOURCE RESTORED --end 0.6

PSNR of each plane as it is stored, for the whole and for the worst frame, in dB for the peak of the
format; the largest difference in codes; and whether the pts agree. For exact figures the restored
one is written with a lossless codec (`--codec ffv1`), or the encoder's loss is measured too.
"""

from pathlib import Path

import click
import numpy as np

from lfdn_video import SpanOptions, open_reader
from lfdn_video.media import Frame

EQUAL_DB = 100.0


def frames(path: Path, end_s: float | None) -> list[Frame]:
    with open_reader(path, SpanOptions(end_s=end_s)) as reader:
        return list(reader.frames())


def psnr_db(squares: list[float], peak: int) -> float:
    error = float(np.mean(squares))
    return EQUAL_DB if error == 0 else float(10 * np.log10(peak**2 / error))


@click.command()
@click.argument("first", type=click.Path(exists=True, path_type=Path))
@click.argument("second", type=click.Path(exists=True, path_type=Path))
@click.option("--end", "end_s", type=float, help="Only so many seconds.")
def main(first: Path, second: Path, end_s: float | None) -> None:
    """Compare FIRST with SECOND, frame by frame."""
    pairs = list(zip(frames(first, end_s), frames(second, end_s), strict=True))
    click.echo(f"{len(pairs)} frames, {pairs[0][0].format.name}")
    for index in range(len(pairs[0][0].planes)):
        changes = [one.planes[index].astype(np.int64) - other.planes[index] for one, other in pairs]
        squares = [float(np.mean(change**2)) for change in changes]
        peak = pairs[0][0].format.peak
        largest = max(int(np.abs(change).max()) for change in changes)
        click.echo(
            f"plane {index}: {psnr_db(squares, peak):.1f} dB, worst frame "
            f"{psnr_db([max(squares)], peak):.1f} dB, at most {largest} codes apart"
        )


if __name__ == "__main__":
    main()
