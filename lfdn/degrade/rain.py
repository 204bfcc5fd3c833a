"""Synthetic rain on a batch of clean images, on the batch's device.

There are two kinds of streaks:

    drawn     sparse drops, convolved with a slanted, soft-ended line, of any length, width, slant
              and density, in up to three layers of depth
    rendered  layers of a streak bank (Garg and Nayar's renderings), cropped, zoomed and rotated

They are added to an image, screened over it, or laid over it as a translucent grey.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn.degrade.draw import BatchRandom, compress_pairs

DEPTH_LAYERS = 3
LAYER_GAIN = (0.3, 1.0)
SLANT_STD = math.radians(14)
SLANT_LIMIT = math.radians(55)
WIDE_SLANT_LIMIT = math.radians(60)
SPARSE_LAYERS = 2
SPARSE_SLANT_LIMIT = math.radians(70)
SPARSE_LENGTH_PX = (4.0, 110.0)
SPARSE_SIGMA_PX = (0.5, 5.0)
SPARSE_COVERAGE = (0.0005, 0.06)
SPARSE_CONTRAST = (0.08, 1.0)
SPARSE_BRIGHTNESS = (0.8, 1.0)  # of single drops, relative to the contrast
SPARSE_SLIMNESS = 2.5  # length of a sparse streak in standard deviations across it, at least
DEFOCUS_PX = (0.4, 1.6)  # standard deviation of the lens's blur
PART_WIDTH = 0.03  # of the soft edge of rain in a part of the image, in sides of it
LEAST_ROOM = 0.25  # between an image and what covers it, for a contrast to be kept
BANK_ZOOM = (0.6, 1.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class RainMix:
    """Frequency of each ingredient of `rain`: probabilities in 0…1, independent for each image.

    Args:
        dry: No streaks at all. The network must learn to leave dry images alone.
        rendered: Streaks from the bank instead of drawn ones. Ignored without a bank.
        both: Drawn streaks in addition, on images with rendered ones.
        veil: A flat grey veil of distant rain, on rainy image and target.
        dark: Dusk: a gain below one and a gamma, on rainy image and target.
        noise: Gaussian sensor noise, the same on rainy image and target.
        jpeg: JPEG compression, of the same quality on rainy image and target.
        slanted: Drawn streaks at any angle up to 60°, instead of falling nearly straight down.
        length_px: Range of the length of drawn streaks, log-uniform.
        sigma_px: Range of the standard deviation across drawn streaks, log-uniform.
        coverage: Range of the share of the image under one layer of drawn streaks, log-uniform.
        layer_gain: Range of the brightest drop of a layer.
        sparse: A few streaks alone (`sparse_streaks`), in place of all others and of `dry`.
    """

    dry: float = 0.10
    rendered: float = 0.5
    both: float = 0.15
    veil: float = 0.15
    dark: float = 0.25
    noise: float = 0.2
    jpeg: float = 0.25
    slanted: float = 0.0
    length_px: tuple[float, float] = (6.0, 70.0)
    sigma_px: tuple[float, float] = (0.45, 2.2)
    coverage: tuple[float, float] = (0.008, 0.40)
    layer_gain: tuple[float, float] = LAYER_GAIN
    sparse: float = 0.0

    @classmethod
    def wide(cls) -> Self:
        """Rain as people film it too: sparse, slanted, short, long, out of focus.

        Still fainter and sparser streaks teach a network to leave all of them alone.

        Returns:
            A mix of wider ranges, with coverage from 0.2 %.
        """
        return cls(
            dry=0.08,
            rendered=0.35,
            slanted=0.25,
            length_px=(3.0, 110.0),
            sigma_px=(0.4, 4.0),
            coverage=(0.002, 0.35),
            layer_gain=(0.2, 1.0),
        )

    @classmethod
    def filmed(cls) -> Self:
        """Rain as in `wide`, and in half of the images few streaks of a set contrast.

        Returns:
            A mix with dry images, sparse ones, and for the rest those of `wide`.
        """
        return replace(cls.wide(), dry=0.2, sparse=0.5)


def rain(
    clean: Tensor,
    *,
    generator: torch.Generator,
    bank: Tensor | None = None,
    mix: RainMix | None = None,
) -> tuple[Tensor, Tensor]:
    """Put synthetic rain on a batch of clean images.

    Args:
        clean: RGB, float32 `[B, 3, H, W]` in 0…1.
        generator: Source of all randomness, on the device of `clean`. The same state gives the
            same rain.
        bank: Streak layers, uint8 `[K, h, w]` on the device of `clean`: white on black, falling
            downwards. Without a bank all streaks are drawn.
        mix: Frequency of each ingredient; by default `RainMix()`.

    Returns:
        `(rainy, target)`, both like `clean`. `target` is `clean` under the same veil, light, noise
        and compression as `rainy`, which the network leaves alone.
    """
    mix = mix or RainMix()
    batch, _, height, width = clean.shape
    draw = BatchRandom(batch, generator, clean.device)

    target = torch.where(draw.happens(mix.dark), _darken(clean, draw), clean)
    target = torch.where(draw.happens(mix.veil), _add_veil(target, draw), target)

    # Drawn for every image, used or not: the random numbers that follow stay the same for a seed.
    streaks = drawn_streaks(batch, height, width, generator=generator, device=clean.device, mix=mix)
    if bank is not None:
        rendered = rendered_streaks(bank, batch, height, width, generator=generator)
        use_bank = draw.happens(mix.rendered)
        use_both = draw.happens(mix.both)
        blended = torch.maximum(rendered, streaks * use_both)
        streaks = torch.where(use_bank, blended, streaks)
    streaks = streaks * ~draw.happens(mix.dry)
    few = None
    if mix.sparse:
        few = draw.happens(mix.sparse)
        sparse = sparse_streaks(batch, height, width, generator=generator, device=clean.device)
        streaks = torch.where(few, sparse, streaks)
    rainy = cover(target, streaks, generator=generator, faithful=few)

    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    noise = noise * draw.uniform(0.002, 0.025) * draw.happens(mix.noise)
    return compress_pairs((rainy + noise).clamp(0, 1), (target + noise).clamp(0, 1), draw, mix.jpeg)


def drawn_streaks(
    batch: int,
    height: int,
    width: int,
    *,
    generator: torch.Generator,
    device: torch.device,
    mix: RainMix | None = None,
) -> Tensor:
    """Draw rain streaks from scratch: three layers of drops, each drop drawn as a line.

    Drops are convolved with a line by FFT, so the cost does not depend on the length of the
    streaks. The convolution wraps around: a streak that leaves the image on one side enters on the
    other, which nobody notices in rain.

    Args:
        batch: B, the number of images.
        height: H in px.
        width: W in px.
        generator: Source of all randomness, on `device`.
        device: Device of the result.
        mix: Shape of the streaks; by default `RainMix()`.

    Returns:
        Intensity of the streaks, float32 `[B, 1, H, W]` in 0…1.
    """
    mix = mix or RainMix()
    count = batch * DEPTH_LAYERS
    draw = BatchRandom(count, generator, device)
    base = BatchRandom(batch, generator, device)
    # The wind is the same for all layers of an image, but for two degrees.
    slant = base.normal(SLANT_STD).clamp(-SLANT_LIMIT, SLANT_LIMIT)
    if mix.slanted:
        any_angle = base.uniform(-WIDE_SLANT_LIMIT, WIDE_SLANT_LIMIT)
        slant = torch.where(base.happens(mix.slanted), any_angle, slant)
    slant = slant.repeat_interleave(DEPTH_LAYERS, 0) + draw.normal(math.radians(2))
    length = draw.log_uniform(*mix.length_px)
    sigma = draw.log_uniform(*mix.sigma_px)
    coverage = draw.log_uniform(*mix.coverage) * draw.happens(0.6)

    # Coverage is density times the area of a streak, whose profile is a Gaussian across it.
    density = coverage / (length * sigma * math.sqrt(2 * math.pi))
    spots = torch.rand((count, 1, height, width), generator=generator, device=device)
    brightness = torch.rand((count, 1, height, width), generator=generator, device=device)
    drops = (spots < density) * (0.25 + 0.75 * brightness)
    layers = draw_lines(drops, slant, length, sigma)
    layers = layers * draw.uniform(*mix.layer_gain)
    streaks: Tensor = (
        layers.view(batch, DEPTH_LAYERS, height, width).sum(1, keepdim=True).clamp(0, 1)
    )
    return streaks


def sparse_streaks(
    batch: int, height: int, width: int, *, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Draw a few streaks, as of beginning rain or near the camera: one or two layers of drops.

    They cover 0.05 to 6 % of an image, or less if only a part of it, but each layer has at least
    one drop if that covers no more than 6 %. A third of the images are slightly out of focus; half
    have any slant up to 70°.

    Args:
        batch: B, the number of images.
        height: H in px.
        width: W in px.
        generator: Source of all randomness, on `device`.
        device: Device of the result.

    Returns:
        Intensity of the streaks, float32 `[B, 1, H, W]` in 0…1. The middle of each is 0.06
        or more.
    """
    count = batch * SPARSE_LAYERS
    draw = BatchRandom(count, generator, device)
    base = BatchRandom(batch, generator, device)
    slant = base.normal(SLANT_STD).clamp(-SLANT_LIMIT, SLANT_LIMIT)
    any_angle = base.uniform(-SPARSE_SLANT_LIMIT, SPARSE_SLANT_LIMIT)
    slant = torch.where(base.happens(0.5), any_angle, slant)
    slant = slant.repeat_interleave(SPARSE_LAYERS, 0) + draw.normal(math.radians(2))
    sigma = draw.log_uniform(*SPARSE_SIGMA_PX)
    length = draw.log_uniform(*SPARSE_LENGTH_PX).maximum(SPARSE_SLIMNESS * sigma)
    # Blurring a Gaussian profile widens it; the contrast that is drawn is that after the lens.
    defocus = (base.uniform(*DEFOCUS_PX) * base.happens(1 / 3)).repeat_interleave(SPARSE_LAYERS, 0)
    sigma = (sigma.square() + defocus.square()).sqrt()
    area = length * sigma * math.sqrt(2 * math.pi)
    density = draw.log_uniform(*SPARSE_COVERAGE) / area
    spots = torch.rand((count, 1, height, width), generator=generator, device=device)
    brightness = torch.rand((count, 1, height, width), generator=generator, device=device)
    first = spots.amin(dim=(2, 3), keepdim=True) * (area < SPARSE_COVERAGE[1] * height * width)
    faint, bright = SPARSE_BRIGHTNESS
    drops = (spots <= density.maximum(first)) * (faint + (bright - faint) * brightness)
    layers = draw_lines(drops, slant, length, sigma)
    layers = layers.clamp(0, 1).view(batch, SPARSE_LAYERS, height, width)
    one, other = layers[:, :1], layers[:, 1:]
    streaks = torch.maximum(one, other * base.happens(0.5)) * base.log_uniform(*SPARSE_CONTRAST)
    part = _draw_part(base, height, width)
    return torch.where(base.happens(0.2), streaks * part, streaks)


def rendered_streaks(
    bank: Tensor, batch: int, height: int, width: int, *, generator: torch.Generator
) -> Tensor:
    """Draw random crops of the layers of a streak bank, mirrored, zoomed and rotated.

    Args:
        bank: Streak layers, uint8 `[K, h, w]`: white on black, falling downwards.
        batch: B, the number of images.
        height: H in px.
        width: W in px.
        generator: Source of all randomness, on the device of `bank`.

    Returns:
        Intensity of the streaks, float32 `[B, 1, H, W]` in 0…1, on the device of `bank`.
    """
    device = bank.device
    draw = BatchRandom(batch, generator, device)
    chosen = torch.randint(len(bank), (batch,), generator=generator, device=device)
    layers = bank[chosen].unsqueeze(1).float() / 255
    layer_height, layer_width = layers.shape[-2:]

    turn = draw.normal(SLANT_STD).clamp(-SLANT_LIMIT, SLANT_LIMIT).view(batch)
    zoom = draw.log_uniform(*BANK_ZOOM).view(batch)
    mirror = torch.where(draw.happens(0.5), -1.0, 1.0).view(batch)
    half_x, half_y = width / layer_width / zoom, height / layer_height / zoom  # in -1…1 units
    aspect = layer_height / layer_width
    cos, sin = turn.cos(), turn.sin()
    shift_x = draw.uniform(-1, 1).view(batch) * (1 - half_x).clamp(min=0)
    shift_y = draw.uniform(-1, 1).view(batch) * (1 - half_y).clamp(min=0)
    # From the output's coordinates to the layer's: scale, turn about the centre, mirror in x. The
    # turn is in square pixels, so its off-diagonal terms are corrected by the layer's aspect ratio.
    theta = torch.stack(
        [
            torch.stack([mirror * half_x * cos, -mirror * half_y * sin * aspect, shift_x], dim=1),
            torch.stack([half_x * sin / aspect, half_y * cos, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    view = F.grid_sample(layers, grid, padding_mode="reflection", align_corners=False)
    return (view * draw.uniform(0.8, 3.0)).clamp(0, 1)


def cover(
    clean: Tensor, streaks: Tensor, *, generator: torch.Generator, faithful: Tensor | None = None
) -> Tensor:
    """Composite streaks over clean images, in one of three random ways for each image.

    Added: c + s. Screened: c + s - c·s. Grey: c + (g - c)·s, where g is a grey brightened by the
    mean of the image, since a drop refracts the light of the whole scene.

    Args:
        clean: RGB, float32 `[B, 3, H, W]` in 0…1.
        streaks: Intensity of the streaks, float32 `[B, 1, H, W]` in 0…1.
        generator: Source of all randomness, on the device of `clean`.
        faithful: Images whose streaks are to be as much brighter than the image, on average, as
            their intensity says, bool `[B, 1, 1, 1]`; by default none. Others are weakened by a
            random factor, by bright images and by dark covers.

    Returns:
        The rainy images, like `clean`.
    """
    draw = BatchRandom(len(clean), generator, clean.device)
    tint = 1 - 0.08 * torch.rand((len(clean), 3, 1, 1), generator=generator, device=clean.device)
    strength = streaks * draw.uniform(0.5, 1.0) * tint
    ambient = clean.mean(dim=(2, 3), keepdim=True)
    grey = (draw.uniform(0.45, 1.0) * tint + ambient * draw.uniform(0, 0.4)).clamp(0, 1)

    way = draw.uniform(0, 1)
    if faithful is not None:
        room = torch.where(way < 0.65, 1 - ambient, (grey - ambient).abs()).mean(1, keepdim=True)
        room = torch.where(way < 0.35, 1.0, room).clamp(min=LEAST_ROOM)
        strength = torch.where(faithful, (streaks / room).clamp(max=1) * tint, strength)
    added = clean + strength
    screened = clean + strength - clean * strength
    veiled = clean + (grey - clean) * strength
    covered = torch.where(way < 0.35, added, torch.where(way < 0.65, screened, veiled))
    return covered.clamp(0, 1)


def draw_lines(drops: Tensor, slant: Tensor, length: Tensor, sigma: Tensor) -> Tensor:
    """Draw each drop as a soft-ended line, by FFT: the cost does not depend on the length.

    Args:
        drops: Brightness of the drops at their places, 0 elsewhere, float32 `[K, 1, H, W]`.
        slant: Angle from the vertical in radians, `[K, 1, 1, 1]`.
        length: In px, like `slant`.
        sigma: Standard deviation across the line in px, like `slant`.

    Returns:
        The sum of the lines, like `drops`; those that leave on one side enter on the other.
    """
    height, width = drops.shape[-2:]
    kernel = _draw_line_kernel(height, width, slant, length, sigma)
    spectrum = torch.fft.rfft2(drops) * torch.fft.rfft2(kernel)
    lines: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return lines


def _draw_line_kernel(
    height: int, width: int, slant: Tensor, length: Tensor, sigma: Tensor
) -> Tensor:
    """Draw a soft-ended line of peak 1 through the origin, wrapped around for the FFT.

    Args:
        height: H in px.
        width: W in px.
        slant: Angle from the vertical in radians, `[K, 1, 1, 1]`.
        length: In px, like `slant`.
        sigma: Standard deviation across the line in px, like `slant`.

    Returns:
        The lines, float32 `[K, 1, H, W]`.
    """
    device = slant.device
    y = torch.fft.fftfreq(height, d=1 / height, device=device).view(1, 1, height, 1)
    x = torch.fft.fftfreq(width, d=1 / width, device=device).view(1, 1, 1, width)
    along = y * slant.cos() + x * slant.sin()
    across = x * slant.cos() - y * slant.sin()
    body = torch.sigmoid((length / 2 - along.abs()) / (0.08 * length).clamp(min=0.5))
    return body * torch.exp(-across.square() / (2 * sigma.square()))


def _draw_part(draw: BatchRandom, height: int, width: int) -> Tensor:
    """Draw a mask of about a third of each image, with a straight soft edge, `[B, 1, H, W]`."""
    device = draw.device
    y = torch.linspace(-0.5, 0.5, height, device=device).view(1, 1, -1, 1)
    x = torch.linspace(-0.5, 0.5, width, device=device).view(1, 1, 1, -1)
    angle = draw.uniform(0, 2 * math.pi)
    distance = x * angle.cos() + y * angle.sin() - 1 / 6
    return torch.sigmoid(distance / PART_WIDTH)


def _darken(clean: Tensor, draw: BatchRandom) -> Tensor:
    """Darken images as at dusk: a gain below one and a gamma."""
    return clean.clamp(min=1e-4).pow(draw.uniform(0.8, 1.6)) * draw.uniform(0.35, 1.0)


def _add_veil(clean: Tensor, draw: BatchRandom) -> Tensor:
    """Add distant rain as a flat veil: clean·t + grey·(1 - t)."""
    transmission = 1 - draw.uniform(0.05, 0.45)
    return clean * transmission + draw.uniform(0.5, 0.95) * (1 - transmission)
