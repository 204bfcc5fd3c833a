"""The network on an Apple GPU (MPS). It shares the machine's memory; copies are synchronous."""

import torch

from lfdn_video.inference.device_runner import DeviceRunner, Model
from lfdn_video.inference.transfers import PlainCopies
from lfdn_video.options import ResolvedPrecision


class MpsRunner(DeviceRunner):
    """Runs a network on an Apple GPU, one tile at a time.

    Args:
        model: a function, or a module, which is moved to the device.
        device: the MPS device.
        precision: float32, bfloat16 or float16.
        model_id: the digest of the weights, part of `identity`.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        *,
        precision: ResolvedPrecision = "float32",
        model_id: str = "",
    ) -> None:
        super().__init__(model, device, precision=precision, model_id=model_id)
        self._transfers = PlainCopies(device)
