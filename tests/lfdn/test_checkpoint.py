"""The run folder refuses other runs and corrupt checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from lfdn import LFDNConfig
from lfdn.datasets import layouts
from lfdn.datasets.samples import Sample
from lfdn.training.checkpoint import RunFolder, TrainingState
from lfdn.training.figures import MetricsRow, StepsRow
from lfdn.training.manifest import TrainingError, build_manifest
from lfdn.training.recipe import TrainOptions
from tests.support import datasets

OPTIONS, CONFIG = TrainOptions(), LFDNConfig()


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return layouts.read_clean(datasets.make_clean(tmp_path / "clean"))


@pytest.fixture
def folder(tmp_path: Path, samples: list[Sample]) -> RunFolder:
    """A run of seven steps."""
    folder = RunFolder(tmp_path / "run")
    folder.write_manifest(build_manifest(OPTIONS, CONFIG, samples))
    folder.save_checkpoint(TrainingState(step=7, best=30.0), network=nn.Linear(2, 2))
    return folder


def test_state_is_restored(folder: RunFolder) -> None:
    state = folder.load_checkpoint(network=nn.Linear(2, 2))
    assert (state.step, state.best) == (7, 30.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": 1e-3}, "was started with learning_rate 0.0008, not 0.001"),
        ({"seed": 9}, "was started with seed 1, not 9"),
        ({"task": "deblur"}, "was started with task derain, not deblur"),
        (
            {"steps": 7},
            "was started with steps 20000, not 7; a run can be made longer, not shorter",
        ),
        ({"resident": True, "seconds": 9.0}, "was started with resident False"),
    ],
)
def test_other_options_are_refused(
    folder: RunFolder, samples: list[Sample], options: dict[str, object], words: str
) -> None:
    other = replace(OPTIONS, **options)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=words):
        folder.check_manifest(build_manifest(other, CONFIG, samples))


def test_run_may_resume_on_another_device_and_log_more(
    folder: RunFolder, samples: list[Sample]
) -> None:
    other = replace(OPTIONS, device="cuda", threads=3, validate_every=5, log_every=1)
    assert folder.check_manifest(build_manifest(other, CONFIG, samples))


def test_run_of_the_version_before_may_resume(folder: RunFolder, samples: list[Sample]) -> None:
    """Its manifest says nothing of how often to log, nor where the data is."""
    manifest = build_manifest(OPTIONS, CONFIG, samples)
    old = {key: manifest[key] for key in manifest if key not in ("log_every", "inputs")}
    folder.write_manifest(old)
    assert folder.check_manifest(manifest) == old


def test_another_network_is_refused(folder: RunFolder, samples: list[Sample]) -> None:
    with pytest.raises(TrainingError, match="was started with network"):
        folder.check_manifest(build_manifest(OPTIONS, LFDNConfig(blocks=2), samples))


def test_other_data_is_refused(folder: RunFolder, samples: list[Sample]) -> None:
    with pytest.raises(TrainingError, match="was started with samples 3, not 2"):
        folder.check_manifest(build_manifest(OPTIONS, CONFIG, samples[:2]))
    renamed = [replace(sample, name=f"x{sample.name}") for sample in samples]
    with pytest.raises(TrainingError, match="was started with names"):
        folder.check_manifest(build_manifest(OPTIONS, CONFIG, renamed))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_corrupt_checkpoint_is_refused(folder: RunFolder, content: bytes | None) -> None:
    path = folder.path / "last.pt"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(TrainingError, match=r"last\.pt: corrupt; name another folder"):
        folder.load_checkpoint(network=nn.Linear(2, 2))


def test_rows_after_the_checkpoint_are_dropped(folder: RunFolder) -> None:
    for step in (4, 7, 8):
        folder.append(MetricsRow(step, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        folder.append(StepsRow(step, 0, 0, 0, 0))
    folder.drop_rows_after(folder.load_checkpoint(network=nn.Linear(2, 2)).step)
    for name in ("metrics.csv", "steps.csv"):
        rows = (folder.path / name).read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["step", "4", "7"]
