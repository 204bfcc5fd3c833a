"""A run's folder refuses what is not its own, and what is damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from lfdn import LFDNConfig
from lfdn.datasets import layouts
from lfdn.datasets.data import Sample
from lfdn.training.checkpoint import Progress, Report, RunFolder, TrainingError
from lfdn.training.recipe import TrainOptions
from tests.support import pictures

OPTIONS, CONFIG = TrainOptions(), LFDNConfig()


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return layouts.clean(pictures.clean(tmp_path / "clean"))


@pytest.fixture
def folder(tmp_path: Path, samples: list[Sample]) -> RunFolder:
    """A run of seven steps."""
    folder = RunFolder(tmp_path / "run")
    folder.begin(OPTIONS, CONFIG, samples)
    folder.save(Progress(step=7, best=30.0), network=nn.Linear(2, 2))
    return folder


def test_progress_comes_back(folder: RunFolder) -> None:
    progress = folder.load(network=nn.Linear(2, 2))
    assert (progress.step, progress.best) == (7, 30.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": 1e-3}, "was started with learning_rate 0.0008, not 0.001"),
        ({"seed": 9}, "was started with seed 1, not 9"),
        ({"task": "deblur"}, "was started with task derain, not deblur"),
    ],
)
def test_other_options_are_refused(
    folder: RunFolder, samples: list[Sample], options: dict[str, object], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        folder.begin(replace(OPTIONS, **options), CONFIG, samples)  # type: ignore[arg-type]


def test_another_machine_may_go_on(folder: RunFolder, samples: list[Sample]) -> None:
    folder.begin(replace(OPTIONS, device="cuda", threads=3, validate_every=5), CONFIG, samples)


def test_another_network_is_refused(folder: RunFolder, samples: list[Sample]) -> None:
    with pytest.raises(TrainingError, match="was started with network"):
        folder.begin(OPTIONS, LFDNConfig(blocks=2), samples)


def test_other_data_are_refused(folder: RunFolder, samples: list[Sample]) -> None:
    with pytest.raises(TrainingError, match="was started with samples 3, not 2"):
        folder.begin(OPTIONS, CONFIG, samples[:2])
    renamed = [replace(sample, name=f"x{sample.name}") for sample in samples]
    with pytest.raises(TrainingError, match="was started with names"):
        folder.begin(OPTIONS, CONFIG, renamed)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_clear_line(folder: RunFolder, damage: bytes | None) -> None:
    path = folder.path / "last.pt"
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    with pytest.raises(TrainingError, match=r"last\.pt: damaged; name another folder"):
        folder.load(network=nn.Linear(2, 2))


def test_rows_after_the_checkpoint_are_dropped(folder: RunFolder) -> None:
    for step in (4, 7, 8):
        folder.append(Report(step, 0, 0, 0, 0, 0, 0, 0, 0))
    folder.load(network=nn.Linear(2, 2))
    rows = (folder.path / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "4", "7"]
