"""A run is described by its manifest well enough to be resumed from it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lfdn.config import NETWORKS
from lfdn.training.manifest import (
    RunInputs,
    TrainingError,
    build_manifest,
    list_extensions,
    read_run,
)
from lfdn.training.recipe import PRESETS, Task, TrainOptions, build_options

INPUTS = RunInputs(data=("clean=/a", "gopro=/b"), exclude=("x/*",), streaks="/s", teacher="derain")


def write(run: Path, options: TrainOptions, inputs: RunInputs | None = INPUTS) -> dict[str, Any]:
    manifest = build_manifest(options, NETWORKS["lite"], [], inputs=inputs)
    run.mkdir(exist_ok=True)
    (run / "run.json").write_text(json.dumps(manifest))
    return manifest


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", ["derain", "deblur"])
def test_run_is_read_as_it_was_written(tmp_path: Path, preset: str, task: Task) -> None:
    options = build_options(preset, task, resident=True, pair_weights=(("GOPR", 0.5),))
    write(tmp_path, options)
    stored = read_run(tmp_path)
    assert (stored.options, stored.config, stored.inputs) == (options, NETWORKS["lite"], INPUTS)


def test_manifest_without_inputs_says_how_to_resume(tmp_path: Path) -> None:
    write(tmp_path, TrainOptions(), inputs=None)
    with pytest.raises(TrainingError, match="does not say where the data is; repeat the first"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"holds no run\.json; name the folder of a run"),
        ("{", r"run\.json: not readable"),
        ("[]", r"run\.json: not a run's manifest"),
        ('{"inputs": {"data": ["clean=a"]}}', r"run\.json: damaged \('stages'\)"),
        ('{"inputs": 3, "stages": [], "pair_weights": []}', r"run\.json: damaged"),
    ],
)
def test_damaged_manifest_is_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(TrainingError, match=words):
        read_run(tmp_path)


def test_every_extension_is_remembered(tmp_path: Path) -> None:
    manifests = [write(tmp_path, replace(TrainOptions(), steps=steps)) for steps in (5, 9, 9, 20)]
    previous: dict[str, Any] = {}
    for manifest, step in zip(manifests, (0, 5, 7, 9), strict=True):
        manifest["extended"] = list_extensions(previous, manifest, step)
        previous = manifest
    assert previous["extended"] == [
        {"option": "steps", "from": 5, "to": 9, "step": 5},
        {"option": "steps", "from": 9, "to": 20, "step": 9},
    ]
