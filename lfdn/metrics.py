"""PSNR and SSIM, on RGB or on luma.

All functions take float tensors `[B, C, H, W]` in 0…1; none guesses the range. Published figures
are measured on saved PNG files: call `round_to_8_bit` first to reproduce them.
"""

import torch
from torch import Tensor

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def round_to_8_bit(image: Tensor) -> Tensor:
    """Clamp to 0…1 and round to the 256 levels that an 8-bit file can hold."""
    return (image.clamp(0, 1) * 255).round() / 255


def luma(image: Tensor) -> Tensor:
    """Compute Y of MATLAB's rgb2ycbcr (BT.601, limited range), which deraining papers use.

    Args:
        image: RGB, `[B, 3, H, W]` in 0…1.

    Returns:
        `[B, 1, H, W]` in 16/255…235/255.
    """
    red, green, blue = image.unbind(dim=1)
    y = (65.481 * red + 128.553 * green + 24.966 * blue + 16) / 255
    return y.unsqueeze(1)


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio, for a peak of 1.

    Args:
        image: `[B, C, H, W]` in 0…1.
        reference: Like `image`.

    Returns:
        dB, float64 `[B]`, over all channels together; `inf` where both are equal.
    """
    error = (image.double() - reference.double()).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error)


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Compute the structural similarity (Wang et al. 2004), for a peak of 1.

    The window is a Gaussian of 11 px with sigma 1.5. It is evaluated only where it fits entirely.

    Args:
        image: `[B, C, H, W]` in 0…1, with sides of 11 px or more.
        reference: Like `image`.

    Returns:
        float64 `[B]`, averaged over positions and channels; 1 where both are equal.
    """
    # In float64: the variances below are small differences of large means.
    a, b = image.double(), reference.double()
    mean_a, mean_b = _smooth(a), _smooth(b)
    variance_a = _smooth(a * a) - mean_a * mean_a
    variance_b = _smooth(b * b) - mean_b * mean_b
    covariance = _smooth(a * b) - mean_a * mean_b
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    score = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    score = score / ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2))
    return score.mean(dim=(1, 2, 3))


def _smooth(image: Tensor) -> Tensor:
    """Average over the window wherever it fits, one axis after the other."""
    weights = _build_gaussian()
    for dim in (-1, -2):
        # Sums of shifted views: in float64 a fifth of the time of a convolution, or of products
        # with unfolded views.
        length = image.shape[dim] - SSIM_WINDOW_PX + 1
        middle = SSIM_WINDOW_PX // 2
        total = image.narrow(dim, middle, length) * weights[middle]
        for start in range(middle):
            end = SSIM_WINDOW_PX - 1 - start
            both = image.narrow(dim, start, length) + image.narrow(dim, end, length)
            total = total.add_(both, alpha=weights[start])
        image = total
    return image


def _build_gaussian() -> list[float]:
    """Build one axis of the window; the window is its outer product with itself."""
    offsets = torch.arange(SSIM_WINDOW_PX, dtype=torch.float64) - (SSIM_WINDOW_PX - 1) / 2
    line = torch.exp(-offsets.square() / (2 * SSIM_SIGMA_PX**2))
    weights: list[float] = (line / line.sum()).tolist()
    return weights
