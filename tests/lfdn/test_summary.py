"""What a run is about to do: its data sets, and the crops that come from each."""

from dataclasses import replace
from pathlib import Path

import pytest

from lfdn.datasets import layouts
from lfdn.datasets.images import ImageSource
from lfdn.datasets.samples import Sample, split_samples
from lfdn.training.recipe import TrainOptions
from lfdn.training.summary import summarize_sets
from tests.support import datasets

IMAGE = ImageSource(Path("a.png"))


def make(dataset: str, count: int, *, paired: bool) -> list[Sample]:
    degraded = IMAGE if paired else None
    return [Sample(f"{dataset}/{i}", IMAGE, degraded, dataset=dataset) for i in range(count)]


def test_crops_of_each_set_add_up() -> None:
    sets = [make("a", 30, paired=True), make("b", 11, paired=True), make("c", 40, paired=False)]
    training, held_back = split_samples([sample for part in sets for sample in part])
    found = summarize_sets(training, held_back, TrainOptions(paired_share=0.4))
    shares = [each.share for each in found]
    assert shares == pytest.approx([0.4 * 28 / 38, 0.4 * 10 / 38, 0.6])
    counts = [(each.name, each.pairs, each.clean, each.held_back) for each in found]
    assert counts == [("a", 28, 0, 2), ("b", 10, 0, 1), ("c", 0, 38, 2)]


def test_weights_of_pairs_count() -> None:
    options = TrainOptions(paired_share=1.0, resident=True, pair_weights=(("a", 0.9),))
    training = [*make("a", 5, paired=True), *make("b", 5, paired=True)]
    found = summarize_sets(training, [], options)
    assert [each.share for each in found] == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("paired", [True, False])
def test_images_of_one_kind_give_all_crops(paired: bool) -> None:
    (found,) = summarize_sets(make("a", 3, paired=paired), [], TrainOptions(paired_share=0.4))
    assert found.share == pytest.approx(1)


def test_samples_know_their_set(tmp_path: Path) -> None:
    clean = f"clean={datasets.make_clean(tmp_path / 'clean')}"
    pairs = f"rain800={datasets.make_rain800(tmp_path / 'pairs')}"
    assert [s.dataset for s in layouts.read_sets([pairs, clean])] == [pairs] * 3 + [clean] * 3
    unnamed = [replace(sample, dataset="") for sample in layouts.read_sets([clean])]
    assert summarize_sets(unnamed, [], TrainOptions())[0].name == ""
