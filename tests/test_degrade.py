"""Synthetic rain: ranges, seeds, and what stays untouched."""

import pytest
import torch
from torch import Tensor

from lfdn.degrade import RainMix, cover, drawn_streaks, rain, rendered_streaks

CPU = torch.device("cpu")
ONLY_STREAKS = RainMix(dry=0, veil=0, dark=0, noise=0, jpeg=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clean() -> Tensor:
    return torch.rand(4, 3, 48, 64, generator=seeded(5))


@pytest.fixture
def bank() -> Tensor:
    streaks = drawn_streaks(3, 80, 100, generator=seeded(6), device=CPU)
    return (streaks[:, 0] * 255).to(torch.uint8)


def test_rain_stays_in_range_and_keeps_the_shape(clean: Tensor, bank: Tensor) -> None:
    for picture in rain(clean, generator=seeded(), bank=bank):
        assert picture.shape == clean.shape
        assert 0 <= picture.min() <= picture.max() <= 1


def test_the_same_seed_rains_the_same(clean: Tensor, bank: Tensor) -> None:
    first, again = (rain(clean, generator=seeded(3), bank=bank)[0] for _ in range(2))
    assert torch.equal(first, again)


def test_another_seed_rains_differently(clean: Tensor) -> None:
    first, other = (rain(clean, generator=seeded(seed))[0] for seed in (1, 2))
    assert not torch.equal(first, other)


def test_a_dry_picture_is_its_own_target(clean: Tensor) -> None:
    rainy, target = rain(clean, generator=seeded(), mix=RainMix(dry=1))
    assert torch.equal(rainy, target)


def test_streaks_alone_leave_the_target_clean(clean: Tensor) -> None:
    rainy, target = rain(clean, generator=seeded(), mix=ONLY_STREAKS)
    assert torch.equal(target, clean)
    assert not torch.equal(rainy, clean)


def test_drawn_streaks_are_longer_than_wide() -> None:
    streaks = drawn_streaks(16, 64, 64, generator=seeded(), device=CPU)
    along = (streaks[:, :, 1:] - streaks[:, :, :-1]).abs().mean()
    across = (streaks[..., 1:] - streaks[..., :-1]).abs().mean()
    assert across > 2 * along


def test_rendered_streaks_come_from_the_bank(bank: Tensor) -> None:
    dark = torch.zeros_like(bank)
    assert rendered_streaks(bank, 5, 32, 40, generator=seeded()).shape == (5, 1, 32, 40)
    assert rendered_streaks(dark, 5, 32, 40, generator=seeded()).max() == 0


def test_no_streaks_cover_nothing(clean: Tensor) -> None:
    assert torch.equal(cover(clean, torch.zeros(4, 1, 48, 64), generator=seeded()), clean)


def test_compression_is_the_same_on_both_pictures(clean: Tensor) -> None:
    mix = RainMix(dry=1, veil=0, dark=0, noise=0, jpeg=1)
    rainy, target = rain(clean, generator=seeded(), mix=mix)
    assert torch.equal(rainy, target)
    assert not torch.equal(target, clean)
