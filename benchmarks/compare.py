"""Measure the difference between two videos of the same frames, such as source and result.

    python -m benchmarks.compare SOURCE RESTORED
    python -m benchmarks.compare SOURCE RESTORED --end 0.6

For each plane, as it is stored: PSNR of the whole and of the worst frame, in dB for the format's
peak, and the largest difference in codes. Restore with a lossless codec (`--codec ffv1`), or the
loss of the encoder is measured too.
"""

from pathlib import Path

import click
import numpy as np

from lfdn_video import SpanOptions, open_reader
from lfdn_video.media import Frame

EQUAL_DB = 100.0  # in place of the infinite PSNR of equal planes


def read_frames(path: Path, end_s: float | None) -> list[Frame]:
    """Decode a video up to `end_s`, into memory."""
    with open_reader(path, SpanOptions(end_s=end_s)) as reader:
        return list(reader.frames())


def compute_psnr_db(squared_errors: list[float], peak: int) -> float:
    """Compute the PSNR for the mean of squared errors, in codes."""
    error = float(np.mean(squared_errors))
    return EQUAL_DB if error == 0 else float(10 * np.log10(peak**2 / error))


@click.command()
@click.argument("first", type=click.Path(exists=True, path_type=Path))
@click.argument("second", type=click.Path(exists=True, path_type=Path))
@click.option("--end", "end_s", type=float, help="Seconds from the first frame to compare up to.")
def main(first: Path, second: Path, end_s: float | None) -> None:
    """Compare FIRST with SECOND, frame by frame."""
    pairs = list(zip(read_frames(first, end_s), read_frames(second, end_s), strict=True))
    click.echo(f"{len(pairs)} frames, {pairs[0][0].format.name}")
    for index in range(len(pairs[0][0].planes)):
        errors = [one.planes[index].astype(np.int64) - other.planes[index] for one, other in pairs]
        squared = [float(np.mean(error**2)) for error in errors]
        peak = pairs[0][0].format.peak
        largest = max(int(np.abs(error).max()) for error in errors)
        click.echo(
            f"plane {index}: {compute_psnr_db(squared, peak):.1f} dB, worst frame "
            f"{compute_psnr_db([max(squared)], peak):.1f} dB, differs by at most {largest} codes"
        )


if __name__ == "__main__":
    main()
