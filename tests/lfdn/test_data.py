"""Data sets by their layouts, and crops as a function of the step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lfdn.datasets import data, layouts
from lfdn.datasets.data import Crops, DataError, Stage
from tests.support import pictures

STAGES = (Stage(0.5, 16, 4), Stage(1.0, 32, 2))


def test_a_mirrored_crop_turns_its_flow_round() -> None:
    flow = np.full((20, 20, 2), 4, np.float16)
    cut = data._cut_flow(flow, 10, mirror=True)
    assert cut.shape == (10, 10, 2)
    assert cut[0, 0].tolist() == [-2, 2]


def test_pairs_of_two_sizes_are_refused(tmp_path: Path) -> None:
    pictures.write(tmp_path / "clean" / "1.png", pictures.picture(1))
    pictures.write(tmp_path / "rainy" / "1.png", pictures.picture(1, height=40))
    with pytest.raises(DataError, match="pairs must be of one size"):
        Crops(layouts.rain100(tmp_path), STAGES, steps=4, seed=1, paired_share=1)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(DataError, match=r"1\.png: not a readable picture"):
        layouts.clean(tmp_path)[0].clean.read()


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    samples = layouts.side_by_side(pictures.rain800(tmp_path / "pairs"))
    samples += layouts.clean(pictures.clean(tmp_path / "clean"))
    return Crops(samples, STAGES, steps=10, seed=7, paired_share=0.5)


def test_a_step_is_the_same_whenever_it_is_drawn(crops: Crops) -> None:
    assert torch.equal(crops[3].degraded, crops[3].degraded)
    assert not torch.equal(crops[3].degraded, crops[4].degraded)


def test_stages_change_the_size_of_the_crops(crops: Crops) -> None:
    assert crops[0].clean.shape == (4, 3, 16, 16)
    assert crops[9].clean.shape == (2, 3, 32, 32)


def test_the_share_of_pairs_is_kept(crops: Crops) -> None:
    batch = crops[0]
    assert batch.paired.tolist() == [True, True, False, False]
    same = [torch.equal(a, b) for a, b in zip(batch.degraded, batch.clean, strict=True)]
    assert same == [False, False, True, True]


def test_empty_crops_are_drawn_anew(tmp_path: Path) -> None:
    half = pictures.picture(1, height=64, width=256)
    half[:, :128] = 90
    pictures.write(tmp_path / "1.png", half)

    def empty(least_detail: float) -> int:
        stages = (Stage(1.0, 32, 16),)
        drawn = Crops(
            layouts.clean(tmp_path),
            stages,
            steps=4,
            seed=7,
            paired_share=0,
            least_detail=least_detail,
        )
        return sum(int(crop.float().std() == 0) for step in range(4) for crop in drawn[step].clean)

    assert empty(0) > 16
    assert empty(1) < 8


def test_every_twentieth_sample_validates(tmp_path: Path) -> None:
    samples = layouts.clean(pictures.clean(tmp_path, 21))
    training, validation = data.split(samples)
    assert validation == [samples[0], samples[20]]
    assert not set(training) & set(validation)


def test_a_streak_bank_is_one_tensor(tmp_path: Path) -> None:
    assert layouts.streaks(pictures.clean(tmp_path, 2)).shape == (2, 48, 64)


def test_samples_are_left_out_by_name(tmp_path: Path) -> None:
    samples = layouts.sequences(pictures.clean(tmp_path / "walk").parent)
    assert [s.name for s in data.exclude(samples, ["walk/*1"])] == ["walk/000"]
    with pytest.raises(DataError, match="'run/\\*' matches no sample"):
        data.exclude(samples, ["run/*"])


def test_several_references_are_not_trained_on(tmp_path: Path) -> None:
    sample = layouts.side_by_side(pictures.rain800(tmp_path))[0]
    several = replace(sample, alternatives=(sample.clean,))
    with pytest.raises(DataError, match="several references; that is for evaluation alone"):
        Crops([several], STAGES, steps=4, seed=1, paired_share=1)


def test_a_tensor_holds_the_picture_between_zero_and_one() -> None:
    pixels = pictures.picture(2)
    tensor = data.to_tensor(pixels)
    assert tensor.shape == (1, 3, *pixels.shape[:2])
    assert np.array_equal((tensor[0] * 255).round().permute(1, 2, 0).numpy(), pixels)
