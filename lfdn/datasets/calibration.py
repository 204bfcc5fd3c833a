"""Degraded crops for `lfdn quantize`, which measures the ranges of activations on them."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lfdn.datasets.images import to_tensor
from lfdn.datasets.samples import Sample
from lfdn.degrade import blur, rain

CALIBRATION_PX = 320


def draw_calibration_images(
    samples: Iterable[Sample], *, task: str, seed: int, bank: Tensor | None = None
) -> Iterator[Tensor]:
    """Crop the centre of each degraded image; degrade the clean ones that have no pair.

    Args:
        samples: Training samples; those with a side shorter than 320 px are left out.
        task: `derain` adds rain to clean images, any other task blur.
        seed: Makes the degradation repeatable.
        bank: Streak layers for rain, uint8 `[K, h, w]`.

    Yields:
        RGB, float32 in 0…1, `[1, 3, 320, 320]`.

    Raises:
        DataError: An image cannot be read.
    """
    generator = torch.Generator().manual_seed(seed)
    for sample in samples:
        source = sample.degraded or sample.clean
        image = _crop_square(to_tensor(source.read()))
        if image is None:
            continue
        if sample.degraded is None:
            degrade: Any = rain if task == "derain" else blur
            options = {"bank": bank} if task == "derain" else {}
            image, _ = degrade(image, generator=generator, **options)
        yield image


def _crop_square(image: Tensor) -> Tensor | None:
    height, width = image.shape[-2:]
    if min(height, width) < CALIBRATION_PX:
        return None
    top, left = (height - CALIBRATION_PX) // 2, (width - CALIBRATION_PX) // 2
    return image[..., top : top + CALIBRATION_PX, left : left + CALIBRATION_PX].contiguous()
