"""Channels padded with zeros, and the kernels of convolutions between them; for `lfdn.cuda`.

The last padded channel may be 1 everywhere instead, to carry a bias: see `Channels.one`.

Head and first strided convolution become one 3x3 convolution on 2x2 pixels each, whose input is

    0-11    the pixels, by (row, column, colour)
    12-17   those of the image's first row, by (column, colour), 0 elsewhere
    18-23   those of its first column, by (row, colour), 0 elsewhere
    24-26   the pixel in the corner, 0 elsewhere
    27-29   1 in the first row, in the first column, in the corner, 0 elsewhere
    30-31   0

All but the first twelve correct the first row and column: the strided convolution pads the head's
output with zeros, while the fused one sees the head's output on a padded image.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from lfdn.algebra import compose, fuse_first_convs, get_bias

ENTRY_PIXELS, ENTRY_CHANNELS = 12, 32
_ROW, _COLUMN, _CORNER, _ONES = 12, 18, 24, 27
WIDE, WIDE_ALIGN, NARROW_ALIGN = 32, 32, 16
"""Tensor cores work on 16 channels; from 32 on, kernels for multiples of 32 are the fastest."""


class Channels(NamedTuple):
    """Where channels are among padded ones."""

    places: tuple[int, ...]
    """The place of each channel."""
    padded: int
    """Number of channels with padding."""

    @property
    def one(self) -> int:
        """The padded channel that is 1, where there is one."""
        return self.padded - 1

    @classmethod
    def pad(cls, width: int, align: int | None = None) -> Self:
        """Pad `width` channels by one or more, to a multiple of `align`; None: a fast one."""
        align = align or (WIDE_ALIGN if width >= WIDE else NARROW_ALIGN)
        return cls(tuple(range(width)), -(-(width + 1) // align) * align)

    @classmethod
    def pad_halves(cls, width: int, align: int | None = None) -> Self:
        """Pad the halves of `width` channels each; the right half comes first."""
        half = cls.pad(width // 2, align)
        left = (half.padded + each for each in half.places)
        return cls((*left, *half.places), 2 * half.padded)

    def repeat(self, times: int) -> "Channels":
        """Repeat the padded channels."""
        starts = range(0, times * self.padded, self.padded)
        places = tuple(start + each for start in starts for each in self.places)
        return Channels(places, times * self.padded)

    def scatter(self, values: Tensor, *, rest: float = 0) -> Tensor:
        """Put a value `[C]` for each channel in its place; padding gets `rest`."""
        padded = values.new_full((self.padded,), rest)
        padded[list(self.places)] = values.detach()
        return padded


def place(weight: Tensor, inputs: Channels, outputs: Channels) -> Tensor:
    """Put a kernel `[O, I, h, w]` into one with padded channels."""
    padded = weight.new_zeros(outputs.padded, inputs.padded, *weight.shape[2:])
    rows = torch.tensor(outputs.places)[:, None]
    padded[rows, torch.tensor(inputs.places)[None]] = weight.detach()
    return padded


def pack_relu(
    conv: nn.Conv2d, inputs: Channels, outputs: Channels, *, emit: bool = False
) -> tuple[Tensor, Tensor]:
    """Return kernel and bias between padded channels; with `emit`, channel `one` becomes 1."""
    bias = outputs.scatter(get_bias(conv))
    if emit:
        bias[outputs.one] = 1
    return place(conv.weight, inputs, outputs), bias


def pack_linear(
    weight: Tensor, bias: Tensor, inputs: Channels, outputs: Channels, *, emit: bool = False
) -> Tensor:
    """Return a 3x3 kernel between padded channels, with its bias as weights of channel `one`."""
    kernel = place(weight, inputs, outputs)
    kernel[:, inputs.one, 1, 1] = outputs.scatter(bias)
    if emit:
        kernel[outputs.one, inputs.one, 1, 1] = 1
    return kernel


def pack_entry(head: nn.Conv2d, reduce: nn.Conv2d, outputs: Channels) -> tuple[Tensor, Tensor]:
    """Fuse head and first strided convolution; see the top of this file.

    Returns:
        Kernel `[O, 32, 3, 3]` and bias `[O]`.
    """
    fused = fuse_first_convs(head, reduce)
    first, second = head.weight.detach().double(), reduce.weight.detach().double()
    offset = get_bias(head).detach().double()
    count = reduce.out_channels
    kernel = first.new_zeros(count, ENTRY_CHANNELS, 3, 3)
    # Rows and columns -2…3 around two pixels are those of three groups of two.
    groups = nn.functional.pad(fused.weight.detach().double(), (0, 1, 0, 1))
    groups = groups.view(count, 3, 3, 2, 3, 2).permute(0, 3, 5, 1, 2, 4)
    kernel[:, :ENTRY_PIXELS] = groups.reshape(count, ENTRY_PIXELS, 3, 3)
    # What the head would give in the row above the image, from the image's first row.
    row = compose(second[:, :, :1], first[:, :, 2:])  # [O, 3, 1, 5]
    row = nn.functional.pad(row, (0, 1)).view(count, 3, 3, 2).permute(0, 3, 1, 2)
    kernel[:, _ROW:_COLUMN, 1, :] = -row.reshape(count, 6, 3)
    column = compose(second[:, :, :, :1], first[:, :, :, 2:])
    column = nn.functional.pad(column, (0, 0, 0, 1)).view(count, 3, 3, 2).permute(0, 3, 1, 2)
    kernel[:, _COLUMN:_CORNER, :, 1] = -column.reshape(count, 6, 3)
    kernel[:, _CORNER:_ONES, 1, 1] = second[:, :, 0, 0] @ first[:, :, 2, 2]  # subtracted twice
    kernel[:, _ONES, 1, 1] = -second[:, :, 0].sum(dim=2) @ offset
    kernel[:, _ONES + 1, 1, 1] = -second[:, :, :, 0].sum(dim=2) @ offset
    kernel[:, _ONES + 2, 1, 1] = second[:, :, 0, 0] @ offset
    inputs = Channels(tuple(range(ENTRY_CHANNELS)), ENTRY_CHANNELS)
    return (
        place(kernel.to(head.weight.dtype), inputs, outputs),
        outputs.scatter(get_bias(fused)),
    )


def make_entry_input(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Make the input of `pack_entry`'s convolution.

    Args:
        pixels: RGB `[B, 3, H, W]`, with even sides.
        dtype: Type of the result.

    Returns:
        `[B, H/2, W/2, 32]`.
    """
    batch, _, height, width = pixels.shape
    height, width = height // 2, width // 2
    made = torch.zeros(batch, height, width, ENTRY_CHANNELS, dtype=dtype, device=pixels.device)
    groups = made[..., :ENTRY_PIXELS].view(batch, height, width, 2, 2, 3)
    groups.copy_(pixels.reshape(batch, 3, height, 2, width, 2).permute(0, 2, 4, 3, 5, 1))
    made[:, 0, :, _ROW:_COLUMN] = made[:, 0, :, : _COLUMN - _ROW]
    made[:, :, 0, _COLUMN:_CORNER].view(batch, height, 2, 3).copy_(groups[:, :, 0, :, 0])
    made[:, 0, 0, _CORNER:_ONES] = made[:, 0, 0, : _ONES - _CORNER]
    made[:, 0, :, _ONES].fill_(1)
    made[:, :, 0, _ONES + 1].fill_(1)
    made[:, 0, 0, _ONES + 2].fill_(1)
    return made


def bound_relu(kernel: Tensor, bias: Tensor, bound: Tensor) -> Tensor:
    """Bound the outputs of a convolution with ReLU, whose inputs are in 0…`bound`.

    Args:
        kernel: `[O, I, h, w]`.
        bias: `[O]`.
        bound: `[I]`.

    Returns:
        `[O]`, never exceeded, whatever the input.
    """
    reach = kernel.clamp(min=0).sum(dim=(2, 3)) @ bound
    return (reach + bias).clamp(min=0)
