"""Whether `live` keeps up for long: latency, drops, reconnects, memory and threads.

    python benchmarks/live.py slow --json benchmarks/results/live_slow.json
    python benchmarks/live.py rtsp --json benchmarks/results/live_rtsp.json
    python benchmarks/live.py --smoke

`slow`: for 10 minutes a source gives frames four times faster than a stand-in for the network takes
them, and for one more minute the stand-in takes longer the larger its picture is, at full size
twice the bound. `rtsp`: GStreamer's server shows a rainy sample; it is killed for 15 seconds and
started again, three times. Everything runs on this machine, and nothing else is asked.
"""

import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from lfdn_video.background import Worker
from lfdn_video.inference.engine import Engine
from lfdn_video.options import LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.session import Session
from tests.support.rtsp import NEEDED, Server, is_there

SIZE = (640, 360)
RATE = 25
SOURCE = f"lavfi:testsrc2=size={SIZE[0]}x{SIZE[1]}:rate={RATE}"
SLOWER = 4
BOUND_S = 1.0
AWAY_S, TIMES = 15.0, 3
RESUMED_S = 10.0
SETTLED_S = 10.0  # after this, memory must not grow any more


@dataclass
class Watched:
    """What was seen of a session."""

    latencies_s: list[float] = field(default_factory=list)
    scales: set[float] = field(default_factory=set)
    memory_mib: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, resident MiB of this process)."""


def watch(session: Session, board: Board, network: Callable[[Tensor], Tensor]) -> Watched:
    """Run a session to its end."""
    seen, start_s, next_s = Watched(), time.monotonic(), 0.0
    with Engine(network) as engine:
        for frame in session.frames(engine):
            seen.latencies_s.append(frame.latency_s)
            seen.scales.add(board.status.inference_scale)
            now_s = time.monotonic() - start_s
            if now_s >= next_s:
                seen.memory_mib.append((now_s, resident_mib()))
                next_s = now_s + 1
    return seen


def slow(seconds: float, *, area: bool) -> dict[str, Any]:
    """A source four times faster than the network, or one whose full size takes too long."""

    def network(batch: Tensor) -> Tensor:
        share = batch.shape[2] * batch.shape[3] / (SIZE[0] * SIZE[1])
        time.sleep(2 * BOUND_S * share if area else SLOWER / RATE)
        return batch

    board = Board(Status(source=SOURCE, task="derain"))
    options = LiveOptions(max_latency_s=BOUND_S, duration_s=seconds)
    session = Session(parse_source(SOURCE), board, options, shows=True)
    seen, status = watch(session, board, network), board.status
    latencies = sorted(seen.latencies_s)
    result = {
        "seconds": seconds,
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
        **memory(seen),
    }
    click.echo(json.dumps(result))
    return result


def rtsp(away_s: float, times: int) -> dict[str, Any]:
    """A server that goes away and comes back."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        board = Board(Status(source="server", task="derain"))
        session = Session(parse_source(server.address), board, LiveOptions(), shows=True)
        seen: list[Watched] = []
        worker = Worker(lambda: seen.append(watch(session, board, quick)), name="model")
        try:
            wait(board, lambda status: status.frames_out > RATE)
            resumed = []
            for number in range(1, times + 1):
                server.kill()
                wait(board, lambda status: status.state == "reconnecting")
                time.sleep(away_s)
                before = board.status.frames_in
                server.start()
                back_s = time.monotonic()
                wait(board, more_than(before))
                resumed.append(round(time.monotonic() - back_s, 2))
                click.echo(f"{number}: frames again after {resumed[-1]} s")
                wait(board, more_than(before + 5 * RATE))
        finally:
            session.stop()
            worker.result()
    status = board.status
    result = {
        "away_s": away_s,
        "resumed_after_s": resumed,
        "reconnects": status.reconnects,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "frames_dropped": status.frames_dropped,
        "counts_agree": status.frames_in == status.frames_out + status.frames_dropped,
        "threads_left": [one.name for one in threading.enumerate() if one.name != "MainThread"],
        **memory(seen[0]),
    }
    click.echo(json.dumps(result))
    return result


def more_than(frames: int) -> Callable[[Status], bool]:
    return lambda status: status.frames_in > frames


def quick(batch: Tensor) -> Tensor:
    return batch


def wait(board: Board, until: Callable[[Status], bool], timeout_s: float = 120) -> None:
    end_s = time.monotonic() + timeout_s
    while not until(board.status):
        if board.closed or time.monotonic() > end_s:
            raise click.ClickException(f"the session is stuck: {board.status}")
        time.sleep(0.02)


def memory(seen: Watched) -> dict[str, float]:
    """Of this process, once it had settled and at the end, as medians of ten seconds or so."""
    settled = [mib for now_s, mib in seen.memory_mib if now_s >= SETTLED_S] or [resident_mib()]
    first, last = sorted(settled[:10]), sorted(settled[-10:])
    return {
        "memory_settled_mib": round(first[len(first) // 2], 1),
        "memory_end_mib": round(last[len(last) // 2], 1),
        "memory_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


@click.command()
@click.argument("part", type=click.Choice(["slow", "rtsp"]), default="slow")
@click.option("--smoke", is_flag=True, help="Seconds of each.")
@click.option("--json", "report", type=click.Path(path_type=Path))
def main(*, part: str, smoke: bool, report: Path | None) -> None:
    """Run a part, and fail if it does not hold."""
    if part == "rtsp":
        if not is_there():
            raise click.ClickException(f"this needs {NEEDED}")
        result = rtsp(2.0 if smoke else AWAY_S, 1 if smoke else TIMES)
        good = max(result["resumed_after_s"]) <= RESUMED_S and not result["threads_left"]
        good &= result["reconnects"] == len(result["resumed_after_s"])
    else:
        steady = slow(5.0 if smoke else 600.0, area=False)
        grows = slow(5.0 if smoke else 60.0, area=True)
        result = {"four_times_faster": steady, "too_large": grows}
        good = all(
            each["latency_s"]["max"] <= BOUND_S and each["counts_agree"] for each in (steady, grows)
        )
    if report is not None:
        report.write_text(json.dumps(result, indent=2) + "\n")
    if not good:
        raise click.ClickException("that does not hold")


if __name__ == "__main__":
    main()
