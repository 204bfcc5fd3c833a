"""Tiles of a frame, and the frame merged from them: geometry and blending, on any device.

Knows nothing of video or networks; the runner decides how large a tile may be.

    |----------------- frame -----------------|    All tiles are equal, and neighbours overlap by
    [----- tile 0 ----]                            at least `overlap_px`. They are spread evenly,
                [----- tile 1 ----]                so there is no thin last one.
                            [----- tile 2 ----]
    ############9975310                            Weights, in tenths, # being 1: half a cosine
                0013579#####9975310                across each overlap, 1 elsewhere, also at the
                            0013579############    frame's own edge. Everywhere they sum to 1.

Columns are treated like rows, and a tile's weights are the product of the two. Tiles begin at
multiples of 16, except for the last, so that the network's strides are placed as in a whole frame.
Merge residuals rather than restored tiles: then a tile adds nothing where the network changes
nothing.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lfdn_video.options import min_tile_px

ALIGNMENT_PX = 16  # the network halves its input four times


class Box(NamedTuple):
    """A tile's place in the frame, in px: rows top…top+height, columns left…left+width."""

    top: int
    left: int
    height: int
    width: int


class Grid:
    """Equal tiles that cover a frame; `split` and `merge` are inverse to each other.

    A tile's sides are multiples of 16 not above `tile_px`, or the frame's own side where that is
    not larger.

    Args:
        height: height of the frame in px.
        width: width of the frame in px.
        tile_px: the largest side of a tile, at least `min_tile_px(overlap_px)`.
        overlap_px: least overlap of neighbouring tiles in px, 0 or more.

    Raises:
        ValueError: the tile is too small for the overlap, or the overlap is negative.
    """

    def __init__(self, height: int, width: int, *, tile_px: int, overlap_px: int) -> None:
        if overlap_px < 0 or tile_px < min_tile_px(overlap_px):
            raise ValueError(
                f"tile_px: {tile_px} px is too small for an overlap of {overlap_px} px; "
                f"at least {min_tile_px(overlap_px)} px are needed"
            )
        self.height = height
        self.width = width
        self._tops, self.tile_height = _place_tiles(height, tile_px, overlap_px)
        self._lefts, self.tile_width = _place_tiles(width, tile_px, overlap_px)
        self.boxes = tuple(
            Box(top, left, self.tile_height, self.tile_width)
            for top in self._tops
            for left in self._lefts
        )
        self._weights: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    @classmethod
    def single_tile(cls, height: int, width: int) -> "Grid":
        """Return the grid whose only tile is the frame itself, whatever its size in px."""
        side_px = max(height, width, min_tile_px(0))
        return cls(height, width, tile_px=side_px, overlap_px=0)

    def __len__(self) -> int:
        return len(self.boxes)

    def split(self, frame: Tensor) -> list[Tensor]:
        """Return views of a frame `[..., H, W]`, each `[..., tile_height, tile_width]`, by rows."""
        if len(self) == 1:
            return [frame]
        return [
            frame[..., box.top : box.top + box.height, box.left : box.left + box.width]
            for box in self.boxes
        ]

    def merge(self, tiles: Sequence[Tensor]) -> Tensor:
        """Blend tiles into a frame.

        Args:
            tiles: `[..., tile_height, tile_width]` each, as many and in the order as of `split`.

        Returns:
            The frame `[..., H, W]`; where there is a single tile, that tensor itself.
        """
        assert len(tiles) == len(self)
        if len(self) == 1:
            return tiles[0]
        first = tiles[0]
        frame = first.new_zeros((*first.shape[:-2], self.height, self.width))
        for box, tile, weight in zip(self.boxes, tiles, self._get_weights(first), strict=True):
            rows = slice(box.top, box.top + box.height)
            columns = slice(box.left, box.left + box.width)
            frame[..., rows, columns].addcmul_(tile, weight)
        return frame

    def _get_weights(self, like: Tensor) -> list[Tensor]:
        """Return `[tile_height, tile_width]` for each tile; they sum to 1 at every pixel."""
        kind = (like.device, like.dtype)
        if kind not in self._weights:  # once: a copy to a GPU would wait for it, for each frame
            down = _blend_weights(self._tops, self.tile_height)
            across = _blend_weights(self._lefts, self.tile_width)
            rows = [weights.to(*kind) for weights in down]
            columns = [weights.to(*kind) for weights in across]
            self._weights[kind] = [row[:, None] * column for row in rows for column in columns]
        return self._weights[kind]


def _place_tiles(length: int, tile_px: int, overlap_px: int) -> tuple[tuple[int, ...], int]:
    """Return the positions and the size of the fewest equal tiles along one axis."""
    if length <= tile_px:
        return (0,), length
    limit = tile_px // ALIGNMENT_PX * ALIGNMENT_PX
    count = 1
    size = length
    while size > limit:
        count += 1
        # Aligning moves two neighbours apart by at most one step; that is added to the overlap.
        covered = length + (count - 1) * (overlap_px + ALIGNMENT_PX)
        size = _round_up(math.ceil(covered / count))
    step = (length - size) / (count - 1)
    inner = (round(index * step / ALIGNMENT_PX) * ALIGNMENT_PX for index in range(count - 1))
    return (*inner, length - size), size


def _round_up(length: int) -> int:
    """Return the next multiple of the alignment."""
    return -(-length // ALIGNMENT_PX) * ALIGNMENT_PX


@cache
def _blend_weights(positions: tuple[int, ...], size: int) -> tuple[Tensor, ...]:
    """Return weights along one axis, `[size]` for each tile, float64."""
    ramps = [torch.ones(size, dtype=torch.float64) for _ in positions]
    # Squared sine and cosine: smooth at both ends, and they sum to 1 across an overlap.
    for index in range(len(positions) - 1):
        shared = positions[index] + size - positions[index + 1]
        if shared > 0:
            centres = (torch.arange(shared, dtype=torch.float64) + 0.5) / shared
            rise = torch.sin(centres * (math.pi / 2)) ** 2
            ramps[index + 1][:shared] *= rise
            ramps[index][size - shared :] *= 1 - rise
    return _normalize_weights(positions, size, ramps)


def _normalize_weights(
    positions: tuple[int, ...], size: int, ramps: list[Tensor]
) -> tuple[Tensor, ...]:
    """Make weights sum to exactly 1 at each pixel, also where three tiles meet."""
    total = torch.zeros(positions[-1] + size, dtype=torch.float64)
    for position, ramp in zip(positions, ramps, strict=True):
        total[position : position + size] += ramp
    return tuple(
        ramp / total[position : position + size]
        for position, ramp in zip(positions, ramps, strict=True)
    )
