"""Conversion of a stream's own planes to RGB and of residuals back, on tensors of any device.

The way back converts the residual, not the restored frame, and adds it to the planes as they were.
So where the network changes nothing every bit stays, whatever the pixel format, range and matrix,
and going through RGB loses nothing. Planes stay integers, in the stream's own sizes. Knows nothing
of files, and nothing of devices.

The formulae, for depth d, from ITU-T H.273:

    limited range   Y' = (Y - 16·2^(d-8)) / (219·2^(d-8))    Pb = (Cb - 2^(d-1)) / (224·2^(d-8))
    full range      Y' = Y / (2^d - 1)                       Pb = (Cb - 2^(d-1)) / (2^d - 1)
    matrix          R = Y' + 2(1 - kr)·Pr,  B = Y' + 2(1 - kb)·Pb,  kr·R + kg·G + kb·B = Y'

Transfer curves are left as they are: the network sees the frame as it is coded.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn_video.media import FrameFormat, Image, PixelFormat, Plane


class PlaneConverter:
    """Converts the planes of one stream. It holds only numbers: one serves all threads and devices.

    Chroma is interpolated linearly. Its samples are assumed to lie on the left luma sample of their
    group horizontally and in the middle vertically, as MPEG-2 and H.264 do by default; in the
    middle both ways for the full-range formats of JPEG. The way back averages around the same
    places, so that a residual's colour lands where the network put it.

    Two are equal if they convert alike, so that streams of one format share what is kept for it.

    Args:
        info: how the stream's frames are stored. Pixel format, matrix, range, rotation and flip
            are used; width and height only to guess an untagged matrix.
    """

    def __init__(self, info: FrameFormat) -> None:
        self._format = info.format
        (self._kr, self._kb), full_range = info.colour.resolved(
            info.height, info.format, width=info.width
        )
        self._kg = 1 - self._kr - self._kb
        self._quarter_turns = info.rotation // 90 % 4
        self._flip = info.flip
        peak = float(info.format.peak)
        step = float(1 << (info.format.depth - 8))
        full = full_range or info.format.family == "rgb"
        self._luma_zero = 0.0 if full else 16 * step
        self._luma_scale = peak if full else 219 * step
        self._chroma_zero = 128 * step
        self._chroma_scale = peak if full else 224 * step
        self._centred = info.format.full_range_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlaneConverter) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).items()))

    def upright_size(self, planes: Sequence[Tensor]) -> tuple[int, int]:
        """Return height and width, in px, of the RGB that `to_rgb` makes of these planes."""
        height, width = planes[0].shape
        return (width, height) if self._quarter_turns % 2 else (height, width)

    def to_rgb(self, planes: Sequence[Tensor]) -> Tensor:
        """Convert planes to upright RGB.

        Args:
            planes: integer tensors `[h, w]` in the order of the pixel format; alpha is ignored.

        Returns:
            `[1, 3, H, W]`, float32, clamped to 0…1, on the planes' device.
        """
        if self._format.family == "rgb":
            green, blue, red = planes[:3]
            rgb = torch.stack([red.float(), green.float(), blue.float()]).div_(self._luma_scale)
        elif self._format.family == "gray":
            rgb = self._normalize_luma(planes[0]).repeat(3, 1, 1)
        else:
            rgb = self._yuv_to_rgb(planes)
        return self._make_upright(rgb[None].clamp_(0, 1))

    def to_image(self, planes: Sequence[Plane]) -> Image:
        """Convert a frame's planes to an upright image.

        Args:
            planes: integer arrays `[h, w]` in the order of the pixel format; alpha is ignored.

        Returns:
            RGB `[H, W, 3]`, uint8, owned by the caller.
        """
        with torch.inference_mode():
            # Nothing writes to them, but PyTorch makes no tensor of a read-only array.
            arrays = (np.require(plane, requirements="W") for plane in planes)
            rgb = self.to_rgb([torch.from_numpy(array) for array in arrays])[0]
            image: Image = rgb.mul(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
            return np.ascontiguousarray(image)

    def add_residual(self, planes: Sequence[Tensor], residual: Tensor) -> tuple[Tensor, ...]:
        """Add a residual to the planes it was computed from.

        Args:
            planes: integer tensors `[h, w]` in the order of the pixel format; left unchanged.
            residual: restored minus input, upright RGB `[1, 3, H, W]`, in -1…1.

        Returns:
            The restored planes, of the same types and sizes. Samples are clamped to the bit
            depth, not to the limited range: highlights above white are kept. Alpha is passed on
            unchanged.
        """
        stored = self._undo_upright(residual.float())[0]
        if self._format.family == "rgb":
            red, green, blue = stored * self._luma_scale
            changes = [green, blue, red]
        else:
            changes = [self._to_luma_codes(stored)]
            if self._format.family == "yuv":
                changes += self._to_chroma_codes(stored)
        restored = (
            _add_to_plane(plane, change, self._format)
            for plane, change in zip(planes, changes, strict=False)
        )
        return (*restored, *planes[len(changes) :])

    def _normalize_luma(self, plane: Tensor) -> Tensor:
        return plane.float().sub_(self._luma_zero).div_(self._luma_scale)

    def _yuv_to_rgb(self, planes: Sequence[Tensor]) -> Tensor:
        luma = self._normalize_luma(planes[0])
        height, width = luma.shape
        chroma = torch.stack([plane.float() for plane in planes[1:3]])
        chroma.sub_(self._chroma_zero).div_(self._chroma_scale)
        pb, pr = self._upsample_chroma(chroma)[:, :height, :width]
        to_red = 2 * (1 - self._kr)
        to_blue = 2 * (1 - self._kb)
        # In place, without temporary planes.
        rgb = luma.new_empty(3, height, width)
        torch.add(luma, pr, alpha=to_red, out=rgb[0])
        torch.add(luma, pr, alpha=-self._kr * to_red / self._kg, out=rgb[1])
        rgb[1].add_(pb, alpha=-self._kb * to_blue / self._kg)
        torch.add(luma, pb, alpha=to_blue, out=rgb[2])
        return rgb

    def _to_luma_codes(self, rgb: Tensor) -> Tensor:
        """Convert a residual `[3, H, W]` to that of Y `[H, W]`, in codes of the plane's depth."""
        red, green, blue = rgb.unbind()
        luma = red * (self._kr * self._luma_scale)
        luma.add_(green, alpha=self._kg * self._luma_scale)
        return luma.add_(blue, alpha=self._kb * self._luma_scale)

    def _to_chroma_codes(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Convert a residual `[3, H, W]` to those of Cb and Cr, in the planes' size and codes."""
        red, green, blue = self._downsample_to_chroma(rgb).unbind()
        luma = self._kr * red + self._kg * green + self._kb * blue
        cb = (blue - luma) * (self._chroma_scale / (2 * (1 - self._kb)))
        cr = (red - luma) * (self._chroma_scale / (2 * (1 - self._kr)))
        return cb, cr

    def _upsample_chroma(self, chroma: Tensor) -> Tensor:
        """Interpolate chroma `[2, h, w]` to luma's size, or a little more where that is odd."""
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

    def _downsample_to_chroma(self, image: Tensor) -> Tensor:
        """Average `[C, H, W]` around the place of each chroma sample, to chroma's size."""
        across, down = (1 << shift for shift in self._format.chroma_shift)
        rows = _average_groups(image, 1, down)
        if across == 1 or self._centred:
            return _average_groups(rows, 2, across)
        # Two averages in a row, one to the left and one to the right, are a triangle in the
        # middle: [1 2 1] / 4 for groups of two. Samples missing at the edges repeat the last one.
        missing = -rows.shape[2] % across
        padded = F.pad(rows[None], (across - 1, missing, 0, 0), mode="replicate")[0]
        width = padded.shape[2] // across
        total = rows.new_zeros(*rows.shape[:2], width)
        for start in range(2 * across - 1):
            column = padded[..., start::across][..., :width]
            total.add_(column, alpha=(across - abs(start + 1 - across)) / across**2)
        return total

    def _make_upright(self, stored: Tensor) -> Tensor:
        """Rotate `[1, 3, H, W]` clockwise, then mirror it, by the display matrix."""
        quarters = self._quarter_turns
        upright = torch.rot90(stored, -quarters, (2, 3)) if quarters else stored
        return upright.flip(3) if self._flip else upright

    def _undo_upright(self, upright: Tensor) -> Tensor:
        """Invert `_make_upright`."""
        rotated = upright.flip(3) if self._flip else upright
        quarters = self._quarter_turns
        return torch.rot90(rotated, quarters, (2, 3)) if quarters else rotated


def _average_groups(image: Tensor, dim: int, size: int) -> Tensor:
    """Average groups of `size` along `dim`; the last group may be smaller."""
    if size == 1:
        return image
    lines = image.movedim(dim, 0)
    total = lines[::size].clone()
    for start in range(1, size):
        part = lines[start::size]
        total[: len(part)].add_(part)
    total.div_(size)
    if rest := len(lines) % size:
        total[-1].mul_(size / rest)
    return total.movedim(0, dim)


def _add_to_plane(plane: Tensor, change: Tensor, pixel_format: PixelFormat) -> Tensor:
    # Sums of 16-bit integers and rounding are exact in float32; 0 leaves every sample as it is.
    restored = plane.float().add_(change).round_().clamp_(0, pixel_format.peak)
    return restored.to(plane.dtype)
