"""Engines that add rain or blur: `lfdn-video degrade` puts them in place of the network.

The model of such an engine counts frames, so it must get whole frames, one at a time, in order.
Otherwise such a run is like any other.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lfdn.degrade import FallingRain, ShakenCamera
from lfdn_video.inference.engine import Engine
from lfdn_video.options import InferenceOptions

DegradationKind = Literal["rain", "blur"]

WHOLE_FRAMES = InferenceOptions(device="cpu", tile="off", batch=1)
"""The inference options that a run with a degrading engine needs."""


def make_degrading_engine(
    kind: DegradationKind,
    *,
    seed: int = 1,
    density: float = 1.0,
    exposure: float = 0.8,
    shake: float = 1.0,
) -> Engine:
    """Make an engine that degrades the frames of one run.

    Args:
        kind: `rain` or `blur`.
        seed: seed of the random draws.
        density: for rain, a factor on the number of drops, 0 or more.
        exposure: for blur, exposure time as a share of the frame interval, above 0 and up to 1.
        shake: for blur, a factor on the camera's shake: 0 is a tripod, 1 moves the frame by up to
            1/60 of its shorter side during an exposure.

    Returns:
        An engine to pass to `restore` together with `WHOLE_FRAMES`. The caller closes it.
    """
    model: Callable[[Tensor], Tensor]
    if kind == "rain":
        model = _RainModel(seed, density)
    else:
        model = ShakenCamera(seed=seed, exposure=exposure, shake=shake).expose
    # The task says that it is not `derain`: the temporal stage would take the rain out again.
    return Engine(model, model_id=f"{kind} {seed} {density} {exposure} {shake}", task=kind)


class _RainModel:
    """Adds falling rain to frames `[1, 3, H, W]`; the rain is generated for their size."""

    def __init__(self, seed: int, density: float) -> None:
        self._seed = seed
        self._density = density
        self._frame_index = 0
        self._rain: FallingRain | None = None

    def __call__(self, frame: Tensor) -> Tensor:
        height, width = frame.shape[2:]
        rain = self._rain
        if rain is None or (rain.height, rain.width) != (height, width):
            self._rain = rain = FallingRain(height, width, seed=self._seed, density=self._density)
        image = frame[0].permute(1, 2, 0).contiguous().numpy()
        rainy = rain.fall(image, self._frame_index)
        self._frame_index += 1
        return torch.from_numpy(rainy).permute(2, 0, 1)[None]
