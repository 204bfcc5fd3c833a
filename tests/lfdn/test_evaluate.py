"""Evaluation with a network that changes nothing."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from lfdn import LFDN, LFDNConfig
from lfdn.datasets import layouts
from lfdn.datasets.images import DataError, ImageSource
from lfdn.datasets.samples import Sample
from lfdn.training.evaluate import (
    EQUAL_DB,
    average_rows,
    evaluate,
    get_scalars,
    set_scalars,
    write_csv,
)
from tests.support import datasets


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return layouts.read_rain100(datasets.make_rain100(tmp_path))


def test_identity_gains_nothing(samples: list[Sample]) -> None:
    for row in evaluate(nn.Identity(), samples):
        assert row.output_psnr_y == row.input_psnr_y < EQUAL_DB
        assert row.output_ssim_rgb == pytest.approx(row.input_ssim_rgb)


def test_clean_image_fed_in_is_equal_to_its_reference(samples: list[Sample]) -> None:
    row = average_rows(list(evaluate(nn.Identity(), samples, feed_clean=True)))
    assert row.output_psnr_y == EQUAL_DB
    assert row.name == "mean of 2"


def test_mean_is_over_images(samples: list[Sample]) -> None:
    rows = list(evaluate(nn.Identity(), samples))
    expected = (rows[0].input_psnr_rgb + rows[1].input_psnr_rgb) / 2
    assert average_rows(rows).input_psnr_rgb == pytest.approx(expected)


def test_csv_has_every_row(samples: list[Sample], tmp_path: Path) -> None:
    write_csv(list(evaluate(nn.Identity(), samples)), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["rain-0", "rain-1"]


def test_sample_without_a_pair_is_refused(tmp_path: Path) -> None:
    samples = layouts.read_clean(datasets.make_clean(tmp_path / "clean"))
    with pytest.raises(DataError, match="no degraded counterpart"):
        list(evaluate(nn.Identity(), samples))


def test_best_of_several_references_counts(samples: list[Sample]) -> None:
    sample = samples[0]
    assert sample.degraded is not None
    several = replace(sample, alternatives=(sample.degraded, samples[1].clean))
    (row,) = evaluate(nn.Identity(), [several])
    assert row.output_psnr_rgb == row.output_psnr_y == EQUAL_DB


def test_restored_images_can_be_saved(samples: list[Sample], tmp_path: Path) -> None:
    list(evaluate(nn.Identity(), samples, save=tmp_path / "out"))
    sample = samples[1]
    assert sample.degraded is not None
    kept = ImageSource(tmp_path / "out" / "rain-1.png").read()
    assert np.array_equal(kept, sample.degraded.read())


def test_image_too_small_for_ssim_is_named(tmp_path: Path) -> None:
    for side in ("input", "target"):
        datasets.write_image(tmp_path / side / "1.png", datasets.draw_image(1, height=8))
    with pytest.raises(DataError, match=r"1\.png: a side is shorter than the 11 px"):
        list(evaluate(nn.Identity(), layouts.read_pairs(tmp_path)))


def test_learnt_scalars_can_be_replaced() -> None:
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1))
    set_scalars(network, {"theta": 0.25})
    assert get_scalars(network) == {"theta": 0.25, "alpha": 0.0}


def test_unknown_scalar_is_refused() -> None:
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1))
    with pytest.raises(ValueError, match="beta: the network has no such scalar; it has theta, alp"):
        set_scalars(network, {"beta": 0})
