"""Everything about speed in one run: the machine's ceilings, the network, every stage, the whole.

    python -m benchmarks.suite            # what is here; most of an hour on 2 cores, 8 GB in all
    python -m benchmarks.suite --device cuda --size 720p --rounds 9
    python -m benchmarks.suite --smoke    # that it runs at all; writes nothing

Writes `results/suite_DEVICE.json`, from which `python -m benchmarks.tables` makes the tables of
docs/benchmarks.md and the short one of README.md. The ceilings, fastest matrix product and fastest
copy, are measured in the same run, and figures are given as a share of them. `model.py` and
`stages.py` say how each is measured. The clips are a sample, scaled; all sizes are measured in each
round, so that they can be compared, each in a process of its own. Peak memory is that of the whole
run.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import click
import torch
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from benchmarks import model, stages
from lfdn_video.inference.engine import load_engine
from lfdn_video.options import InferenceOptions, SpanOptions

RESULTS = Path(__file__).parent / "results"
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
FRAMES = {"360p": 150, "720p": 72, "1080p": 36, "4K": 10}
"""Of the clip: more than x264 looks ahead, where that does not take too long."""
WHOLE_UP_TO = "1080p"
"""Larger pictures are restored in tiles; the network alone is measured on whole ones."""
SMOKE = {"tiny": (160, 96)}
SMOKE_FRAMES = 2
PLANES_BYTES_PER_PX = 1.5  # 4:2:0 in 8 bit


def scaled(source: Path, target: Path, size: tuple[int, int], frames: int) -> Path:
    """So many frames of `source`, again from its start if need be, at another size, as H.264."""
    width, height = size
    with av.open(target, "w") as container:
        stream = container.add_stream("libx264", Fraction(25), options={"crf": "18"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(islice(_endless(source), frames)):
            picture = frame.reformat(width, height, "yuv420p", interpolation="BICUBIC")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return target


def _endless(source: Path) -> Iterator[VideoFrame]:
    while True:
        with av.open(source) as clip:
            yield from clip.decode(video=0)


class Apart:
    """A bench in a process of its own, as a user's run is: its memory is that of one clip alone."""

    def __init__(self, clip: Path, device: str) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_open, initargs=(clip, device)
        )

    def facts(self) -> dict[str, Any]:
        return self._process.submit(_facts).result()

    def take(self, name: str) -> stages.Taken:
        return self._process.submit(_take, name).result()

    def close(self) -> None:
        self._process.shutdown()


_bench: stages.Bench
"""In the process of an `Apart`."""


def _open(clip: Path, device: str) -> None:
    global _bench
    options = InferenceOptions(device=device)
    engine = load_engine("derain", options=options)
    _bench = stages.Bench(clip, engine, options, SpanOptions(), clip.parent)


def _facts() -> dict[str, Any]:
    return _bench.facts()


def _take(name: str) -> stages.Taken:
    return _bench.take(name)


def of_clips(
    sizes: dict[str, tuple[int, int]], *, device: str, rounds: int, smoke: bool
) -> list[dict[str, Any]]:
    """The stages of each size, alone and together, sizes in turn; and the peak memory."""
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        clips = [
            scaled(
                stages.SMOKE_CLIP,
                folder / f"{name}.mp4",
                size,
                SMOKE_FRAMES if smoke else FRAMES[name],
            )
            for name, size in sizes.items()
        ]
        benches = [stack.enter_context(closing(Apart(clip, device))) for clip in clips]
        facts = [bench.facts() for bench in benches]
        found = stages.measure([bench.take for bench in benches], rounds)
        stack.close()
        return [
            {
                **fact,
                **row,
                "name": name,
                "peak_mib": round(stages.peak_bytes(clip, ["--device", device]) / (1 << 20)),
            }
            for name, clip, fact, row in zip(sizes, clips, facts, found, strict=True)
        ]


def shares(row: dict[str, Any], limits: dict[str, float]) -> dict[str, float]:
    """Of the matrix ceiling for the network, of the copy ceiling for planes read and written."""
    width, height = map(int, row["size"].split("x"))
    frames, median_s = row["frames"], row["median_s"]
    operations = model.operations(height, width) * frames
    moved_bytes = 2 * PLANES_BYTES_PER_PX * width * height * frames
    kind = "float32" if row["precision"] == "float32" else "bfloat16"
    peaks = dict.fromkeys(("model", stages.WHOLE), limits[f"{kind}_gflops"] * 1000000000.0)
    return {
        name: round(
            operations / seconds / peaks[name]
            if name in peaks
            else moved_bytes / seconds / limits["copy_gb_per_s"] / 1e9,
            4,
        )
        for name, seconds in median_s.items()
    }


def run(
    device: str,
    sizes: dict[str, tuple[int, int]],
    backends: tuple[str, ...],
    *,
    rounds: int,
    smoke: bool,
) -> dict[str, Any]:
    """All of it on one device."""
    report: dict[str, Any] = {"device": device, "machine": model.machine(), "rounds": rounds}
    report["ceilings"] = limits = model.ceilings(device)
    click.echo(f"{device}: ceilings {limits}")
    names = model.available(backends, device)
    whole_px = smoke or SIZES[WHOLE_UP_TO][0] * SIZES[WHOLE_UP_TO][1]
    report["network"], report["clips"] = [], []
    for name, (width, height) in sizes.items():
        if smoke or width * height <= whole_px:
            rows = model.measure(width, height, names, task="derain", device=device, rounds=rounds)
            for row in rows:
                report["network"].append({"name": name, **row})
                click.echo(f"{name} {row['backend']}: {row['seconds']} s, ×{row['speed_up']}")
    for row in of_clips(sizes, device=device, rounds=rounds, smoke=smoke):
        row["share_of_ceiling"] = shares(row, limits)
        report["clips"].append(row)
        each = {stage: round(s / row["frames"], 4) for stage, s in row["median_s"].items()}
        click.echo(
            f"{row['name']}: seconds a frame {each}, {row['end_to_end_over_sum']:.3f} of the sum, "
            f"cores {row['cores_busy']:.0%} busy, peak {row['peak_mib']} MiB"
        )
    return report


@click.command()
@click.option("--device", "devices", multiple=True, help="[default: cpu, and cuda if there is one]")
@click.option("--size", "names", multiple=True, type=click.Choice(list(SIZES)), default=list(SIZES))
@click.option("--backend", "backends", multiple=True, default=model.BACKENDS, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=RESULTS, help="For the results.")
@click.option("--smoke", is_flag=True, help="One small size, once, and nothing is written.")
def main(
    devices: tuple[str, ...],
    names: tuple[str, ...],
    backends: tuple[str, ...],
    rounds: int,
    folder: Path,
    smoke: bool,
) -> None:
    """Measure this machine."""
    devices = devices or (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
    sizes = SMOKE if smoke else {name: SIZES[name] for name in names}
    for device in devices:
        report = run(device, sizes, backends, rounds=1 if smoke else rounds, smoke=smoke)
        if not smoke:
            target = folder / f"suite_{device.partition(':')[0]}.json"
            target.write_text(json.dumps(report, indent=1) + "\n")
            click.echo(f"written: {target}; now: {Path(sys.executable).name} -m benchmarks.tables")


if __name__ == "__main__":
    main()
