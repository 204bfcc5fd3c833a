"""Synthetic degradation during training: rain or blur on the crops that have no pair."""

from collections.abc import Callable

import torch
from torch import Tensor

from lfdn.datasets.crops import CropBatch
from lfdn.degrade.blur import BlurMix, blur
from lfdn.degrade.rain import RainMix
from lfdn.degrade.rain import rain as add_rain
from lfdn.training.recipe import RainName, Task

Degradation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(clean `[B, 3, H, W]`, flow `[B, 2, H, W]`, generator) to (degraded, target) like `clean`."""

RAIN_MIXES: dict[RainName, Callable[[], RainMix]] = {
    "default": RainMix,
    "wide": RainMix.wide,
    "filmed": RainMix.filmed,
}
"""Mixes of synthetic rain, by the names that `lfdn train --rain` takes."""

SYNTHESIS_SALT = 0x5EED  # separates the random numbers of the synthesis from those of the crops


def build_degradation(
    task: Task, bank: Tensor | None, hardness: float = 1.0, *, rain: RainName = "default"
) -> Degradation:
    """Build the degradation that a task undoes.

    Args:
        task: `derain` or `deblur`.
        bank: Streak layers for rain, uint8 `[K, h, w]`, on the device of the batches.
        hardness: Hardness of the blur, 0…1: see `lfdn.degrade.BlurMix.eased`.
        rain: Name of a mix of rain in `RAIN_MIXES`.

    Returns:
        The degradation, for any device.
    """
    if task == "deblur":
        motion = BlurMix().eased(hardness)
        return lambda clean, flow, generator: blur(
            clean, generator=generator, flow=flow, mix=motion
        )
    mix = RAIN_MIXES[rain]()
    return lambda clean, _, generator: add_rain(clean, generator=generator, bank=bank, mix=mix)


def degrade_batch(
    batch: CropBatch, degradation: Degradation, *, seed: int, step: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Move a batch to a device, and degrade the crops that have no pair.

    Args:
        batch: On the CPU.
        degradation: For the crops without a pair.
        seed: Seed of the run. The result is a function of (seed, step).
        step: Number of the step, counted from 0.
        device: Device of the result.

    Returns:
        (network input, target), float32 `[B, 3, P, P]` in 0…1 each.
    """
    degraded = batch.degraded.to(device, non_blocking=True).float() / 255
    target = batch.clean.to(device, non_blocking=True).float() / 255
    synthetic = ~batch.paired
    if synthetic.any():
        # A new generator for each step, instead of one whose state the checkpoint would have to
        # hold: a resumed run draws the same rain or blur.
        generator = torch.Generator(device).manual_seed((seed * SYNTHESIS_SALT + step) % 2**63)
        flow = batch.flow[synthetic].to(device, non_blocking=True)
        pair = degradation(target[synthetic], flow, generator)
        degraded[synthetic], target[synthetic] = pair
    return degraded, target
