"""Training losses, one function each: `[B, C, H, W]` prediction and target to a scalar."""

from collections.abc import Callable

from torch import Tensor

CHARBONNIER_EPSILON = 1e-3

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(prediction: Tensor, target: Tensor) -> Tensor:
    """sqrt(d² + ε²), averaged: L1 with a smooth bottom (Lai et al., LapSRN, Eq. 2)."""
    difference = prediction - target
    return (difference * difference + CHARBONNIER_EPSILON**2).sqrt().mean()


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """The paper's loss (Eq. 12)."""
    difference = prediction - target
    return (difference * difference).mean()


LOSSES: dict[str, Loss] = {"charbonnier": charbonnier, "mse": mse}
