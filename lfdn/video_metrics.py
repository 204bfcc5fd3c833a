"""How steady consecutive frames are: flicker, and without truth the warping error.

Like those of `lfdn.metrics`, which has PSNR and SSIM of single frames, all functions take float
tensors `[1, C, H, W]` in 0…1. Results are in 8-bit codes: 1 is a 255th of the range. Both measures
are usually taken on luma.

Neither stands alone. Frames that are blurred evenly hardly flicker; read PSNR beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn.degrade import optical_flow

CODES = 255
ROUND_TRIP_SHARE, ROUND_TRIP_PX2 = 0.01, 0.5
"""A trip there and back may miss its start by this share of the squared flows, and by this much."""


@dataclass(frozen=True, slots=True)
class Motion:
    """The way from a frame back to the previous one."""

    flow: Tensor
    """Displacement in px, x then y, `[1, 2, H, W]`: `previous[p + flow(p)]` is shown at p."""
    valid: Tensor
    """Where the flow can be trusted, bool `[1, 1, H, W]`."""

    @property
    def valid_share(self) -> float:
        """Share of the px at which the flow can be trusted, 0…1."""
        return self.valid.double().mean().item()


def flicker(frames: Iterable[Tensor], truth: Iterable[Tensor]) -> float:
    """Compute how much the error of a sequence changes from frame to frame.

    With the error e(t) = frame(t) - truth(t), it is the mean of |e(t) - e(t - 1)| over all px,
    channels and pairs of consecutive frames. An error that stays the same does not flicker.

    Args:
        frames: Two or more consecutive frames, `[1, C, H, W]` in 0…1.
        truth: As many clean frames, like `frames`.

    Returns:
        8-bit codes; 0 where the error does not change.

    Raises:
        ValueError: There are fewer than two frames, or not as many as of the truth.
    """
    errors = (a.double() - b.double() for a, b in zip(frames, truth, strict=True))
    changes = [(error - previous).abs().mean().item() for previous, error in pairwise(errors)]
    if not changes:
        raise ValueError("flicker needs two or more frames")
    return CODES * sum(changes) / len(changes)


def warping_error(frames: Iterable[Tensor], motions: Iterable[Motion]) -> float:
    """Compute how much frames differ from the previous one, moved to where its content is now.

    With the flow w from frame t to frame t - 1, and V(p, t) = 1 where it is valid and 0 elsewhere,
    it is the sum of V(p, t) |frame(p, t) - frame(p + w(p), t - 1)| over all px p and all pairs of
    consecutive frames, over the sum of V. Between px the previous frame is interpolated
    bicubically. Lai et al. (ECCV 2018) square the difference; here it is absolute, so that it
    can be compared with `flicker`.

    Sensor noise, changing light and errors of the flow count too, so even the truth is above
    0: compare a result with its source and, where there is one, the truth, on the same motions.

    Args:
        frames: Two or more consecutive frames, `[1, C, H, W]` in 0…1.
        motions: One fewer: `estimate_motion` of each pair of the source or the truth.

    Returns:
        8-bit codes; nan if no flow is valid anywhere.

    Raises:
        ValueError: There are fewer than two frames, or not one motion for each pair.
    """
    total = weight = 0.0
    pairs = list(zip(pairwise(frames), motions, strict=True))
    if not pairs:
        raise ValueError("the warping error needs two or more frames")
    for (previous, frame), motion in pairs:
        change = (frame.double() - warp(previous, motion.flow)).abs().mean(dim=1, keepdim=True)
        total += change[motion.valid].sum().item()
        weight += motion.valid.sum().item()
    return CODES * total / weight if weight else float("nan")


def estimate_motion(previous: Tensor, frame: Tensor) -> Motion:
    """Estimate the motion between two frames, and where the estimate can be trusted.

    DIS optical flow (Kroeger et al., ECCV 2016) runs both ways: w from `frame` to `previous`, v
    back. The flow is valid where p + w(p) lies in the frame and the trip there and back
    ends near its start (Sundaram et al., ECCV 2010):
    |w(p) + v(p + w(p))|² < 0.01 (|w(p)|² + |v(p + w(p))|²) + 0.5 px².

    Args:
        previous: RGB, `[1, 3, H, W]` in 0…1.
        frame: The next frame, like `previous`.
    """
    images = [_to_pixels(image) for image in (frame, previous)]
    there, back = (
        torch.from_numpy(optical_flow(*pair)).permute(2, 0, 1)[None].double()
        for pair in (images, images[::-1])
    )
    returned = _sample(back, there, mode="bilinear")
    miss = (there + returned).square().sum(dim=1, keepdim=True)
    length = (there.square() + returned.square()).sum(dim=1, keepdim=True)
    places = _find_places(there)
    height, width = there.shape[-2:]
    last = torch.tensor([width - 1, height - 1]).view(1, 2, 1, 1)
    inside = ((places >= 0) & (places <= last)).all(dim=1, keepdim=True)
    return Motion(there, inside & (miss < ROUND_TRIP_SHARE * length + ROUND_TRIP_PX2))


def warp(previous: Tensor, flow: Tensor) -> Tensor:
    """Move the previous frame to where its content is now.

    Args:
        previous: `[1, C, H, W]`.
        flow: `Motion.flow`.

    Returns:
        float64 `[1, C, H, W]`; content from outside is the nearest edge's.
    """
    return _sample(previous.double(), flow, mode="bicubic")


def _sample(image: Tensor, flow: Tensor, *, mode: str) -> Tensor:
    """Fetch `image[p + flow(p)]` in float64: in float32 even a flow of zero would interpolate."""
    height, width = image.shape[-2:]
    size = torch.tensor([width - 1, height - 1]).view(1, 2, 1, 1)
    grid = (2 * _find_places(flow) / size - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def _find_places(flow: Tensor) -> Tensor:
    """Add each px's own position to the flow, float64 `[1, 2, H, W]`."""
    height, width = flow.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )
    return flow.double() + torch.stack([columns, rows])[None]


def _to_pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """Convert `[1, 3, H, W]` in 0…1 to uint8 `[H, W, 3]`."""
    pixels = (image[0].clamp(0, 1) * CODES).round().to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())
