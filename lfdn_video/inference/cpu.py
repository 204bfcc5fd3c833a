"""The network on a CPU: several frames at once, each in a lane with its share of the cores.

Parts of a frame's work run on one core only. While one lane does such a part, the others keep the
rest of the cores busy, so several narrow lanes restore more frames per second than one wide one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from lfdn.openvino_form import OpenVinoLFDN
from lfdn_video.inference.device_runner import DeviceRunner, Model
from lfdn_video.inference.runner import Future, Job
from lfdn_video.inference.transfers import SharedMemory
from lfdn_video.options import ResolvedPrecision

T = TypeVar("T")


class CpuRunner(DeviceRunner):
    """Runs a network on the CPU.

    Args:
        model: a function or a module; with several lanes, threads call it concurrently.
        precision: float32, bfloat16 or int8.
        model_id: the digest of the weights, part of `identity`.
        lanes: the largest number of frames to run at a time. With 1 the caller's thread runs the
            model on all cores, which gives each frame the shortest latency. OpenVINO always has
            one, in a thread of its own.
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
        if isinstance(model, OpenVinoLFDN):
            # It parallelizes by itself. Torch's threads would go on spinning after each colour
            # conversion, which takes a third of its speed; so those run on one thread.
            self._lanes: Lanes | None = Lanes(1, threads=1)
        else:
            self._lanes = Lanes(lanes) if lanes > 1 else None
        self._last_size = (0, 0)
        self._affordable_lanes = 1

    @property
    def max_batches_in_flight(self) -> int:
        """The number of lanes: while the caller waits for one more batch, no lane is idle.

        0 without lanes, and before the first batch, which sets their number.
        """
        return self._lanes.count if self._lanes is not None else 0

    def submit(self, job: Job[T]) -> Future[T]:
        if self._lanes is None:
            return self._submit_batch(job)
        self._lanes.resize(self._count_affordable_lanes(job.height, job.width))
        # `result()` in the lane too: the last step, planes and all, stays in the thread whose
        # caches hold the frame.
        return self._lanes.submit(lambda: self._submit_batch(job).result())

    def step_down(self) -> str | None:
        if self._lanes is None or self._lanes.limit == 1:
            return None
        # Every lane holds a frame's activations, so a single one needs the least.
        self._lanes.limit = 1
        return "one at a time"

    def close(self) -> None:
        super().close()
        if self._lanes is not None:
            self._lanes.close()

    def _count_affordable_lanes(self, height: int, width: int) -> int:
        # Asked once per size: later, the running lanes' own memory would count as used, the number
        # of lanes would drop, and with free memory again rise, draining the lanes each time.
        if (height, width) != self._last_size:
            self._last_size = (height, width)
            self._affordable_lanes = self._affordable_px() // (height * width)
        return self._affordable_lanes


class Lanes:
    """Threads that share the cores equally, each with a frame of its own.

    Together they use PyTorch's number of threads: one per core, unless OMP_NUM_THREADS or
    `torch.set_num_threads` set it. More threads would only compete for the cores.

    Args:
        limit: the largest number of lanes; may be lowered later.
        threads: PyTorch's threads of each; None: its share of the cores.
    """

    def __init__(self, limit: int, threads: int | None = None) -> None:
        self.limit = limit
        self._threads = threads
        self.count = 0
        """Current number of lanes; 0 before the first `resize` and after `close`."""
        self._cores = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def resize(self, affordable: int) -> None:
        """Set the number of lanes to what memory affords, from 1 up to the limit and the cores.

        A change finishes the batches in flight first: a lane's share of the cores is fixed when its
        thread starts.
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
            # An initializer, since OpenMP's number of threads is a setting of the calling thread:
            # set anywhere else, it would not apply in the lanes.
            initializer=torch.set_num_threads,
            # Rounded down: a core left over costs less than two threads that share one.
            initargs=(self._threads or max(1, self._cores // count),),
        )

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` in the next free lane. Only after `resize`."""
        assert self._pool is not None
        return self._pool.submit(work)

    def close(self) -> None:
        """Wait for running batches and cancel those that have not started."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
            self.count = 0
            # A lane's setting also became the default for threads started later; undo that.
            torch.set_num_threads(self._cores)
