"""Measure how many frames cameras get that share a network in turns, and what batches would add.

    python -m benchmarks.turns --device cuda --json benchmarks/results/turns.json
    python -m benchmarks.turns --smoke

Each camera is a thread that hands over its next frame as soon as the last is restored, as `serve`
does under full load. `batches of` is the same work from one thread in batches of several frames, as
for files: what batching the cameras together could reach at most.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.reports import describe_machine, write_json
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame
from lfdn_video.options import InferenceOptions
from lfdn_video.stream.turns import SharedNetwork, Turns
from tests.support.fakes import noise_frames, video_info

SIZES = ((640, 360), (1280, 720), (1920, 1080))
CAMERAS = (1, 4)
BATCHES = (1, 4, 8)


def make_frame(width: int, height: int) -> Frame:
    info = video_info(width=width, height=height)
    (frame,) = noise_frames(info, 1)
    smooth = tuple(np.full_like(plane, 100) for plane in frame.planes)
    return replace(frame, planes=smooth, info=info)


def measure_turns(engine: Engine, frames: Sequence[Frame], seconds: float) -> dict[str, Any]:
    """Measure cameras, one for each frame, that take turns."""
    counts, latencies_s = [0] * len(frames), [0.0] * len(frames)
    ready, ended = threading.Barrier(len(frames) + 1), threading.Event()

    def use(number: int, network: SharedNetwork) -> None:
        for _ in range(4):  # records a graph
            network.restore(frames[number], 1.0)
        ready.wait()
        while not ended.is_set():
            began_s = time.monotonic()
            network.restore(frames[number], 1.0)
            latencies_s[number] += time.monotonic() - began_s
            counts[number] += 1

    with Turns() as turns, ExitStack() as stack:
        networks = [stack.enter_context(closing(turns.share(engine))) for _ in frames]
        threads = [threading.Thread(target=use, args=pair) for pair in enumerate(networks)]
        for thread in threads:
            thread.start()
        ready.wait()
        time.sleep(seconds)
        ended.set()
        for thread in threads:
            thread.join()
    return {
        "cameras": len(frames),
        "frames_per_s": round(sum(counts) / seconds, 1),
        "least_and_most": [min(counts), max(counts)],
        "latency_ms": round(1000 * sum(latencies_s) / max(1, sum(counts)), 2),
    }


def measure_batches(engine: Engine, frame: Frame, batch: int, seconds: float) -> dict[str, Any]:
    """Measure batches of several frames, from one thread."""
    assert frame.info is not None
    end_s = float("inf")

    def feed() -> Iterator[Frame]:
        while time.monotonic() < end_s:
            yield frame

    options = InferenceOptions(batch=batch)
    restored = restore_frames(feed(), PlaneConverter(frame.info), engine, options)
    for _ in range(4 * batch):
        next(restored)
    start_s = time.monotonic()
    end_s = start_s + seconds
    count = sum(1 for _ in restored)
    return {"batches_of": batch, "frames_per_s": round(count / (time.monotonic() - start_s), 1)}


def measure(device: str, seconds: float, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Measure frames of these sizes, and all sizes in turn."""
    rows: list[dict[str, Any]] = []
    for width, height in sizes:
        frame = make_frame(width, height)
        with load_engine(
            "derain", options=InferenceOptions(device=device), lanes=1, streams=max(CAMERAS)
        ) as engine:
            row: dict[str, Any] = {"size": f"{width}x{height}"}
            row["turns"] = [measure_turns(engine, [frame] * n, seconds) for n in CAMERAS]
            row["batches"] = [measure_batches(engine, frame, n, seconds) for n in BATCHES]
            rows.append(row)
        click.echo(json.dumps(row))
    mixed = [make_frame(*size) for size in SIZES for _ in range(2)]
    if len(sizes) > 1:
        with load_engine(
            "derain", options=InferenceOptions(device=device), lanes=1, streams=6
        ) as engine:
            rows.append({"size": "two of each", "turns": [measure_turns(engine, mixed, seconds)]})
        click.echo(json.dumps(rows[-1]))
    return rows


@click.command()
@click.option("--device", default="auto", show_default=True, help="Device of the network.")
@click.option("--seconds", default=4.0, show_default=True, help="Time for each figure.")
@click.option("--smoke", is_flag=True, help="Check that it runs: a tiny frame, a moment each.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(*, device: str, seconds: float, smoke: bool, report: Path | None) -> None:
    """Measure frames per second of cameras in turns, and of batches."""
    rows = measure(device, 0.3 if smoke else seconds, ((64, 48),) if smoke else SIZES)
    write_json(report, {"rows": rows, "machine": describe_machine()})


if __name__ == "__main__":
    main()
