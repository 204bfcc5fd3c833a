"""Check that `live` keeps up for long: latency, drops, reconnects, memory and threads.

    python -m benchmarks.live slow --json benchmarks/results/live_slow.json
    python -m benchmarks.live stage --json benchmarks/results/live_stage.json
    python -m benchmarks.live rtsp --json benchmarks/results/live_rtsp.json
    python -m benchmarks.live --smoke

`slow`: for 10 minutes a source delivers frames four times as fast as a fake network restores them.
For one more minute the fake network's time grows with the size of the image; at full size it is
twice the latency bound. `stage`: for a minute with `--delay 0` and one with 1, it rains in a pan,
and the fake network leaves most of it to the temporal stage, in the time that a frame lasts.
`rtsp`: GStreamer's server streams a rainy sample; three times it is killed and restarted after 15
seconds. Everything runs on this machine.
"""

import json
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import click
from torch import Tensor

from benchmarks.clips import write_clip
from benchmarks.reports import measure_peak_bytes, write_json
from benchmarks.temporal_cost import draw_rain
from lfdn_video.background import Worker
from lfdn_video.inference.engine import Engine
from lfdn_video.options import Delay, LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.session import Session
from tests.support.rain import derain_timidly
from tests.support.rtsp import NEEDED, Server, is_there

SIZE = (640, 360)
RATE = 25
PAN_FRAMES = 100
SOURCE = f"lavfi:testsrc2=size={SIZE[0]}x{SIZE[1]}:rate={RATE}"
SLOWDOWN = 4
BOUND_S = 1.0
OUTAGE_S, OUTAGES = 15.0, 3
RECONNECT_LIMIT_S = 10.0
SETTLED_S = 10.0  # memory must not grow after this


@dataclass
class Observations:
    """Measurements of a session."""

    latencies_s: list[float] = field(default_factory=list)
    scales: set[float] = field(default_factory=set)
    memory_mib: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, resident MiB of this process)."""


def observe(session: Session, board: Board, network: Callable[[Tensor], Tensor]) -> Observations:
    """Run a session to its end, and measure it."""
    seen, start_s, next_s = Observations(), time.monotonic(), 0.0
    with Engine(network) as engine:
        for frame in session.frames(engine):
            seen.latencies_s.append(frame.latency_s)
            seen.scales.add(board.status.inference_scale)
            now_s = time.monotonic() - start_s
            if now_s >= next_s:
                seen.memory_mib.append((now_s, measure_resident_mib()))
                next_s = now_s + 1
    return seen


def run_slow(seconds: float, *, by_size: bool) -> dict[str, Any]:
    """Run a session whose network is too slow, always or only at full size (`by_size`)."""

    def network(batch: Tensor) -> Tensor:
        time.sleep(2 * BOUND_S * share_of_frame(batch) if by_size else SLOWDOWN / RATE)
        return batch

    return run_bounded(SOURCE, LiveOptions(max_latency_s=BOUND_S, duration_s=seconds), network)


def run_stage(seconds: float, delay: Delay) -> dict[str, Any]:
    """Run a session in rain of which most is left to the temporal stage."""

    def network(batch: Tensor) -> Tensor:
        time.sleep(share_of_frame(batch) / RATE)
        return derain_timidly(batch)

    with tempfile.TemporaryDirectory() as folder:
        rain = draw_rain(SIZE, PAN_FRAMES)
        clip = write_clip(Path(folder) / "rain.mkv", rain, crf="12", preset="veryfast")
        options = LiveOptions(max_latency_s=BOUND_S, duration_s=seconds, loop=True, delay=delay)
        return run_bounded(str(clip), options, network)


def share_of_frame(batch: Tensor) -> float:
    """Return the share of a whole frame's samples that a batch has."""
    return batch.shape[2] * batch.shape[3] / (SIZE[0] * SIZE[1])


def run_bounded(
    source: str, options: LiveOptions, network: Callable[[Tensor], Tensor]
) -> dict[str, Any]:
    """Run a session to its end, and compare its latency with the bound."""
    board = Board(Status(source=source, task="derain"))
    session = Session(parse_source(source), board, options, shows=True)
    seen, status = observe(session, board, network), board.status
    latencies = sorted(seen.latencies_s)
    result = {
        "seconds": options.duration_s,
        "delay": options.delay,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "frames_dropped": status.frames_dropped,
        "counts_agree": status.frames_in == status.frames_out + status.frames_dropped,
        "latency_s": {
            "median": round(latencies[len(latencies) // 2], 3),
            "p99": round(latencies[int(0.99 * (len(latencies) - 1))], 3),
            "max": round(latencies[-1], 3),
            "bound": BOUND_S,
        },
        "scales": sorted(seen.scales),
        "temporal": status.temporal,
        "changed_by_neighbours": status.temporal_frames,
        "left_by_neighbours": dict(status.temporal_left),
        **summarize_memory(seen),
    }
    click.echo(json.dumps(result))
    return result


def run_rtsp(outage_s: float, outages: int) -> dict[str, Any]:
    """Run a session on an RTSP server that is killed and restarted."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        board = Board(Status(source="server", task="derain"))
        session = Session(parse_source(server.address), board, LiveOptions(), shows=True)
        seen: list[Observations] = []
        worker = Worker(
            lambda: seen.append(observe(session, board, return_unchanged)), name="model"
        )
        try:
            wait_for(board, lambda status: status.frames_out > RATE)
            resumed_after = []
            for number in range(1, outages + 1):
                server.kill()
                wait_for(board, lambda status: status.state == "reconnecting")
                time.sleep(outage_s)
                before = board.status.frames_in
                server.start()
                restarted_s = time.monotonic()
                wait_for(board, has_more_than(before))
                resumed_after.append(round(time.monotonic() - restarted_s, 2))
                click.echo(f"{number}: frames again after {resumed_after[-1]} s")
                wait_for(board, has_more_than(before + 5 * RATE))
        finally:
            session.stop()
            worker.result()
    status = board.status
    result = {
        "away_s": outage_s,
        "resumed_after_s": resumed_after,
        "reconnects": status.reconnects,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "frames_dropped": status.frames_dropped,
        "counts_agree": status.frames_in == status.frames_out + status.frames_dropped,
        "threads_left": [one.name for one in threading.enumerate() if one.name != "MainThread"],
        **summarize_memory(seen[0]),
    }
    click.echo(json.dumps(result))
    return result


def has_more_than(frames: int) -> Callable[[Status], bool]:
    """Build a condition for `wait_for`: more than `frames` frames have arrived."""
    return lambda status: status.frames_in > frames


def return_unchanged(batch: Tensor) -> Tensor:
    return batch


def wait_for(board: Board, until: Callable[[Status], bool], timeout_s: float = 120) -> None:
    """Wait until a condition holds.

    Raises:
        click.ClickException: The session ended, or the timeout is over.
    """
    end_s = time.monotonic() + timeout_s
    while not until(board.status):
        if board.closed or time.monotonic() > end_s:
            raise click.ClickException(f"the session is stuck: {board.status}")
        time.sleep(0.02)


def summarize_memory(seen: Observations) -> dict[str, float]:
    """Return the memory once settled and at the end, each a median of ten seconds, and the peak."""
    settled = [mib for now_s, mib in seen.memory_mib if now_s >= SETTLED_S] or [
        measure_resident_mib()
    ]
    first, last = sorted(settled[:10]), sorted(settled[-10:])
    return {
        "memory_settled_mib": round(first[len(first) // 2], 1),
        "memory_end_mib": round(last[len(last) // 2], 1),
        "memory_peak_mib": round(measure_peak_bytes() / (1 << 20), 1),
    }


def measure_resident_mib() -> float:
    """Return the resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


@click.command()
@click.argument("part", type=click.Choice(["slow", "stage", "rtsp"]), default="slow")
@click.option("--smoke", is_flag=True, help="Check that it runs: a few seconds of each.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(*, part: str, smoke: bool, report: Path | None) -> None:
    """Run PART, and fail if `live` does not keep up."""
    if part == "rtsp":
        if not is_there():
            raise click.ClickException(f"this needs {NEEDED}")
        result = run_rtsp(2.0 if smoke else OUTAGE_S, 1 if smoke else OUTAGES)
        good = max(result["resumed_after_s"]) <= RECONNECT_LIMIT_S and not result["threads_left"]
        good &= result["reconnects"] == len(result["resumed_after_s"])
    else:
        if part == "stage":
            result = {
                f"delay_{delay}": run_stage(5.0 if smoke else 60.0, delay)
                for delay in get_args(Delay)
            }
        else:
            steady = run_slow(5.0 if smoke else 600.0, by_size=False)
            grows = run_slow(5.0 if smoke else 60.0, by_size=True)
            result = {"four_times_faster": steady, "too_large": grows}
        good = all(
            each["latency_s"]["max"] <= BOUND_S and each["counts_agree"] for each in result.values()
        )
    write_json(report, result)
    if not good:
        raise click.ClickException("a bound was exceeded, or the counts disagree")


if __name__ == "__main__":
    main()
