"""A 3x3 convolution with half of the multiplications, on a CPU, of plain tensor operations.

`RowConv` gives what `F.conv2d` with a padding of 1 gives, but for rounding. It is Winograd's
minimal filtering F(4, 3) down the rows: four rows of the result need six 1x3 convolutions instead
of twelve. Both transforms are small matrix products over whole rows, so each costs one pass over
memory, and bands of rows are worked on at a time, so that what is between them stays in the cache.

    rows 4t-1 ... 4t+4  --mix-->  six, each convolved 1x3  --unmix-->  rows 4t ... 4t+3

Pictures are `[H, W, C]`, contiguous. Transforming across the columns as well would halve the
multiplications again, but not the time: matrix products this narrow run at half the speed.
"""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

TILE_ROWS, MIXTURES = 4, 6
BAND_TILES_PX = 2560
"""Tiles × columns worked on at a time for each thread; 128 KiB of a mixture with 50 channels are
four of them, and the second-level cache holds a few mixtures."""

_MIX = torch.tensor(
    [
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ]
)
_KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
_UNMIX = torch.tensor(
    [
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ]
)
"""Winograd's matrices for the points 0, ±1, ±2 and infinity: Bᵀ, G and Aᵀ of Lavin and Gray."""
BIASED = 1
"""The mixture whose bias reaches each of the four rows once."""


class Scratch:
    """Memory that is used again, by name, as fresh pages cost a third of what is written to them.

    What `take` gave is overwritten by the next one who takes that name.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A float32 tensor of that shape, of no particular content."""
        size = prod(shape)
        if name not in self._flat or self._flat[name].numel() < size:
            self._flat[name] = torch.empty(size)
        return self._flat[name][:size].view(shape)


class RowConv:
    """`[H, W, I]` to `[H, W, O]`; or to `[2H, 2W, O/4]`, as with a pixel shuffle behind it."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, scratch: Scratch, *, doubles: bool = False
    ) -> None:
        if doubles:
            weight, bias = shuffled(weight), None if bias is None else shuffled(bias)
        mixed = torch.einsum("jh,oihw->joiw", _KERNEL, weight.double())
        kernels = mixed.to(weight.dtype)[:, :, :, None]
        layout = torch.channels_last
        self._kernels = [kernel.contiguous(memory_format=layout) for kernel in kernels]
        self._biases = [bias if index == BIASED else None for index in range(MIXTURES)]
        self._scratch, self._phases = scratch, 2 if doubles else 1
        self.outputs = len(weight)

    def __call__(
        self, picture: Tensor, out: Tensor, *, relu: bool = False, add: bool = False
    ) -> Tensor:
        """The convolution, in `out`, which is contiguous; `add`: on top of what is there."""
        height, width, _ = picture.shape
        channels, phases = self.outputs, self._phases
        rows = picture.view(height, -1)
        # Of the doubled picture, row 2h + phase holds the phase's share of row h's channels.
        targets = out.view(height, phases, -1)
        tiles = -(-height // TILE_ROWS)
        band = max(1, BAND_TILES_PX * torch.get_num_threads() // width)
        mixtures = self._scratch.take("mixtures", MIXTURES, band, rows.shape[1])
        convolved = self._scratch.take(
            "convolved", MIXTURES, band, phases, width * channels // phases
        )
        for first in range(0, tiles, band):
            count = min(band, tiles - first)
            for tile in range(count):
                torch.mm(_MIX, _tile(rows, first + tile), out=mixtures[:, tile])
            for index in range(MIXTURES):
                mixture = mixtures[index, :count].view(count, width, -1)
                found = self._convolve(mixture, index).view(count, width, phases, -1)
                target = convolved[index, :count].view(count, phases, width, -1)
                target.copy_(found.transpose(1, 2))
            for tile in range(count):
                top = (first + tile) * TILE_ROWS
                for phase in range(phases):
                    target = targets[top : top + TILE_ROWS, phase]
                    unmix, of_tile = _UNMIX[: len(target)], convolved[:, tile, phase]
                    if add:
                        target.addmm_(unmix, of_tile)
                    else:
                        torch.mm(unmix, of_tile, out=target)
            if relu:
                targets[first * TILE_ROWS : (first + count) * TILE_ROWS].relu_()
        return out

    def _convolve(self, mixture: Tensor, index: int) -> Tensor:
        image = mixture.permute(2, 0, 1)[None]
        found = F.conv2d(image, self._kernels[index], self._biases[index], padding=(0, 1))
        return found[0].permute(1, 2, 0)


def shuffled(channels: Tensor) -> Tensor:
    """Channels `[C * 4, ...]` in the order row, column, C, where pixel shuffle has C outermost."""
    return channels.view(-1, 4, *channels.shape[1:]).transpose(0, 1).flatten(0, 1)


def _tile(rows: Tensor, index: int) -> Tensor:
    """The six rows that four of the result need; what is outside is zero."""
    top = index * TILE_ROWS - 1
    bottom = top + MIXTURES
    inside = rows[max(0, top) : bottom]
    if len(inside) == MIXTURES:
        return inside
    return F.pad(inside, (0, 0, max(0, -top), max(0, bottom - len(rows))))
