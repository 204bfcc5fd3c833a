"""PSNR and SSIM against scikit-image, luma against its definition."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from lfdn.datasets.images import to_tensor
from lfdn.metrics import luma, psnr, round_to_8_bit, ssim
from tests.support.datasets import draw_image


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    clean = to_tensor(draw_image(1))
    noise = 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    return round_to_8_bit(clean + noise), clean


def as_array(image: Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).double().numpy()


def test_psnr_agrees_with_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    noisy, clean = pair
    expected = peak_signal_noise_ratio(as_array(clean), as_array(noisy), data_range=1)  # type: ignore[no-untyped-call]  # untyped
    assert psnr(noisy, clean).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    noisy, clean = pair
    _, every_position = structural_similarity(  # type: ignore[no-untyped-call]  # untyped
        as_array(clean),
        as_array(noisy),
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    expected = every_position[5:-5, 5:-5].mean()  # positions where the window fits
    assert ssim(noisy, clean).item() == pytest.approx(expected, abs=1e-4)


def test_luma_agrees_with_rgb2ycbcr(pair: tuple[Tensor, Tensor]) -> None:
    noisy, _ = pair
    expected = rgb2ycbcr(as_array(noisy))[..., 0] / 255
    assert np.allclose(luma(noisy)[0, 0].numpy(), expected, atol=1e-6)


def test_luma_of_white_is_235_and_of_black_16() -> None:
    levels = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert (luma(levels) * 255).flatten().tolist() == pytest.approx([16, 235], abs=0.01)


def test_equal_images_have_infinite_psnr_and_ssim_one(pair: tuple[Tensor, Tensor]) -> None:
    _, clean = pair
    assert psnr(clean, clean).item() == float("inf")
    assert ssim(clean, clean).item() == pytest.approx(1)


def test_round_to_8_bit_clamps_and_rounds() -> None:
    values = torch.tensor([-0.2, 0.5, 1.3])
    assert (round_to_8_bit(values) * 255).tolist() == pytest.approx([0, 128, 255])
