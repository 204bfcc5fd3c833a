"""Fixed pairs of the validation split, and how a network does on them.

The split is `lfdn.datasets.data.split`: pictures of the training sets that are kept back, never a
test set.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import torch
from torch import Tensor, nn

from lfdn.datasets.data import Pixels, Sample, to_tensor, write_picture
from lfdn.degrade import optical_flow
from lfdn.metrics import luma, psnr, quantize

Degradation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(clean `[B, 3, H, W]`, flow `[B, 2, H, W]`, generator) to (degraded, target)."""

PICTURES = 24
CROP_PX = 256
HIGHEST_DB = 40.0
"""A picture scores no more: one that was degraded by next to nothing must not outweigh the rest."""
SHOWN = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Score:
    """Mean PSNR in dB over the pairs, 8 bit, each capped at `HIGHEST_DB`; nan without pairs."""

    input_y: float
    output_y: float
    input_rgb: float
    output_rgb: float


class Validation:
    """The centres of the kept pictures: real pairs, and clean ones degraded by the seed."""

    def __init__(self, held: Sequence[Sample], *, seed: int, degrade: Degradation) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._pairs: list[tuple[Tensor, Tensor]] = []
        for sample in _spread([s for s in held if s.degraded is not None]):
            assert sample.degraded is not None
            self._pairs.append((_centre(sample.degraded.read()), _centre(sample.clean.read())))
        for sample in _spread([s for s in held if s.degraded is None]):
            clean = sample.clean.read()
            self._pairs.append(degrade(_centre(clean), _centre_flow(sample, clean), generator))

    def score(self, network: nn.Module, device: torch.device) -> Score:
        """Puts the network into eval mode."""
        if not self._pairs:
            return Score(math.nan, math.nan, math.nan, math.nan)
        network.eval()
        rows = []
        with torch.inference_mode():
            for degraded, clean in self._pairs:
                restored = network(degraded.to(device)).cpu()
                rows.append((*_psnr(degraded, clean), *_psnr(restored, clean)))
        input_y, input_rgb, output_y, output_rgb = (
            fmean(column) for column in zip(*rows, strict=True)
        )
        return Score(input_y, output_y, input_rgb, output_rgb)

    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        """Some pairs as a PNG: a row each of degraded, restored and clean."""
        columns = []
        network.eval()
        with torch.inference_mode():
            for degraded, clean in _spread(self._pairs, SHOWN):
                restored = network(degraded.to(device)).cpu()
                columns.append(torch.cat([degraded, restored, clean], dim=2))
        if not columns:
            return
        height = min(column.shape[2] for column in columns) // 3 * 3
        sheet = torch.cat([column[:, :, :height] for column in columns], dim=3)
        write_picture(sheet, path)


def _psnr(image: Tensor, clean: Tensor) -> tuple[float, float]:
    """On Y and on RGB."""
    image, clean = quantize(image), quantize(clean)
    values = psnr(luma(image), luma(clean)), psnr(image, clean)
    on_y, on_rgb = (value.clamp(max=HIGHEST_DB).item() for value in values)
    return on_y, on_rgb


def _spread(items: Sequence[T], count: int = PICTURES) -> Sequence[T]:
    """At most `count`, evenly spread."""
    return items[:: max(1, len(items) // count)][:count]


def _centre(pixels: Pixels) -> Tensor:
    return to_tensor(pixels[_middle(pixels.shape[0]), _middle(pixels.shape[1])])


def _centre_flow(sample: Sample, clean: Pixels) -> Tensor:
    """`[1, 2, H, W]`: the motion to the next frame in the centre; zero without one."""
    rows, columns = _middle(clean.shape[0]), _middle(clean.shape[1])
    if sample.following is None:
        return torch.zeros((1, 2, rows.stop - rows.start, columns.stop - columns.start))
    flow = optical_flow(clean, sample.following.read())[rows, columns]
    return torch.from_numpy(flow.copy()).permute(2, 0, 1)[None]


def _middle(length: int) -> slice:
    side = min(length, CROP_PX)
    start = (length - side) // 2
    return slice(start, start + side)
