"""Compare what `lfdn-video bench` says with what the suite measures, in turn in one process.

    python -m benchmarks.bench --json benchmarks/results/bench.json
    python -m benchmarks.bench --size 1080p --device cuda
    python -m benchmarks.bench --smoke

`bench` counts frames that go from planes to restored planes. The suite (`stages.py`) measures the
network and both conversions apart, each alone, so their sum is to compare. Ratios are taken within
a round, before the median.
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click

from benchmarks.clips import SAMPLE, scale_clip
from benchmarks.reports import describe_machine, write_json
from benchmarks.stages import StageBench
from benchmarks.suite import SIZES
from lfdn_video.cli.bench import FRAMES as HELD
from lfdn_video.inference.engine import load_engine
from lfdn_video.inference.throughput import measure_fps
from lfdn_video.options import InferenceOptions, SpanOptions

FRAMES = {"360p": 40, "720p": 20, "1080p": 12, "4K": 6}
"""Frames of a clip; with fewer, the last lane that ends would decide the suite's time."""


@dataclass(frozen=True)
class Row:
    """One size: medians."""

    size: str
    device: str
    precision: str
    bench_ms: float
    """A frame, as `bench` measures it."""
    suite_ms: float
    """A frame, network and conversions of the suite."""
    ratio: float
    """The first over the second."""


def measure(name: str, device: str, seconds: float, rounds: int) -> Row:
    """Measure one size in both ways, in turn; every other round goes backwards."""
    options = InferenceOptions(device=device)
    bench_s, suite_s = [], []
    with tempfile.TemporaryDirectory() as made, load_engine("derain", options=options) as engine:
        folder = Path(made)
        clip = scale_clip(SAMPLE, folder / "clip.mp4", SIZES[name], FRAMES[name])
        stages = StageBench(clip, engine, options, SpanOptions(), folder)

        def run_bench() -> None:
            frames = stages.frames[:HELD]
            bench_s.append(1 / measure_fps(frames, stages.info, engine, seconds=seconds))

        def run_suite() -> None:
            alone = [stages.measure(stage).seconds for stage in ("model", "colour")]
            suite_s.append(sum(alone) / FRAMES[name])

        for number in range(rounds):
            turns = [run_bench, run_suite]
            for turn in turns if number % 2 == 0 else turns[::-1]:
                turn()
        place = engine.device_name, engine.precision
    ratio = median(one / other for one, other in zip(bench_s, suite_s, strict=True))
    return Row(name, *place, 1000 * median(bench_s), 1000 * median(suite_s), ratio)


@click.command()
@click.option(
    "--size",
    "names",
    multiple=True,
    type=click.Choice(list(SIZES)),
    default=["360p", "720p", "1080p"],
    show_default=True,
    help="Frame size; may be repeated.",
)
@click.option("--device", default="auto", show_default=True, help="As for `lfdn-video derain`.")
@click.option("--seconds", default=3.0, show_default=True, help="As for `lfdn-video bench`.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--smoke", is_flag=True, help="Check that it runs: one size, one round.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(
    names: tuple[str, ...],
    device: str,
    seconds: float,
    rounds: int,
    smoke: bool,
    report: Path | None,
) -> None:
    """Print milliseconds a frame, measured in both ways."""
    if smoke:
        names, seconds, rounds = ("360p",), 0.1, 1
    rows = []
    for name in names:
        row = measure(name, device, seconds, rounds)
        rows.append(row)
        click.echo(
            f"{row.size:6}{row.device} in {row.precision}: bench {row.bench_ms:.1f} ms, "
            f"suite {row.suite_ms:.1f} ms a frame, ratio {row.ratio:.3f}"
        )
    settings = {"seconds": seconds, "rounds": rounds}
    write_json(report, {**describe_machine(), **settings, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
