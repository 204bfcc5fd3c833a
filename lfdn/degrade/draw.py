"""What rain and blur share: random numbers for a batch, and compression of a pair."""

import math

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

JPEG_BLOCK_PX = 16


class Draw:
    """Random numbers for a batch, one per image, shaped `[B, 1, 1, 1]`."""

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self._batch, self._generator, self.device = batch, generator, device

    def uniform(self, low: float, high: float) -> Tensor:
        shape = (self._batch, 1, 1, 1)
        value = torch.rand(shape, generator=self._generator, device=self.device)
        return low + (high - low) * value

    def signed(self, count: int) -> Tensor:
        """`[B, count]` in -1…1."""
        value = torch.rand((self._batch, count), generator=self._generator, device=self.device)
        return 2 * value - 1

    def log_uniform(self, low: float, high: float) -> Tensor:
        return self.uniform(math.log(low), math.log(high)).exp()

    def normal(self, std: float) -> Tensor:
        shape = (self._batch, 1, 1, 1)
        return std * torch.randn(shape, generator=self._generator, device=self.device)

    def index(self, count: int) -> int:
        """One for the whole batch."""
        drawn = torch.randint(count, (1,), generator=self._generator, device=self.device)
        return int(drawn.item())

    def happens(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability


def compress(
    degraded: Tensor, target: Tensor, draw: Draw, probability: float
) -> tuple[Tensor, Tensor]:
    """JPEG at the same quality on both pictures of some pairs."""
    quality = draw.uniform(35, 95).view(-1)
    chosen = draw.happens(probability).view(-1).nonzero().view(-1)
    if not len(chosen):
        return degraded, target
    height, width = degraded.shape[-2:]
    both = torch.cat([degraded[chosen], target[chosen]])
    padded = F.pad(both, (0, -width % JPEG_BLOCK_PX, 0, -height % JPEG_BLOCK_PX), mode="replicate")
    coded = jpeg_codec_differentiable(padded, quality[chosen].repeat(2))[..., :height, :width]
    coded_degraded, coded_target = coded.clamp(0, 1).chunk(2)
    return degraded.index_copy(0, chosen, coded_degraded), target.index_copy(
        0, chosen, coded_target
    )
