"""A Ray cluster of two nodes on this machine, a worker of which is killed half-way."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.batch.run import restore_many
from lfdn_video.batch.values import BatchOptions, ClusterOptions, Recipe
from lfdn_video.errors import DeviceError
from lfdn_video.options import InferenceOptions
from tests.support.clips import Clip, planes
from tests.support.programs import tiny_weights

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

LONG_FRAMES, SHORT_CLIPS = 1100, 10
pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "180")  # on a busy machine
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    one_core = {"num_cpus": 1, "object_store_memory": 80 << 20}
    nodes = Cluster(initialize_head=True, head_node_args=one_core)
    try:
        nodes.add_node(**one_core)
        nodes.wait_for_nodes()
        yield nodes.address
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    folder.mkdir()
    fast = {"codec": "libx264", "options": {"preset": "ultrafast", "g": "60"}, "audio": "aac"}
    Clip(pts=range(LONG_FRAMES), **fast).make(folder / "long.mp4")  # type: ignore[arg-type]
    for number in range(SHORT_CLIPS):
        Clip(pts=range(12), **fast).make(folder / f"{number}.mp4")  # type: ignore[arg-type]
    return folder


class Killer(threading.Thread):
    """Kills a process that restores, once the first part of a video has begun."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self.killed: int | None = None
        self.stop = False

    def run(self) -> None:
        while not self.stop and self.killed is None:
            time.sleep(0.05)
            if any(self._folder.glob(".long.parts-*/.*/00000.packets")):
                for process in Path("/proc").iterdir():
                    if process.name.isdigit() and self._is_worker(process):
                        self.killed = int(process.name)
                        os.kill(self.killed, signal.SIGKILL)
                        break

    @staticmethod
    def _is_worker(process: Path) -> bool:
        try:
            return (process / "cmdline").read_bytes().startswith(b"ray::run_job")
        except OSError:
            return False


def test_killed_worker_costs_no_frame(cluster: str, card: Path, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path)
    recipe = Recipe(weights=weights, inference=InferenceOptions(device="cpu"))
    alone = restore_many([card], tmp_path / "alone", recipe=recipe)
    assert alone.count("restored") == SHORT_CLIPS + 1

    together = tmp_path / "together"
    killer = Killer(together)
    killer.start()
    options = BatchOptions(cluster=ClusterOptions(address=cluster))
    summary = restore_many([card], together, recipe=recipe, options=options)
    killer.stop = True
    killer.join()

    assert killer.killed is not None
    assert [result for result in summary.files if result.state != "restored"] == []
    assert {result.source.name: result.frames for result in summary.files} == {
        result.source.name: result.frames for result in alone.files
    }
    for file in sorted(card.iterdir()):
        assert planes(together / file.name) == planes(tmp_path / "alone" / file.name), file.name
    assert [path.name for path in together.iterdir() if "parts" in path.name] == []


def test_tasks_run_on_both_nodes_and_take_what_they_are_told(
    cluster: str, card: Path, tmp_path: Path
) -> None:
    from lfdn_video.batch.cluster import RayTasks

    recipe = Recipe(weights=tiny_weights(tmp_path), inference=InferenceOptions(device="cpu"))
    with RayTasks[str](ClusterOptions(address=cluster), recipe) as tasks:
        assert tasks.free == 4  # two for each of the two cores
        assert tasks._needs == {"CPU": 1.0, "GPU": 0.0}
    with RayTasks[str](ClusterOptions(address=cluster, cpus=1, gpus=0.5), recipe) as tasks:
        assert tasks._count_places() == 0  # no node has a GPU
        assert tasks._needs["GPU"] == 0.5


def test_cluster_that_does_not_answer_is_one_line(tmp_path: Path, card: Path) -> None:
    recipe = Recipe(weights=tiny_weights(tmp_path), inference=InferenceOptions(device="cpu"))
    options: dict[str, Any] = {"cluster": ClusterOptions(address="auto")}
    with pytest.raises(DeviceError, match=r"cluster: auto: .*; start one with: ray start --head"):
        restore_many([card], tmp_path / "dry", recipe=recipe, options=BatchOptions(**options))
