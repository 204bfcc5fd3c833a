"""Lists of samples: the validation split and exclusion by name."""

from pathlib import Path

import pytest

from lfdn.datasets import layouts
from lfdn.datasets.images import DataError
from lfdn.datasets.samples import exclude_samples, split_samples
from tests.support import datasets


def test_every_twentieth_sample_is_in_the_validation_split(tmp_path: Path) -> None:
    samples = layouts.read_clean(datasets.make_clean(tmp_path, 21))
    training, validation = split_samples(samples)
    assert validation == [samples[0], samples[20]]
    assert not set(training) & set(validation)


def test_exclude_leaves_out_samples_by_name(tmp_path: Path) -> None:
    samples = layouts.read_sequences(datasets.make_clean(tmp_path / "walk").parent)
    assert [s.name for s in exclude_samples(samples, ["walk/*1"])] == ["walk/000"]
    with pytest.raises(DataError, match="'run/\\*' matches no sample"):
        exclude_samples(samples, ["run/*"])
