"""Losses at points with known values."""

import math

import pytest
import torch

from lfdn.training.losses import (
    CHARBONNIER_EPSILON,
    LOG_MSE_SCALE,
    LOSSES,
    charbonnier,
    log_mse,
    mse,
)


def test_charbonnier_is_nearly_the_absolute_difference() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert charbonnier(a, b).item() == pytest.approx(0.5, abs=1e-5)


def test_charbonnier_of_equal_images_is_epsilon() -> None:
    a = torch.rand(1, 3, 4, 4)
    assert charbonnier(a, a).item() == pytest.approx(CHARBONNIER_EPSILON)


def test_mse_is_the_mean_square() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert mse(a, b).item() == pytest.approx(0.25)


def test_log_mse_is_proportional_to_psnr() -> None:
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    tenfold = torch.full((2, 3, 4, 4), 0.5 * 10**-0.5)
    gain = (log_mse(a, b) - log_mse(a, tenfold)).item()
    assert gain == pytest.approx(LOG_MSE_SCALE * math.log(10), rel=0.02)


def test_log_mse_is_finite_for_equal_images() -> None:
    a = torch.rand(2, 3, 4, 4)
    assert torch.isfinite(log_mse(a, a))


def test_every_loss_is_named_after_its_function() -> None:
    assert {"charbonnier": charbonnier, "log_mse": log_mse, "mse": mse} == LOSSES
