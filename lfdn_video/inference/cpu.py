"""The network on a CPU: several frames at once, each in a lane with its share of the cores.

One frame's work is not parallel everywhere. What it leaves idle, the frames in other lanes use.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from lfdn_video.inference.device_runner import DeviceRunner, Model
from lfdn_video.inference.runner import Job, Pending
from lfdn_video.inference.transfers import SharedMemory
from lfdn_video.options import ResolvedPrecision

T = TypeVar("T")


class CpuRunner(DeviceRunner):
    """Runs a network on the CPU.

    Args:
        model: a function or a module; with several lanes, threads call it at the same time.
        precision: float32, bfloat16, or int8, which only tells how much memory the model takes.
        model_id: the digest of the weights, part of `identity`.
        lanes: how many frames to run at a time, at most. With 1 the caller's thread runs the model
            on all cores, which gives each frame the shortest latency.
    """

    def __init__(
        self,
        model: Model,
        *,
        precision: ResolvedPrecision = "float32",
        model_id: str = "",
        lanes: int = 1,
    ) -> None:
        super().__init__(model, torch.device("cpu"), precision=precision, model_id=model_id)
        self._transfers = SharedMemory()
        self._lanes = Lanes(lanes) if lanes > 1 else None
        self._last_size = (0, 0)
        self._affordable_lanes = 1

    @property
    def max_batches_in_flight(self) -> int:
        """As many as there are lanes, besides the one waited for, so that no lane waits for work.

        0 without lanes, and before the first batch has told how many there are.
        """
        return self._lanes.count if self._lanes is not None else 0

    def submit(self, job: Job[T]) -> Pending[T]:
        if self._lanes is None:
            return self._submit_batch(job)
        self._lanes.resize(self._count_affordable_lanes(job.height, job.width))
        return self._lanes.submit(lambda: self._submit_batch(job).result())

    def step_down(self) -> str | None:
        if self._lanes is None or self._lanes.limit == 1:
            return None
        self._lanes.limit = 1
        return "one at a time"

    def close(self) -> None:
        super().close()
        if self._lanes is not None:
            self._lanes.close()

    def _count_affordable_lanes(self, height: int, width: int) -> int:
        # Asked once per size: later the running lanes' own memory would no longer count as free.
        if (height, width) != self._last_size:
            self._last_size = (height, width)
            self._affordable_lanes = self._affordable_px() // (height * width)
        return self._affordable_lanes


class Lanes:
    """Threads that share the cores equally, each with a frame of its own.

    Together they have PyTorch's own number of threads, one per core unless OMP_NUM_THREADS or
    `torch.set_num_threads` say otherwise; more would only take turns on them.

    Args:
        limit: the largest number of lanes; may be lowered later.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        """How many lanes there are now; 0 before the first `resize` and after `close`."""
        self._cores = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def resize(self, affordable: int) -> None:
        """Have as many lanes as memory affords, from 1 to the limit and the number of cores.

        Where that changes their number, batches in flight are finished first: each lane's share of
        the cores is fixed when its thread starts.
        """
        count = max(1, min(self.limit, self._cores, affordable))
        if count == self.count:
            return
        if self._pool is not None:
            self._pool.shutdown()
        self.count = count
        self._pool = ThreadPoolExecutor(
            count,
            thread_name_prefix="network",
            # An initializer, since the number of OpenMP's threads belongs to the thread that sets
            # it: set anywhere else it would not hold in the lanes.
            initializer=torch.set_num_threads,
            initargs=(max(1, self._cores // count),),
        )

    def submit(self, work: Callable[[], T]) -> Pending[T]:
        """Run `work` in the next free lane. Only after `resize`."""
        assert self._pool is not None
        return self._pool.submit(work)

    def close(self) -> None:
        """Wait for the batches that run; those that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
            self.count = 0
            # A lane's setting also became the default of threads that are started later.
            torch.set_num_threads(self._cores)
