"""Sharp pictures to motion-blurred ones, on whatever device the batch is.

Made as GoPro's set was (Nah et al. 2017): sharp sub-frames of one exposure, averaged. Here the
sub-frames are warps of one sharp picture along two motions at once:

    camera    a smooth random path of shift, turn and zoom: hand-held shake, whose shift moves what
              is near more than what is far (a smooth random relief)
    scene     a displacement per pixel: optical flow of a real sequence, or soft-edged regions that
              each move their own way

They are averaged in linear light, as a sensor does, or in some pictures in the camera's own gamma,
as the `blur` folder of GoPro was.

What enters a picture from outside during the exposure is not known here, and is mirrored in. Who
needs blur that is right up to the edge blurs a larger picture and cuts a margin off.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn.degrade.draw import Draw, compress

GAMMA = 2.2  # of the camera response, as GoPro's authors assumed it
SUBFRAMES = (7, 9, 11, 13, 17, 25)  # GoPro averaged 7 to 13; REDS interpolated more in between
LARGEST_STEP_PX = 3.0  # between sub-frames; with larger ones edges would be seen several times
ENLARGED = 3
"""Sub-frames are sampled from a picture so many times as large. Sampled bilinearly from the picture
itself they would be soft in every direction, and a network would learn to sharpen what moves. Odd,
so that the middle of a pixel stays the middle of one."""
EASY_LENGTH_PX = 8.0  # of the one blur that learning begins with
LONGEST_SHARE = 1 / 6  # of the shorter side: a crop must show much more than the blur
PATH_KNOTS = 4
WALKING_SHAKE = 0.3  # of what a hand shakes at other times
REGIONS = 3
FIELD_KNOTS = 6
REGION_THRESHOLD, REGION_STEEPNESS = 0.6, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurMix:
    """How often, and how strong. Lengths in px along the whole exposure."""

    sharp: float = 0.03
    """No motion at all: the network must learn to leave sharp pictures alone."""
    still: float = 0.04
    """A camera on a tripod: only the scene moves."""
    shift_px: tuple[float, float] = (1.0, 24.0)
    """Never more than a `LONGEST_SHARE` of the picture's shorter side; every octave alike often."""
    directions: float = 1.0
    """Share of all directions of the camera's shift, about the horizontal."""
    wobble: float = 0.1
    """How far the camera leaves the straight line, as a share of its way."""
    turn_deg: float = 1.0
    zoom: float = 0.02
    walking: float = 0.25
    """A camera that moves forward or back: everything flows from one point, and is sharp there."""
    walking_px: tuple[float, float] = (1.0, 24.0)
    """How far it flows where that point is a side away; never more than the same share."""
    relief: float = 0.8
    """Up to this share, the camera's shift is larger or smaller from place to place."""
    varying: float = 0.6
    """Pictures in which motion is another from place to place, in length and direction, as it is
    where things are near and far, turn and bend. Without them a network learns to find one blur
    for the whole picture."""
    varying_px: tuple[float, float] = (1.0, 16.0)
    exposure: tuple[float, float] = (0.2, 1.0)
    """Share of the time between two frames of a sequence during which the shutter is open, less
    where things would move further than the `LONGEST_SHARE`."""
    regions: float = 0.2
    region_shift_px: tuple[float, float] = (1.0, 24.0)
    gamma: tuple[float, float] = (1.8, 2.4)
    """Of the camera: the average is taken after undoing it..."""
    as_recorded: float = 0.4
    """...but for these, which are averaged as they are."""
    noise: float = 0.1
    jpeg: float = 0.1

    def eased(self, hardness: float) -> "BlurMix":
        """This mix at 1; at 0 one blur alone, of `EASY_LENGTH_PX` to the side; steps between.

        Undoing one known blur is learnt in a hundred steps. Undoing any, from the start, is not
        learnt in thousands: the average of all their inverses does nothing (`docs/log.md`).
        """
        if hardness >= 1:
            return self

        def about(lengths: tuple[float, float]) -> tuple[float, float]:
            shortest, longest = (
                EASY_LENGTH_PX + hardness * (length - EASY_LENGTH_PX) for length in lengths
            )
            return shortest, longest

        return replace(
            self,
            shift_px=about(self.shift_px),
            directions=hardness * self.directions,
            wobble=hardness * self.wobble,
            turn_deg=hardness * self.turn_deg,
            zoom=hardness * self.zoom,
            walking=hardness * self.walking,
            relief=hardness * self.relief,
            varying=hardness * self.varying,
            exposure=(hardness * self.exposure[0], hardness * self.exposure[1]),
            regions=hardness * self.regions,
            noise=hardness * self.noise,
            jpeg=hardness * self.jpeg,
        )


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
    draw = Draw(batch, generator, sharp.device)
    moving = ~draw.happens(mix.sharp)
    longest = LONGEST_SHARE * min(height, width)
    scene = _moving_regions(batch, height, width, draw, mix, longest)
    scene = scene + _varying_motion(batch, height, width, draw, mix, longest)
    if flow is not None:
        real = flow.abs().amax(dim=(1, 2, 3), keepdim=True) > 0
        opened = flow * draw.uniform(*mix.exposure)
        fastest = opened.norm(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True)
        scene = torch.where(real, opened * (longest / fastest).clamp(max=1), scene)
    relief = 1 + draw.uniform(0, mix.relief) * _field(batch, height, width, draw)
    path = _camera_path(draw, mix, min(height, width)) * (moving & ~draw.happens(mix.still)).view(
        batch, 1, 1
    )
    gamma = torch.where(draw.happens(mix.as_recorded), 1.0, draw.uniform(*mix.gamma))
    blurred = average_along(sharp, path, scene * moving, relief=relief, gamma=gamma)
    blurred = torch.where(moving, blurred, sharp)

    noise = torch.randn(sharp.shape, generator=generator, device=sharp.device)
    noise = noise * draw.uniform(0.002, 0.02) * draw.happens(mix.noise)
    return compress((blurred + noise).clamp(0, 1), (sharp + noise).clamp(0, 1), draw, mix.jpeg)


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
    enlarge: int = ENLARGED,
) -> Tensor:
    """The exposure: warps of `sharp` `[B, 3, H, W]`, averaged where `gamma` is undone.

    `path`: `[B, T, 4]`, the camera in each sub-frame: shift in x and y (px), turn (radians), zoom
    minus one. `relief`: `[B, 1, H, W]`, by how much more the camera's shift moves what is there.
    `scene`: `[B, 2, H, W]`, px over the whole exposure, gone through evenly. `enlarge`: see
    `ENLARGED`; its square times the picture is held in memory.
    """
    batch, _, height, width = sharp.shape
    linear = sharp.clamp(min=1e-4).pow(gamma)
    source = F.interpolate(linear, scale_factor=enlarge, mode="bicubic", align_corners=False)
    source = source.clamp(0, 1)
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
        total += F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    return (total / count).clamp(0, 1).pow(1 / gamma)


def _camera_path(draw: Draw, mix: BlurMix, side: int) -> Tensor:
    """Smooth paths `[B, T, 4]`, zero in mid-exposure: a steady motion and a wobble on it."""
    longest = LONGEST_SHARE * side
    shortest, furthest = _up_to(longest, mix.shift_px)
    counts = [count for count in SUBFRAMES if count * LARGEST_STEP_PX >= furthest] or SUBFRAMES[-1:]
    count = counts[draw.index(len(counts))]
    length = draw.log_uniform(shortest, furthest).view(-1, 1)
    angle = math.pi * mix.directions * draw.signed(1)
    when = torch.linspace(-0.5, 0.5, count, device=length.device).view(1, -1)
    walking = draw.happens(mix.walking).view(-1, 1)
    length = torch.where(walking, length * WALKING_SHAKE, length)
    wobble = [_smooth(draw.signed(PATH_KNOTS), count) for _ in range(4)]
    turn = math.radians(mix.turn_deg) * (when * draw.signed(1) + 0.5 * wobble[2])
    zoom = mix.zoom * (when * draw.signed(1) + 0.25 * wobble[3])
    flow = draw.log_uniform(*_up_to(longest, mix.walking_px)).view(-1, 1) / side
    forward = torch.where(draw.happens(0.5).view(-1, 1), flow, -flow)
    zoom = torch.where(walking, forward * (when + 0.25 * wobble[3]), zoom)
    centre_x, centre_y = (0.5 * side * draw.signed(1) for _ in range(2))
    x = length * (when * angle.cos() + mix.wobble * wobble[0]) - zoom * centre_x
    y = length * (when * angle.sin() + mix.wobble * wobble[1]) - zoom * centre_y
    path = torch.stack([x, y, turn, zoom], dim=2)
    return path - path[:, count // 2, None]


def _moving_regions(
    batch: int, height: int, width: int, draw: Draw, mix: BlurMix, longest: float
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


def _varying_motion(
    batch: int, height: int, width: int, draw: Draw, mix: BlurMix, longest: float
) -> Tensor:
    """A motion that changes smoothly from place to place, `[B, 2, H, W]` in px, or none."""
    length = draw.log_uniform(*_up_to(longest, mix.varying_px)) * draw.happens(mix.varying)
    return length * torch.cat([_field(batch, height, width, draw) for _ in range(2)], dim=1)


def _up_to(longest: float, lengths: tuple[float, float]) -> tuple[float, float]:
    """The range of lengths that fits; at least its shortest."""
    shortest, wanted = lengths
    return shortest, max(shortest, min(wanted, longest))


def _field(batch: int, height: int, width: int, draw: Draw) -> Tensor:
    """A smooth random field `[B, 1, H, W]`, about -1…1."""
    knots = draw.signed(FIELD_KNOTS**2).view(batch, 1, FIELD_KNOTS, FIELD_KNOTS)
    return F.interpolate(knots, (height, width), mode="bicubic", align_corners=False)


def _smooth(knots: Tensor, count: int) -> Tensor:
    """`[B, K]` knots to `[B, count]`, cubic between them."""
    line = knots[:, None, None, :]
    return F.interpolate(line, (1, count), mode="bicubic", align_corners=True)[:, 0, 0]
