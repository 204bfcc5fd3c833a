"""Shared by rain and blur: random numbers for a batch, and JPEG compression of a pair."""

import math

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

JPEG_BLOCK_PX = 16
JPEG_QUALITY = (35.0, 95.0)


class BatchRandom:
    """Random numbers for a batch. Unless stated otherwise one per image, `[B, 1, 1, 1]`.

    All come from one generator, in the order of the calls: an additional call changes all random
    numbers after it, and with them what a seed gives.
    """

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self._batch = batch
        self._generator = generator
        self.device = device

    def uniform(self, low: float, high: float) -> Tensor:
        shape = (self._batch, 1, 1, 1)
        value = torch.rand(shape, generator=self._generator, device=self.device)
        return low + (high - low) * value

    def signed(self, count: int) -> Tensor:
        """`[B, count]`, uniform in -1…1."""
        value = torch.rand((self._batch, count), generator=self._generator, device=self.device)
        return 2 * value - 1

    def log_uniform(self, low: float, high: float) -> Tensor:
        return self.uniform(math.log(low), math.log(high)).exp()

    def normal(self, std: float) -> Tensor:
        shape = (self._batch, 1, 1, 1)
        return std * torch.randn(shape, generator=self._generator, device=self.device)

    def index(self, count: int) -> int:
        """One index below `count` for the whole batch."""
        drawn = torch.randint(count, (1,), generator=self._generator, device=self.device)
        return int(drawn.item())

    def happens(self, probability: float) -> Tensor:
        """bool `[B, 1, 1, 1]`."""
        return self.uniform(0, 1) < probability


def compress_pairs(
    degraded: Tensor, target: Tensor, draw: BatchRandom, probability: float
) -> tuple[Tensor, Tensor]:
    """Compress some pairs as JPEG, both images of a pair at the same quality.

    Args:
        degraded: `[B, 3, H, W]` in 0…1.
        target: Like `degraded`.
        draw: Chooses the pairs and their quality.
        probability: Share of the pairs that is compressed.

    Returns:
        `(degraded, target)`, like the arguments.
    """
    quality = draw.uniform(*JPEG_QUALITY).view(-1)
    chosen = draw.happens(probability).view(-1).nonzero().view(-1)
    if not len(chosen):
        return degraded, target
    height, width = degraded.shape[-2:]
    both = torch.cat([degraded[chosen], target[chosen]])
    # kornia's codec needs whole blocks.
    padded = F.pad(both, (0, -width % JPEG_BLOCK_PX, 0, -height % JPEG_BLOCK_PX), mode="replicate")
    coded = jpeg_codec_differentiable(padded, quality[chosen].repeat(2))[..., :height, :width]
    coded_degraded, coded_target = coded.clamp(0, 1).chunk(2)
    return degraded.index_copy(0, chosen, coded_degraded), target.index_copy(
        0, chosen, coded_target
    )
