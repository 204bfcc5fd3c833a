"""Training losses: functions of prediction and target, `[B, C, H, W]` each, to a scalar."""

from collections.abc import Callable

from torch import Tensor

CHARBONNIER_EPSILON = 1e-3
LOG_MSE_EPSILON = 1e-3  # an MSE of 30 dB; better images count less and less
LOG_MSE_SCALE = 0.02  # for gradients about as large as those of the Charbonnier loss

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(prediction: Tensor, target: Tensor) -> Tensor:
    """Average sqrt(d² + ε²): L1, smooth at zero (Lai et al., LapSRN, Eq. 2)."""
    difference = prediction - target
    return (difference * difference + CHARBONNIER_EPSILON**2).sqrt().mean()


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Average d²: the paper's loss (Eq. 12)."""
    difference = prediction - target
    return (difference * difference).mean()


def log_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Average ln(MSE + ε) over images: the mean PSNR, scaled and negated, down to 30 dB."""
    difference = prediction - target
    squares = (difference * difference).mean(dim=(1, 2, 3))
    return LOG_MSE_SCALE * (squares + LOG_MSE_EPSILON).log().mean()


LOSSES: dict[str, Loss] = {"charbonnier": charbonnier, "log_mse": log_mse, "mse": mse}
