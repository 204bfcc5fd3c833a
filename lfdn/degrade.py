"""Clean pictures to rainy ones, sharp pictures to blurred ones, on whatever device the batch is.

Knows batches of tensors; where the pictures come from is `lfdn.data`.

`rain` has two kinds of streaks:

    drawn     sparse drops convolved with a slanted, soft-ended line: every length, width, slant and
              density, in up to three layers of depth
    rendered  layers of a streak bank (Garg and Nayar's renderings), cropped, zoomed and turned

and three ways in which they cover a picture (added, screened, or grey and half transparent).

`blur` is made as GoPro's set was (Nah et al. 2017): sharp sub-frames of one exposure, averaged.
Here the sub-frames are warps of one sharp picture along two motions at once:

    camera    a smooth random path of shift, turn and zoom: hand-held shake, whose shift moves what
              is near more than what is far (a smooth random relief)
    scene     a displacement per pixel: optical flow of a real sequence, or soft-edged regions that
              each move their own way

They are averaged in linear light, as a sensor does, or in some pictures in the camera's own gamma,
as the `blur` folder of GoPro was.

What weather and camera do *besides* (veil, darkness, sensor noise, compression) is laid on the
degraded and the clean picture alike: the network shall take out streaks or blur and leave the rest.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

LAYERS = 3
STREAK_LENGTH_PX = (6.0, 70.0)
STREAK_SIGMA_PX = (0.45, 2.2)
STREAK_COVERAGE = (0.008, 0.40)
SLANT_STD = math.radians(14)
SLANT_LIMIT = math.radians(55)
BANK_ZOOM = (0.6, 1.8)
JPEG_BLOCK_PX = 16

GAMMA = 2.2  # of the camera response, as GoPro's authors assumed it
SUBFRAMES = (7, 9, 11, 13, 17, 25)  # GoPro averaged 7 to 13; REDS interpolated more in between
LONGEST_SHARE = 1 / 9  # of the shorter side: a crop must show much more than the blur
PATH_KNOTS = 4
REGIONS = 3
FIELD_KNOTS = 6
REGION_THRESHOLD, REGION_STEEPNESS = 0.6, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RainMix:
    """How often each ingredient occurs. Probabilities, independent unless said otherwise."""

    dry: float = 0.10
    """No streaks at all: the network must learn to leave dry pictures alone."""
    rendered: float = 0.5
    """Streaks from the bank instead of drawn ones (0 without a bank)."""
    both: float = 0.15
    """Drawn streaks on top of rendered ones."""
    veil: float = 0.15
    dark: float = 0.25
    noise: float = 0.2
    jpeg: float = 0.25


def rain(
    clean: Tensor,
    *,
    generator: torch.Generator,
    bank: Tensor | None = None,
    mix: RainMix | None = None,
) -> tuple[Tensor, Tensor]:
    """Rain on a batch: `(rainy, target)`, both like `clean`, `[B, 3, H, W]` in 0…1.

    `bank`: streak layers `[K, h, w]` uint8 on the same device, white on black, falling downwards.
    `target` is what the network shall return: `clean` under the same veil, light, noise and
    compression as `rainy`.
    """
    mix = mix or RainMix()
    batch, _, height, width = clean.shape
    draw = _Draw(batch, generator, clean.device)

    target = torch.where(draw.happens(mix.dark), _darken(clean, draw), clean)
    target = torch.where(draw.happens(mix.veil), _veil(target, draw), target)

    streaks = drawn_streaks(batch, height, width, generator=generator, device=clean.device)
    if bank is not None:
        rendered = rendered_streaks(bank, batch, height, width, generator=generator)
        use_bank, use_both = draw.happens(mix.rendered), draw.happens(mix.both)
        blended = torch.maximum(rendered, streaks * use_both)
        streaks = torch.where(use_bank, blended, streaks)
    streaks = streaks * ~draw.happens(mix.dry)
    rainy = cover(target, streaks, generator=generator)

    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    noise = noise * draw.uniform(0.002, 0.025) * draw.happens(mix.noise)
    return _compress((rainy + noise).clamp(0, 1), (target + noise).clamp(0, 1), draw, mix.jpeg)


def drawn_streaks(
    batch: int, height: int, width: int, *, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Streak intensity `[B, 1, H, W]` in 0…1: `LAYERS` layers of drops, each drawn as a line.

    The convolution runs in the frequency domain, so its cost does not depend on the length; what
    leaves the picture at one side comes in at the other, which rain does not mind.
    """
    count = batch * LAYERS
    draw = _Draw(count, generator, device)
    base = _Draw(batch, generator, device)
    slant = base.normal(SLANT_STD).clamp(-SLANT_LIMIT, SLANT_LIMIT).repeat_interleave(LAYERS, 0)
    slant = slant + draw.normal(math.radians(2))
    length = draw.log_uniform(*STREAK_LENGTH_PX)
    sigma = draw.log_uniform(*STREAK_SIGMA_PX)
    coverage = draw.log_uniform(*STREAK_COVERAGE) * draw.happens(0.6)

    kernel = _line_kernel(height, width, slant, length, sigma)
    density = coverage / (length * sigma * math.sqrt(2 * math.pi))
    spots = torch.rand((count, 1, height, width), generator=generator, device=device)
    brightness = torch.rand((count, 1, height, width), generator=generator, device=device)
    drops = (spots < density) * (0.25 + 0.75 * brightness)
    layers = torch.fft.irfft2(torch.fft.rfft2(drops) * torch.fft.rfft2(kernel), s=(height, width))
    layers = layers * draw.uniform(0.3, 1.0)
    streaks: Tensor = layers.view(batch, LAYERS, height, width).sum(1, keepdim=True).clamp(0, 1)
    return streaks


def rendered_streaks(
    bank: Tensor, batch: int, height: int, width: int, *, generator: torch.Generator
) -> Tensor:
    """Random views of bank layers, `[B, 1, H, W]` in 0…1: mirrored, zoomed and turned."""
    device = bank.device
    draw = _Draw(batch, generator, device)
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


def cover(clean: Tensor, streaks: Tensor, *, generator: torch.Generator) -> Tensor:
    """Lay streaks `[B, 1, H, W]` over `clean` in one of three ways, chosen for each image.

    Added: c + s. Screened: c + s - c·s. Grey: c + (g - c)·s, where g lies between a grey
    and the blurred surroundings, since a drop shows the light of the whole scene.
    """
    draw = _Draw(len(clean), generator, clean.device)
    tint = 1 - 0.08 * torch.rand((len(clean), 3, 1, 1), generator=generator, device=clean.device)
    strength = streaks * draw.uniform(0.5, 1.0) * tint
    ambient = clean.mean(dim=(2, 3), keepdim=True)
    grey = (draw.uniform(0.45, 1.0) * tint + ambient * draw.uniform(0, 0.4)).clamp(0, 1)

    way = draw.uniform(0, 1)
    added = clean + strength
    screened = clean + strength - clean * strength
    veiled = clean + (grey - clean) * strength
    covered = torch.where(way < 0.35, added, torch.where(way < 0.65, screened, veiled))
    return covered.clamp(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurMix:
    """How often, and how strong. Lengths in px along the whole exposure."""

    sharp: float = 0.08
    """No motion at all: the network must learn to leave sharp pictures alone."""
    still: float = 0.08
    """A camera on a tripod: only the scene moves."""
    shift_px: tuple[float, float] = (1.0, 36.0)
    """Never more than a `LONGEST_SHARE` of the picture's shorter side."""
    turn_deg: float = 1.0
    zoom: float = 0.02
    relief: float = 0.4
    """Up to this share, the camera's shift is larger or smaller from place to place."""
    exposure: tuple[float, float] = (0.2, 1.0)
    """Share of the time between two frames of a sequence during which the shutter is open, less
    where things would move further than the `LONGEST_SHARE`."""
    regions: float = 0.2
    region_shift_px: tuple[float, float] = (2.0, 30.0)
    gamma: tuple[float, float] = (1.8, 2.4)
    """Of the camera: the average is taken after undoing it..."""
    as_recorded: float = 0.4
    """...but for these, which are averaged as they are."""
    noise: float = 0.3
    jpeg: float = 0.15


def blur(
    sharp: Tensor,
    *,
    generator: torch.Generator,
    flow: Tensor | None = None,
    mix: BlurMix | None = None,
) -> tuple[Tensor, Tensor]:
    """Motion blur on a batch: `(blurred, target)`, both like `sharp`, `[B, 3, H, W]` in 0…1.

    `flow`: motion to the next frame in px, `[B, 2, H, W]` (x, y); where all of an image's flow is
    zero, moving regions are drawn instead. `target` is `sharp` with the noise and the compression
    of `blurred`; the middle of the exposure is `sharp` itself, so the two are aligned.
    """
    mix = mix or BlurMix()
    batch, _, height, width = sharp.shape
    draw = _Draw(batch, generator, sharp.device)
    moving = ~draw.happens(mix.sharp)
    longest = LONGEST_SHARE * min(height, width)
    scene = _moving_regions(batch, height, width, draw, mix, longest)
    if flow is not None:
        real = flow.abs().amax(dim=(1, 2, 3), keepdim=True) > 0
        opened = flow * draw.uniform(*mix.exposure)
        fastest = opened.norm(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True)
        scene = torch.where(real, opened * (longest / fastest).clamp(max=1), scene)
    relief = 1 + draw.uniform(0, mix.relief) * _field(batch, height, width, draw)
    path = _camera_path(draw, mix, longest) * (moving & ~draw.happens(mix.still)).view(batch, 1, 1)
    gamma = torch.where(draw.happens(mix.as_recorded), 1.0, draw.uniform(*mix.gamma))
    blurred = average_along(sharp, path, scene * moving, relief=relief, gamma=gamma)
    blurred = torch.where(moving, blurred, sharp)

    noise = torch.randn(sharp.shape, generator=generator, device=sharp.device)
    noise = noise * draw.uniform(0.002, 0.02) * draw.happens(mix.noise)
    return _compress((blurred + noise).clamp(0, 1), (sharp + noise).clamp(0, 1), draw, mix.jpeg)


def optical_flow(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Motion from one RGB picture `[H, W, 3]` to the next, in px: `[H, W, 2]`, x then y (DIS)."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: npt.NDArray[np.float32] = np.asarray(estimator.calc(*grey, None), np.float32)  # type: ignore[call-overload]
    return flow


def average_along(
    sharp: Tensor,
    path: Tensor,
    scene: Tensor,
    *,
    relief: Tensor | float = 1.0,
    gamma: Tensor | float = GAMMA,
) -> Tensor:
    """The exposure: warps of `sharp` `[B, 3, H, W]`, averaged where `gamma` is undone.

    `path`: `[B, T, 4]`, the camera in each sub-frame: shift in x and y (px), turn (radians), zoom
    minus one. `relief`: `[B, 1, H, W]`, by how much more the camera's shift moves what is there.
    `scene`: `[B, 2, H, W]`, px over the whole exposure, gone through evenly.
    """
    batch, _, height, width = sharp.shape
    linear = sharp.clamp(min=1e-4).pow(gamma)
    y = torch.arange(height, device=sharp.device).view(1, -1, 1) - (height - 1) / 2
    x = torch.arange(width, device=sharp.device).view(1, 1, -1) - (width - 1) / 2
    near = relief[:, 0] if isinstance(relief, Tensor) else relief
    count = path.shape[1]
    total = torch.zeros_like(linear)
    for index in range(count):
        when = index / (count - 1) - 0.5
        shift_x, shift_y, turn, zoom = path[:, index].view(batch, 4, 1, 1).unbind(1)
        across, along = (1 + zoom) * turn.cos(), (1 + zoom) * turn.sin()
        from_x = across * x - along * y + shift_x * near + when * scene[:, 0]
        from_y = along * x + across * y + shift_y * near + when * scene[:, 1]
        grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], dim=-1)
        total += F.grid_sample(linear, grid, padding_mode="reflection", align_corners=False)
    return (total / count).clamp(0, 1).pow(1 / gamma)


def _camera_path(draw: "_Draw", mix: BlurMix, longest: float) -> Tensor:
    """Smooth paths `[B, T, 4]`, zero in mid-exposure: a steady motion and a wobble on it."""
    count = SUBFRAMES[draw.index(len(SUBFRAMES))]
    length = draw.log_uniform(*_up_to(longest, mix.shift_px)).view(-1, 1)
    angle = draw.uniform(0, 2 * math.pi).view(-1, 1)
    when = torch.linspace(-0.5, 0.5, count, device=length.device).view(1, -1)
    wobble = [_smooth(draw.signed(PATH_KNOTS), count) for _ in range(4)]
    x = length * (when * angle.cos() + 0.25 * wobble[0])
    y = length * (when * angle.sin() + 0.25 * wobble[1])
    turn = math.radians(mix.turn_deg) * (when * draw.signed(1) + 0.5 * wobble[2])
    zoom = mix.zoom * (when * draw.signed(1) + 0.25 * wobble[3])
    path = torch.stack([x, y, turn, zoom], dim=2)
    return path - path[:, count // 2, None]


def _moving_regions(
    batch: int, height: int, width: int, draw: "_Draw", mix: BlurMix, longest: float
) -> Tensor:
    """Soft-edged regions with a motion of their own, `[B, 2, H, W]` in px, zero elsewhere."""
    motion = torch.zeros((batch, 2, height, width), device=draw.device)
    for _ in range(REGIONS):
        field = _field(batch, height, width, draw)
        inside = torch.sigmoid((field - REGION_THRESHOLD) * REGION_STEEPNESS)
        inside = inside * draw.happens(mix.regions)
        length = draw.log_uniform(*_up_to(longest, mix.region_shift_px))
        angle = draw.uniform(0, 2 * math.pi)
        own = torch.cat([length * angle.cos(), length * angle.sin()], dim=1)
        motion = motion * (1 - inside) + own * inside
    return motion


def _up_to(longest: float, lengths: tuple[float, float]) -> tuple[float, float]:
    """The range of lengths that fits; at least its shortest."""
    shortest, wanted = lengths
    return shortest, max(shortest, min(wanted, longest))


def _field(batch: int, height: int, width: int, draw: "_Draw") -> Tensor:
    """A smooth random field `[B, 1, H, W]`, about -1…1."""
    knots = draw.signed(FIELD_KNOTS**2).view(batch, 1, FIELD_KNOTS, FIELD_KNOTS)
    return F.interpolate(knots, (height, width), mode="bicubic", align_corners=False)


def _smooth(knots: Tensor, count: int) -> Tensor:
    """`[B, K]` knots to `[B, count]`, cubic between them."""
    line = knots[:, None, None, :]
    return F.interpolate(line, (1, count), mode="bicubic", align_corners=True)[:, 0, 0]


def _line_kernel(height: int, width: int, slant: Tensor, length: Tensor, sigma: Tensor) -> Tensor:
    """Lines through the origin, soft at the ends, peak 1, `[K, 1, H, W]`, wrapped for the FFT."""
    device = slant.device
    y = torch.fft.fftfreq(height, d=1 / height, device=device).view(1, 1, height, 1)
    x = torch.fft.fftfreq(width, d=1 / width, device=device).view(1, 1, 1, width)
    along = y * slant.cos() + x * slant.sin()
    across = x * slant.cos() - y * slant.sin()
    body = torch.sigmoid((length / 2 - along.abs()) / (0.08 * length).clamp(min=0.5))
    return body * torch.exp(-across.square() / (2 * sigma.square()))


def _darken(clean: Tensor, draw: "_Draw") -> Tensor:
    """Dusk: a gain below one and a gamma."""
    return clean.clamp(min=1e-4).pow(draw.uniform(0.8, 1.6)) * draw.uniform(0.35, 1.0)


def _veil(clean: Tensor, draw: "_Draw") -> Tensor:
    """Distant rain as a flat veil: clean·t + grey·(1 - t)."""
    transmission = 1 - draw.uniform(0.05, 0.45)
    return clean * transmission + draw.uniform(0.5, 0.95) * (1 - transmission)


def _compress(
    rainy: Tensor, target: Tensor, draw: "_Draw", probability: float
) -> tuple[Tensor, Tensor]:
    """JPEG at the same quality on both pictures of some pairs."""
    quality = draw.uniform(35, 95).view(-1)
    chosen = draw.happens(probability).view(-1).nonzero().view(-1)
    if not len(chosen):
        return rainy, target
    height, width = rainy.shape[-2:]
    both = torch.cat([rainy[chosen], target[chosen]])
    padded = F.pad(both, (0, -width % JPEG_BLOCK_PX, 0, -height % JPEG_BLOCK_PX), mode="replicate")
    coded = jpeg_codec_differentiable(padded, quality[chosen].repeat(2))[..., :height, :width]
    coded_rainy, coded_target = coded.clamp(0, 1).chunk(2)
    return rainy.index_copy(0, chosen, coded_rainy), target.index_copy(0, chosen, coded_target)


class _Draw:
    """Random numbers for a batch, one per image, shaped `[B, 1, 1, 1]`."""

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self._batch, self._generator, self.device = batch, generator, device

    def uniform(self, low: float, high: float) -> Tensor:
        shape = (self._batch, 1, 1, 1)
        value = torch.rand(shape, generator=self._generator, device=self.device)
        return low + (high - low) * value

    def signed(self, count: int) -> Tensor:
        """`[B, count]` in -1…1."""
        value = torch.rand((self._batch, count), generator=self._generator, device=self.device)
        return 2 * value - 1

    def log_uniform(self, low: float, high: float) -> Tensor:
        return self.uniform(math.log(low), math.log(high)).exp()

    def normal(self, std: float) -> Tensor:
        shape = (self._batch, 1, 1, 1)
        return std * torch.randn(shape, generator=self._generator, device=self.device)

    def index(self, count: int) -> int:
        """One for the whole batch."""
        drawn = torch.randint(count, (1,), generator=self._generator, device=self.device)
        return int(drawn.item())

    def happens(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability
