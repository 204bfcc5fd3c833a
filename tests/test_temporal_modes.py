"""benchmarks/temporal.py measures what is offline and live, against the truth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.temporal import Mode, compare, iterate, list_spans, measure
from tests.support.fakes import identity_engine
from tests.support.rain import Luma, noisy, pan, rain, timid_engine

COUNT = 7


def save(lumas: list[Luma], folder: Path) -> Path:
    folder.mkdir()
    for number, luma in enumerate(lumas):
        image = np.repeat(np.rint(luma)[..., None], 3, 2).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


def test_stage_gains_in_each_mode_on_pairs(tmp_path: Path) -> None:
    dry = noisy(pan())[:COUNT]
    truth, rainy = save(dry, tmp_path / "clean"), save(rain(dry), tmp_path / "rainy")
    modes: tuple[Mode, ...] = ("offline", "delay-1", "delay-0")
    with timid_engine() as engine:
        rows = list(measure("pan", rainy, truth, engine, modes))
    assert [row.mode for row in rows] == list(modes)
    for row, alone in zip(rows, (0, 1, 2), strict=True):
        assert row.frames == COUNT
        assert row.input is not None
        assert row.input.psnr_y < row.network.psnr_y
        assert row.stage.psnr_y > row.network.psnr_y + 2
        # The first frames of a live source have too few neighbours.
        assert row.changed == COUNT - alone, row
        assert row.stage_to_network is None


def test_dry_sequence_is_compared_with_itself(tmp_path: Path) -> None:
    source = save(noisy(pan())[:COUNT], tmp_path / "dry")
    with identity_engine() as engine:
        (row,) = measure("pan", source, None, engine, ("offline",))
    assert row.input is None
    assert row.changed == 0
    assert row.stage_to_network is not None
    assert row.stage_to_network.worst_psnr_y == row.stage.worst_psnr_y == 100


def test_error_that_changes_flickers() -> None:
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (100, 100, 110)]
    same = compare(iter(flat), iter(flat))
    assert (same.psnr_y, same.flicker) == (100, 0)
    assert same.ssim_y == pytest.approx(1)
    moved = compare(iter(flat), iter(flat[:1] * 3))
    assert moved.flicker == pytest.approx(10 * 219 / 255 / 2)


@pytest.mark.parametrize(
    ("frames", "parts", "counts"), [(2, 3, [2, 2, 2]), (0, 1, [7]), (4, 2, [7])]
)
def test_parts_are_whole_and_spread_over_a_sequence(
    tmp_path: Path, frames: int, parts: int, counts: list[int]
) -> None:
    lumas = [np.full((32, 32), 10.0 * number, np.float32) for number in range(COUNT)]
    source = save(lumas, tmp_path / "steps")
    seen = [
        [image[0, 0, 0] // 10 for image in iterate(source, span)]
        for span in list_spans(source, frames, parts)
    ]
    assert [len(each) for each in seen] == counts
    assert (seen[0][0], seen[-1][-1]) == (0, COUNT - 1)
