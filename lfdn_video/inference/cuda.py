"""The network on an NVIDIA GPU: batches of tiles, half precision, copies beside the computations.

Streams and pinned memory are in `transfers.py`, CUDA graphs in `graphs.py`.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from lfdn.cuda import CudaLFDN
from lfdn_video.inference.device_runner import DeviceRunner, Model
from lfdn_video.inference.devices import free_cuda_bytes
from lfdn_video.inference.graphs import CudaRecorder, GraphCache, Recorder
from lfdn_video.inference.runner import DeferredFuture, Future, Job, RecordableJob, Steps
from lfdn_video.inference.transfers import Array, PinnedCopies
from lfdn_video.options import ResolvedPrecision

T = TypeVar("T")

MAX_AUTO_BATCH = 8
# Peak of one forward pass of `lfdn.cuda` per input pixel: 104 and 208 bytes at 1280×720 (a test
# counts them), and the residual in float32, with a margin for what cuDNN takes.
CUDA_BYTES_PER_PX: dict[ResolvedPrecision, int] = {
    "float32": 350,
    "bfloat16": 200,
    "float16": 200,
}


class CudaRunner(DeviceRunner):
    """Runs a network on a CUDA device.

    One batch and one download are in flight while the next are prepared. That keeps the GPU busy;
    more would only take memory.

    The network runs as a CUDA graph where it can: the model must depend on its input alone.

    Args:
        model: a function, or a module, which is moved to the device.
        device: the CUDA device.
        precision: float16, bfloat16 or float32.
        model_id: the digest of the weights, part of `identity`.
        streams: the number of streams that take turns; a graph is kept for each.
    """

    max_whole_frame_px = None
    max_auto_tile_px = 2048

    def __init__(
        self,
        model: Model,
        device: torch.device,
        *,
        precision: ResolvedPrecision = "float32",
        model_id: str = "",
        streams: int = 1,
    ) -> None:
        super().__init__(model, device, precision=precision, model_id=model_id)
        if isinstance(model, CudaLFDN):
            self.bytes_per_px = CUDA_BYTES_PER_PX
        self._transfers = copies = PinnedCopies(device)  # after the weights: it waits for them
        self._graphs = GraphCache(
            _new_recorder(copies.compute_stream, lambda: self.precision != "float32"),
            has_memory=lambda px: px <= self._affordable_px(),
            streams=streams,
        )

    @property
    def max_batches_in_flight(self) -> int:
        return 1

    @property
    def max_downloads_in_flight(self) -> int:
        return 1

    def choose_batch(self, height: int, width: int) -> int:
        return max(1, min(MAX_AUTO_BATCH, self._affordable_px() // (height * width)))

    def step_down(self) -> str | None:
        self._graphs.clear()
        if self.precision != "float32":
            return None
        self.precision = "float16"
        return "in float16"

    def close(self) -> None:
        super().close()
        self._graphs.clear()

    def _free_bytes(self) -> int:
        return free_cuda_bytes(self.device)

    def submit(self, job: Job[T]) -> Future[T]:
        if not isinstance(job, RecordableJob):
            return super().submit(job)
        # Planes to planes in one graph: its inputs and results are small, and so is the number of
        # calls from Python.
        steps: Steps[T] = job.get_steps()
        precision = self.precision

        def work(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            residual, total = self._run_network(steps.make_batch(inputs), precision)
            return (*steps.restore(inputs, residual), total)

        with self.compute_context():
            *restored, total = self._graphs.run(
                work, steps.inputs, px=steps.px, key=(precision, *steps.key)
            )
        downloaded = self.download((total,))
        return DeferredFuture(lambda: self._finish_steps(steps, tuple(restored), downloaded))

    def _finish_steps(
        self, steps: Steps[T], restored: tuple[Tensor, ...], total: Future[tuple[Array, ...]]
    ) -> T:
        if not math.isfinite(total.result()[0]):
            with self.compute_context():
                batch = steps.make_batch(steps.inputs)
            residual = self._redo_in_float32(batch)
            with self.compute_context():
                restored = steps.restore(steps.inputs, residual)
        with self.compute_context():
            return steps.deliver(restored)

    def _compute_residual(
        self, batch: Tensor, precision: ResolvedPrecision
    ) -> tuple[Tensor, Tensor]:
        with self.compute_context():
            if precision != self.precision:  # a batch that overflowed, seldom enough
                return self._run_network(batch, precision)
            residual, total = self._graphs.run(
                lambda inputs: self._run_network(inputs[0], precision),
                (batch,),
                px=batch[:, 0].numel(),
                key=(precision,),
            )
            return residual, total


def _new_recorder(stream: torch.cuda.Stream, is_half: Callable[[], bool]) -> Recorder:
    return CudaRecorder(stream, is_half=is_half)
