"""Two processes under torchrun train like one on the same batches."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lfdn.datasets.crops import CropStage
from lfdn.training.recipe import TrainOptions
from lfdn.training.train import TrainingError, _check_batches
from tests.support import datasets

TOLERANCE = 1e-5
"""For a weight after four steps: sums are in another order, and Adam divides by their size."""


def train(run: Path, data: Path, *launcher: str) -> dict[str, torch.Tensor]:
    words = ["-m", "lfdn", "train", "--data", f"rain800={data}/pairs", "--data",
             f"clean={data}/clean", "-o", str(run), "--steps", "4", "--stages", "1:16x4",
             "--learning-rate", "1e-4", "--threads", "1"]  # fmt: skip
    done = subprocess.run(
        [*launcher, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    network: dict[str, torch.Tensor] = torch.load(run / "last.pt", weights_only=True)["network"]
    return network


def test_two_processes_train_the_same_weights_as_one(tmp_path: Path) -> None:
    datasets.make_rain800(tmp_path / "pairs", 3)
    datasets.make_clean(tmp_path / "clean", 3)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node", "2")  # fmt: skip
    one = train(tmp_path / "one", tmp_path, sys.executable)
    two = train(tmp_path / "two", tmp_path, *torchrun)
    worst = max((one[name] - two[name]).abs().max().item() for name in one)
    assert worst < TOLERANCE
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


def test_batch_that_cannot_be_shared_is_refused() -> None:
    options = TrainOptions(stages=(CropStage(0.5, 16, 4), CropStage(1, 16, 3)))
    with pytest.raises(TrainingError, match="a batch of 3 cannot be shared by 2 processes"):
        _check_batches(options, 2)
