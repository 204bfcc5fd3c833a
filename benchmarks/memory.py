"""Compare the peak memory for a video of 30 seconds with that for one of 10 minutes.

    python -m benchmarks.memory --json benchmarks/results/memory_length.json
    python -m benchmarks.memory --smoke

Both clips, 640x360 with audio, are generated and restored by a network that changes nothing, each
in a process of its own. Both are long enough for segments.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from av.video.frame import VideoFrame

from benchmarks.clips import RATE, ROOT, write_clip
from benchmarks.reports import measure_peak_bytes, write_json

SIZE = (640, 360)
SHORT_S, LONG_S = 30, 600
SMOKE_S = (1, 2)


def draw_moving_pattern(count: int) -> Iterator[VideoFrame]:
    """Draw a coarse pattern that moves."""
    across = np.arange(SIZE[0], dtype=np.uint16)[None]
    down = np.arange(SIZE[1], dtype=np.uint16)[:, None]
    for number in range(count):
        luma = ((across + 3 * number) // 16 * 9 + down // 16 * 5).astype(np.uint8)
        planes = np.concatenate([luma.ravel(), np.full(luma.size // 2, 128, np.uint8)])
        yield VideoFrame.from_ndarray(planes.reshape(-1, SIZE[0]), format="yuv420p")


def measure_peak_mib(source: Path, target: Path) -> float:
    """Restore a clip in a process of its own, and return that process's peak memory."""
    command = [sys.executable, "-m", "benchmarks.memory", "--restore", str(source), str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(done.stdout)


def restore_unchanged(source: Path, target: Path) -> float:
    """Restore a clip in this process, by a network that changes nothing; return the peak in MiB."""
    from lfdn_video import restore
    from lfdn_video.inference.engine import Engine

    with Engine(lambda batch: batch) as engine:
        restore(source, target, engine=engine)
    return measure_peak_bytes() / (1 << 20)


@click.command()
@click.option("--smoke", is_flag=True, help="Check that it runs: clips of one and two seconds.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
@click.option(
    "--restore",
    nargs=2,
    type=click.Path(path_type=Path),
    hidden=True,
    help="Source and target of the process that is measured.",
)
def main(*, smoke: bool, report: Path | None, restore: tuple[Path, Path] | None) -> None:
    """Compare the peak memory for a short and a long video."""
    if restore is not None:
        click.echo(restore_unchanged(*restore))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        peaks = {}
        for length_s in SMOKE_S if smoke else (SHORT_S, LONG_S):
            frames = draw_moving_pattern(length_s * RATE)
            source = write_clip(folder / f"{length_s}.mp4", frames, preset="ultrafast")
            peak_mib = measure_peak_mib(source, folder / f"{length_s}.out.mp4")
            peaks[f"{length_s} s"] = round(peak_mib, 1)
            click.echo(f"{length_s:4} s: {peak_mib:.1f} MiB")
    short, long = peaks.values()
    click.echo(f"ratio {long / short:.3f}")
    result = {"size": SIZE, "rate": RATE, "peak_mib": peaks, "ratio": round(long / short, 3)}
    write_json(report, result)


if __name__ == "__main__":
    main()
