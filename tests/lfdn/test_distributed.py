"""Two processes under torchrun train like one on the same batches."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lfdn.datasets.crops import CropStage
from lfdn.training.recipe import TrainOptions
from lfdn.training.train import TrainingError, _check_batches
from tests.support import datasets

TOLERANCE = 1e-5
"""For a weight after four steps: sums are in another order, and Adam divides by their size."""


def train(run: Path, data: Path, *launcher: str) -> tuple[dict[str, torch.Tensor], str]:
    words = ["-m", "lfdn", "train", "--data", f"rain800={data}/pairs", "--data",
             f"clean={data}/clean", "-o", str(run), "--steps", "4", "--stages", "1:16x4",
             "--learning-rate", "1e-4", "--threads", "1", "--log-every", "2"]  # fmt: skip
    if find_spec("tensorboard"):
        words.append("--tensorboard")
    done = subprocess.run(
        [*launcher, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    network: dict[str, torch.Tensor] = torch.load(run / "last.pt", weights_only=True)["network"]
    return network, done.stderr


def test_two_processes_train_the_same_weights_as_one(tmp_path: Path) -> None:
    datasets.make_rain800(tmp_path / "pairs", 3)
    datasets.make_clean(tmp_path / "clean", 3)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node", "2")  # fmt: skip
    one, _ = train(tmp_path / "one", tmp_path, sys.executable)
    two, told = train(tmp_path / "two", tmp_path, *torchrun)
    worst = max((one[name] - two[name]).abs().max().item() for name in one)
    assert worst < TOLERANCE
    # The first process alone writes and tells.
    files = [sorted(_list_files(tmp_path / name)) for name in ("one", "two")]
    assert files[0] == files[1]
    assert (told.count("parameters, from"), told.count("2 processes, each cpu")) == (1, 1)
    assert len((tmp_path / "two" / "steps.csv").read_text().splitlines()) == 3


def _list_files(run: Path) -> list[str]:
    """List the files of a run; those of TensorBoard, which are named by time, by their folder."""
    found = [path for path in run.rglob("*") if path.is_file()]
    return [path.parent.name if "tfevents" in path.name else path.name for path in found]


def test_batch_that_cannot_be_shared_is_refused() -> None:
    options = TrainOptions(stages=(CropStage(0.5, 16, 4), CropStage(1, 16, 3)))
    with pytest.raises(TrainingError, match="a batch of 3 cannot be shared by 2 processes"):
        _check_batches(options, 2)
