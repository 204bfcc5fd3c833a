"""PSNR and SSIM, on RGB or on luma. Every function states its range; none guesses it.

All take `[B, C, H, W]` float tensors in 0…1 and return one value per image, `[B]`. Quantize to
8 bits first (`quantize`) when a published protocol measures saved PNG files.
"""

import torch
from torch import Tensor

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def quantize(image: Tensor) -> Tensor:
    """Clamp to 0…1 and round to the 256 levels that an 8-bit file holds."""
    return (image.clamp(0, 1) * 255).round() / 255


def luma(image: Tensor) -> Tensor:
    """Y of MATLAB's rgb2ycbcr, which deraining papers use, in 16/255…235/255: `[B, 1, H, W]`."""
    red, green, blue = image.unbind(dim=1)
    y = (65.481 * red + 128.553 * green + 24.966 * blue + 16) / 255
    return y.unsqueeze(1)


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 1; `inf` where both are equal."""
    error = (image.double() - reference.double()).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error)


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) for a peak of 1, averaged over channels.

    Gaussian window of 11 px, sigma 1.5, positions where it fits entirely: sides of 11 px or more.
    """
    line = _gaussian_line(image.device)

    def blur(x: Tensor) -> Tensor:  # in float64 faster than a convolution
        rows = x.unfold(-1, SSIM_WINDOW_PX, 1) @ line
        return rows.unfold(-2, SSIM_WINDOW_PX, 1) @ line

    a, b = image.double(), reference.double()
    mean_a, mean_b = blur(a), blur(b)
    variance_a = blur(a * a) - mean_a * mean_a
    variance_b = blur(b * b) - mean_b * mean_b
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    score = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    score = score / ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2))
    return score.mean(dim=(1, 2, 3))


def _gaussian_line(device: torch.device) -> Tensor:
    """The window is its outer product with itself."""
    offsets = torch.arange(SSIM_WINDOW_PX, dtype=torch.float64, device=device)
    offsets = offsets - (SSIM_WINDOW_PX - 1) / 2
    line = torch.exp(-offsets.square() / (2 * SSIM_SIGMA_PX**2))
    return line / line.sum()
