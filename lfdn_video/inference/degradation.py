"""Frames made worse instead of better: what `lfdn-video degrade` puts in place of the network.

A degradation is an engine whose model keeps count of the frames it is given, so frames go through
it whole, one at a time, in order. Everything else is a run like any other.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lfdn.degrade import FallingRain, ShakenCamera
from lfdn_video.inference.engine import Engine
from lfdn_video.options import InferenceOptions

Kind = Literal["rain", "blur"]

WHOLE_FRAMES = InferenceOptions(device="cpu", tile="off", batch=1)
"""What a run with such an engine needs."""


def degrading_engine(
    kind: Kind, *, seed: int = 1, density: float = 1.0, exposure: float = 0.8, shake: float = 1.0
) -> Engine:
    """An engine for one run, to be given to `restore` together with `WHOLE_FRAMES`.

    `density` is for rain; `exposure`, the share of a frame's time with an open shutter, and `shake`
    are for blur. See `lfdn.degrade.FallingRain` and `lfdn.degrade.ShakenCamera`.
    """
    degrade: Callable[[Tensor], Tensor]
    if kind == "rain":
        degrade = _Rain(seed, density)
    else:
        degrade = ShakenCamera(seed=seed, exposure=exposure, shake=shake).expose
    about = f"{kind} {seed} {density} {exposure} {shake}"
    return Engine(degrade, model_id=about)


class _Rain:
    """Rain in front of `[1, 3, H, W]` frames, made for their size."""

    def __init__(self, seed: int, density: float) -> None:
        self._seed, self._density, self._index = seed, density, 0
        self._rain: FallingRain | None = None

    def __call__(self, frame: Tensor) -> Tensor:
        height, width = frame.shape[2:]
        rain = self._rain
        if rain is None or (rain.height, rain.width) != (height, width):
            self._rain = rain = FallingRain(height, width, seed=self._seed, density=self._density)
        picture = frame[0].permute(1, 2, 0).contiguous().numpy()
        rainy = rain.fall(picture, self._index)
        self._index += 1
        return torch.from_numpy(rainy).permute(2, 0, 1)[None]
