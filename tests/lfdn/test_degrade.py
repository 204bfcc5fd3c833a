"""Synthetic rain and blur: ranges, seeds, geometry, and unchanged targets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn.degrade import (
    BlurMix,
    RainMix,
    average_along,
    blur,
    cover,
    drawn_streaks,
    optical_flow,
    rain,
    rendered_streaks,
)
from lfdn.degrade.blur import EASY_LENGTH_PX
from lfdn.degrade.rain import sparse_streaks
from tests.support.datasets import draw_image

CPU = torch.device("cpu")
ONLY_BLUR = BlurMix(sharp=0, noise=0, jpeg=0)
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
    for result in rain(clean, generator=seeded(), bank=bank):
        assert result.shape == clean.shape
        assert 0 <= result.min() <= result.max() <= 1


def test_same_seed_gives_the_same_rain(clean: Tensor, bank: Tensor) -> None:
    first, again = (rain(clean, generator=seeded(3), bank=bank)[0] for _ in range(2))
    assert torch.equal(first, again)


def test_another_seed_gives_other_rain(clean: Tensor) -> None:
    first, other = (rain(clean, generator=seeded(seed))[0] for seed in (1, 2))
    assert not torch.equal(first, other)


def test_dry_image_is_its_own_target(clean: Tensor) -> None:
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


def test_wide_rain_is_more_slanted_than_usual() -> None:
    """A streak at 60° changes less from left to right than from top to bottom."""

    def share_of_flat(mix: RainMix) -> float:
        one_layer = replace(mix, length_px=(30, 30), sigma_px=(0.8, 0.8), coverage=(0.03, 0.03))
        streaks = drawn_streaks(96, 64, 64, generator=seeded(), device=CPU, mix=one_layer)
        down = (streaks[:, :, 1:] - streaks[:, :, :-1]).abs().mean(dim=(1, 2, 3))
        across = (streaks[..., 1:] - streaks[..., :-1]).abs().mean(dim=(1, 2, 3))
        return (down > 1.1 * across).float().mean().item()

    assert share_of_flat(RainMix.wide()) > share_of_flat(RainMix()) + 0.05


def test_wide_rain_is_sparser_than_usual() -> None:
    def cover_shares(mix: RainMix) -> Tensor:
        streaks = drawn_streaks(64, 64, 64, generator=seeded(), device=CPU, mix=mix)
        return (streaks > 0.05).float().mean(dim=(1, 2, 3)).sort().values

    usual, wide = cover_shares(RainMix()), cover_shares(RainMix.wide())
    assert wide[16] < 0.75 * usual[16]


def draw_sparse(batch: int = 96, side: int = 128) -> Tensor:
    return sparse_streaks(batch, side, side, generator=seeded(), device=CPU)


def test_sparse_streaks_are_few_and_visible() -> None:
    streaks = draw_sparse()
    covered = (streaks > 0.06).float().mean(dim=(1, 2, 3))
    peaks = streaks.amax(dim=(1, 2, 3))
    assert covered.median() < 0.03
    assert covered.max() < 0.3
    assert (peaks > 0.06).float().mean() > 0.75  # the others lie outside of a part of the image
    assert peaks.max() > 0.8


def test_sparse_streaks_lie_in_a_part_of_some_images() -> None:
    """Where only a third has streaks, the opposite third is exactly empty but for the soft edge."""
    streaks = draw_sparse(64, 64) > 0.02
    dense = streaks.float().mean(dim=(1, 2, 3)) > 0.02
    thirds = torch.stack(
        [streaks[dense][..., :21].any(3).any(2), streaks[dense][..., -21:].any(3).any(2)]
    )
    one_sided = (thirds.sum(0) == 1).float().mean()
    assert 0.02 < one_sided < 0.6


def test_filmed_rain_is_sparse_in_half_of_the_images() -> None:
    clean = torch.full((120, 3, 96, 96), 0.3)

    def share_of_sparse(mix: RainMix) -> float:
        rainy, target = rain(
            clean, generator=seeded(), mix=replace(mix, dark=0, veil=0, noise=0, jpeg=0)
        )
        touched = ((rainy - target).abs() > 0.03).float().mean(dim=(1, 2, 3))
        return ((touched > 0) & (touched < 0.04)).float().mean().item()

    assert share_of_sparse(RainMix.filmed()) > share_of_sparse(RainMix.wide()) + 0.1


@pytest.mark.parametrize("brightness", [0.05, 0.5])
def test_faithful_cover_keeps_the_contrast(brightness: float) -> None:
    clean = torch.full((200, 3, 8, 8), brightness)
    streaks = torch.full((200, 1, 8, 8), 0.15)
    every = torch.ones(200, 1, 1, 1, dtype=torch.bool)
    faithful = cover(clean, streaks, generator=seeded(), faithful=every) - clean
    usual = cover(clean, streaks, generator=seeded()) - clean
    contrast, others = (change.abs().mean(dim=(1, 2, 3)) for change in (faithful, usual))
    assert contrast.median() == pytest.approx(0.144, abs=0.01)  # 0.15 by the mean tint of drops
    assert contrast.median() > 1.2 * others.median()


def test_usual_rain_is_the_default() -> None:
    first, same = (
        drawn_streaks(4, 32, 32, generator=seeded(), device=CPU, mix=mix)
        for mix in (None, RainMix())
    )
    assert torch.equal(first, same)


def test_rendered_streaks_come_from_the_bank(bank: Tensor) -> None:
    dark = torch.zeros_like(bank)
    assert rendered_streaks(bank, 5, 32, 40, generator=seeded()).shape == (5, 1, 32, 40)
    assert rendered_streaks(dark, 5, 32, 40, generator=seeded()).max() == 0


def test_cover_without_streaks_changes_nothing(clean: Tensor) -> None:
    assert torch.equal(cover(clean, torch.zeros(4, 1, 48, 64), generator=seeded()), clean)


def test_compression_is_the_same_on_both_images(clean: Tensor) -> None:
    mix = RainMix(dry=1, veil=0, dark=0, noise=0, jpeg=1)
    rainy, target = rain(clean, generator=seeded(), mix=mix)
    assert torch.equal(rainy, target)
    assert not torch.equal(target, clean)


def test_blur_stays_in_range_and_leaves_the_target_sharp(clean: Tensor) -> None:
    blurred, target = blur(clean, generator=seeded(), mix=ONLY_BLUR)
    assert torch.equal(target, clean)
    assert 0 <= blurred.min() <= blurred.max() <= 1
    assert blurred.std() < clean.std()


def test_sharp_images_are_not_blurred(clean: Tensor) -> None:
    blurred, target = blur(clean, generator=seeded(), mix=BlurMix(sharp=1))
    assert torch.equal(blurred, target)


def test_same_seed_gives_the_same_blur(clean: Tensor) -> None:
    first, again = (blur(clean, generator=seeded(3))[0] for _ in range(2))
    assert torch.equal(first, again)


def test_exposure_without_motion_changes_nothing(clean: Tensor) -> None:
    still = torch.zeros(4, 9, 4), torch.zeros(4, 2, 48, 64)
    # In the dark the gamma curve is steep, and interpolation rounds.
    torch.testing.assert_close(average_along(clean, *still), clean, atol=3e-3, rtol=0)


def test_sampling_between_pixels_does_not_soften() -> None:
    lines = torch.zeros(1, 3, 32, 32)
    lines[:, :, ::2] = 1
    off = torch.zeros(1, 2, 4)
    off[..., 1] = 0.4  # px
    between = average_along(lines, off, torch.zeros(1, 2, 32, 32), gamma=1.0)[..., 8:-8, :]
    assert between.std().item() == pytest.approx(0.5 * math.cos(0.4 * math.pi), abs=0.03)


def test_easiest_mix_is_one_blur_of_one_length_and_direction() -> None:
    spot = torch.zeros(6, 3, 64, 64)
    spot[:, :, 32, 32] = 1
    easy = replace(ONLY_BLUR, still=0).eased(0)
    blurred = blur(spot, generator=seeded(), mix=easy)[0] > 0.02
    assert blurred[:, 0, 32].sum(dim=1).tolist() == pytest.approx([EASY_LENGTH_PX] * 6, abs=2)
    assert not blurred[:, 0, :31].any()
    assert not blurred[:, 0, 34:].any()


def test_eased_by_one_is_the_whole_mix() -> None:
    assert BlurMix().eased(1) == BlurMix()
    assert BlurMix().eased(0.5).directions == 0.5


def test_frames_are_averaged_in_linear_light() -> None:
    edge = torch.zeros(1, 3, 16, 64)
    edge[..., 32:] = 1
    scene = torch.zeros(1, 2, 16, 64)
    scene[:, 0] = 24  # px to the side during the exposure
    middle = average_along(edge, torch.zeros(1, 25, 4), scene)[0, 0, 8, 31:33].mean()
    assert middle.item() == pytest.approx(0.5 ** (1 / 2.2), abs=0.05)


def test_codes_are_averaged_with_gamma_one() -> None:
    edge = torch.zeros(1, 3, 16, 64)
    edge[..., 32:] = 1
    scene = torch.zeros(1, 2, 16, 64)
    scene[:, 0] = 24
    averaged = average_along(edge, torch.zeros(1, 25, 4), scene, gamma=1.0)
    assert averaged[0, 0, 8, 31:33].mean().item() == pytest.approx(0.5, abs=0.05)


def test_relief_scales_the_shift_of_the_camera(clean: Tensor) -> None:
    path = torch.zeros(4, 9, 4)
    path[:, :, 0] = torch.linspace(-8, 8, 9)
    relief = torch.ones(4, 1, 48, 64)
    relief[..., 32:] = 0
    blurred = average_along(clean, path, torch.zeros(4, 2, 48, 64), relief=relief)
    torch.testing.assert_close(blurred[..., 32:], clean[..., 32:], atol=3e-3, rtol=0)
    assert (blurred[..., :32] - clean[..., :32]).abs().mean() > 0.01


def test_given_flow_replaces_random_motion(clean: Tensor) -> None:
    flow = torch.zeros(4, 2, 48, 64)
    flow[:, 0] = 12
    drawn, real = (blur(clean, generator=seeded(), flow=f, mix=ONLY_BLUR)[0] for f in (None, flow))
    assert not torch.equal(drawn, real)


def test_varying_motion_blurs_places_by_different_lengths() -> None:
    lines = torch.zeros(4, 3, 96, 96)
    lines[..., ::16] = lines[..., ::16, :] = 1
    mix = replace(ONLY_BLUR, still=1, regions=0, varying=1, varying_px=(12, 12))
    assert torch.equal(
        blur(lines, generator=seeded(), mix=replace(mix, varying=0))[0] > 0.5, lines > 0.5
    )
    blurred = blur(lines, generator=seeded(), mix=mix)[0]
    energy = torch.nn.functional.avg_pool2d(blurred.square().mean(1, keepdim=True), 32)
    for picture_of in energy:
        assert picture_of.max() > 1.3 * picture_of.min()


def test_optical_flow_finds_a_shift() -> None:
    first = draw_image(1, height=96, width=128)
    flow = optical_flow(first, first[:, np.r_[125:128, 0:125]])
    assert np.median(flow[20:-20, 20:-20, 0]) == pytest.approx(3, abs=0.5)
    assert np.median(flow[20:-20, 20:-20, 1]) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(("height", "width"), [(8, 64), (64, 8), (1, 1)])
def test_optical_flow_of_a_tiny_image_has_its_size(height: int, width: int) -> None:
    """OpenCV itself ends the process below 16 px."""
    image = draw_image(1, height=height, width=width)
    assert optical_flow(image, image).shape == (height, width, 2)
