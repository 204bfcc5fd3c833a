"""Synthetic motion blur on a batch of sharp images, on the batch's device.

As in the GoPro data set (Nah et al. 2017), sharp sub-frames of one exposure are averaged. Here the
sub-frames are warps of one sharp image along two motions at once:

    camera    a smooth random path of shift, rotation and zoom: hand-held shake, whose shift moves
              near objects more than far ones (a smooth random relief)
    scene     a displacement per pixel: optical flow of a real sequence, or a smooth random field
              and soft-edged regions that each move on their own

They are averaged in linear light, as a sensor does, or for some images in the camera's gamma, as in
GoPro's `blur` folders.

Content that enters an image from outside during the exposure is unknown, so the image is mirrored
at its edges. For blur that is correct up to the edge, blur a larger image and crop off a margin.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn.degrade.draw import BatchRandom, compress_pairs

GAMMA = 2.2  # of the camera response, as GoPro's authors assumed it
SUBFRAME_COUNTS = (7, 9, 11, 13, 17, 25)  # GoPro averaged 7 to 13; REDS interpolated more
LARGEST_STEP_PX = 3.0  # between sub-frames; with larger steps an edge appears several times
ENLARGEMENT = 3
"""Sub-frames are sampled from an image enlarged by this factor. Bilinear samples of the image
itself would be soft in every direction, and the network would learn to sharpen everything that
moves. The factor is odd so that the centre of a pixel stays the centre of one."""
EASY_LENGTH_PX = 8.0  # of the single blur that training starts with
LONGEST_SHARE = 1 / 6  # of the shorter side: a crop must be much larger than its blur
PATH_KNOTS = 4
WALKING_SHAKE = 0.3  # of the usual camera shake, while the camera moves forward or back
SMALLEST_FLOW_SIDE_PX = 16  # OpenCV's DIS ends the process on smaller images; they are enlarged
REGIONS = 3
FIELD_KNOTS = 6
REGION_THRESHOLD, REGION_STEEPNESS = 0.6, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurMix:
    """Frequency and strength of each ingredient of `blur`.

    Shares are probabilities in 0…1, drawn independently for each image. Lengths are in px over the
    whole exposure and drawn log-uniformly: every octave is equally frequent. No length is more than
    1/6 of the image's shorter side.

    Args:
        sharp: Share without any motion. The network must learn to leave sharp images alone.
        still: Share with the camera on a tripod: only the scene moves.
        shift_px: Shortest and longest shift of the camera.
        directions: Share of all directions in which the camera may shift, centred on the
            horizontal: 1 allows all, 0 only the horizontal.
        wobble: Deviation of the camera from a straight line, as a share of its shift.
        turn_deg: Largest rotation of the camera about its axis, in degrees.
        zoom: Largest relative change of scale.
        walking: Share with the camera moving forward or back: the image flows from or to one
            point, which stays sharp.
        walking_px: Shortest and longest flow at a distance of one shorter side from that point.
        relief: Largest share by which the camera's shift varies from place to place.
        varying: Share in which the motion changes its length and direction from place to place, as
            it does where objects are near and far, turn or deform. Without such images the network
            learns to find one blur for the whole image.
        varying_px: Shortest and longest such motion.
        exposure: Shortest and longest share of the frame interval during which the shutter is open;
            it scales a given flow.
        regions: Share in which each of three regions moves on its own.
        region_shift_px: Shortest and longest shift of a region.
        gamma: Smallest and largest gamma of the camera, which is undone before averaging.
        as_recorded: Share that is averaged without undoing the gamma.
        noise: Share with Gaussian sensor noise, the same on blurred image and target.
        jpeg: Share with JPEG compression, of the same quality on blurred image and target.
    """

    sharp: float = 0.1
    still: float = 0.04
    shift_px: tuple[float, float] = (1.0, 24.0)
    directions: float = 1.0
    wobble: float = 0.1
    turn_deg: float = 1.0
    zoom: float = 0.02
    walking: float = 0.25
    walking_px: tuple[float, float] = (1.0, 24.0)
    relief: float = 0.8
    varying: float = 0.6
    varying_px: tuple[float, float] = (1.0, 16.0)
    exposure: tuple[float, float] = (0.2, 1.0)
    regions: float = 0.2
    region_shift_px: tuple[float, float] = (1.0, 24.0)
    gamma: tuple[float, float] = (1.8, 2.4)
    as_recorded: float = 0.4
    noise: float = 0.1
    jpeg: float = 0.1

    def eased(self, hardness: float) -> "BlurMix":
        """Derive an easier mix, for the first steps of a training.

        A network learns to undo one known blur in a hundred steps. Starting with all blurs it
        learns nothing in thousands: the average of all their inverses is the identity
        (`docs/log.md`).

        Args:
            hardness: 0 for a single blur, horizontal and 8 px long; 1 for this mix; interpolated in
                between.

        Returns:
            The mix of that hardness; this one for 1 or more.
        """
        if hardness >= 1:
            return self

        def interpolate(lengths: tuple[float, float]) -> tuple[float, float]:
            shortest, longest = (
                EASY_LENGTH_PX + hardness * (length - EASY_LENGTH_PX) for length in lengths
            )
            return shortest, longest

        return replace(
            self,
            shift_px=interpolate(self.shift_px),
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
    """Put synthetic motion blur on a batch of sharp images.

    `sharp` is the middle of the exposure, so blurred image and target are aligned.

    Args:
        sharp: RGB, float32 `[B, 3, H, W]` in 0…1.
        generator: Source of all randomness, on the device of `sharp`. The same state gives the
            same blur.
        flow: Motion to the next frame in px, `[B, 2, H, W]`, x then y. Images whose flow is zero
            everywhere get random motion.
        mix: Frequency and strength of each ingredient; by default `BlurMix()`.

    Returns:
        `(blurred, target)`, both like `sharp`. `target` is `sharp` with the noise and the
        compression of `blurred`, which the network leaves alone.
    """
    mix = mix or BlurMix()
    batch, _, height, width = sharp.shape
    draw = BatchRandom(batch, generator, sharp.device)
    moving = ~draw.happens(mix.sharp)
    longest = LONGEST_SHARE * min(height, width)
    # Both are drawn for all images even where `flow` replaces them: the random numbers that follow,
    # and so what a seed gives, must not depend on which images have a flow.
    scene = _draw_moving_regions(batch, height, width, draw, mix, longest)
    scene = scene + _draw_varying_motion(batch, height, width, draw, mix, longest)
    if flow is not None:
        known = flow.abs().amax(dim=(1, 2, 3), keepdim=True) > 0
        exposed = flow * draw.uniform(*mix.exposure)
        fastest = exposed.norm(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True)
        scene = torch.where(known, exposed * (longest / fastest).clamp(max=1), scene)
    relief = 1 + draw.uniform(0, mix.relief) * _draw_field(batch, height, width, draw)
    path = _draw_camera_path(draw, mix, min(height, width))
    path = path * (moving & ~draw.happens(mix.still)).view(batch, 1, 1)
    gamma = torch.where(draw.happens(mix.as_recorded), 1.0, draw.uniform(*mix.gamma))
    blurred = average_along(sharp, path, scene * moving, relief=relief, gamma=gamma)
    blurred = torch.where(moving, blurred, sharp)

    noise = torch.randn(sharp.shape, generator=generator, device=sharp.device)
    noise = noise * draw.uniform(0.002, 0.02) * draw.happens(mix.noise)
    return compress_pairs(
        (blurred + noise).clamp(0, 1), (sharp + noise).clamp(0, 1), draw, mix.jpeg
    )


def optical_flow(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Estimate the motion from one frame to the next, with OpenCV's DIS optical flow.

    Args:
        first: RGB, uint8 `[H, W, 3]`.
        second: The next frame, like `first`.

    Returns:
        Displacement of each pixel of `first` in px, float32 `[H, W, 2]`, x then y.
    """
    height, width = first.shape[:2]
    below, right = (max(0, SMALLEST_FLOW_SIDE_PX - side) for side in (height, width))
    grey = [
        cv2.copyMakeBorder(
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0, below, 0, right, cv2.BORDER_REPLICATE
        )
        for image in (first, second)
    ]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: npt.NDArray[np.float32] = np.asarray(estimator.calc(*grey, None), np.float32)  # type: ignore[call-overload]
    return flow[:height, :width]


def average_along(
    sharp: Tensor,
    path: Tensor,
    scene: Tensor,
    *,
    relief: Tensor | float = 1.0,
    gamma: Tensor | float = GAMMA,
    enlarge: int = ENLARGEMENT,
) -> Tensor:
    """Simulate an exposure: average warps of a sharp image along camera and scene motion.

    Args:
        sharp: RGB, float32 `[B, 3, H, W]` in 0…1.
        path: `[B, T, 4]`, the camera in each of T >= 2 sub-frames: shift in x and y (px), rotation
            (radians), zoom minus one.
        scene: Motion of each pixel over the whole exposure in px, `[B, 2, H, W]`, x then y. It is
            steady, and zero in the middle of the exposure.
        relief: Factor on the camera's shift, from place to place: `[B, 1, H, W]`, or one for all.
        gamma: Gamma that is undone before averaging: `[B, 1, 1, 1]`, or one for all.
        enlarge: Factor by which the image is enlarged before sampling. An odd number; its square
            times the image is held in memory.

    Returns:
        The blurred images, like `sharp`.
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
        # `source` is larger, but grid_sample's coordinates are relative: -1…1 is the whole image.
        total += F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    return (total / count).clamp(0, 1).pow(1 / gamma)


def _draw_camera_path(draw: BatchRandom, mix: BlurMix, side: int) -> Tensor:
    """Draw smooth paths `[B, T, 4]`: a steady motion and a wobble on it.

    They are zero in the middle of the exposure, where the sharp image is.
    """
    longest = LONGEST_SHARE * side
    shortest, furthest = _limit_range(longest, mix.shift_px)
    counts = [
        count for count in SUBFRAME_COUNTS if count * LARGEST_STEP_PX >= furthest
    ] or SUBFRAME_COUNTS[-1:]
    # One count for the batch: the sub-frames of all images are warped together.
    count = counts[draw.index(len(counts))]
    length = draw.log_uniform(shortest, furthest).view(-1, 1)
    angle = math.pi * mix.directions * draw.signed(1)
    when = torch.linspace(-0.5, 0.5, count, device=length.device).view(1, -1)
    walking = draw.happens(mix.walking).view(-1, 1)
    length = torch.where(walking, length * WALKING_SHAKE, length)
    wobble = [_interpolate_knots(draw.signed(PATH_KNOTS), count) for _ in range(4)]
    turn = math.radians(mix.turn_deg) * (when * draw.signed(1) + 0.5 * wobble[2])
    zoom = mix.zoom * (when * draw.signed(1) + 0.25 * wobble[3])
    flow = draw.log_uniform(*_limit_range(longest, mix.walking_px)).view(-1, 1) / side
    forward = torch.where(draw.happens(0.5).view(-1, 1), flow, -flow)
    zoom = torch.where(walking, forward * (when + 0.25 * wobble[3]), zoom)
    # Zoom about a random point: the shift moves its centre there.
    centre_x, centre_y = (0.5 * side * draw.signed(1) for _ in range(2))
    x = length * (when * angle.cos() + mix.wobble * wobble[0]) - zoom * centre_x
    y = length * (when * angle.sin() + mix.wobble * wobble[1]) - zoom * centre_y
    path = torch.stack([x, y, turn, zoom], dim=2)
    return path - path[:, count // 2, None]


def _draw_moving_regions(
    batch: int, height: int, width: int, draw: BatchRandom, mix: BlurMix, longest: float
) -> Tensor:
    """Draw soft-edged regions that move on their own, `[B, 2, H, W]` in px, zero elsewhere."""
    motion = torch.zeros((batch, 2, height, width), device=draw.device)
    for _ in range(REGIONS):
        field = _draw_field(batch, height, width, draw)
        inside = torch.sigmoid((field - REGION_THRESHOLD) * REGION_STEEPNESS)
        inside = inside * draw.happens(mix.regions)
        length = draw.log_uniform(*_limit_range(longest, mix.region_shift_px))
        angle = draw.uniform(0, 2 * math.pi)
        own = torch.cat([length * angle.cos(), length * angle.sin()], dim=1)
        motion = motion * (1 - inside) + own * inside
    return motion


def _draw_varying_motion(
    batch: int, height: int, width: int, draw: BatchRandom, mix: BlurMix, longest: float
) -> Tensor:
    """Draw a motion that changes smoothly from place to place, `[B, 2, H, W]` in px, or none."""
    length = draw.log_uniform(*_limit_range(longest, mix.varying_px)) * draw.happens(mix.varying)
    return length * torch.cat([_draw_field(batch, height, width, draw) for _ in range(2)], dim=1)


def _limit_range(longest: float, lengths: tuple[float, float]) -> tuple[float, float]:
    """Limit a range of lengths to the longest that fits, but not below its shortest."""
    shortest, wanted = lengths
    return shortest, max(shortest, min(wanted, longest))


def _draw_field(batch: int, height: int, width: int, draw: BatchRandom) -> Tensor:
    """Draw a smooth random field `[B, 1, H, W]`, roughly in -1…1."""
    knots = draw.signed(FIELD_KNOTS**2).view(batch, 1, FIELD_KNOTS, FIELD_KNOTS)
    return F.interpolate(knots, (height, width), mode="bicubic", align_corners=False)


def _interpolate_knots(knots: Tensor, count: int) -> Tensor:
    """Interpolate `[B, K]` knots to `[B, count]`, cubically."""
    line = knots[:, None, None, :]
    return F.interpolate(line, (1, count), mode="bicubic", align_corners=True)[:, 0, 0]
