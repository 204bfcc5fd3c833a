"""Tiles: equal, aligned, with enough overlap, and without seams when merged."""

import itertools

import pytest
import torch

from lfdn_video.inference.tiles import ALIGNMENT_PX, Grid
from lfdn_video.options import min_tile_px

SIZES = [(720, 1280), (1080, 1920), (2160, 3840), (101, 2000), (513, 512), (64, 64), (1, 1)]
TILES = [(128, 16), (256, 32), (512, 32), (500, 33), (1024, 0)]
GRIDS = [
    pytest.param(
        Grid(height, width, tile_px=tile, overlap_px=overlap),
        tile,
        overlap,
        id=f"{width}x{height}-{tile}-{overlap}",
    )
    for (height, width), (tile, overlap) in itertools.product(SIZES, TILES)
]
each_grid = pytest.mark.parametrize(("grid", "tile_px", "overlap_px"), GRIDS)


@each_grid
def test_every_pixel_is_covered(grid: Grid, tile_px: int, overlap_px: int) -> None:
    seen = torch.zeros(grid.height, grid.width, dtype=torch.bool)
    for view in grid.split(seen):
        view.fill_(True)
    assert bool(seen.all())


@each_grid
def test_tiles_are_equal(grid: Grid, tile_px: int, overlap_px: int) -> None:
    frame = torch.empty(grid.height, grid.width)
    assert {tuple(tile.shape) for tile in grid.split(frame)} == {
        (grid.tile_height, grid.tile_width)
    }


@each_grid
def test_tiles_side_is_aligned_or_the_frames_own(grid: Grid, tile_px: int, overlap_px: int) -> None:
    for side, whole in ((grid.tile_height, grid.height), (grid.tile_width, grid.width)):
        assert side <= tile_px
        assert side == whole or side % ALIGNMENT_PX == 0


@each_grid
def test_neighbours_overlap_by_as_much_as_asked(grid: Grid, tile_px: int, overlap_px: int) -> None:
    lefts = sorted({box.left for box in grid.boxes})
    assert all(a + grid.tile_width - b >= overlap_px for a, b in itertools.pairwise(lefts))


def test_all_tiles_but_the_last_begin_at_multiples_of_the_alignment() -> None:
    grid = Grid(1081, 64, tile_px=256, overlap_px=32)
    assert [box.top % ALIGNMENT_PX for box in grid.boxes[:-1]] == [0] * (len(grid) - 1)


@each_grid
def test_merge_inverts_split(grid: Grid, tile_px: int, overlap_px: int) -> None:
    frame = torch.rand(1, 1, grid.height, grid.width)
    assert (grid.merge(grid.split(frame)) - frame).abs().max() < 1e-6


def test_blending_is_smooth() -> None:
    grid = Grid(64, 432, tile_px=256, overlap_px=64)
    left, right = grid.split(torch.zeros(64, 432))
    seam = grid.merge([left, right + 1])[0]
    assert seam.diff().abs().max() < 1.6 / 64  # a half-cosine's steepest step is π/2 over its width
    assert seam.diff().min() >= 0


def test_both_tiles_weigh_the_same_in_the_middle_of_an_overlap() -> None:
    grid = Grid(64, 464, tile_px=256, overlap_px=32)
    left, right = grid.split(torch.zeros(64, 464))
    merged = grid.merge([left, right + 1])[0]
    assert merged[231:233].mean() == pytest.approx(0.5)


@pytest.mark.parametrize("size", [(1, 1), (47, 3), (101, 67)])
def test_frame_of_any_size_can_be_one_tile(size: tuple[int, int]) -> None:
    assert len(Grid.single_tile(*size)) == 1


def test_whole_frame_is_neither_copied_nor_padded() -> None:
    frame = torch.rand(1, 3, 101, 67)
    grid = Grid.single_tile(101, 67)
    (tile,) = grid.split(frame)
    assert tile is frame
    assert grid.merge([tile]) is tile


def test_tile_as_large_as_the_frame_is_the_only_one() -> None:
    assert len(Grid(480, 640, tile_px=640, overlap_px=32)) == 1


def test_tile_that_is_all_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match="too small for an overlap of 64 px"):
        Grid(480, 640, tile_px=min_tile_px(64) - 1, overlap_px=64)


def test_last_tile_is_as_wide_as_the_others() -> None:
    grid = Grid(64, 1030, tile_px=512, overlap_px=0)
    assert (len(grid), grid.tile_width) == (3, 368)
