"""Losses at points with known values."""

import math

import pytest
import torch

from lfdn.training.losses import (
    CHARBONNIER_EPSILON,
    LOG_MSE_SCALE,
    LOSSES,
    RELATIVE_FLOOR,
    charbonnier,
    log_mse,
    measure_damage,
    mse,
    relative,
)

NO_DAMAGE = torch.zeros(1)


def test_charbonnier_is_nearly_the_absolute_difference() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert charbonnier(a, b, NO_DAMAGE).item() == pytest.approx(0.5, abs=1e-5)


def test_charbonnier_of_equal_images_is_epsilon() -> None:
    a = torch.rand(1, 3, 4, 4)
    assert charbonnier(a, a, NO_DAMAGE).item() == pytest.approx(CHARBONNIER_EPSILON)


def test_mse_is_the_mean_square() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert mse(a, b, NO_DAMAGE).item() == pytest.approx(0.25)


def test_log_mse_is_proportional_to_psnr() -> None:
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    tenfold = torch.full((2, 3, 4, 4), 0.5 * 10**-0.5)
    gain = (log_mse(a, b, NO_DAMAGE) - log_mse(a, tenfold, NO_DAMAGE)).item()
    assert gain == pytest.approx(LOG_MSE_SCALE * math.log(10), rel=0.02)


def test_log_mse_is_finite_for_equal_images() -> None:
    a = torch.rand(2, 3, 4, 4)
    assert torch.isfinite(log_mse(a, a, NO_DAMAGE))


def test_every_loss_is_named_after_its_function() -> None:
    assert {name: loss.__name__ for name, loss in LOSSES.items()} == {name: name for name in LOSSES}


def test_damage_is_measured_for_each_image() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    degraded = target + torch.tensor([0.1, -0.2]).view(2, 1, 1, 1)
    assert measure_damage(degraded, target).tolist() == pytest.approx([0.1, 0.2])


def test_relative_is_charbonnier_for_images_of_one_damage() -> None:
    a, b, damage = torch.rand(3, 3, 4, 4), torch.rand(3, 3, 4, 4), torch.full((3,), 0.04)
    assert relative(a, b, damage).item() == pytest.approx(charbonnier(a, b, damage).item())


def test_relative_weighs_by_the_root_of_the_damage() -> None:
    """An image with a quarter of the damage has twice the say."""
    target = torch.zeros(2, 3, 4, 4, requires_grad=True)
    damage = torch.tensor([0.04, 0.01]) - RELATIVE_FLOOR
    relative(target + 0.5, torch.zeros(2, 3, 4, 4), damage).backward()  # type: ignore[no-untyped-call]
    assert target.grad is not None
    first, second = target.grad.mean(dim=(1, 2, 3)).tolist()
    assert second == pytest.approx(2 * first)
