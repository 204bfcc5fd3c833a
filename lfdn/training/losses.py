"""Training losses: functions of prediction, target and damage, to a scalar.

Prediction and target are `[B, C, H, W]`. Damage, `[B]`, is how much of each image was to be
restored (`measure_damage`); only `relative` uses it.
"""

from collections.abc import Callable

from torch import Tensor

CHARBONNIER_EPSILON = 1e-3
LOG_MSE_EPSILON = 1e-3  # an MSE of 30 dB; better images count less and less
LOG_MSE_SCALE = 0.02  # for gradients about as large as those of the Charbonnier loss
RELATIVE_FLOOR = 0.002  # damage of half a code in 8 bit: images with less count no more than that
RELATIVE_POWER = 0.5

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def measure_damage(degraded: Tensor, target: Tensor) -> Tensor:
    """Average |degraded - target| over each image: `[B, C, H, W]` each, to `[B]`."""
    return (degraded - target).abs().mean(dim=(1, 2, 3))


def charbonnier(prediction: Tensor, target: Tensor, damage: Tensor) -> Tensor:  # noqa: ARG001
    """Average sqrt(d² + ε²): L1, smooth at zero (Lai et al., LapSRN, Eq. 2)."""
    difference = prediction - target
    return (difference * difference + CHARBONNIER_EPSILON**2).sqrt().mean()


def relative(prediction: Tensor, target: Tensor, damage: Tensor) -> Tensor:
    """Average the Charbonnier loss over images, less damaged ones weighing more.

    Under dense rain the loss of an image is a hundred times that under a few streaks, which would
    then teach nothing. A weight is 1 / sqrt(damage + floor); their mean over the batch is 1.
    """
    difference = prediction - target
    errors = (difference * difference + CHARBONNIER_EPSILON**2).sqrt().mean(dim=(1, 2, 3))
    weights = (damage + RELATIVE_FLOOR).pow(-RELATIVE_POWER)
    return (errors * weights).mean() / weights.mean()


def mse(prediction: Tensor, target: Tensor, damage: Tensor) -> Tensor:  # noqa: ARG001
    """Average d²: the paper's loss (Eq. 12)."""
    difference = prediction - target
    return (difference * difference).mean()


def log_mse(prediction: Tensor, target: Tensor, damage: Tensor) -> Tensor:  # noqa: ARG001
    """Average ln(MSE + ε) over images: the mean PSNR, scaled and negated, down to 30 dB."""
    difference = prediction - target
    squares = (difference * difference).mean(dim=(1, 2, 3))
    return LOG_MSE_SCALE * (squares + LOG_MSE_EPSILON).log().mean()


LOSSES: dict[str, Loss] = {
    "charbonnier": charbonnier,
    "log_mse": log_mse,
    "mse": mse,
    "relative": relative,
}
