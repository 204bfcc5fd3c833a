"""`RayTasks`: the jobs of a batch as tasks of a Ray cluster.

Ray places the tasks, starts processes, shares out GPUs and their fractions, and runs a task again
whose process or machine is lost. Sources, targets and weights are named by paths that all machines
share.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from lfdn_video.batch.cluster_task import run_job
from lfdn_video.batch.messages import Failed, Job, Refused
from lfdn_video.batch.pool import Pool, Tag
from lfdn_video.batch.values import ClusterOptions, Recipe
from lfdn_video.batch.workers import CORES_PER_JOB, recreate
from lfdn_video.errors import DeviceError

AHEAD = 2
"""Tasks per place that are handed to Ray, so that no place waits for this process."""

LEAST_TASKS = 4
"""Tasks that are handed to Ray when it has no place: a cluster that grows on demand sees them."""

COUNT_AGAIN_S = 5.0
CANCEL_S = 20.0
"""Seconds in which tasks that are cancelled have to remove their temporary files."""

logger = logging.getLogger(__name__)


class RayTasks(Pool[Tag]):
    """Jobs as Ray tasks. A context manager: entering connects, leaving cancels what is not done.

    Args:
        options: the cluster and what each task needs.
        recipe: how each file is restored.

    Raises:
        DeviceError: on entering: no cluster answers.
    """

    def __init__(self, options: ClusterOptions, recipe: Recipe) -> None:
        self._options = options
        weights = recipe.weights and recipe.weights.absolute()
        self._recipe = replace(recipe, weights=weights)
        self._tags: dict[Any, Tag] = {}
        """By Ray's references to the results."""
        self._owns_connection = False
        self._task: Any = None
        self._needs: dict[str, float] = {}
        self._places = 0
        self._counted_s = float("-inf")

    def __enter__(self) -> "RayTasks[Tag]":
        if not ray.is_initialized():
            self._connect()
        self._needs = self._choose_needs()
        self._task = ray.remote(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            max_retries=self._options.retries,
        )(run_job)
        if not self._count_places():
            needs = [f"{value:g} {name}" for name, value in self._needs.items() if value]
            wanted = " and ".join(needs)
            logger.warning("cluster: no machine has %s; waiting for one", wanted)
        return self

    def __exit__(self, *_: object) -> None:
        references = list(self._tags)
        for reference in references:
            ray.cancel(reference)
        if references:
            ray.wait(references, num_returns=len(references), timeout=CANCEL_S)
        self._tags.clear()
        if self._owns_connection:
            ray.shutdown()

    @property
    def busy(self) -> int:
        """Number of tasks that have not ended."""
        return len(self._tags)

    @property
    def free(self) -> int:
        """Number of tasks that can be handed to Ray now."""
        if time.monotonic() - self._counted_s >= COUNT_AGAIN_S:
            self._places = self._count_places()
        return max(0, max(LEAST_TASKS, AHEAD * self._places) - len(self._tags))

    def give(self, job: Job, tag: Tag) -> None:
        """Hand a job to Ray; see `Pool.give`."""
        slash = "/" if job.target.endswith("/") else ""
        source, target = str(Path(job.source).absolute()), f"{Path(job.target).absolute()}{slash}"
        reference = self._task.remote(self._recipe, replace(job, source=source, target=target))
        self._tags[reference] = tag

    def wait(self, timeout_s: float) -> tuple[Tag, Any] | None:
        """Wait for the next job that ends; see `Pool.wait`."""
        if not self._tags:
            time.sleep(timeout_s)
            return None
        ready, _ = ray.wait(list(self._tags), num_returns=1, timeout=timeout_s)
        if not ready:
            return None
        tag = self._tags.pop(ready[0])
        try:
            message = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            (reason, *_) = str(error).strip().splitlines() or [type(error).__name__]
            return tag, Failed("Lost", f"Ray gave it up: {reason}")
        if isinstance(message, Refused):
            raise recreate(message)
        return tag, message

    def _connect(self) -> None:
        try:
            ray.init(address=self._options.address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            (reason, *_) = str(error).strip().splitlines() or [type(error).__name__]
            where = f"cluster: {self._options.address}"
            raise DeviceError(
                f"{where}: {reason.rstrip('.')}; start one with: ray start --head"
            ) from error
        self._owns_connection = True

    def _choose_needs(self) -> dict[str, float]:
        """Choose what a task needs where the options do not say: a GPU if there is any; cores."""
        options, nodes = self._options, _list_nodes()
        gpus = options.gpus
        if gpus is None:
            wants_gpu = self._recipe.inference.device != "cpu"
            gpus = float(wants_gpu and any(node.get("GPU") for node in nodes))
        cores = options.cpus
        if cores is None:
            fitting = [node.get("CPU", 0.0) for node in nodes if node.get("GPU", 0.0) >= gpus]
            cores = int(max(1, min([CORES_PER_JOB, *fitting])))
        return {"CPU": float(cores), "GPU": gpus}

    def _count_places(self) -> int:
        self._counted_s = time.monotonic()
        needs = {name: value for name, value in self._needs.items() if value}
        return sum(
            int(min(node.get(name, 0.0) / value for name, value in needs.items()))
            for node in _list_nodes()
        )


def _list_nodes() -> list[dict[str, float]]:
    """List what each machine of the cluster has, by Ray's names."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
