"""A 3x3 convolution with half of the multiplications, on a CPU, of plain tensor operations.

`RowConv` gives what `F.conv2d` with a padding of 1 gives, but for rounding. It is Winograd's
minimal filtering F(4, 3) down the rows: four rows of the result need six 1x3 convolutions instead
of twelve. Both transforms are small matrix products over whole rows, so each costs one pass over
memory, and bands of rows are worked on at a time, so that what is between them stays in the cache.

    rows 4t-1 ... 4t+4  --mix-->  six, each convolved 1x3  --unmix-->  rows 4t ... 4t+3

Pictures are `[H, W, C]`, contiguous. Transforming across the columns as well would halve the
multiplications again, but not the time: matrix products this narrow run at half the speed.
"""

import threading
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

TILE_ROWS, MIXTURES = 4, 6
BAND_TILES_PX = 4096
"""Tiles × columns worked on at a time for each thread: of 50 channels, 0.8 MiB a mixture."""

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


class Scratch(threading.local):
    """Memory that is used again, by name, as fresh pages cost a third of what is written to them.

    What `take` gave is overwritten by the next one who takes that name. Each thread has its own,
    until it ends.
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
        height, width, inputs = picture.shape
        rows = picture.view(height, -1)
        # Of the doubled picture, row 2h + phase holds the phase's share of row h's channels.
        targets = out.view(height, self._phases, -1)
        tiles = -(-height // TILE_ROWS)
        band = min(tiles, max(1, BAND_TILES_PX * torch.get_num_threads() // width))
        mixtures = self._scratch.take("mixtures", MIXTURES, band, width, inputs)
        shape = (MIXTURES, band, self._phases, width, self.outputs // self._phases)
        convolved = self._scratch.take("convolved", *shape)
        for first in range(0, tiles, band):
            count = min(band, tiles - first)
            _mix(rows, first, mixtures[:, :count].flatten(2))
            images = mixtures[:, :count].permute(0, 3, 1, 2).unsqueeze(1).unbind()
            places = convolved[:, :count].permute(0, 2, 4, 1, 3).unbind()
            for image, kernel, bias, place in zip(
                images, self._kernels, self._biases, places, strict=True
            ):
                found = F.conv2d(image, kernel, bias, padding=(0, 1))
                place.copy_(found.view(place.shape))  # [phases, O / phases, rows, W]
            band_of_targets = targets[first * TILE_ROWS : (first + count) * TILE_ROWS]
            _unmix(convolved.flatten(3), band_of_targets, add=add)
            if relu:
                band_of_targets.relu_()
        return out


def shuffled(channels: Tensor) -> Tensor:
    """Channels `[C * 4, ...]` in the order row, column, C, where pixel shuffle has C outermost."""
    return channels.view(-1, 4, *channels.shape[1:]).transpose(0, 1).flatten(0, 1)


def _mix(rows: Tensor, first: int, mixtures: Tensor) -> None:
    """`mixtures` `[6, tiles, n]` of the tiles from `first` on; rows outside are zero."""
    count = mixtures.shape[1]
    inner = range(max(first, 1), min(first + count, (len(rows) - MIXTURES + 1) // TILE_ROWS + 1))
    if inner:
        tiles = rows[inner[0] * TILE_ROWS - 1 :].unfold(0, MIXTURES, TILE_ROWS)[: len(inner)]
        out = mixtures[:, inner[0] - first : inner[-1] + 1 - first].transpose(0, 1)
        torch.bmm(_MIX.expand(len(inner), -1, -1), tiles.transpose(1, 2), out=out)
    for tile in range(first, first + count):
        if tile not in inner:
            top = tile * TILE_ROWS - 1
            there = slice(max(0, -top), min(MIXTURES, len(rows) - top))
            seen = rows[top + there.start : top + there.stop]
            torch.mm(_MIX[:, there], seen, out=mixtures[:, tile - first])


def _unmix(convolved: Tensor, targets: Tensor, *, add: bool) -> None:
    """`[6, tiles, phases, n]` to the rows `[4 * tiles or less, phases, n]` they are of."""
    whole = len(targets) // TILE_ROWS
    by_tile = targets[: whole * TILE_ROWS].view(whole, TILE_ROWS, *targets.shape[1:])
    for phase, mixtures in enumerate(convolved.unbind(2)):
        if whole:
            unmix, of_tiles = _UNMIX.expand(whole, -1, -1), mixtures[:, :whole].transpose(0, 1)
            if add:
                by_tile[:, :, phase].baddbmm_(unmix, of_tiles)
            else:
                torch.bmm(unmix, of_tiles, out=by_tile[:, :, phase])
        if len(rows := targets[whole * TILE_ROWS :, phase]):
            torch.addmm(rows, _UNMIX[: len(rows)], mixtures[:, whole], beta=int(add), out=rows)
