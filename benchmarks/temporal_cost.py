"""What the temporal stage costs: time, CPU time and memory of whole runs with it and without.

    python -m benchmarks.temporal_cost --json benchmarks/results/temporal_cost.json
    python -m benchmarks.temporal_cost --size 720p --rounds 9
    python -m benchmarks.temporal_cost --smoke

For each size a pan over a frame of the sample, with slanted streaks drawn into it that the network
leaves and the stage removes, is restored with `--temporal off` and with `auto` in turn, each in a
process of its own that keeps its network. Every other round goes backwards. Ratios are taken within
a round, before the median, so that other work on the machine counts for both.

    ms        a frame, from the first to the finished file
    CPU ms    a frame, all threads together
    MiB       peak of the process, network included
    changed   frames that the stage changed
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, get_args

import click
import cv2
import numpy as np
from av import open as open_video
from av.video.frame import VideoFrame

from benchmarks.clips import SAMPLE, write_clip
from benchmarks.reports import describe_machine, measure_peak_bytes, write_json
from benchmarks.suite import SIZES
from benchmarks.tables import render_cost
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.options import EncodeOptions, InferenceOptions, Precision, SpanOptions, Temporal
from lfdn_video.pipeline import restore

FRAMES = {"360p": 24, "720p": 12, "1080p": 8, "4K": 6}
ROUNDS = {"360p": 3, "720p": 3, "1080p": 2, "4K": 1}
WARM_UP_S = 0.02
"""One frame, which pays for what is made on first use."""

SMOKE_FRAMES = 6
PX_PER_STREAK = 2000
SIDES: tuple[Temporal, ...] = get_args(Temporal)


@dataclass(frozen=True, slots=True)
class Run:
    """One run, per frame."""

    ms: float
    cpu_ms: float
    changed: int


class Side:
    """A process that restores one clip, always with the stage or always without."""

    def __init__(self, clip: Path, temporal: Temporal, options: InferenceOptions) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_start, initargs=(clip, temporal, options)
        )

    def measure(self, end_s: float | None = None) -> Run:
        """Restore the clip once, or its start."""
        return self._process.submit(_measure, end_s).result()

    def peak_mib(self) -> float:
        """Return the peak memory of the process so far."""
        return self._process.submit(measure_peak_bytes).result() / (1 << 20)

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


_work: tuple[Path, Temporal, InferenceOptions, Engine]
"""What a `Side` restores; set only in its process."""


def _start(clip: Path, temporal: Temporal, options: InferenceOptions) -> None:
    global _work
    _work = (clip, temporal, options, load_engine("derain", options=options))


def _measure(end_s: float | None) -> Run:
    clip, temporal, options, engine = _work
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    summary = restore(
        clip,
        clip.with_suffix(f".{temporal}.mkv"),
        engine=engine,
        inference=options,
        encode=EncodeOptions(overwrite=True),
        span=SpanOptions(end_s=end_s),
        temporal=temporal,
    )
    cpu_s, seconds = time.process_time() - start_cpu_s, time.perf_counter() - start_s
    changed = summary.temporal.frames if summary.temporal is not None else 0
    return Run(1000 * seconds / summary.frames, 1000 * cpu_s / summary.frames, changed)


def draw_rain(size: tuple[int, int], count: int) -> Iterator[VideoFrame]:
    """Pan over a frame of the sample, and draw streaks into it, elsewhere in each frame."""
    random = np.random.default_rng(1)
    width, height = size
    across, down = height // 20, height // 60
    step_px = height // 180
    wide = (width + step_px * count, height)
    with open_video(SAMPLE) as sample:
        frame = next(sample.decode(video=0))
    backdrop = frame.reformat(*wide, "rgb24", interpolation="BICUBIC").to_ndarray()
    for number in range(count):
        image = backdrop[:, number * step_px :][:, :width]
        rain = np.zeros((height, width), np.uint8)
        for _ in range(width * height // PX_PER_STREAK * 480 // height):
            x, y = int(random.integers(width)), int(random.integers(height))
            cv2.line(rain, (x, y), (x + across, y + down), (50,), max(1, height // 480))
        rainy: Any = cv2.add(image, cv2.cvtColor(rain, cv2.COLOR_GRAY2RGB))
        yield VideoFrame.from_ndarray(rainy, format="rgb24")


def measure_size(clip: Path, frames: int, options: InferenceOptions, rounds: int) -> dict[str, Any]:
    """Measure both sides of one clip in turn.

    Args:
        clip: the clip.
        frames: how many it has.
        options: of the network.
        rounds: how often each side runs, after a frame to warm up.

    Returns:
        Medians, and the ratios of the runs with the stage to those without.
    """
    with ExitStack() as stack:
        sides = {s: stack.enter_context(closing(Side(clip, s, options))) for s in SIDES}
        for side in sides.values():
            side.measure(WARM_UP_S)
        found: dict[Temporal, list[Run]] = {name: [] for name in SIDES}
        for number in range(rounds):
            for name in SIDES if number % 2 == 0 else SIDES[::-1]:
                found[name].append(sides[name].measure())
        peaks = {name: round(side.peak_mib()) for name, side in sides.items()}
    pairs = list(zip(found["off"], found["auto"], strict=True))
    return {
        "frames": frames,
        "rounds": rounds,
        "changed": found["auto"][0].changed,
        "ms": {name: round(median(run.ms for run in runs), 1) for name, runs in found.items()},
        "cpu_ms": {
            name: round(median(run.cpu_ms for run in runs), 1) for name, runs in found.items()
        },
        "time_ratio": round(median(on.ms / off.ms for off, on in pairs), 3),
        "cpu_ratio": round(median(on.cpu_ms / off.cpu_ms for off, on in pairs), 3),
        "added_cpu_ms": round(median(on.cpu_ms - off.cpu_ms for off, on in pairs), 1),
        "peak_mib": peaks,
    }


@click.command()
@click.option("--size", "names", type=click.Choice(list(FRAMES)), multiple=True, help="Sizes.")
@click.option("--rounds", type=int, help="Runs of each kind; fewer of large frames by default.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--precision", type=click.Choice(get_args(Precision)), default="auto")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
@click.option("--smoke", is_flag=True, help="Check that it runs: a few frames, once.")
def main(
    names: Sequence[str],
    rounds: int | None,
    device: str,
    precision: Precision,
    report: Path | None,
    *,
    smoke: bool,
) -> None:
    """Compare runs with the temporal stage to runs without."""
    if smoke:
        names, rounds = ("360p",), 1
    options = InferenceOptions(device=device, precision=precision)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or FRAMES:
            frames = SMOKE_FRAMES if smoke else FRAMES[name]
            rainy = draw_rain(SIZES[name], frames)
            clip = write_clip(Path(folder) / f"{name}.mkv", rainy, crf="12", preset="veryfast")
            rows[name] = measure_size(clip, frames, options, rounds or ROUNDS[name])
            click.echo(f"{name}: {rows[name]}", err=True)
            about = {"machine": describe_machine(), "device": device, "precision": precision}
            write_json(report, {**about, "sizes": rows})
    click.echo(render_cost(rows))


if __name__ == "__main__":
    main()
