"""Losses at points where they are known."""

import pytest
import torch

from lfdn.losses import CHARBONNIER_EPSILON, LOSSES, charbonnier, mse


def test_charbonnier_is_nearly_the_absolute_difference() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert charbonnier(a, b).item() == pytest.approx(0.5, abs=1e-5)


def test_charbonnier_of_equal_pictures_is_epsilon() -> None:
    a = torch.rand(1, 3, 4, 4)
    assert charbonnier(a, a).item() == pytest.approx(CHARBONNIER_EPSILON)


def test_mse_is_the_mean_square() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert mse(a, b).item() == pytest.approx(0.25)


def test_every_loss_is_named_after_its_function() -> None:
    assert {"charbonnier": charbonnier, "mse": mse} == LOSSES
