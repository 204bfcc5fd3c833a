"""The part of a runner that is the same on every device.

A batch takes five steps: build the input, run the network, compute the residual, check that it is
finite, pass it on. Half precision can overflow; a batch whose output is not finite is run again in
float32. What differs by device is in the subclasses: `cpu.CpuRunner`, `cuda.CudaRunner`,
`mps.MpsRunner`.
"""

import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lfdn.openvino_form import OpenVinoLFDN
from lfdn_video.errors import WeightsError
from lfdn_video.inference.devices import explain_out_of_memory, free_system_bytes
from lfdn_video.inference.runner import DeferredFuture, Future, Job
from lfdn_video.inference.transfers import Array, Transfers
from lfdn_video.options import ResolvedPrecision

Model = Callable[[Tensor], Tensor]
"""RGB `[B, 3, H, W]` in 0…1 to the restored RGB; the contract of `lfdn.LFDN`."""

T = TypeVar("T")

# Peak of one forward pass per input pixel, measured at 1280×720 and 1920×1088 on the CPU
# (411 and 364 in float32, 258 in bfloat16, by OpenVINO 182 and 167), with a margin.
NETWORK_BYTES_PER_PX: dict[ResolvedPrecision, int] = {
    "float32": 450,
    "bfloat16": 300,
    "float16": 300,
    "int8": 450,
}
MEMORY_SHARE = 0.5
"""Share of the free memory that the network may use."""

MIN_AUTO_TILE_PX = 256

_HALF_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

logger = logging.getLogger(__name__)


class DeviceRunner:
    """Base class of the runners, with their defaults. A subclass sets `_transfers`.

    Args:
        model: a function, or a module, which is moved to the device and put in eval mode.
        device: the device to run it on.
        precision: the precision to run it in; the input and the residual are float32 in any case.
        model_id: the digest of the weights, part of `identity`.

    Raises:
        DeviceMemoryError: there is too little memory for the weights.
    """

    max_whole_frame_px: ClassVar[int | None] = 1920 * 1088
    """Frames with more pixels are split into tiles; None: only those that do not fit in memory."""
    max_auto_tile_px: ClassVar[int] = 1024
    """Largest side of a tile that is chosen automatically."""

    bytes_per_px: Mapping[ResolvedPrecision, int] = NETWORK_BYTES_PER_PX
    """Peak memory of one forward pass per input pixel, with a margin."""

    _transfers: Transfers

    def __init__(
        self,
        model: Model,
        device: torch.device,
        *,
        precision: ResolvedPrecision = "float32",
        model_id: str = "",
    ) -> None:
        self.device = device
        self.precision = precision
        self.redone_batches = 0
        """Number of batches that overflowed in half precision and were run again in float32."""
        self._model_id = model_id
        if isinstance(model, torch.nn.Module):
            with explain_out_of_memory(device):
                model = model.eval().to(device=device)
            # Convolutions in channels-last are faster on CPUs and on tensor cores.
            convert_conv2d_weight_memory_format(model, torch.channels_last)
        self._model = model

    @property
    def device_name(self) -> str:
        return str(self.device)

    @property
    def identity(self) -> Mapping[str, str]:
        # In bfloat16 there are two that differ by rounding; in int8 there is no other.
        by_openvino = isinstance(self._model, OpenVinoLFDN) and self.precision == "bfloat16"
        runtime = {"runtime": "openvino"} if by_openvino else {}
        return {"model": self._model_id, "precision": self.precision, **runtime}

    @property
    def max_batches_in_flight(self) -> int:
        return 0

    @property
    def max_downloads_in_flight(self) -> int:
        return 0

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        with explain_out_of_memory(self.device):
            return self._transfers.upload(planes)

    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Array, ...]]:
        with explain_out_of_memory(self.device):
            return self._transfers.download(planes)

    @contextmanager
    def compute_context(self) -> Generator[None]:
        with explain_out_of_memory(self.device), self._transfers.compute_context():
            yield

    def submit(self, job: Job[T]) -> Future[T]:
        return self._submit_batch(job)

    def choose_tile_px(self, height: int, width: int) -> int | None:
        affordable_px = self._affordable_px()
        if self.max_whole_frame_px is not None:
            affordable_px = min(affordable_px, self.max_whole_frame_px)
        if height * width <= affordable_px:
            return None
        return max(MIN_AUTO_TILE_PX, min(self.max_auto_tile_px, math.isqrt(affordable_px)))

    def choose_batch(self, height: int, width: int) -> int:  # noqa: ARG002
        return 1

    def step_down(self) -> str | None:
        return None

    def close(self) -> None:
        self._transfers.close()

    def _free_bytes(self) -> int:
        return free_system_bytes()

    def _affordable_px(self) -> int:
        """Return the number of pixels that fit in memory, over all tiles running at once."""
        share_bytes = MEMORY_SHARE * self._free_bytes()
        return int(share_bytes / self.bytes_per_px[self.precision])

    def _submit_batch(self, job: Job[T]) -> Future[T]:
        """Submit a batch to the device; `result()` waits for it and passes it to the job."""
        with self.compute_context():
            batch = job.make_batch()
        residual, total = self._compute_residual(batch, self.precision)
        # Downloaded like a frame: reading it here would block until the network is done.
        downloaded = self.download((total,))
        return DeferredFuture(lambda: self._finish_batch(job, batch, residual, downloaded))

    def _finish_batch(
        self, job: Job[T], batch: Tensor, residual: Tensor, total: Future[tuple[Array, ...]]
    ) -> T:
        if not math.isfinite(total.result()[0]):
            residual = self._redo_in_float32(batch)
        with self.compute_context():
            return job.consume(residual)

    def _redo_in_float32(self, batch: Tensor) -> Tensor:
        if self.precision in _HALF_TYPES and not isinstance(self._model, OpenVinoLFDN):
            self.redone_batches += 1
            level = logging.WARNING if self.redone_batches == 1 else logging.DEBUG
            logger.log(level, "not finite in %s; run again in float32", self.precision)
            residual, total = self._compute_residual(batch, "float32")
            if math.isfinite(self.download((total,)).result()[0]):
                return residual
        if isinstance(self._model, OpenVinoLFDN):
            raise WeightsError(
                f"weights: the network's output is not finite in {self.precision}; use float32"
            )
        raise WeightsError(
            "weights: the network's output is not finite, even in float32; use other weights"
        )

    def _compute_residual(
        self, batch: Tensor, precision: ResolvedPrecision
    ) -> tuple[Tensor, Tensor]:
        """Return the residual, and the sum of the restored batch: float32 `[]`, on the device."""
        with self.compute_context():
            # The layout that convolutions on tensor cores and on CPUs want.
            return self._run_network(batch.contiguous(memory_format=torch.channels_last), precision)

    def _run_network(self, batch: Tensor, precision: ResolvedPrecision) -> tuple[Tensor, Tensor]:
        """Do the work of `_compute_residual`, without waiting for the device.

        The restored batch is clamped to 0…1 before the input is subtracted.
        """
        half_type = _HALF_TYPES.get(precision)
        # Autocast, not a half-precision input: the network adds its residual to its input, and the
        # input must not be rounded. Its cache of converted weights is of no use here.
        with torch.autocast(
            self.device.type, half_type, enabled=half_type is not None, cache_enabled=False
        ):
            restored = self._model(batch)
        # Infinity and NaN survive a sum: one pass over the output, and no tensor of bools.
        total = restored.sum(dtype=torch.float32)
        return restored.float().clamp(0, 1).sub_(batch), total
