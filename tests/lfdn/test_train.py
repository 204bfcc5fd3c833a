"""The training loop on a handful of images and a network of four channels."""

import csv
import itertools
import json
import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lfdn import LFDN, LFDNConfig, load
from lfdn.datasets import layouts
from lfdn.datasets.crops import CropStage
from lfdn.datasets.images import DataError, ImageSource
from lfdn.datasets.samples import Sample, split_samples
from lfdn.training import recipe
from lfdn.training.losses import LOSSES, mse
from lfdn.training.recipe import OptimizerName, TrainPrecision
from lfdn.training.summary import RunSummary
from lfdn.training.train import (
    MetricsRow,
    StepsRow,
    TrainingError,
    TrainingState,
    TrainOptions,
    train,
)
from lfdn.weights import read_header
from tests.support import datasets

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)
OPTIONS = TrainOptions(
    steps=4, stages=(CropStage(1.0, 16, 2),), warmup_steps=1, validate_every=2, ema_decay=0.5
)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    pairs = layouts.read_side_by_side(datasets.make_rain800(tmp_path / "pairs", 3))
    return pairs + layouts.read_clean(datasets.make_clean(tmp_path / "clean", 3))


def test_run_writes_weights_metrics_and_a_checkpoint(samples: list[Sample], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(samples, run, options=OPTIONS, config=SMALL)
    assert load(run / "best.safetensors").config == SMALL
    assert (run / "last.pt").is_file()
    with (run / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]


def test_training_lowers_the_loss(samples: list[Sample], tmp_path: Path) -> None:
    reports: list[MetricsRow] = []
    options = replace(OPTIONS, steps=60, validate_every=20, learning_rate=5e-3)
    train(samples[1:3], tmp_path / "run", options=options, config=SMALL, on_metrics=reports.append)
    assert reports[-1].loss < reports[0].loss


def test_same_seed_trains_the_same_weights(samples: list[Sample], tmp_path: Path) -> None:
    first, again = (
        train(samples, tmp_path / name, options=OPTIONS, config=SMALL) for name in ("a", "b")
    )
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def read_state(run: Path) -> dict[str, torch.Tensor]:
    """Read every number of a checkpoint except its time, as a flat dictionary."""
    whole = torch.load(run / "last.pt", weights_only=True)
    whole["progress"].pop("seconds")
    flat: dict[str, torch.Tensor] = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}/{key}", inner)
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                walk(f"{name}/{index}", inner)
        elif isinstance(value, (torch.Tensor, int, float)):
            flat[name] = torch.as_tensor(value)

    walk("", whole)
    return flat


def read_metrics(run: Path) -> list[dict[str, str]]:
    """Read the rows of metrics, without their times."""
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("seconds")
    return rows


class StopError(Exception):
    """Raised instead of killing the process."""


def die_after(step: int) -> Callable[[TrainingState], None]:
    def on_step(state_now: TrainingState) -> None:
        if state_now.step == step:
            raise StopError

    return on_step


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("died_at", [10, 13])
def test_resumed_run_is_identical_to_an_uninterrupted_one(
    samples: list[Sample], tmp_path: Path, died_at: int, optimizer: OptimizerName
) -> None:
    """Weights, average, optimizer, best score and metrics, bit for bit; also from between rows."""
    options = replace(OPTIONS, steps=20, validate_every=4, checkpoint_every=5, optimizer=optimizer)
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(samples, straight, options=options, config=SMALL)
    with pytest.raises(StopError):
        train(samples, resumed, options=options, config=SMALL, on_step=die_after(died_at))
    train(samples, resumed, options=options, config=SMALL)
    one, other = read_state(straight), read_state(resumed)
    assert len(one) > 100
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert read_metrics(straight) == read_metrics(resumed)
    best = "best.safetensors"  # whose header holds a digest of its tensors
    assert read_header(straight / best) == read_header(resumed / best)


def read_steps(run: Path) -> list[dict[str, str]]:
    """Read the rows of `steps.csv`, without their times."""
    with (run / "steps.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("died_at", [8, 13])
def test_rows_of_steps_are_those_of_an_uninterrupted_run(
    samples: list[Sample], tmp_path: Path, died_at: int, resident: bool
) -> None:
    """A row is the mean of its steps, also of those before the checkpoint."""
    options = replace(OPTIONS, steps=20, validate_every=8, checkpoint_every=5, log_every=3,
                      resident=resident)  # fmt: skip
    rows: list[StepsRow] = []
    train(samples, tmp_path / "a", options=options, config=SMALL, on_log=rows.append)
    with pytest.raises(StopError):
        train(samples, tmp_path / "b", options=options, config=SMALL,
              on_step=die_after(16 if resident else died_at))  # fmt: skip
    train(samples, tmp_path / "b", options=options, config=SMALL)
    assert read_steps(tmp_path / "a") == read_steps(tmp_path / "b")
    assert [row.step for row in rows] == [3, 6, 9, 12, 15, 18, 20]
    expected = [recipe.compute_learning_rate(options, row.step - 1) for row in rows]
    assert [row.learning_rate for row in rows] == expected


@pytest.mark.parametrize("resident", [False, True])
def test_rows_of_steps_hold_the_means_of_the_losses(
    samples: list[Sample], tmp_path: Path, resident: bool
) -> None:
    """Against a row for each step; how often rows are written changes no weight."""
    options = replace(OPTIONS, steps=16, validate_every=16, resident=resident)
    each: list[StepsRow] = []
    some: list[StepsRow] = []
    train(samples, tmp_path / "a", options=replace(options, log_every=1), config=SMALL,
          on_log=each.append)  # fmt: skip
    train(samples, tmp_path / "b", options=replace(options, log_every=4), config=SMALL,
          on_log=some.append)  # fmt: skip
    for number, row in enumerate(some):
        part = each[4 * number : 4 * number + 4]
        assert row.loss == pytest.approx(sum(step.loss for step in part) / 4)
        assert row.gradient_norm == pytest.approx(sum(step.gradient_norm for step in part) / 4)
    one, other = read_state(tmp_path / "a"), read_state(tmp_path / "b")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_complete_run_is_made_longer(samples: list[Sample], tmp_path: Path) -> None:
    """It goes on as a run of the new length does: the cosine is stretched, not begun again."""
    options = replace(OPTIONS, log_every=1)
    train(samples, tmp_path / "run", options=options, config=SMALL)
    starts: list[RunSummary] = []
    longer = replace(options, steps=10)
    train(samples, tmp_path / "run", options=longer, config=SMALL, on_start=starts.append)
    rates = [float(row["learning_rate"]) for row in read_steps(tmp_path / "run")]
    first = [recipe.compute_learning_rate(options, step) for step in range(4)]
    assert rates == first + [recipe.compute_learning_rate(longer, step) for step in range(4, 10)]
    assert (starts[0].step, starts[0].grown) == (4, (("steps", 4, 10),))
    assert starts[0].learning_rate == rates[4]
    assert read_state(tmp_path / "run")["/progress/step"] == 10
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["steps"] == 10
    assert manifest["extended"] == [{"option": "steps", "from": 4, "to": 10, "step": 4}]


def test_longer_run_is_resumed_exactly_too(samples: list[Sample], tmp_path: Path) -> None:
    longer = replace(OPTIONS, steps=12, checkpoint_every=3)
    for name in ("straight", "resumed"):
        train(samples, tmp_path / name, options=OPTIONS, config=SMALL)
    train(samples, tmp_path / "straight", options=longer, config=SMALL)
    with pytest.raises(StopError):
        train(samples, tmp_path / "resumed", options=longer, config=SMALL, on_step=die_after(7))
    train(samples, tmp_path / "resumed", options=longer, config=SMALL)
    one, other = read_state(tmp_path / "straight"), read_state(tmp_path / "resumed")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_callbacks_follow_the_run(samples: list[Sample], tmp_path: Path) -> None:
    seen: list[object] = []
    train(
        samples, tmp_path / "run", options=replace(OPTIONS, log_every=2), config=SMALL,
        on_start=lambda summary: seen.append((summary.step, summary.validation_pairs)),
        on_step=lambda state_now: seen.append(state_now.step),
        on_log=lambda row: seen.append(f"row {row.step}"),
        on_validation=lambda done, total: seen.append(f"{done}/{total}"),
        on_metrics=lambda row: seen.append(f"metrics {row.step}"),
    )  # fmt: skip
    assert seen == [
        (0, 1), 1, "row 2", 2, "0/1", "1/1", "metrics 2", 3, "row 4", 4, "0/1", "1/1", "metrics 4",
    ]  # fmt: skip


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": (CropStage(0.1, 16, 2), CropStage(1.0, 64, 2))}, "no pair has sides of 64 px"),
        ({"margin_px": 20, "paired_share": 0.0}, "no clean image has sides of 56 px"),
    ],
)
def test_crops_larger_than_every_image_are_refused_before_the_run(
    samples: list[Sample], tmp_path: Path, changes: dict[str, Any], words: str, resident: bool
) -> None:
    options = replace(OPTIONS, resident=resident, **changes)
    with pytest.raises(DataError, match=f"{words}, the largest has 48 px; choose smaller crops"):
        train(samples, tmp_path / "run", options=options, config=SMALL)
    assert not (tmp_path / "run").exists()


def test_complete_run_is_not_changed(samples: list[Sample], tmp_path: Path) -> None:
    train(samples, tmp_path / "run", options=OPTIONS, config=SMALL)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    train(samples, tmp_path / "run", options=OPTIONS, config=SMALL)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_training_with_a_checkpoint(
    samples: list[Sample], tmp_path: Path, number: int
) -> None:
    def interrupt(state_now: TrainingState) -> None:
        if state_now.step == 2:
            os.kill(os.getpid(), number)

    options = replace(OPTIONS, steps=9, validate_every=9)
    with pytest.raises(KeyboardInterrupt):
        train(samples, tmp_path / "run", options=options, config=SMALL, on_step=interrupt)
    assert read_state(tmp_path / "run")["/progress/step"] == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_signal_before_the_first_step_ends_training(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While images are read: no step is trained."""
    split = split_samples

    def interrupted(found: list[Sample]) -> tuple[list[Sample], list[Sample]]:
        os.kill(os.getpid(), signal.SIGTERM)
        return split(found)

    monkeypatch.setattr("lfdn.training.train.split_samples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(samples, tmp_path / "run", options=OPTIONS, config=SMALL,
              on_step=lambda _: pytest.fail("a step"))  # fmt: skip
    assert not (tmp_path / "run" / "last.pt").exists()


# PyTorch's signal handler may raise while its iterator is deleted, which Python prints and ignores.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_worker_is_reported(samples: list[Sample], tmp_path: Path) -> None:
    def kill(_: TrainingState) -> None:
        for worker in multiprocessing.active_children():
            worker.kill()

    options = replace(OPTIONS, steps=50)
    with pytest.raises(TrainingError, match="a process that prepares crops was killed"):
        train(samples, tmp_path / "run", options=options, config=SMALL, on_step=kill)


def test_workers_ignore_termination_signals(samples: list[Sample], tmp_path: Path) -> None:
    """A service manager sends SIGTERM to every process of a service."""

    def stop(state_now: TrainingState) -> None:
        if state_now.step == 2:
            for worker in multiprocessing.active_children():
                worker.terminate()
            os.kill(os.getpid(), signal.SIGTERM)

    options = replace(OPTIONS, steps=9, validate_every=9)
    with pytest.raises(KeyboardInterrupt):
        train(samples, tmp_path / "run", options=options, config=SMALL, on_step=stop)
    assert read_state(tmp_path / "run")["/progress/step"] == 2


def test_run_may_start_from_given_weights(samples: list[Sample], tmp_path: Path) -> None:
    initial = LFDN(SMALL)
    options = replace(OPTIONS, learning_rate=0)
    trained = train(samples, tmp_path / "run", options=options, initial=initial)
    for one, other in zip(trained.parameters(), initial.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_teacher_changes_what_is_learnt(samples: list[Sample], tmp_path: Path) -> None:
    """A teacher that brightens everything makes its student's output brighter."""
    teacher = LFDN(SMALL)
    teacher.get_parameter("decoder.3.conv.bias").data.fill_(0.5)
    options = replace(OPTIONS, steps=30, learning_rate=1e-2, teacher_weight=0.9, validate_every=30)
    taught, alone = (
        train(samples, tmp_path / name, options=options, config=SMALL, teacher=helped)
        for name, helped in (("taught", teacher), ("alone", None))
    )
    grey = torch.full((1, 3, 16, 16), 0.3)
    assert taught(grey).mean() > alone(grey).mean() + 0.01


def test_resuming_with_another_teacher_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(samples, run, options=OPTIONS, config=SMALL, teacher=LFDN(SMALL))
    with pytest.raises(TrainingError, match="was started with teacher"):
        train(samples, run, options=OPTIONS, config=SMALL)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    calls = itertools.count()

    def poisoned(
        prediction: torch.Tensor, target: torch.Tensor, damage: torch.Tensor
    ) -> torch.Tensor:
        return mse(prediction, target, damage) * (poison if next(calls) == 5 else 1)

    monkeypatch.setitem(LOSSES, "mse", poisoned)
    options = replace(OPTIONS, steps=9, loss="mse")
    with pytest.raises(TrainingError, match=r"at step 5 the loss is (nan|inf)"):
        train(samples, tmp_path / "run", options=options, config=SMALL)
    good = read_state(tmp_path / "run")
    assert good["/progress/step"] == 4
    assert all(value.isfinite().all() for value in good.values())
    assert load(tmp_path / "run" / "best.safetensors").config == SMALL
    train(samples, tmp_path / "run", options=options, config=SMALL)


def test_gradient_that_is_not_finite_ends_training(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(prediction: torch.Tensor, target: torch.Tensor, damage: torch.Tensor) -> torch.Tensor:
        return (prediction - prediction.detach()).abs().sqrt().sum()

    monkeypatch.setitem(LOSSES, "mse", steep)
    with pytest.raises(TrainingError, match="the loss is 0, the norm of its gradient nan"):
        train(samples, tmp_path / "run", options=replace(OPTIONS, loss="mse"), config=SMALL)


def test_bfloat16_keeps_weights_in_float32(samples: list[Sample], tmp_path: Path) -> None:
    reports: dict[TrainPrecision, list[MetricsRow]] = {"float32": [], "bfloat16": []}
    for precision, rows in reports.items():
        train(samples, tmp_path / precision, config=SMALL, on_metrics=rows.append,
              options=replace(OPTIONS, precision=precision))  # fmt: skip
    network = torch.load(tmp_path / "bfloat16" / "last.pt", weights_only=True)["network"]
    assert {value.dtype for value in network.values()} == {torch.float32}
    one, other = reports["float32"][-1], reports["bfloat16"][-1]
    assert one.loss != other.loss
    assert other.loss == pytest.approx(one.loss, rel=0.05)


def test_average_is_exponential_with_a_warm_up(samples: list[Sample], tmp_path: Path) -> None:
    """Against its recurrence, on the weights after each step."""

    def stop(_: MetricsRow) -> None:
        raise StopError

    run, expected = tmp_path / "run", torch.empty(0)
    options = replace(OPTIONS, ema_decay=0.3, validate_every=1, steps=9)
    for step in range(1, 5):
        with pytest.raises(StopError):
            train(samples, run, options=options, config=SMALL, on_metrics=stop)
        saved = torch.load(run / "last.pt", weights_only=True)
        weight = saved["network"]["head.weight"]
        kept = min(0.3, step / (9 + step))  # n averaged before: n = step - 1
        expected = weight if step == 1 else kept * expected + (1 - kept) * weight
        torch.testing.assert_close(saved["average"]["module.head.weight"], expected)


def test_validation_writes_a_sheet_of_images(samples: list[Sample], tmp_path: Path) -> None:
    train(samples, tmp_path / "run", options=OPTIONS, config=SMALL)
    sheets = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert sheets == ["step_0000002.png", "step_0000004.png"]
    sheet = ImageSource(tmp_path / "run" / "samples" / sheets[0]).read()
    assert sheet.shape == (3 * 48, 64, 3)


def test_paper_preset_runs(samples: list[Sample], tmp_path: Path) -> None:
    options = recipe.build_options("paper", "derain", steps=2, stages=(CropStage(1.0, 16, 2),))
    rows: list[MetricsRow] = []
    train(samples, tmp_path / "run", options=options, config=SMALL, on_metrics=rows.append)
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert rows[-1].learning_rate == 1e-4
    assert torch.equal(saved["network"]["head.weight"], saved["average"]["module.head.weight"])


def test_deblur_trains_on_sharp_sequences(tmp_path: Path) -> None:
    frames = layouts.read_sequences(datasets.make_clean(tmp_path / "in" / "walk").parent)
    options = replace(OPTIONS, task="deblur")
    train(frames, tmp_path / "run", options=options, config=SMALL)
    assert read_header(tmp_path / "run" / "best.safetensors")["task"] == "deblur"
