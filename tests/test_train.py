"""The training loop on a handful of pictures and a network of four channels."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lfdn import LFDN, LFDNConfig, layouts, load
from lfdn.data import Sample, Stage
from lfdn.train import Report, TrainingError, TrainOptions, train
from lfdn.weights import header
from tests import pictures

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)
OPTIONS = TrainOptions(
    steps=4, stages=(Stage(1.0, 16, 2),), warmup_steps=1, validate_every=2, ema_decay=0.5
)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    pairs = layouts.side_by_side(pictures.rain800(tmp_path / "pairs", 3))
    return pairs + layouts.clean(pictures.clean(tmp_path / "clean", 3))


def test_a_run_leaves_weights_metrics_and_a_checkpoint(
    samples: list[Sample], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(samples, run, options=OPTIONS, config=SMALL)
    assert load(run / "best.safetensors").config == SMALL
    assert (run / "last.pt").is_file()
    with (run / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]


def test_training_lowers_the_loss(samples: list[Sample], tmp_path: Path) -> None:
    reports: list[Report] = []
    options = replace(OPTIONS, steps=60, validate_every=20, learning_rate=5e-3)
    train(samples[1:3], tmp_path / "run", options=options, config=SMALL, on_report=reports.append)
    assert reports[-1].loss < reports[0].loss


def test_the_same_seed_trains_the_same(samples: list[Sample], tmp_path: Path) -> None:
    first, again = (
        train(samples, tmp_path / name, options=OPTIONS, config=SMALL) for name in ("a", "b")
    )
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_interrupted_run_goes_on_exactly(samples: list[Sample], tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop_once(report: Report) -> None:
        if report.step == 2:
            raise StopError

    straight = train(samples, tmp_path / "straight", options=OPTIONS, config=SMALL)
    with pytest.raises(StopError):
        train(samples, tmp_path / "run", options=OPTIONS, config=SMALL, on_report=stop_once)
    resumed = train(samples, tmp_path / "run", options=OPTIONS, config=SMALL)
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_may_start_from_given_weights(samples: list[Sample], tmp_path: Path) -> None:
    initial = LFDN(SMALL)
    options = replace(OPTIONS, learning_rate=0)
    trained = train(samples, tmp_path / "run", options=options, initial=initial)
    for one, other in zip(trained.parameters(), initial.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_loss_that_is_not_finite_stops_with_a_clear_error(
    samples: list[Sample], tmp_path: Path
) -> None:
    options = replace(OPTIONS, steps=30, learning_rate=1e30, clip_norm=1e30)
    with pytest.raises(TrainingError, match="loss is"):
        train(samples, tmp_path / "run", options=options, config=SMALL)


def test_deblur_trains_on_sharp_sequences(tmp_path: Path) -> None:
    frames = layouts.sequences(pictures.clean(tmp_path / "in" / "walk").parent)
    options = replace(OPTIONS, task="deblur")
    train(frames, tmp_path / "run", options=options, config=SMALL)
    assert header(tmp_path / "run" / "best.safetensors")["task"] == "deblur"


def test_an_unknown_loss_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="charbonnier, log_mse, mse"):
        TrainOptions(loss="l3")
