"""Whether memory grows with the length of a video: 30 seconds against 10 minutes.

    python benchmarks/memory.py --json benchmarks/results/memory_length.json
    python benchmarks/memory.py --smoke

Two clips of 640x360 with sound, made here, are restored by a network that changes nothing, each in
a process of its own whose peak is told. Both are long enough for segments.
"""

import json
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import click
import numpy as np

SIZE, RATE, SAMPLE_RATE, SAMPLES = (640, 360), 25, 48_000, 1024
LENGTH_TOLERANCE_S, LONG_S = 30, 600
SMOKE_S = (1, 2)


def clip(path: Path, length_s: int) -> Path:
    """A coarse moving pattern and a tone."""
    across = np.arange(SIZE[0], dtype=np.uint16)[None]
    down = np.arange(SIZE[1], dtype=np.uint16)[:, None]
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("aac", SAMPLE_RATE, layout="mono")
        sounded = 0
        for number in range(length_s * RATE):
            luma = ((across + 3 * number) // 16 * 9 + down // 16 * 5).astype(np.uint8)
            planes = np.concatenate([luma.ravel(), np.full(luma.size // 2, 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes.reshape(-1, SIZE[0]), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
            while sounded * RATE < number * SAMPLE_RATE:
                wave = np.sin((np.arange(SAMPLES) + sounded) / 20)[None].astype(np.float32)
                sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                sound.sample_rate, sound.pts = SAMPLE_RATE, sounded
                container.mux(audio.encode(sound))
                sounded += SAMPLES
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def peak_mib(source: Path, target: Path) -> float:
    """Of a process that restores it."""
    words = [sys.executable, __file__, "--restore", str(source), str(target)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def restore_here(source: Path, target: Path) -> float:
    """The same, in this process."""
    from lfdn_video import restore
    from lfdn_video.inference.engine import Engine

    with Engine(lambda batch: batch) as engine:
        restore(source, target, engine=engine)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--smoke", is_flag=True, help="A second against two.")
@click.option("--json", "report", type=click.Path(path_type=Path))
@click.option("--restore", nargs=2, type=click.Path(path_type=Path), hidden=True)
def main(*, smoke: bool, report: Path | None, restore: tuple[Path, Path] | None) -> None:
    """Compare the peaks."""
    if restore is not None:
        click.echo(restore_here(*restore))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        peaks = {}
        for length_s in SMOKE_S if smoke else (LENGTH_TOLERANCE_S, LONG_S):
            source = clip(folder / f"{length_s}.mp4", length_s)
            peaks[f"{length_s} s"] = round(peak_mib(source, folder / f"{length_s}.out.mp4"), 1)
            click.echo(f"{length_s:4} s: {peaks[f'{length_s} s']:.1f} MiB")
    short, long = peaks.values()
    click.echo(f"ratio {long / short:.3f}")
    if report is not None:
        told = {"size": SIZE, "rate": RATE, "peak_mib": peaks, "ratio": round(long / short, 3)}
        report.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
