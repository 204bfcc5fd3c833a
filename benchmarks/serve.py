"""Check that cameras of `serve` do not harm each other: four, of which two misbehave.

    python -m benchmarks.serve --minutes 10 --json benchmarks/results/serve.json
    python -m benchmarks.serve --network lite --rate 2 --json benchmarks/results/serve_lite.json
    python -m benchmarks.serve --smoke

Two services run at the same time, so that both have the same machine: one has two good cameras
alone, the other has two beside one that hangs and one that disconnects every 20 s. All are drawn,
and come over TCP from this machine; the network is a fake that takes a fixed time for each frame,
or the packaged one: six cameras' frames then have to fit the machine.
Everything is recorded, under a limit of size, into a folder that also holds files of somebody else.
Compared are the good cameras' latency and drops; checked are memory, processes, and what retention
removed.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, cast

import click
import torch
from torch import Tensor

from benchmarks.live import measure_resident_mib
from benchmarks.reports import describe_machine, write_json
from lfdn_video.inference.engine import Engine
from lfdn_video.options import EncodeOptions, InferenceOptions, LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.live import LiveNetworks, live_engine
from lfdn_video.stream.service import CameraPlan, RecordingPlan, Service, ServicePlan
from lfdn_video.stream.sinks import retention
from lfdn_video.stream.sinks.retention import Keep
from tests.support.tcp_camera import Fault, TcpCamera, make_clip

SIZE = (320, 180)
PASS_S = 0.015
"""Seconds that the fake network takes for a frame: four cameras take 30 % of its time."""
GOOD = ("good_1", "good_2")
FAULTS: dict[str, Fault] = {"hangs": "hangs", "disconnects": "disconnects"}
HANGS_AFTER_S = 5.0
DISCONNECTS_AFTER_S = 20.0
POLL_S = 0.02
PATIENCE_S = 60.0
"""More time for the first frames, on a machine that is busy."""
START_S = 20.0
"""Latency and drops count after this: processes start, and the clip's first frames are late."""
SETTLED_S = 60.0
"""Memory must not grow after this."""
GROWTH_MIB = 16.0
SLOWER_PASSES = 2
"""By so many passes of the network the good cameras may be later than alone, in the median: a frame
may have to wait for one of each bad camera."""
DROPPED_MORE = 0.02
"""By this share they may drop more."""
PASSES = 15
FOREIGN = (
    "notes.txt",
    "good_1/notes.txt",
    "good_1/2020-01-01/good_1_120000.mkv",
    "good_1/2020-01-01/good_1_120000-2.mkv",
    "hangs/2020-01-01/copy of hangs_120000.mkv",
)
"""Files that the service did not write, two with the names of its recordings."""


@dataclass
class Seen:
    """What was seen of one camera."""

    latencies_s: list[float] = field(default_factory=list)
    first: Status | None = None
    """The status when everything had started."""
    last: int = 0

    def look(self, board: Board) -> None:
        """Note the newest frame's latency, if there is a new one."""
        status = board.status
        self.first = self.first or status
        if status.frames_out > self.last:
            self.last = status.frames_out
            self.latencies_s.append(status.latency_s)


def slow(batch: Tensor) -> Tensor:
    time.sleep(PASS_S)
    return batch


@contextmanager
def load(network: str, streams: int) -> Generator[LiveNetworks]:
    """Load the network of a service, as `serve` does."""
    if network == "fake":
        with Engine(slow) as engine:
            yield LiveNetworks(engine)
    else:
        options = InferenceOptions(network="lite" if network == "lite" else "full")
        with live_engine("derain", inference=options, streams=streams) as networks:
            yield networks


def measure_pass_s(engine: Engine) -> float:
    """Measure how long the network takes for a frame, while others use the machine."""
    image = torch.rand(1, 3, SIZE[1], SIZE[0]).to(engine.device)
    times = []
    for _ in range(PASSES):
        began_s = time.perf_counter()
        engine.compute_residual(image).result()
        times.append(time.perf_counter() - began_s)
    return median(times)


def run(
    sources: Mapping[str, str], seconds: float, recording: RecordingPlan, network: str
) -> dict[str, Any]:
    """Run a service of cameras, by name and address, and measure it; in a process of its own."""
    if seconds < SETTLED_S:
        retention.INTERVAL_S = 1.0
    cameras = [
        # Without the trial and the neighbours: the fake takes the same time at any scale.
        CameraPlan(
            name=name,
            source=parse_source(source),
            options=LiveOptions(scale=1.0, temporal="off"),
        )
        for name, source in sources.items()
    ]
    plan = ServicePlan(
        cameras=cameras, recording=recording, encode=EncodeOptions(preset="ultrafast")
    )
    with load(network, len(cameras)) as networks:
        pass_s = measure_pass_s(cast("Engine", networks.runner))
        with Service(plan, networks=networks) as service:
            seen, memory = _observe(service, seconds)
    result = {"seconds": seconds, "pass_s": round(pass_s, 4), "cameras": {}, **memory}
    for board, one in zip(service.boards, seen, strict=True):
        result["cameras"][board.status.camera] = _describe(board.status, one)
    threads = {thread.name for thread in threading.enumerate()}
    result["threads_left"] = sorted(name for name in threads if "camera " in name)
    return result


def run_both(
    folder: Path, seconds: float, keep: Keep, rotate_s: float, network: str, rate: int
) -> dict[str, Any]:
    """Run both services; `folder` is for the recordings."""
    clip = make_clip(size=SIZE, rate=rate)
    runs = []
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
        for part, names in (("alone", GOOD), ("beside", (*GOOD, *FAULTS))):
            sources = {}
            for name in names:
                fault = FAULTS.get(name, "none")
                after_s = HANGS_AFTER_S if fault == "hangs" else DISCONNECTS_AFTER_S
                camera = stack.enter_context(TcpCamera(clip, rate, fault, after_s))
                sources[name] = camera.address
            plan = RecordingPlan(folder=folder / part, rotate_s=rotate_s, keep=keep)
            runs.append(pool.submit(run, sources, seconds, plan, network))
        alone, beside = [each.result() for each in runs]
    return {"network": network, "rate": rate, "alone": alone, "beside_bad_ones": beside}


def _observe(service: Service, seconds: float) -> tuple[list[Seen], dict[str, Any]]:
    seen = [Seen() for _ in service.boards]
    memory: list[tuple[float, float]] = []
    most_children, start_s, next_s = 0, time.monotonic(), 0.0

    def is_over() -> bool:
        is_late = time.monotonic() - start_s >= seconds + PATIENCE_S
        return is_late or all(board.status.frames_out for board in service.boards)

    while (now_s := time.monotonic() - start_s) < seconds or not is_over():
        service.wait(POLL_S)
        for board, one in zip(service.boards, seen, strict=True):
            if now_s >= min(START_S, seconds / 2):
                one.look(board)
        if now_s >= next_s:
            next_s = now_s + 1
            memory.append((now_s, measure_resident_mib()))
            most_children = max(most_children, _count_children())
    settled = [mib for at_s, mib in memory if at_s >= min(SETTLED_S, seconds / 2)]
    first, last = sorted(settled[:10]), sorted(settled[-10:])
    return seen, {
        "memory_settled_mib": round(first[len(first) // 2], 1),
        "memory_end_mib": round(last[len(last) // 2], 1),
        "memory_peak_mib": round(max(mib for _, mib in memory), 1),
        "memory_by_minute_mib": [round(mib, 1) for _, mib in memory[::60]],
        "most_child_processes": most_children,
        "load_average": os.getloadavg()[1],
    }


def _describe(status: Status, seen: Seen) -> dict[str, Any]:
    ordered = sorted(seen.latencies_s) or [0.0]
    first = seen.first or status
    dropped = status.frames_dropped - first.frames_dropped
    share = dropped / max(1, status.frames_in - first.frames_in)
    return {
        "state": status.state,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "frames_dropped": status.frames_dropped,
        "counts_agree": status.frames_in == status.frames_out + status.frames_dropped,
        "dropped_share": round(share, 4),
        "reconnects": status.reconnects,
        "latency_s": {
            name: round(ordered[int(share * (len(ordered) - 1))], 3)
            for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        },
    }


def _count_children() -> int:
    tasks = Path("/proc/self/task").glob("*/children")
    return sum(len(each.read_text().split()) for each in tasks)


def plant(folder: Path) -> None:
    """Put files of somebody else into a folder of recordings, and a link out of it."""
    for name in FOREIGN:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"not ours" * 1000)
        os.utime(file, (1_500_000_000, 1_500_000_000))
    (folder / "good_2").mkdir(parents=True, exist_ok=True)
    (folder / "good_2" / "2020-01-01").symlink_to(folder / "good_1" / "2020-01-01")


def summarize_folder(folder: Path, keep: Keep) -> dict[str, Any]:
    """Count what is left in a folder of recordings."""
    ledger = [json.loads(line) for line in (folder / ".lfdn-video.jsonl").open()]
    ours = {each["file"] for each in ledger}
    removed = {each["file"] for each in ledger if each.get("removed")}
    files = [path for path in folder.rglob("*.mkv") if not path.is_symlink()]
    left = {path.relative_to(folder).as_posix() for path in files}
    return {
        "recorded": len(ours),
        "removed": len(removed),
        "left": len(left & ours),
        "left_bytes": sum((folder / name).stat().st_size for name in left & ours),
        "keep_bytes": keep.size_bytes,
        "removed_but_there": len(removed & left),
        "gone_but_not_removed": len(ours - removed - left),
        "foreign_files": len(FOREIGN),
        "foreign_files_kept": sum((folder / name).is_file() for name in FOREIGN),
    }


def judge(result: dict[str, Any], *, timed: bool) -> list[str]:
    """Return what is wrong with a result; times and memory only if `timed`."""
    alone, beside, folder = result["alone"], result["beside_bad_ones"], result["folder"]
    wrong = []
    for name in GOOD:
        before, now = alone["cameras"][name], beside["cameras"][name]
        late_s = now["latency_s"]["median"] - before["latency_s"]["median"]
        more = now["dropped_share"] - before["dropped_share"]
        most_s = SLOWER_PASSES * alone["pass_s"]
        if timed and (late_s > most_s or more > DROPPED_MORE or now["reconnects"]):
            wrong.append(f"{name} is later by {late_s:.3f} s, or drops {more:.3f} more")
    for name, camera in beside["cameras"].items():
        if not camera["counts_agree"] or not camera["frames_out"]:
            wrong.append(f"{name}: no frames, or counts that disagree")
    if timed and beside["memory_end_mib"] > beside["memory_settled_mib"] + GROWTH_MIB:
        wrong.append("memory grows")
    if folder["foreign_files_kept"] < folder["foreign_files"]:
        wrong.append("a file of somebody else was removed")
    if folder["left_bytes"] > folder["keep_bytes"]:
        wrong.append("more is left than is to be kept")
    if folder["removed_but_there"] or folder["gone_but_not_removed"] or not folder["removed"]:
        wrong.append("retention removed too little, or a file is gone")
    if beside["threads_left"]:
        wrong.append(f"threads are left: {beside['threads_left']}")
    return wrong


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="Time of both services.")
@click.option(
    "--network",
    type=click.Choice(["fake", "lite", "full"]),
    default="fake",
    show_default=True,
    help="What restores the frames.",
)
@click.option("--rate", default=5, show_default=True, help="Frames/s of each camera.")
@click.option("--smoke", is_flag=True, help="Check that it runs: seconds, and times do not count.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(*, minutes: float, network: str, rate: int, smoke: bool, report: Path | None) -> None:
    """Run the good cameras alone and beside the bad ones, and compare."""
    seconds = 12.0 if smoke else 60 * minutes
    keep = Keep(size_bytes=50_000 if smoke else 2_000_000)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        plant(folder / "beside")
        rotate_s = 2.0 if smoke else 20.0
        result = run_both(folder, seconds, keep, rotate_s, network, rate)
        result["folder"] = summarize_folder(folder / "beside", keep)
    result["machine"] = describe_machine()
    click.echo(json.dumps(result, indent=2))
    write_json(report, result)
    if wrong := judge(result, timed=not smoke):
        raise click.ClickException("; ".join(wrong))


if __name__ == "__main__":
    main()
