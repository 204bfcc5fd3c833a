"""The network on an NVIDIA GPU: batches of tiles, half precision, copies beside the computations.

Streams and pinned memory are in `transfers.py`.
"""

import torch

from lfdn_video.inference.device_runner import DeviceRunner, Model
from lfdn_video.inference.devices import free_cuda_bytes
from lfdn_video.inference.transfers import PinnedCopies
from lfdn_video.options import ResolvedPrecision

MAX_AUTO_BATCH = 8


class CudaRunner(DeviceRunner):
    """Runs a network on a CUDA device.

    One batch and one download are in flight while the next are prepared. That keeps the GPU busy;
    more would only take memory.

    Args:
        model: a function, or a module, which is moved to the device.
        device: the CUDA device.
        precision: float16, bfloat16 or float32.
        model_id: the digest of the weights, part of `identity`.
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
    ) -> None:
        super().__init__(model, device, precision=precision, model_id=model_id)
        self._transfers = PinnedCopies(device)  # after the weights are there: it waits for them

    @property
    def max_batches_in_flight(self) -> int:
        return 1

    @property
    def max_downloads_in_flight(self) -> int:
        return 1

    def choose_batch(self, height: int, width: int) -> int:
        return max(1, min(MAX_AUTO_BATCH, self._affordable_px() // (height * width)))

    def step_down(self) -> str | None:
        if self.precision != "float32":
            return None
        self.precision = "float16"
        return "in float16"

    def _free_bytes(self) -> int:
        return free_cuda_bytes(self.device)
