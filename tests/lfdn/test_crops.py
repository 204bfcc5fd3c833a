"""Crops as a function of the seed and the step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lfdn.datasets import layouts
from lfdn.datasets.crops import CropDataset, CropStage, _resize_flow
from lfdn.datasets.images import DataError
from tests.support import datasets

STAGES = (CropStage(0.5, 16, 4), CropStage(1.0, 32, 2))


@pytest.fixture
def crops(tmp_path: Path) -> CropDataset:
    samples = layouts.read_side_by_side(datasets.make_rain800(tmp_path / "pairs"))
    samples += layouts.read_clean(datasets.make_clean(tmp_path / "clean"))
    return CropDataset(samples, STAGES, steps=10, seed=7, paired_share=0.5)


def test_batch_depends_on_the_step_alone(crops: CropDataset) -> None:
    assert torch.equal(crops[3].degraded, crops[3].degraded)
    assert not torch.equal(crops[3].degraded, crops[4].degraded)


def test_stage_sets_size_and_number_of_crops(crops: CropDataset) -> None:
    assert crops[0].clean.shape == (4, 3, 16, 16)
    assert crops[9].clean.shape == (2, 3, 32, 32)


def test_paired_share_of_a_batch_is_kept(crops: CropDataset) -> None:
    batch = crops[0]
    assert batch.paired.tolist() == [True, True, False, False]
    same = [torch.equal(a, b) for a, b in zip(batch.degraded, batch.clean, strict=True)]
    assert same == [False, False, True, True]


def test_crop_without_detail_is_drawn_again(tmp_path: Path) -> None:
    half = datasets.draw_image(1, height=64, width=256)
    half[:, :128] = 90
    datasets.write_image(tmp_path / "1.png", half)

    def empty(least_detail: float) -> int:
        stages = (CropStage(1.0, 32, 16),)
        drawn = CropDataset(
            layouts.read_clean(tmp_path),
            stages,
            steps=4,
            seed=7,
            paired_share=0,
            least_detail=least_detail,
        )
        return sum(int(crop.float().std() == 0) for step in range(4) for crop in drawn[step].clean)

    assert empty(0) > 16
    assert empty(1) < 8


def test_flow_of_a_mirrored_crop_is_mirrored_and_scaled() -> None:
    flow = np.full((20, 20, 2), 4, np.float16)
    cut = _resize_flow(flow, 10, mirror=True)
    assert cut.shape == (10, 10, 2)
    assert cut[0, 0].tolist() == [-2, 2]


def test_pair_of_different_sizes_is_refused(tmp_path: Path) -> None:
    datasets.write_image(tmp_path / "clean" / "1.png", datasets.draw_image(1))
    datasets.write_image(tmp_path / "rainy" / "1.png", datasets.draw_image(1, height=40))
    with pytest.raises(DataError, match="pairs must be of one size"):
        CropDataset(layouts.read_rain100(tmp_path), STAGES, steps=4, seed=1, paired_share=1)


def test_sample_with_several_references_is_refused(tmp_path: Path) -> None:
    sample = layouts.read_side_by_side(datasets.make_rain800(tmp_path))[0]
    several = replace(sample, alternatives=(sample.clean,))
    with pytest.raises(DataError, match="several references; that is for evaluation alone"):
        CropDataset([several], STAGES, steps=4, seed=1, paired_share=1)
