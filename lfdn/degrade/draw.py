"""Random numbers for a batch and JPEG compression of pairs, for rain and blur alike."""

import math

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

JPEG_BLOCK_PX = 16
JPEG_QUALITY = (35.0, 95.0)


class BatchRandom:
    """Random numbers for a batch: one per image, `[B, 1, 1, 1]`, unless stated otherwise.

    All come from one generator, in the order of the calls: an additional call changes every random
    number after it, and so the result for a seed.

    Args:
        batch: B, the number of images.
        generator: Source of all randomness, on `device`.
        device: Device of the results.
    """

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self._batch = batch
        self._generator = generator
        self.device = device

    def uniform(self, low: float, high: float) -> Tensor:
        """Draw from low…high."""
        shape = (self._batch, 1, 1, 1)
        value = torch.rand(shape, generator=self._generator, device=self.device)
        return low + (high - low) * value

    def signed(self, count: int) -> Tensor:
        """Draw `[B, count]`, uniform in -1…1."""
        value = torch.rand((self._batch, count), generator=self._generator, device=self.device)
        return 2 * value - 1

    def log_uniform(self, low: float, high: float) -> Tensor:
        """Draw from low…high; the logarithm is uniform. Both are positive."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def normal(self, std: float) -> Tensor:
        """Draw from a normal distribution with mean 0."""
        shape = (self._batch, 1, 1, 1)
        return std * torch.randn(shape, generator=self._generator, device=self.device)

    def index(self, count: int) -> int:
        """Draw one index below `count`, for the whole batch."""
        drawn = torch.randint(count, (1,), generator=self._generator, device=self.device)
        return int(drawn.item())

    def happens(self, probability: float) -> Tensor:
        """Draw bool `[B, 1, 1, 1]`, true with this probability."""
        return self.uniform(0, 1) < probability


def compress_pairs(
    degraded: Tensor, target: Tensor, draw: BatchRandom, probability: float
) -> tuple[Tensor, Tensor]:
    """Compress some pairs as JPEG, both images of a pair at the same quality.

    Args:
        degraded: `[B, 3, H, W]` in 0…1.
        target: Like `degraded`.
        draw: Selects the pairs and their quality.
        probability: Share of the pairs to compress, 0…1.

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
