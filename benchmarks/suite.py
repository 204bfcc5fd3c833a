"""Measure everything about speed in one run: ceilings, the network, each stage, whole runs.

    python -m benchmarks.suite            # all devices; most of an hour on 2 cores, 8 GB in all
    python -m benchmarks.suite --device cuda --output /tmp/gpu [--quick]    # four minutes, or one
    python -m benchmarks.suite --smoke    # check that it runs; writes nothing

On CUDA it runs the sections of `gpu.py`. On a CPU it writes `results/suite_cpu.json`. From both
`python -m benchmarks.tables` renders the tables of README.md and docs/benchmarks.md. The machine's
ceilings, the fastest matrix product and the fastest copy, are measured in the same run, and figures
are given as a share of them. `model.py` and `stages.py` describe the measurements. The clips are
scaled copies of a sample. Every round measures all sizes, each in a process of its own, so that
sizes can be compared. Peak memory is that of a whole run.
"""

import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks import gpu, model
from benchmarks.reports import describe_machine, write_json
from benchmarks.training_speed import measure_training
from lfdn.datasets.crops import CropStage
from lfdn_video.inference.engine import load_engine
from lfdn_video.options import InferenceOptions, SpanOptions

if find_spec("av") is not None:
    from benchmarks import stages
    from benchmarks.clips import SAMPLE, scale_clip

RESULTS = Path(__file__).parent / "results"
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
FRAMES = {"360p": 150, "720p": 72, "1080p": 36, "4K": 10}
"""Frames of each clip: more than x264 looks ahead, unless that takes too long."""
WHOLE_UP_TO = "1080p"
"""Larger images are restored in tiles; the network alone is measured on whole images."""
SMOKE = {"tiny": (160, 96)}
SMOKE_FRAMES = 2
PLANES_BYTES_PER_PX = 1.5  # 4:2:0 in 8 bit


class BenchProcess:
    """A `StageBench` in a process of its own, like a user's run: its memory is that of one clip."""

    def __init__(self, clip: Path, device: str) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_start_bench, initargs=(clip, device)
        )

    def describe(self) -> dict[str, Any]:
        """Describe the clip and the engine."""
        return self._process.submit(_describe).result()

    def measure(self, name: str) -> stages.Measurement:
        """Measure a stage, or the whole run, once."""
        return self._process.submit(_measure, name).result()

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


_bench: stages.StageBench
"""The bench of a `BenchProcess`; set only in its process."""


def _start_bench(clip: Path, device: str) -> None:
    global _bench
    options = InferenceOptions(device=device)
    engine = load_engine("derain", options=options)
    _bench = stages.StageBench(clip, engine, options, SpanOptions(), clip.parent)


def _describe() -> dict[str, Any]:
    return _bench.describe()


def _measure(name: str) -> stages.Measurement:
    return _bench.measure(name)


def measure_clips(
    sizes: dict[str, tuple[int, int]], *, device: str, rounds: int, smoke: bool
) -> list[dict[str, Any]]:
    """Measure the stages of each size, alone and together, sizes in turn; and the peak memory."""
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        clips = [
            scale_clip(
                SAMPLE,
                folder / f"{name}.mp4",
                size,
                SMOKE_FRAMES if smoke else FRAMES[name],
            )
            for name, size in sizes.items()
        ]
        benches = [stack.enter_context(closing(BenchProcess(clip, device))) for clip in clips]
        descriptions = [bench.describe() for bench in benches]
        found = stages.measure_rounds([bench.measure for bench in benches], rounds)
        stack.close()  # free their memory before the peaks are measured
        return [
            {
                **description,
                **row,
                "name": name,
                "peak_mib": round(
                    stages.measure_run_peak_bytes(clip, ["--device", device]) / (1 << 20)
                ),
            }
            for name, clip, description, row in zip(sizes, clips, descriptions, found, strict=True)
        ]


def compute_shares(row: dict[str, Any], ceilings: dict[str, float]) -> dict[str, float]:
    """Compute the share of a ceiling that each stage reaches.

    For the network and the whole run it is that of matrix products, for other stages that of
    copies, of which a stage needs at least one: planes read and written.
    """
    width, height = map(int, row["size"].split("x"))
    frames, median_s = row["frames"], row["median_s"]
    operations = model.count_operations(height, width) * frames
    moved_bytes = 2 * PLANES_BYTES_PER_PX * width * height * frames
    kind = "float32" if row["precision"] == "float32" else "bfloat16"
    peaks = dict.fromkeys(("model", stages.WHOLE), ceilings[f"{kind}_gflops"] * 1000000000.0)
    return {
        name: round(
            operations / seconds / peaks[name]
            if name in peaks
            else moved_bytes / seconds / ceilings["copy_gb_per_s"] / 1e9,
            4,
        )
        for name, seconds in median_s.items()
    }


def measure_device(
    device: str,
    sizes: dict[str, tuple[int, int]],
    backends: tuple[str, ...],
    *,
    rounds: int,
    smoke: bool,
) -> dict[str, Any]:
    """Measure everything on one device; return the report."""
    report: dict[str, Any] = {"device": device, "machine": describe_machine(), "rounds": rounds}
    report["ceilings"] = ceilings = model.measure_ceilings(device)
    click.echo(f"{device}: ceilings {ceilings}")
    names = model.select_available(backends, device)
    whole_px = smoke or SIZES[WHOLE_UP_TO][0] * SIZES[WHOLE_UP_TO][1]
    report["network"], report["clips"] = [], []
    for name, (width, height) in sizes.items():
        if smoke or width * height <= whole_px:
            rows = model.measure_backends(
                width, height, names, task="derain", device=device, rounds=rounds
            )
            for row in rows:
                report["network"].append({"name": name, **row})
                click.echo(f"{name} {row['backend']}: {row['seconds']} s, ×{row['speed_up']}")
    for row in measure_clips(sizes, device=device, rounds=rounds, smoke=smoke):
        row["share_of_ceiling"] = compute_shares(row, ceilings)
        report["clips"].append(row)
        per_frame = {stage: round(s / row["frames"], 4) for stage, s in row["median_s"].items()}
        click.echo(
            f"{row['name']}: seconds per frame {per_frame}, "
            f"{row['end_to_end_over_sum']:.3f} of the sum, "
            f"cores {row['cores_busy']:.0%} busy, peak {row['peak_mib']} MiB"
        )
    if device.startswith("cuda"):
        report["training"] = measure_training(device, CropStage(1.0, 128, 64))
    return report


@click.command()
@click.option(
    "--device",
    "devices",
    multiple=True,
    help="Device; may be repeated.  [default: cpu, and cuda if present]",
)
@click.option(
    "--size",
    "names",
    multiple=True,
    type=click.Choice(list(SIZES)),
    default=list(SIZES),
    help="Frame size; may be repeated.  [default: all]",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    default=model.BACKENDS,
    show_default=True,
    help="Backend of the network; may be repeated.",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Number of rounds."
)
@click.option(
    "--output",
    "--folder",
    "folder",
    type=click.Path(path_type=Path),
    default=RESULTS,
    help="Folder for the results.",
)
@click.option("--quick", is_flag=True, help="On CUDA: only 720p, and the network: one minute.")
@click.option(
    "--smoke", is_flag=True, help="Check that it runs: one small size, one round, no file."
)
def main(
    devices: tuple[str, ...],
    names: tuple[str, ...],
    backends: tuple[str, ...],
    rounds: int,
    folder: Path,
    quick: bool,
    smoke: bool,
) -> None:
    """Measure the speed of restoring on this machine."""
    devices = devices or (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
    sizes = SMOKE if smoke else {name: SIZES[name] for name in names}
    for device in devices:
        if device.startswith("cuda"):
            gpu.measure(device, None if smoke else folder, quick=quick, smoke=smoke)
            continue
        if find_spec("av") is None:
            raise click.ClickException(f"{device}: PyAV is missing; pip install av")
        report = measure_device(device, sizes, backends, rounds=1 if smoke else rounds, smoke=smoke)
        if not smoke:
            target = folder / f"suite_{device.partition(':')[0]}.json"
            write_json(target, report, indent=1)
            click.echo(f"{target}: written; next: {Path(sys.executable).name} -m benchmarks.tables")


if __name__ == "__main__":
    main()
