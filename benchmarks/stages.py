"""Time each stage alone, and all together; or measure the peak memory of a run.

    python -m benchmarks.stages CLIP
    python -m benchmarks.stages --smoke
    python -m benchmarks.stages CLIP --json benchmarks/results/stages.json
    python -m benchmarks.stages CLIP --memory

All stages are measured in one run, in turn, several times; results are medians. On a CPU the stages
share the cores, so a whole run can hardly take less than the sum of the stages alone; how close it
comes shows how well they overlap. `--memory` compares the peak of a whole run with that for ten
copies of the clip in a row, each in a process of its own.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from operator import truediv
from pathlib import Path
from statistics import median, mode
from typing import Any

import av
import click
import torch
from torch import Tensor

from benchmarks.clips import ROOT, SAMPLE
from benchmarks.reports import measure_peak_bytes, write_json
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.runner import Future
from lfdn_video.inference.scheduler import choose_grid, restore_frames
from lfdn_video.inference.tiles import Grid
from lfdn_video.input.open import open_reader
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions, Temporal
from lfdn_video.output.open import open_writer
from lfdn_video.pipeline import Summary, restore
from lfdn_video.temporal.stage import TemporalStage

REPETITIONS = 10
SMOKE_S = 0.15
STAGES = ("decode", "colour", "model", "encode")
WHOLE = "end to end"


class StageBench:
    """Runs each stage of restoring a clip alone. Holds all frames of the clip in memory.

    Args:
        clip: The clip.
        engine: Runs the network.
        options: Of the engine.
        span: Part of the clip.
        folder: Where targets are written.
        preset: Of x264; None: as a run chooses it.
    """

    def __init__(
        self,
        clip: Path,
        engine: Engine,
        options: InferenceOptions,
        span: SpanOptions,
        folder: Path,
        preset: str | None = None,
    ) -> None:
        self.clip, self.engine, self.options, self.span = clip, engine, options, span
        self.encoding = EncodeOptions(preset=preset, overwrite=True)
        self.target = folder / "restored.mkv"
        with open_reader(clip, span) as reader:
            self.info = reader.info
            self.frames = list(reader.frames())
        self.converter = PlaneConverter(self.info)
        # The encoder's time depends on its input, so it gets the restored frames.
        self.restored = list(restore_frames(self.frames, self.converter, engine, options))

    def describe(self) -> dict[str, Any]:
        """Describe the clip and the engine."""
        return {
            "frames": len(self.frames),
            "size": f"{self.info.width}x{self.info.height}",
            "format": self.info.format.name,
            "precision": self.engine.precision,
        }

    def measure(self, name: str) -> "Measurement":
        """Measure a stage, or the whole run, once."""
        stages: dict[str, Callable[[], Summary | None]] = {
            "decode": self.decode,
            "colour": self.colour,
            "model": self.model,
            "encode": self.encode,
            WHOLE: self.end_to_end,
        }
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        summary = stages[name]()
        seconds = time.perf_counter() - start_s
        busy = (time.process_time() - start_cpu_s) / (seconds * _count_cores())
        return Measurement(seconds, busy, summary.bottleneck if summary is not None else "")

    def decode(self) -> None:
        """Decode the clip."""
        with open_reader(self.clip, self.span) as reader, closing(reader.frames()) as frames:
            for _ in frames:
                pass

    def colour(self) -> None:
        """Upload, convert to RGB, add a residual of zero, download; without the network."""
        engine = self.engine
        for frame in self.frames:
            planes = engine.upload(frame.planes)
            with engine.compute_context():
                rgb = self.converter.to_rgb(planes)
                changed = self.converter.add_residual(planes, torch.zeros_like(rgb))
            engine.download(changed).result()

    def model(self) -> None:
        """Run the network with as many tiles in flight as in a run; merge each frame's tiles."""
        in_flight, done = deque[Future[Tensor]](), list[Tensor]()
        for grid, tiles in self._split_random_images():
            for tile in tiles:
                in_flight.append(self.engine.compute_residual(tile))
                while len(in_flight) > self.engine.max_batches_in_flight:
                    self._collect(grid, in_flight.popleft(), done)
        for last in in_flight:
            self._collect(grid, last, done)

    def _collect(self, grid: Grid, pending: Future[Tensor], done: list[Tensor]) -> None:
        done.append(pending.result())
        if len(done) == len(grid):
            with self.engine.compute_context():
                whole = grid.merge(done)
            self.engine.download((whole[..., :1, :1],)).result()
            done.clear()

    def encode(self) -> None:
        """Encode the restored frames."""
        with open_writer(self.target, self.info, self.encoding, self.span) as writer:
            for frame in self.restored:
                writer.write(frame)

    def network(self) -> None:
        """Restore the frames from memory to memory: colour, transfers and the network at once."""
        for _ in restore_frames(self.frames, self.converter, self.engine, self.options):
            pass

    def refine(self) -> None:
        """Run the temporal stage alone."""
        stage = TemporalStage(self.info)
        deque(stage.record(self.frames), maxlen=0)
        deque(stage.refine(self.restored), maxlen=0)

    def end_to_end(self, temporal: Temporal = "off") -> Summary:
        """Restore the clip; `temporal_cost.py` measures what the temporal stage costs on a CPU."""
        return restore(
            self.clip,
            self.target,
            engine=self.engine,
            inference=self.options,
            encode=self.encoding,
            span=self.span,
            temporal=temporal,
        )

    def _split_random_images(self) -> Iterator[tuple[Grid, list[Tensor]]]:
        """Yield the tiles of random images: the network's time does not depend on the content."""
        upright = self.info.rotation % 180 == 0
        height, width = self.info.height, self.info.width
        size = (height, width) if upright else (width, height)
        grid = choose_grid(*size, self.engine, self.options)
        image = torch.rand(1, 3, *size).to(self.engine.device)
        for _ in self.frames:
            yield grid, grid.split(image)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a stage or of the whole run."""

    seconds: float
    busy: float
    """CPU time over the time of all cores."""
    bottleneck: str
    """The bottleneck that the run reports; empty for a single stage."""


def measure_rounds(
    measures: Sequence[Callable[[str], Measurement]], rounds: int
) -> list[dict[str, Any]]:
    """Measure all stages, and the whole run, of several clips in turn.

    A round measures every stage of every clip. Every other round goes backwards, so that a machine
    whose speed drifts slows all alike. Ratios are computed within a round, before the median.

    Args:
        measures: For each clip, a function that measures a stage once.
        rounds: Number of rounds.

    Returns:
        For each clip the seconds of every measurement, and medians.
    """
    names = [*STAGES, WHOLE]
    found: list[dict[str, list[Measurement]]] = [{name: [] for name in names} for _ in measures]
    for number in range(rounds):
        turns = [
            (measure, each, name)
            for measure, each in zip(measures, found, strict=True)
            for name in names
        ]
        for measure, each, name in turns if number % 2 == 0 else turns[::-1]:
            each[name].append(measure(name))
    return [_summarize(each) for each in found]


def _summarize(found: dict[str, list[Measurement]]) -> dict[str, Any]:
    seconds = {name: [each.seconds for each in measured] for name, measured in found.items()}
    sums = [sum(each) for each in zip(*(seconds[name] for name in STAGES), strict=True)]
    return {
        "median_s": {name: median(times) for name, times in seconds.items()},
        "all_s": seconds,
        "end_to_end_over_sum": median(map(truediv, seconds[WHOLE], sums)),
        "cores_busy": median(each.busy for each in found[WHOLE]),
        "bottleneck": mode(each.bottleneck for each in found[WHOLE]),
    }


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure_run_peak_bytes(clip: Path, arguments: list[str]) -> int:
    """Measure the peak resident memory of a whole run on `clip`, in a process of its own."""
    program = [sys.executable, "-m", "benchmarks.stages"]
    command = [*program, str(clip.resolve()), "--peak", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return int(done.stdout.splitlines()[-1])


def repeat_clip(clip: Path, target: Path, times: int) -> None:
    """Write `clip` to `target`, `times` in a row: the packets of video and audio are copied."""
    length_s = _measure_length_s(clip)
    with av.open(clip) as source, av.open(target, "w") as container:
        streams = [stream for stream in source.streams if stream.type in ("video", "audio")]
        copies = {stream: container.add_stream_from_template(stream) for stream in streams}
        for turn in range(times):
            source.seek(0)
            for packet in source.demux(streams):
                if packet.pts is None or packet.dts is None:
                    continue
                shift = round(turn * length_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = copies[packet.stream]
                container.mux(packet)


def _measure_length_s(clip: Path) -> Fraction:
    """Measure the span of all dts and pts, after which the clip can start again."""
    times = []
    with av.open(clip) as source:
        for packet in source.demux():
            if packet.pts is not None and packet.dts is not None:
                times += [packet.dts * packet.time_base]
                times += [(packet.pts + (packet.duration or 0)) * packet.time_base]
    return max(times) - min(times)


def compare_memory(
    clip: Path, folder: Path, *, weights: Path | None, identity: bool, device: str
) -> dict[str, object]:
    """Compare the peak memory for the clip with that for ten copies of it in a row."""
    arguments = ["--device", device]
    arguments += ["--weights", str(weights.resolve())] if weights else []
    arguments += ["--identity"] if identity else []
    short, long = folder / "once.mkv", folder / "often.mkv"
    repeat_clip(clip, short, 1)
    repeat_clip(clip, long, REPETITIONS)
    once, often = (measure_run_peak_bytes(each, arguments) for each in (short, long))
    return {
        "peak_mib": once / (1 << 20),
        "peak_ten_times_longer_mib": often / (1 << 20),
        "ratio": often / once,
    }


def _return_unchanged(batch: Tensor) -> Tensor:
    return batch


def _load_engine(weights: Path | None, *, identity: bool, options: InferenceOptions) -> Engine:
    if identity:
        return Engine(_return_unchanged)
    return load_engine("derain", weights=weights, options=options)


def _describe_device(engine: Engine) -> dict[str, object]:
    return {
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _format_lines(result: dict[str, object]) -> Iterator[str]:
    for name, value in result.items():
        if name == "median_s" and isinstance(value, dict):
            yield from (f"{stage:28}{seconds:.3f} s" for stage, seconds in value.items())
        elif isinstance(value, float):
            yield f"{name:28}{value:.3f}"
        elif not isinstance(value, dict):
            yield f"{name:28}{value}"


@click.command()
@click.argument("clip", type=click.Path(exists=True, path_type=Path), default=SAMPLE)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights file instead of packaged weights."
)
@click.option(
    "--identity", is_flag=True, help="Use a network that changes nothing, to measure all the rest."
)
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, ...")
@click.option("--end", "end_s", type=float, help="Seconds of the clip to restore.  [default: all]")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Number of rounds."
)
@click.option("--memory", "of_memory", is_flag=True, help="Measure peak memory instead of time.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
@click.option("--smoke", is_flag=True, help="Check that it runs: a few frames, one round.")
@click.option("--peak", is_flag=True, hidden=True, help="Print the peak memory of one run.")
def main(
    clip: Path,
    weights: Path | None,
    identity: bool,
    device: str,
    end_s: float | None,
    repeats: int,
    of_memory: bool,
    report: Path | None,
    smoke: bool,
    peak: bool,
) -> None:
    """Measure the stages of restoring CLIP."""
    if smoke:
        end_s, repeats = SMOKE_S, 1
    options, span = InferenceOptions(device=device), SpanOptions(end_s=end_s)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if of_memory:
            result = compare_memory(clip, folder, weights=weights, identity=identity, device=device)
        else:
            with _load_engine(weights, identity=identity, options=options) as engine:
                if peak:
                    target = folder / "restored.mkv"
                    restore(clip, target, engine=engine, inference=options, temporal="off")
                    click.echo(measure_peak_bytes())
                    return
                bench = StageBench(clip, engine, options, span, folder)
                (result,) = measure_rounds([bench.measure], repeats)
                result = {**bench.describe(), **result, **_describe_device(engine)}
    click.echo("\n".join(_format_lines({"clip": clip.name, **result})))
    write_json(report, {"clip": clip.name, **result})


if __name__ == "__main__":
    main()
