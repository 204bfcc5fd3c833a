"""A 3x3 convolution with half of the multiplications, on a CPU, made of plain tensor operations.

`RowConv` computes what `F.conv2d` with a padding of 1 does, except for rounding. It is Winograd's
minimal filtering F(4, 3), along the columns only (Lavin and Gray 2016, "Fast Algorithms for
Convolutional Neural Networks"): four output rows, a tile, need six 1x3 convolutions, not twelve.

    six input rows 4t-1 … 4t+4
      -> input transform Bᵀ:   six combinations of them
      -> six 1x3 convolutions, whose kernels are six combinations (G) of the kernel's three rows
      -> output transform Aᵀ:  four output rows 4t … 4t+3

Only one axis is transformed because F(4x4, 3x3), on both axes, would halve the multiplications
again but not the time: its matrix products are so narrow that they run at half the speed. With one
axis, both transforms are small matrix products over whole rows, one pass over memory each.

Images are `[H, W, C]`, float32, contiguous.
"""

import threading
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

TILE_ROWS = 4
"""Output rows of a tile: the 4 of F(4, 3)."""
COMBINATIONS = 6
"""Input rows of a tile, and combinations of them: 4 + 3 - 1."""
BAND_TILES_PX = 4096
"""Tiles times columns of a band, for each thread: with 50 channels, 0.8 MiB per combination."""

_INPUT_TRANSFORM = torch.tensor(
    [
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ]
)
_KERNEL_TRANSFORM = torch.tensor(
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
_OUTPUT_TRANSFORM = torch.tensor(
    [
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ]
)
"""Bᵀ, G and Aᵀ of Lavin and Gray for the points 0, ±1, ±2 and infinity."""
BIASED_COMBINATION = 1
"""The combination that Aᵀ adds to all four output rows with factor 1, so it alone gets the bias."""


class Scratch(threading.local):
    """Named buffers that are reused. Each thread has its own, until it ends.

    Intermediate results are so large that the allocator maps fresh pages for each. Their page
    faults cost a third of the time of writing to them; a reused buffer has none.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def get_buffer(self, name: str, *shape: int) -> Tensor:
        """Return a buffer of undefined content, float32.

        It belongs to the caller until the next call with the same name in this thread, which
        returns the same memory.

        Args:
            name: Name of the buffer.
            *shape: Shape of the result. The buffer grows if it is too small, and never shrinks.
        """
        size = prod(shape)
        if name not in self._flat or self._flat[name].numel() < size:
            self._flat[name] = torch.empty(size)
        return self._flat[name][:size].view(shape)


class RowConv:
    """A 3x3 convolution with zero padding, `[H, W, I]` to `[H, W, O]`; see the top of this file.

    Args:
        weight: `[O, I, 3, 3]`, copied.
        bias: `[O]`, not copied; or None.
        scratch: Buffers for intermediate results; all convolutions of a network may share them.
        pixel_shuffle: Apply a pixel shuffle by 2 to the result, which is then `[2H, 2W, O/4]`.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, scratch: Scratch, *, pixel_shuffle: bool = False
    ) -> None:
        if pixel_shuffle:
            weight = reorder_for_pixel_shuffle(weight)
            bias = None if bias is None else reorder_for_pixel_shuffle(bias)
        # In float64: the kernels are computed only once, and their rounding affects every result.
        combined = torch.einsum("jh,oihw->joiw", _KERNEL_TRANSFORM, weight.double())
        kernels = combined.to(weight.dtype)[:, :, :, None]
        layout = torch.channels_last
        self._kernels = [kernel.contiguous(memory_format=layout) for kernel in kernels]
        self._biases = [
            bias if index == BIASED_COMBINATION else None for index in range(COMBINATIONS)
        ]
        self._scratch = scratch
        self._phases = 2 if pixel_shuffle else 1
        self.outputs = len(weight)

    def __call__(
        self, image: Tensor, out: Tensor, *, relu: bool = False, add: bool = False
    ) -> Tensor:
        """Convolve an image.

        Args:
            image: `[H, W, I]`, float32, contiguous.
            out: Receives the result, `[H, W, O]` or `[2H, 2W, O/4]`, contiguous. Not `image`.
            relu: Apply ReLU to the result, after adding.
            add: Add the result to the content of `out` instead of replacing it.

        Returns:
            `out`.
        """
        height, width, inputs = image.shape
        rows = image.view(height, -1)
        # A row of the convolution holds the channels of two rows of the shuffled image: those of
        # row 2h + phase. With `reorder_for_pixel_shuffle` each is contiguous, and is written where
        # it belongs; the shuffle itself costs nothing.
        targets = out.view(height, self._phases, -1)
        tiles = -(-height // TILE_ROWS)
        # Six combinations per four rows are 1.5 times the image, before and after the convolutions;
        # for the whole image they would go out to memory and back. A band is small enough for them
        # to stay in the cache, and large enough to occupy all threads.
        band = min(tiles, max(1, BAND_TILES_PX * torch.get_num_threads() // width))
        combined = self._scratch.get_buffer("combined", COMBINATIONS, band, width, inputs)
        shape = (COMBINATIONS, band, self._phases, width, self.outputs // self._phases)
        convolved = self._scratch.get_buffer("convolved", *shape)
        for first in range(0, tiles, band):
            count = min(band, tiles - first)
            _transform_input(rows, first, combined[:, :count].flatten(2))
            self._convolve(combined[:, :count], convolved[:, :count])
            band_of_targets = targets[first * TILE_ROWS : (first + count) * TILE_ROWS]
            _transform_output(convolved.flatten(3), band_of_targets, add=add)
            if relu:
                band_of_targets.relu_()
        return out

    def _convolve(self, combined: Tensor, convolved: Tensor) -> None:
        """Apply the six 1x3 kernels: `[6, tiles, W, I]` to `[6, tiles, phases, W, O / phases]`."""
        images = combined.permute(0, 3, 1, 2).unsqueeze(1).unbind()
        places = convolved.permute(0, 2, 4, 1, 3).unbind()
        for image, kernel, bias, place in zip(
            images, self._kernels, self._biases, places, strict=True
        ):
            result = F.conv2d(image, kernel, bias, padding=(0, 1))
            place.copy_(result.view(place.shape))  # [phases, O / phases, tiles, W]


def reorder_for_pixel_shuffle(channels: Tensor) -> Tensor:
    """Reorder channels `[C * 4, ...]`: (C, row, column) of a pixel shuffle to (row, column, C).

    In that order each row of the shuffled image is contiguous before the shuffle.
    """
    return channels.view(-1, 4, *channels.shape[1:]).transpose(0, 1).flatten(0, 1)


def _transform_input(rows: Tensor, first: int, combined: Tensor) -> None:
    """Apply Bᵀ to the tiles from `first` on: rows `[H, n]` to `combined` `[6, tiles, n]`.

    Rows outside the image are zero; they are left out of the product, and the image is not padded.
    """
    count = combined.shape[1]
    # Tiles whose six rows are all inside: overlapping views of `rows`, without a copy.
    inner = range(
        max(first, 1), min(first + count, (len(rows) - COMBINATIONS + 1) // TILE_ROWS + 1)
    )
    if inner:
        tiles = rows[inner[0] * TILE_ROWS - 1 :].unfold(0, COMBINATIONS, TILE_ROWS)[: len(inner)]
        out = combined[:, inner[0] - first : inner[-1] + 1 - first].transpose(0, 1)
        torch.bmm(_INPUT_TRANSFORM.expand(len(inner), -1, -1), tiles.transpose(1, 2), out=out)
    for tile in range(first, first + count):
        if tile not in inner:
            top = tile * TILE_ROWS - 1
            inside = slice(max(0, -top), min(COMBINATIONS, len(rows) - top))
            present = rows[top + inside.start : top + inside.stop]
            torch.mm(_INPUT_TRANSFORM[:, inside], present, out=combined[:, tile - first])


def _transform_output(convolved: Tensor, targets: Tensor, *, add: bool) -> None:
    """Apply Aᵀ: `[6, tiles, phases, n]` to rows `[4 * tiles or fewer, phases, n]`."""
    whole = len(targets) // TILE_ROWS
    by_tile = targets[: whole * TILE_ROWS].view(whole, TILE_ROWS, *targets.shape[1:])
    for phase, combinations in enumerate(convolved.unbind(2)):
        if whole:
            transform = _OUTPUT_TRANSFORM.expand(whole, -1, -1)
            of_tiles = combinations[:, :whole].transpose(0, 1)
            if add:
                by_tile[:, :, phase].baddbmm_(transform, of_tiles)
            else:
                torch.bmm(transform, of_tiles, out=by_tile[:, :, phase])
        # The last tile may reach beyond the image: only its first rows are needed.
        if len(rows := targets[whole * TILE_ROWS :, phase]):
            transform = _OUTPUT_TRANSFORM[: len(rows)]
            torch.addmm(rows, transform, combinations[:, whole], beta=int(add), out=rows)
