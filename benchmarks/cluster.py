"""Throughput of a Ray cluster on this machine, and what a fleet of named machines would cost.

    python -m benchmarks.cluster run --json benchmarks/results/cluster.json
    python -m benchmarks.cluster model

`run` needs the extra `ray`. It restores one long clip and ten short ones three times: in this
process's own worker, on a cluster of one node and on one of two, each with one core, and checks
that all results decode to the same frames. Each time starts when the cluster stands, and includes
the loading of the network. What a second worker can bring is limited by the cores of the machine
and by what else runs on it, so both are printed.

`model` computes the figures of docs/fleet.md from the committed results of other benchmarks.
"""

import json
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import click

from benchmarks.clips import write_clip
from benchmarks.kills import draw_sparse_rain
from lfdn_video import BatchOptions, ClusterOptions, InferenceOptions, Recipe, restore_many

RESULTS = Path(__file__).parent / "results"
LONG_FRAMES, SHORT_FRAMES, SHORT_CLIPS = 800, 40, 10
FPS = 30
STAGES = ("decode", "colour", "model", "encode")


@dataclass(frozen=True)
class Row:
    """One way to restore the clips."""

    way: str
    seconds: float
    frames_per_s: float
    load_before: float
    """Mean number of processes of the last minute that wanted a core."""


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Start a cluster of nodes with one core each; yield its address."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")  # on a busy machine
    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(nodes - 1):
            made.add_node(**node)
        made.wait_for_nodes()
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


def measure(way: str, card: Path, target: Path, options: BatchOptions) -> Row:
    """Restore all clips of a folder."""
    load = os.getloadavg()[0]
    recipe = Recipe(inference=InferenceOptions(device="cpu"))
    summary = restore_many([card], target, recipe=recipe, options=options)
    if summary.count("failed"):
        raise click.ClickException("; ".join(result.message for result in summary.files))
    fps = summary.frames / summary.seconds
    return Row(way, round(summary.seconds, 1), round(fps, 2), round(load, 1))


def read_frames(path: Path) -> Generator[bytes]:
    """Decode a file."""
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray().tobytes()


def check_same(card: Path, first: Path, second: Path) -> None:
    """Fail if two results of the same clips do not decode to the same frames."""
    for clip in sorted(card.iterdir()):
        with (
            closing(read_frames(first / clip.name)) as one,
            closing(read_frames(second / clip.name)) as other,
        ):
            if any(a != b for a, b in zip(one, other, strict=True)):
                raise click.ClickException(f"{second / clip.name}: differs from one process")


@click.group()
def main() -> None:
    """A cluster on this machine, and a fleet on paper."""


@main.command()
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--share", default=1.0, show_default=True, help="Share of the frames, for a test.")
def run(target: Path | None, share: float) -> None:
    """One process, one node, two nodes."""
    os.environ["OMP_NUM_THREADS"] = "1"  # each worker has one core
    rows = []
    with tempfile.TemporaryDirectory() as name:
        card = Path(name) / "card"
        card.mkdir()
        fast = {"preset": "ultrafast"}
        write_clip(card / "long.mp4", draw_sparse_rain(int(LONG_FRAMES * share)), **fast)
        for number in range(SHORT_CLIPS):
            write_clip(card / f"{number}.mp4", draw_sparse_rain(SHORT_FRAMES), **fast)
        rows.append(measure("one process", card, Path(name) / "0", BatchOptions()))
        for nodes in (1, 2):
            with cluster(nodes) as address:
                options = BatchOptions(cluster=ClusterOptions(address=address))
                way = f"Ray, {nodes} node" + "s" * (nodes > 1)
                rows.append(measure(way, card, Path(name) / str(nodes), options))
            check_same(card, Path(name) / "0", Path(name) / str(nodes))
    for row in rows:
        line = f"{row.way:14} {row.seconds:6.1f} s {row.frames_per_s:7.2f} frames/s"
        click.echo(f"{line}, load before {row.load_before:.1f}")
    click.echo(f"the same frames; {os.cpu_count()} cores")
    if target is not None:
        content = {"cores": os.cpu_count(), "rows": [asdict(row) for row in rows]}
        target.write_text(json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class Machine:
    """A kind of machine that is rented by the hour."""

    name: str
    cores: int
    """Virtual ones, as sold."""
    has_h100: bool = False


MACHINES = (
    Machine("AWS c7i.4xlarge", 16),
    Machine("Google c3-standard-44", 44),
    Machine("Azure D16ds_v5", 16),
    Machine("AWS p5.4xlarge", 16, has_h100=True),
)


def read_stages() -> dict[str, float]:
    """Return core-seconds of each stage for a frame of 720p; each was measured on all cores."""
    suite: Any = json.loads((RESULTS / "suite_cpu.json").read_text())
    cores = suite["machine"]["threads"]
    clip = next(each for each in suite["clips"] if each["size"] == "1280x720")
    stages = {name: cores * clip["median_s"][name] / clip["frames"] for name in STAGES}
    cost: Any = json.loads((RESULTS / "temporal_cost.json").read_text())
    return stages | {"neighbours": cost["sizes"]["720p"]["added_cpu_ms"] / 1e3}


def read_gpu_rate() -> float:
    """Return the frames per second of 720p that the network makes on an H100."""
    gpu: Any = json.loads((RESULTS / "gpu.json").read_text())
    return float(max(row["frames/s"] for row in gpu["sections"]["frames"] if row["size"] == "720p"))


@main.command()
@click.option("--price", type=float, help="Price of a machine for an hour, in any currency.")
def model(price: float | None) -> None:
    """Rates, and machine-hours for an hour of video, from measured stages."""
    stages, gpu_rate = read_stages(), read_gpu_rate()
    for name, seconds in stages.items():
        click.echo(f"{name:11} {1000 * seconds:7.1f} core-ms per frame of 720p")
    beside = sum(seconds for name, seconds in stages.items() if name != "model")
    for machine in MACHINES:
        work_s = beside if machine.has_h100 else beside + stages["model"]
        rate = machine.cores / work_s
        limit = "cores"
        if machine.has_h100 and rate > gpu_rate:
            rate, limit = gpu_rate, "GPU"
        hours = FPS / rate
        line = f"{machine.name:22} {rate:6.1f} frames/s, limited by its {limit}; "
        line += f"{hours:5.2f} h for an hour of {FPS} frames/s"
        click.echo(line + (f", {price * hours:.2f}" if price is not None else ""))
    driver = 1 / stages["decode"]
    click.echo(f"a core that joins: at most {driver:.0f} frames/s, as it decodes every one again")
    click.echo(f"cores that keep an H100 busy: {gpu_rate * beside:.0f}")


if __name__ == "__main__":
    main()
