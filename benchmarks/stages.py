"""How long each stage takes alone, how long they take together, and what memory it needs.

    python benchmarks/stages.py CLIP
    python benchmarks/stages.py --smoke
    python benchmarks/stages.py CLIP --json benchmarks/results/stages.json
    python benchmarks/stages.py CLIP --memory

Everything is measured in one run, in turn and several times over, and medians are told. On a
CPU the stages share the cores, so together they can hardly take less than the sum of what they take
alone; how little more they take is what the threads are worth. With `--memory` the peak of a whole
run is compared with that for the clip ten times over, each in a process of its own. `--smoke` only
shows that it runs: a few frames of a sample, once.
"""

import json
import os
import platform
import resource
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

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.runner import Future
from lfdn_video.inference.scheduler import choose_grid, restore_frames
from lfdn_video.inference.tiles import Grid
from lfdn_video.input.open import open_reader
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions
from lfdn_video.output.open import open_writer
from lfdn_video.pipeline import Summary, restore

LONGER = 10
SMOKE_CLIP, SMOKE_S = Path(__file__).parent.parent / "samples" / "rainy_dashcam.mp4", 0.15
STAGES = ("decode", "colour", "model", "encode")
WHOLE = "end to end"


class Bench:
    """The stages of one clip, each as something that can be run alone. Holds all its frames."""

    def __init__(
        self,
        clip: Path,
        engine: Engine,
        options: InferenceOptions,
        span: SpanOptions,
        folder: Path,
    ) -> None:
        self.clip, self.engine, self.options, self.span = clip, engine, options, span
        self.target = folder / "restored.mkv"
        with open_reader(clip, span) as reader:
            self.info = reader.info
            self.frames = list(reader.frames())
        self.converter = PlaneConverter(self.info)
        # The encoder's work depends on what it is given, so it is given the restored frames.
        self.restored = list(restore_frames(self.frames, self.converter, engine, options))

    def facts(self) -> dict[str, Any]:
        """What is measured."""
        return {
            "frames": len(self.frames),
            "size": f"{self.info.width}x{self.info.height}",
            "format": self.info.format.name,
            "precision": self.engine.precision,
        }

    def take(self, name: str) -> "Taken":
        """Measure a stage once, or the whole."""
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
        busy = (time.process_time() - start_cpu_s) / (seconds * _cores())
        return Taken(seconds, busy, summary.bottleneck if summary is not None else "")

    def decode(self) -> None:
        with open_reader(self.clip, self.span) as reader, closing(reader.frames()) as frames:
            for _ in frames:
                pass

    def colour(self) -> None:
        """Up to the device, to RGB, a change added, down again; no network."""
        engine = self.engine
        for frame in self.frames:
            planes = engine.upload(frame.planes)
            with engine.compute_context():
                rgb = self.converter.to_rgb(planes)
                changed = self.converter.add_residual(planes, torch.zeros_like(rgb))
            engine.download(changed).result()

    def model(self) -> None:
        """As many tiles at a time as the scheduler has, and each frame's merged."""
        in_flight, done = deque[Future[Tensor]](), list[Tensor]()
        for grid, tiles in self._pictures():
            for tile in tiles:
                in_flight.append(self.engine.compute_residual(tile))
                while len(in_flight) > self.engine.max_batches_in_flight:
                    self._finish(grid, in_flight.popleft(), done)
        for last in in_flight:
            self._finish(grid, last, done)

    def _finish(self, grid: Grid, pending: Future[Tensor], done: list[Tensor]) -> None:
        done.append(pending.result())
        if len(done) == len(grid):
            with self.engine.compute_context():
                whole = grid.merge(done)
            self.engine.download((whole[..., :1, :1],)).result()
            done.clear()

    def encode(self) -> None:
        options = EncodeOptions(overwrite=True)
        with open_writer(self.target, self.info, options, self.span) as writer:
            for frame in self.restored:
                writer.write(frame)

    def end_to_end(self) -> Summary:
        return restore(
            self.clip,
            self.target,
            engine=self.engine,
            inference=self.options,
            encode=EncodeOptions(overwrite=True),
            span=self.span,
        )

    def _pictures(self) -> Iterator[tuple[Grid, list[Tensor]]]:
        """Of random pictures: the network's time does not depend on what is in them."""
        upright = self.info.rotation % 180 == 0
        height, width = self.info.height, self.info.width
        size = (height, width) if upright else (width, height)
        grid = choose_grid(*size, self.engine, self.options)
        picture = torch.rand(1, 3, *size).to(self.engine.device)
        for _ in self.frames:
            yield grid, grid.split(picture)


@dataclass(frozen=True, slots=True)
class Taken:
    """One measurement."""

    seconds: float
    busy: float
    """Share of what the cores can do in that time."""
    bottleneck: str
    """As the program says it; of the whole only."""


def measure(takes: Sequence[Callable[[str], Taken]], rounds: int) -> list[dict[str, Any]]:
    """Seconds of each stage and of all together: every single measurement, and medians.

    `takes`: of several clips, how a stage is measured once. One round measures every stage of every
    clip, every other round backwards, so that a machine whose speed drifts slows all alike. Ratios
    are taken within a round, before the median.
    """
    names = [*STAGES, WHOLE]
    found: list[dict[str, list[Taken]]] = [{name: [] for name in names} for _ in takes]
    for number in range(rounds):
        turns = [
            (take, each, name) for take, each in zip(takes, found, strict=True) for name in names
        ]
        for take, each, name in turns if number % 2 == 0 else turns[::-1]:
            each[name].append(take(name))
    return [_told(each) for each in found]


def _told(found: dict[str, list[Taken]]) -> dict[str, Any]:
    seconds = {name: [each.seconds for each in taken] for name, taken in found.items()}
    sums = [sum(each) for each in zip(*(seconds[name] for name in STAGES), strict=True)]
    return {
        "median_s": {name: median(times) for name, times in seconds.items()},
        "all_s": seconds,
        "end_to_end_over_sum": median(map(truediv, seconds[WHOLE], sums)),
        "cores_busy": median(each.busy for each in found[WHOLE]),
        "bottleneck": mode(each.bottleneck for each in found[WHOLE]),
    }


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_bytes(clip: Path, arguments: list[str]) -> int:
    """Peak resident memory of a whole run on `clip`, in a process of its own."""
    command = [sys.executable, __file__, str(clip), "--peak", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.splitlines()[-1])


def own_peak_bytes() -> int:
    """Of this process. Linux's getrusage has that of the process that started it, if higher."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def repeat(clip: Path, target: Path, times: int) -> None:
    """`clip`, `times` over: video and sound, packets copied."""
    length_s = _length_s(clip)
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


def _length_s(clip: Path) -> Fraction:
    """So much later it can begin again: the span of all decoding and presentation times."""
    times = []
    with av.open(clip) as source:
        for packet in source.demux():
            if packet.pts is not None and packet.dts is not None:
                times += [packet.dts * packet.time_base]
                times += [(packet.pts + (packet.duration or 0)) * packet.time_base]
    return max(times) - min(times)


def memory(
    clip: Path, folder: Path, *, weights: Path | None, identity: bool, device: str
) -> dict[str, object]:
    """Peak memory for the clip and for the clip ten times over."""
    arguments = ["--device", device]
    arguments += ["--weights", str(weights)] if weights else []
    arguments += ["--identity"] if identity else []
    short, long = folder / "once.mkv", folder / "often.mkv"
    repeat(clip, short, 1)
    repeat(clip, long, LONGER)
    once, often = peak_bytes(short, arguments), peak_bytes(long, arguments)
    return {
        "peak_mib": once / (1 << 20),
        "peak_ten_times_longer_mib": often / (1 << 20),
        "ratio": often / once,
    }


def _unchanged(batch: Tensor) -> Tensor:
    return batch


def _engine(weights: Path | None, *, identity: bool, options: InferenceOptions) -> Engine:
    if identity:
        return Engine(_unchanged)
    return load_engine("derain", weights=weights, options=options)


def _machine(engine: Engine) -> dict[str, object]:
    return {
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _lines(result: dict[str, object]) -> Iterator[str]:
    for name, value in result.items():
        if name == "median_s" and isinstance(value, dict):
            yield from (f"{stage:28}{seconds:.3f} s" for stage, seconds in value.items())
        elif isinstance(value, float):
            yield f"{name:28}{value:.3f}"
        elif not isinstance(value, dict):
            yield f"{name:28}{value}"


@click.command()
@click.argument("clip", type=click.Path(exists=True, path_type=Path), default=SMOKE_CLIP)
@click.option("--weights", type=click.Path(path_type=Path), help="Instead of those that ship.")
@click.option("--identity", is_flag=True, help="A network that does nothing: the rest alone.")
@click.option("--device", default="auto", show_default=True)
@click.option("--end", "end_s", type=float, help="Only so many seconds of the clip.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--memory", "of_memory", is_flag=True, help="Peak memory instead of time.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the result here.")
@click.option("--smoke", is_flag=True, help="A few frames, once.")
@click.option("--peak", is_flag=True, hidden=True)
def main(
    clip: Path,
    weights: Path | None,
    identity: bool,
    device: str,
    end_s: float | None,
    repeats: int,
    of_memory: bool,
    target: Path | None,
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
            result = memory(clip, folder, weights=weights, identity=identity, device=device)
        else:
            with _engine(weights, identity=identity, options=options) as engine:
                if peak:
                    restore(clip, folder / "restored.mkv", engine=engine, inference=options)
                    click.echo(own_peak_bytes())
                    return
                bench = Bench(clip, engine, options, span, folder)
                (result,) = measure([bench.take], repeats)
                result = {**bench.facts(), **result, **_machine(engine)}
    click.echo("\n".join(_lines({"clip": clip.name, **result})))
    if target is not None:
        target.write_text(json.dumps({"clip": clip.name, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
