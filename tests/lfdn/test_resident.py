"""Training with all images on the device, on a CPU: the same code without a CUDA graph."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lfdn import LFDN, LFDNConfig
from lfdn.datasets import layouts
from lfdn.datasets.crops import CropStage
from lfdn.datasets.images import DataError
from lfdn.datasets.resident import ImageStore, ResidentImages
from lfdn.datasets.samples import Sample
from lfdn.training.graph import StepGraph
from lfdn.training.losses import LOSSES
from lfdn.training.recipe import OptimizerName
from lfdn.training.resident import BLOCK_STEPS, ResidentSteps, _mirror
from lfdn.training.summary import RunSummary
from lfdn.training.train import (
    MetricsRow,
    StepsRow,
    TrainingError,
    TrainingState,
    TrainOptions,
    train,
)
from tests.lfdn.test_train import read_state
from tests.support import datasets

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)
STAGES = (CropStage(0.5, 16, 2), CropStage(1.0, 32, 1))
OPTIONS = TrainOptions(
    steps=20, stages=STAGES, warmup_steps=1, validate_every=BLOCK_STEPS, optimizer="muon",
    resident=True, rain="filmed",
)  # fmt: skip

BLURRING = replace(OPTIONS, task="deblur", margin_px=2, least_detail=3.0, easing=0.5)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    pairs = layouts.read_side_by_side(datasets.make_rain800(tmp_path / "pairs", 3))
    return pairs + layouts.read_clean(datasets.make_clean(tmp_path / "clean", 3))


def stop_at(step: int) -> Callable[[TrainingState], None]:
    def interrupt(state: TrainingState) -> None:
        if state.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return interrupt


@pytest.mark.parametrize("options", [OPTIONS, BLURRING], ids=["derain", "deblur"])
def test_resumed_run_is_identical_to_an_uninterrupted_one(
    samples: list[Sample], tmp_path: Path, options: TrainOptions
) -> None:
    train(samples, tmp_path / "whole", options=options, config=SMALL)
    with pytest.raises(KeyboardInterrupt):
        train(samples, tmp_path / "cut", options=options, config=SMALL, on_step=stop_at(8))
    train(samples, tmp_path / "cut", options=options, config=SMALL)
    whole, cut = read_state(tmp_path / "whole"), read_state(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []


def test_training_for_a_time_ends_when_it_is_over(samples: list[Sample], tmp_path: Path) -> None:
    rows: list[MetricsRow] = []
    options = replace(OPTIONS, seconds=2.0, steps=10**6, validate_every=10**5)
    train(samples, tmp_path / "run", options=options, config=SMALL, on_metrics=rows.append)
    assert rows[-1].seconds >= 2.0
    assert rows[-1].step % BLOCK_STEPS == 0
    assert rows[-1].learning_rate == 0
    assert 0 < rows[-1].step < rows[-1].crops < 2 * rows[-1].step  # both stages were reached
    again: list[MetricsRow] = []
    train(samples, tmp_path / "run", options=options, config=SMALL, on_metrics=again.append)
    assert again == []


def test_run_for_a_time_is_made_longer(samples: list[Sample], tmp_path: Path) -> None:
    options = replace(OPTIONS, seconds=0.4, steps=10**6, validate_every=10**5)
    train(samples, tmp_path / "run", options=options, config=SMALL)
    starts: list[RunSummary] = []
    longer = replace(options, seconds=0.8)
    train(samples, tmp_path / "run", options=longer, config=SMALL, on_start=starts.append)
    assert starts[0].grown == (("seconds", 0.4, 0.8),)
    assert starts[0].learning_rate > 0
    assert read_state(tmp_path / "run")["/progress/step"] > starts[0].step


def test_rows_of_steps_read_nothing_more_from_the_device(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures are read once a block, however often rows are written."""
    reads: list[Tensor] = []
    read = Tensor.tolist

    def note(figures: Tensor) -> Any:
        reads.append(figures)
        return read(figures)

    monkeypatch.setattr(Tensor, "tolist", note)
    counts = []
    for every in (1, 1000):
        reads.clear()
        options = replace(OPTIONS, steps=4 * BLOCK_STEPS, validate_every=1000, log_every=every)
        steps: list[StepsRow] = []
        with monkeypatch.context() as patch:
            patch.setattr("lfdn.training.train._Trainer._validate", lambda _: None)
            train(samples, tmp_path / str(every), options=options, config=SMALL,
                  on_log=steps.append)  # fmt: skip
        counts.append((len(reads), len(steps)))
    assert counts == [(4, 4 * BLOCK_STEPS), (4, 1)]


def test_training_lowers_the_loss(samples: list[Sample], tmp_path: Path) -> None:
    rows: list[MetricsRow] = []
    options = replace(OPTIONS, steps=64, validate_every=32, learning_rate=5e-3)
    train(samples[1:3], tmp_path / "run", options=options, config=SMALL, on_metrics=rows.append)
    assert rows[-1].loss < rows[0].loss


def test_run_is_not_resumed_with_crops_made_elsewhere(
    samples: list[Sample], tmp_path: Path
) -> None:
    train(samples, tmp_path / "run", options=OPTIONS, config=SMALL)
    with pytest.raises(TrainingError, match="resident True, not False"):
        train(samples, tmp_path / "run", options=replace(OPTIONS, resident=False), config=SMALL)


def test_loss_that_is_not_finite_ends_training(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def poisoned(prediction: Tensor, target: Tensor, damage: Tensor) -> Tensor:
        return (prediction - target).square().mean() * (np.nan if next(calls) == 11 else 1)

    monkeypatch.setitem(LOSSES, "mse", poisoned)
    with pytest.raises(TrainingError, match="at step 11 the loss is nan"):
        train(samples, tmp_path / "run", options=replace(OPTIONS, loss="mse"), config=SMALL)
    kept = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert kept["progress"]["step"] == 8
    assert all(value.isfinite().all() for value in kept["network"].values())


@pytest.mark.parametrize("option", ["seconds", "pair_weights", "pad_channels"])
def test_options_of_resident_training_need_it(option: str) -> None:
    value = {"seconds": 1.0, "pair_weights": (("a", 1.0),), "pad_channels": True}[option]
    with pytest.raises(ValueError, match="add --resident on"):
        TrainOptions(**{option: value})  # type: ignore[arg-type]


def test_padded_channels_train_the_same_weights(samples: list[Sample], tmp_path: Path) -> None:
    usual, padded = (
        train(samples, tmp_path / str(pad), config=SMALL,
              options=replace(OPTIONS, steps=8, optimizer="adamw", pad_channels=pad))
        for pad in (False, True)
    )  # fmt: skip
    for one, other in zip(usual.parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(usual.parameters(), padded.parameters(), strict=True)
    )


class _NoReading(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what a CUDA graph cannot hold: values read back, shapes that depend on values."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if any(word in str(func) for word in self.FORBIDDEN):
            raise AssertionError(f"{func} while capturing")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", ["muon", "adamw", "adam"])
@pytest.mark.parametrize(("taught", "pad"), [(False, False), (True, False), (False, True)])
def test_a_step_reads_nothing_back(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    loss: str, optimizer: OptimizerName, taught: bool, pad: bool,
) -> None:  # fmt: skip
    compute = ResidentSteps._compute

    def guarded(self: ResidentSteps, degraded: Tensor, target: Tensor) -> Tensor:
        with _NoReading():  # type: ignore[no-untyped-call]
            return compute(self, degraded, target)

    monkeypatch.setattr(ResidentSteps, "_compute", guarded)
    options = replace(OPTIONS, steps=2, loss=loss, optimizer=optimizer, precision="bfloat16",
                      pad_channels=pad)  # fmt: skip
    teacher = LFDN(SMALL) if taught else None
    train(samples, tmp_path / "run", options=options, config=SMALL, teacher=teacher)


def test_the_guard_finds_a_value_that_is_read() -> None:
    with pytest.raises(AssertionError, match="while capturing"), _NoReading():  # type: ignore[no-untyped-call]
        torch.ones(3).sum().item()


def test_step_changes_only_what_a_capture_restores(samples: list[Sample], tmp_path: Path) -> None:
    """The capture warms up with three steps; each tensor of the checkpoint must be restored."""
    missed: list[str] = []
    run = StepGraph.run

    def checked(self: StepGraph, degraded: Tensor, target: Tensor) -> Tensor:
        steps: ResidentSteps = self._compute.__self__  # type: ignore[attr-defined]
        numbered = enumerate(steps.optimizer.state_dict()["tensors"])
        whole: dict[str, Tensor] = {
            **steps._learner.network.state_dict(),
            **steps._learner.average.state_dict(),
            **{str(number): tensor for number, tensor in numbered},
        }
        restored = {tensor.data_ptr() for tensor in steps.optimizer.get_state()}
        before = {name: value.clone() for name, value in whole.items()}
        figures = run(self, degraded, target)
        missed.extend(
            name
            for name, value in whole.items()
            if not torch.equal(value, before[name]) and value.data_ptr() not in restored
        )
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepGraph, "run", checked)
        train(samples, tmp_path / "run", options=replace(OPTIONS, steps=3), config=SMALL)
    assert missed == []


def make_store(*sides: tuple[int, int]) -> ImageStore:
    """Make a store of images whose pixels hold their number, row and column."""
    images = []
    for number, (height, width) in enumerate(sides):
        y, x = np.mgrid[:height, :width]
        images.append([np.stack([np.full_like(y, number), y, x], axis=2).astype(np.uint8)])
    return ImageStore(images, [1.0] * len(images))


def test_crops_are_squares_of_one_image() -> None:
    crops = make_store((20, 30), (40, 17)).draw(np.random.default_rng(1), 200, 16)
    assert crops.shape == (200, 3, 16, 16)
    number, y, x = (part.int() for part in crops.unbind(1))
    assert (number == number[:, :1, :1]).all()
    assert (y - y[:, :1, :1] == torch.arange(16).view(1, 16, 1)).all()
    assert (x - x[:, :1, :1] == torch.arange(16).view(1, 1, 16)).all()
    ends = [
        (int(y[number[:, 0, 0] == i].max()), int(x[number[:, 0, 0] == i].max())) for i in (0, 1)
    ]
    assert ends == [(19, 29), (39, 16)]


def test_images_that_are_too_small_are_left_out() -> None:
    store = make_store((20, 30), (40, 40))
    assert set(store.draw(np.random.default_rng(1), 50, 24)[:, 0].flatten().tolist()) == {1}
    with pytest.raises(DataError, match="no image has sides of 41 px"):
        store.draw(np.random.default_rng(1), 1, 41)


def test_clean_images_are_there_at_three_sizes(tmp_path: Path) -> None:
    datasets.write_image(tmp_path / "a.png", datasets.draw_image(1, 160, 200))
    images = ResidentImages(layouts.read_clean(tmp_path), smallest_side_px=40)
    assert images.clean is not None
    assert images.clean._heights.tolist() == [160, 80, 40]
    assert images.clean._widths.tolist() == [200, 100, 50]


def test_pairs_are_drawn_by_their_weights(tmp_path: Path) -> None:
    samples = layouts.read_gopro(datasets.make_gopro(tmp_path, sequences=3))
    images = ResidentImages(
        samples, smallest_side_px=16, pair_weights=(("GOPR0", 0.6), ("GOPR1", 0.3))
    )
    assert images.pairs is not None
    assert images.pairs._shares.tolist() == pytest.approx([0.3, 0.3, 0.15, 0.15, 0.05, 0.05])
    with pytest.raises(DataError, match="no pair begins with 'nm'"):
        ResidentImages(samples, smallest_side_px=16, pair_weights=(("nm", 1.0),))


def test_turning_keeps_a_pair_together() -> None:
    crops = torch.rand(64, 3, 8, 8)
    turned = _mirror(torch.cat([crops, 1 - crops], 1), torch.Generator().manual_seed(1), turn=True)
    torch.testing.assert_close(turned[:, 3:], 1 - turned[:, :3])
    kinds = {tuple(np.round(crop.flatten().tolist(), 4)) for crop in turned[:, 0]}
    assert len(kinds) == 64
    corners = crops[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    found = [int((corners[i] == turned[i, 0, 0, 0]).nonzero()[0, 0]) for i in range(64)]
    assert set(found) == {0, 1, 2, 3}


def test_recipe_is_in_the_manifest(samples: list[Sample], tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=1, pair_weights=(("1", 0.5),), revive=True)
    train(samples, tmp_path / "run", options=options, config=SMALL)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["pair_weights"] == [["1", 0.5]]
    assert (manifest["rain"], manifest["revive"]) == ("filmed", True)


@pytest.mark.needs_cuda
def test_graph_computes_what_single_launches_compute(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stages are captured; without a graph the weights are the same but for rounding."""
    options = replace(OPTIONS, device="cuda", precision="float32", learning_rate=1e-4)
    captured: list[bool] = []
    run = StepGraph.run

    def note(self: StepGraph, degraded: Tensor, target: Tensor) -> Tensor:
        captured.append(self.is_captured)
        return run(self, degraded, target)

    monkeypatch.setattr(StepGraph, "run", note)
    graph = train(samples, tmp_path / "graph", options=options, config=SMALL)
    assert captured == [True] * options.steps
    monkeypatch.setattr(StepGraph, "_capture", lambda *_: None)
    single = train(samples, tmp_path / "single", options=options, config=SMALL)
    for one, other in zip(graph.parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.needs_cuda
def test_interrupted_run_goes_on_under_a_new_graph(samples: list[Sample], tmp_path: Path) -> None:
    options = replace(OPTIONS, device="cuda", learning_rate=1e-4)
    whole = train(samples, tmp_path / "whole", options=options, config=SMALL)
    with pytest.raises(KeyboardInterrupt):
        train(samples, tmp_path / "cut", options=options, config=SMALL, on_step=stop_at(8))
    cut = train(samples, tmp_path / "cut", options=options, config=SMALL)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
