"""Evaluation rows and means, with a network that changes nothing."""

import csv
from pathlib import Path

import pytest
from torch import nn

from lfdn import layouts
from lfdn.data import DataError, Sample
from lfdn.evaluate import EQUAL_DB, evaluate, mean, write_csv
from tests import pictures


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return layouts.rain100(pictures.rain100(tmp_path))


def test_the_identity_gains_nothing(samples: list[Sample]) -> None:
    for row in evaluate(nn.Identity(), samples):
        assert row.output_psnr_y == row.input_psnr_y < EQUAL_DB
        assert row.output_ssim_rgb == pytest.approx(row.input_ssim_rgb)


def test_a_clean_picture_fed_in_is_equal_to_itself(samples: list[Sample]) -> None:
    row = mean(list(evaluate(nn.Identity(), samples, feed_clean=True)))
    assert row.output_psnr_y == EQUAL_DB
    assert row.name == "mean of 2"


def test_the_mean_is_over_pictures(samples: list[Sample]) -> None:
    rows = list(evaluate(nn.Identity(), samples))
    expected = (rows[0].input_psnr_rgb + rows[1].input_psnr_rgb) / 2
    assert mean(rows).input_psnr_rgb == pytest.approx(expected)


def test_every_row_goes_to_the_csv(samples: list[Sample], tmp_path: Path) -> None:
    write_csv(list(evaluate(nn.Identity(), samples)), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["rain-0", "rain-1"]


def test_a_sample_without_a_pair_is_refused(tmp_path: Path) -> None:
    samples = layouts.clean(pictures.clean(tmp_path / "clean"))
    with pytest.raises(DataError, match="no degraded counterpart"):
        list(evaluate(nn.Identity(), samples))
