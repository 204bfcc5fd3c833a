"""Throughput of a Ray cluster on this machine, and what a fleet of named machines would cost.

    python -m benchmarks.cluster run --json benchmarks/results/cluster.json
    python -m benchmarks.cluster model

`run` needs the extra `ray`. It restores one long clip and ten short ones three times: in this
process's own worker, on a cluster of one node and on one of two, each node with one core, and checks
that all results decode to the same frames. Each time starts when the cluster stands, and includes
the loading of the network. What a second worker can bring is limited by the cores of the machine
and by what else runs on it, so both are printed.

`model` computes docs/fleet.md from the committed results of other benchmarks.
"""

import json
import os
import tempfile
from contextlib import closing, contextmanager
from collections.abc import Iterator
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
TEMPORAL_CORE_S = 0.2
"""Of one core per frame of 720p, as README says."""


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


def read_frames(path: Path) -> Iterator[bytes]:
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
class Costs:
    """Core-seconds per frame of 720p of each stage."""

    network: float
    decode: float
    colour: float
    encode: float
    temporal: float = TEMPORAL_CORE_S

    @property
    def beside_network(self) -> float:
        """What a machine with a GPU does on its cores."""
        return self.decode + self.colour + self.encode + self.temporal


def read_costs() -> tuple[Costs, float]:
    """Read the costs on a CPU, and the frames per second of the network on an H100."""
    suite: Any = json.loads((RESULTS / "suite_cpu.json").read_text())
    stages = find_video(suite, "720p")
    gpu: Any = json.loads((RESULTS / "gpu.json").read_text())
    rate = next(
        row["frames/s"]
        for row in gpu["sections"]["network"]
        if (row["size"], row["batch"], row["form"]) == ("720p", 4, "engine")
    )
    return Costs(**stages), float(rate)


def find_video(suite: Any, size: str) -> dict[str, float]:
    """Return core-seconds per frame of the stages; each was measured alone, on all cores."""
    raise NotImplementedError


@main.command()
def model() -> None:
    """Rates and node-hours per hour of video, from measured stages."""


if __name__ == "__main__":
    main()
