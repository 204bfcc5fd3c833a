"""The stream's own planes to RGB and back, as tensors on whatever device they are.

What comes back is not the picture but a change of it: `add_residual` converts what the network
changed and adds it to the planes as they were. So a picture that the network leaves alone keeps
every bit, whatever its format, range and matrix, and nothing is lost by converting to RGB and back.
Planes travel as integers, in the sizes of the stream. Knows nothing of files (`reader.py`) and
nothing of where tensors live (`engine.py`).

The conventions, for depth d, from ITU-T H.273:

    limited range   Y' = (Y - 16·2^(d-8)) / (219·2^(d-8))    Pb = (Cb - 2^(d-1)) / (224·2^(d-8))
    full range      Y' = Y / (2^d - 1)                       Pb = (Cb - 2^(d-1)) / (2^d - 1)
    matrix          R = Y' + 2(1 - kr)·Pr,  B = Y' + 2(1 - kb)·Pb,  kr·R + kg·G + kb·B = Y'

Transfer curves are left as they are: the network sees the picture as it is coded.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn_video.media import FrameFormat, Image, PixelFormat, Plane


class PlaneConverter:
    """Converts the planes of one stream. Holds numbers only, so one serves any thread or device.

    Chroma is interpolated linearly. Its samples are taken to lie on the left luma sample of their
    group horizontally and in the middle vertically, as MPEG-2 and H.264 do by default; in the
    middle both ways for the full-range formats of JPEG. The way back averages around the same
    places, so that a change of colour lands where it was made.
    """

    def __init__(self, info: FrameFormat) -> None:
        self._format = info.format
        (self._kr, self._kb), full_range = info.colour.resolved(
            info.height, info.format, width=info.width
        )
        self._kg = 1 - self._kr - self._kb
        self._quarter_turns = info.rotation // 90 % 4
        self._flip = info.flip
        peak, step = float(info.format.peak), float(1 << (info.format.depth - 8))
        full = full_range or info.format.family == "rgb"
        self._luma_zero = 0.0 if full else 16 * step
        self._luma_scale = peak if full else 219 * step
        self._chroma_zero = 128 * step
        self._chroma_scale = peak if full else 224 * step
        self._centred = info.format.full_range_name

    def upright_size(self, planes: Sequence[Tensor]) -> tuple[int, int]:
        """Height and width of what `to_rgb` makes of them."""
        height, width = planes[0].shape
        return (width, height) if self._quarter_turns % 2 else (height, width)

    def to_rgb(self, planes: Sequence[Tensor]) -> Tensor:
        """Upright RGB `[1, 3, H, W]`, float32, clamped to 0…1, of planes `[h, w]`; no alpha."""
        if self._format.family == "rgb":
            green, blue, red = planes[:3]
            rgb = torch.stack([red.float(), green.float(), blue.float()]).div_(self._luma_scale)
        elif self._format.family == "gray":
            rgb = self._luma(planes[0]).repeat(3, 1, 1)
        else:
            rgb = self._yuv_to_rgb(planes)
        return self._upright(rgb[None].clamp_(0, 1))

    def to_image(self, planes: Sequence[Plane]) -> Image:
        """Upright RGB `[H, W, 3]`, uint8, of a frame's planes. An array of its own."""
        with torch.inference_mode():
            # Nothing is written to, but a tensor is not made of an array that forbids it.
            arrays = (np.require(plane, requirements="W") for plane in planes)
            rgb = self.to_rgb([torch.from_numpy(array) for array in arrays])[0]
            image: Image = rgb.mul(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
            return np.ascontiguousarray(image)

    def add_residual(self, planes: Sequence[Tensor], residual: Tensor) -> tuple[Tensor, ...]:
        """The planes plus what the network changed: `residual`, upright RGB `[1, 3, H, W]`.

        Types and sizes stay. Results are limited to what the depth can hold, not to the limited
        range: what was brighter than white may stay so. Alpha is passed on untouched.
        """
        stored = self._as_stored(residual.float())[0]
        if self._format.family == "rgb":
            red, green, blue = stored * self._luma_scale
            changes = [green, blue, red]
        else:
            changes = [self._change_of_luma(stored)]
            if self._format.family == "yuv":
                changes += self._change_of_chroma(stored)
        changed = (
            _added(plane, change, self._format)
            for plane, change in zip(planes, changes, strict=False)
        )
        return (*changed, *planes[len(changes) :])

    def _luma(self, plane: Tensor) -> Tensor:
        return plane.float().sub_(self._luma_zero).div_(self._luma_scale)

    def _yuv_to_rgb(self, planes: Sequence[Tensor]) -> Tensor:
        luma = self._luma(planes[0])
        height, width = luma.shape
        chroma = torch.stack([plane.float() for plane in planes[1:3]])
        chroma.sub_(self._chroma_zero).div_(self._chroma_scale)
        blueness, redness = self._enlarged(chroma)[:, :height, :width]
        to_red, to_blue = 2 * (1 - self._kr), 2 * (1 - self._kb)
        rgb = luma.new_empty(3, height, width)
        torch.add(luma, redness, alpha=to_red, out=rgb[0])
        torch.add(luma, redness, alpha=-self._kr * to_red / self._kg, out=rgb[1])
        rgb[1].add_(blueness, alpha=-self._kb * to_blue / self._kg)
        torch.add(luma, blueness, alpha=to_blue, out=rgb[2])
        return rgb

    def _change_of_luma(self, rgb: Tensor) -> Tensor:
        """`[3, H, W]` to `[H, W]`, in codes."""
        red, green, blue = rgb.unbind()
        luma = red * (self._kr * self._luma_scale)
        luma.add_(green, alpha=self._kg * self._luma_scale)
        return luma.add_(blue, alpha=self._kb * self._luma_scale)

    def _change_of_chroma(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """`[3, H, W]` to Cb and Cr `[h, w]` of chroma's size, in codes."""
        red, green, blue = self._reduced(rgb).unbind()
        luma = self._kr * red + self._kg * green + self._kb * blue
        blueness = (blue - luma) * (self._chroma_scale / (2 * (1 - self._kb)))
        redness = (red - luma) * (self._chroma_scale / (2 * (1 - self._kr)))
        return blueness, redness

    def _enlarged(self, chroma: Tensor) -> Tensor:
        """Chroma `[2, h, w]` at luma's size, or a little more where that is odd."""
        across, down = (1 << shift for shift in self._format.chroma_shift)
        height, width = chroma.shape[1:]
        if down > 1:
            size = (height * down, width)
            chroma = F.interpolate(chroma[None], size, mode="bilinear", align_corners=False)[0]
        if across > 1 and self._centred:
            size = (chroma.shape[1], width * across)
            chroma = F.interpolate(chroma[None], size, mode="bilinear", align_corners=False)[0]
        elif across > 1:
            # With aligned corners, sample i of n + 1 falls on column i · across of n · across + 1.
            size = (chroma.shape[1], width * across + 1)
            padded = F.pad(chroma[None], (0, 1, 0, 0), mode="replicate")
            chroma = F.interpolate(padded, size, mode="bilinear", align_corners=True)[0]
        return chroma

    def _reduced(self, picture: Tensor) -> Tensor:
        """`[C, H, W]` at chroma's size, averaged around each chroma sample's place."""
        across, down = (1 << shift for shift in self._format.chroma_shift)
        reduced = _averaged(picture, 1, down)
        if across == 1 or self._centred:
            return _averaged(reduced, 2, across)
        # Two averages in a row, one to the left and one to the right, are a triangle in the
        # middle: [1 2 1] / 4 for groups of two. What lacks at the edges repeats them.
        missing = -reduced.shape[2] % across
        padded = F.pad(reduced[None], (across - 1, missing, 0, 0), mode="replicate")[0]
        width = padded.shape[2] // across
        total = reduced.new_zeros(*reduced.shape[:2], width)
        for start in range(2 * across - 1):
            column = padded[..., start::across][..., :width]
            total.add_(column, alpha=(across - abs(start + 1 - across)) / across**2)
        return total

    def _upright(self, stored: Tensor) -> Tensor:
        """`[1, 3, H, W]` turned clockwise, then mirrored, as the stream asks to be shown."""
        turns = self._quarter_turns
        upright = torch.rot90(stored, -turns, (2, 3)) if turns else stored
        return upright.flip(3) if self._flip else upright

    def _as_stored(self, upright: Tensor) -> Tensor:
        """The way back from `_upright`."""
        turned = upright.flip(3) if self._flip else upright
        turns = self._quarter_turns
        return torch.rot90(turned, turns, (2, 3)) if turns else turned


def _averaged(picture: Tensor, dim: int, size: int) -> Tensor:
    """Groups of `size` along `dim`; the last one is averaged over the samples it has."""
    if size == 1:
        return picture
    every = picture.movedim(dim, 0)
    total = every[::size].clone()
    for start in range(1, size):
        part = every[start::size]
        total[: len(part)].add_(part)
    total.div_(size)
    if rest := len(every) % size:
        total[-1].mul_(size / rest)
    return total.movedim(0, dim)


def _added(plane: Tensor, change: Tensor, pixel_format: PixelFormat) -> Tensor:
    # Sums of 16-bit integers and rounding are exact in float32; 0 leaves every sample as it is.
    changed = plane.float().add_(change).round_().clamp_(0, pixel_format.peak)
    return changed.to(plane.dtype)
