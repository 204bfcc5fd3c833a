"""A picture's tiles and back: pure geometry and blending, on tensors of any device.

Knows nothing of video, of the network, or of how large a tile may be; `engine.py` says that.

    |---------------- picture ----------------|    All tiles are equal, and neighbours share at
    [----- tile 0 ----]                            least `overlap_px`. They are spread evenly,
                [----- tile 1 ----]                so there is no thin last one.
                            [----- tile 2 ----]
    ############9975310                            Weights, in tenths, # being 1: half a cosine
                0013579#####9975310                across each overlap, 1 elsewhere, also at the
                            0013579############    picture's own edge. Everywhere they sum to 1.

Columns are treated like rows, and a tile's weights are the product of the two. Tiles begin at
multiples of 16, but for the last, so that the network's strides fall where they fall in the whole
picture. What is merged is meant to be the network's residual, not the picture: a tile then adds
nothing where the network changes nothing.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lfdn_video.options import smallest_tile_px

ALIGNMENT_PX = 16  # the network halves its input four times


class Box(NamedTuple):
    """Where a tile lies in the picture, in px: rows top…top+height, columns left…left+width."""

    top: int
    left: int
    height: int
    width: int


class Grid:
    """Equal tiles that cover a picture of `height` × `width` px.

    A tile's sides are multiples of 16 not above `tile_px`, or the picture's own side where that is
    not larger. `split` and `merge` are inverse to each other.
    """

    def __init__(self, height: int, width: int, *, tile_px: int, overlap_px: int) -> None:
        if overlap_px < 0 or tile_px < smallest_tile_px(overlap_px):
            raise ValueError(
                f"tile_px: {tile_px} px is too small for an overlap of {overlap_px} px; "
                f"at least {smallest_tile_px(overlap_px)} px are needed"
            )
        self.height, self.width = height, width
        self._tops, self.tile_height = _spread(height, tile_px, overlap_px)
        self._lefts, self.tile_width = _spread(width, tile_px, overlap_px)
        self.boxes = tuple(
            Box(top, left, self.tile_height, self.tile_width)
            for top in self._tops
            for left in self._lefts
        )

    @classmethod
    def whole(cls, height: int, width: int) -> "Grid":
        """One tile, the picture itself, whatever its size."""
        side_px = max(height, width, smallest_tile_px(0))
        return cls(height, width, tile_px=side_px, overlap_px=0)

    def __len__(self) -> int:
        return len(self.boxes)

    def split(self, picture: Tensor) -> list[Tensor]:
        """Views of `[..., H, W]`, each `[..., tile_height, tile_width]`, row by row."""
        if len(self) == 1:
            return [picture]
        return [
            picture[..., box.top : box.top + box.height, box.left : box.left + box.width]
            for box in self.boxes
        ]

    def merge(self, tiles: Sequence[Tensor]) -> Tensor:
        """The picture `[..., H, W]` of tiles in the order of `split`, blended in their overlaps.

        A single tile is returned as it is, not copied.
        """
        assert len(tiles) == len(self)
        if len(self) == 1:
            return tiles[0]
        first = tiles[0]
        picture = first.new_zeros((*first.shape[:-2], self.height, self.width))
        for box, tile, weight in zip(self.boxes, tiles, self._weights(first), strict=True):
            rows = slice(box.top, box.top + box.height)
            columns = slice(box.left, box.left + box.width)
            picture[..., rows, columns].addcmul_(tile, weight)
        return picture

    def _weights(self, like: Tensor) -> list[Tensor]:
        """One `[tile_height, tile_width]` per tile, summing to 1 at each pixel of the picture."""
        down = _ramps(self._tops, self.tile_height)
        across = _ramps(self._lefts, self.tile_width)
        rows = [ramp.to(like.device, like.dtype) for ramp in down]
        columns = [ramp.to(like.device, like.dtype) for ramp in across]
        return [row[:, None] * column for row in rows for column in columns]


def _spread(length: int, tile_px: int, overlap_px: int) -> tuple[tuple[int, ...], int]:
    """Positions and size of the fewest equal tiles along one axis."""
    if length <= tile_px:
        return (0,), length
    limit = tile_px // ALIGNMENT_PX * ALIGNMENT_PX
    count, size = 1, length
    while size > limit:
        count += 1
        # Aligning moves two neighbours apart by at most one step; that is added to the overlap.
        covered = length + (count - 1) * (overlap_px + ALIGNMENT_PX)
        size = _up(math.ceil(covered / count))
    step = (length - size) / (count - 1)
    inner = (round(index * step / ALIGNMENT_PX) * ALIGNMENT_PX for index in range(count - 1))
    return (*inner, length - size), size


def _up(length: int) -> int:
    return -(-length // ALIGNMENT_PX) * ALIGNMENT_PX


@cache
def _ramps(positions: tuple[int, ...], size: int) -> tuple[Tensor, ...]:
    """Weights along one axis, `[size]` per tile, float64: half a cosine across each overlap."""
    ramps = [torch.ones(size, dtype=torch.float64) for _ in positions]
    for index in range(len(positions) - 1):
        shared = positions[index] + size - positions[index + 1]
        if shared > 0:
            centres = (torch.arange(shared, dtype=torch.float64) + 0.5) / shared
            rise = torch.sin(centres * (math.pi / 2)) ** 2
            ramps[index + 1][:shared] *= rise
            ramps[index][size - shared :] *= 1 - rise
    return _normalized(positions, size, ramps)


def _normalized(positions: tuple[int, ...], size: int, ramps: list[Tensor]) -> tuple[Tensor, ...]:
    """Exactly a sum of 1 at each pixel, also where three tiles meet."""
    total = torch.zeros(positions[-1] + size, dtype=torch.float64)
    for position, ramp in zip(positions, ramps, strict=True):
        total[position : position + size] += ramp
    return tuple(
        ramp / total[position : position + size]
        for position, ramp in zip(positions, ramps, strict=True)
    )
