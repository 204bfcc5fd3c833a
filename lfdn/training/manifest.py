"""The run manifest, `run.json`: what a run was started with, and may be continued with.

It names options, network and data set, and where the data is, so that a run can be resumed from its
folder alone (`read_run`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lfdn.config import LFDNConfig
from lfdn.datasets.crops import CropStage
from lfdn.datasets.samples import Sample
from lfdn.training.recipe import GROWS_ON_RESUME, MAY_CHANGE_ON_RESUME, TrainOptions

NAME = "run.json"
INPUTS, EXTENDED = "inputs", "extended"


class TrainingError(RuntimeError):
    """Training cannot continue; the last good checkpoint is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """Where a run's inputs are. They may move: data is recognized by the names of its samples."""

    data: tuple[str, ...]
    """Data sets, each `LAYOUT=PATH`."""
    exclude: tuple[str, ...] = ()
    """Patterns of samples to leave out."""
    streaks: str | None = None
    """Folder or pack of streak layers."""
    init: str | None = None
    """Weights that the run started from."""
    teacher: str | None = None
    """Weights, or a task with packaged ones, of the teacher."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as its manifest describes it."""

    options: TrainOptions
    config: LFDNConfig
    inputs: RunInputs


def build_manifest(
    options: TrainOptions,
    config: LFDNConfig,
    samples: Sequence[Sample],
    *,
    teacher: str | None = None,
    inputs: RunInputs | None = None,
) -> dict[str, Any]:
    """Collect the options, the networks, and a fingerprint of the samples' names.

    Args:
        options: Options of the run.
        config: Shape of the network.
        samples: The training set, by whose names it is recognized.
        teacher: SHA-256 of the teacher, if there is one.
        inputs: Where the data is, if that is known.

    Returns:
        What JSON holds: no tuples.
    """
    names = "\n".join(f"{sample.name} {sample.degraded is not None}" for sample in samples)
    manifest = {
        **asdict(options),
        "network": asdict(config),
        "teacher": teacher,
        "samples": len(samples),
        "names": hashlib.sha256(names.encode()).hexdigest(),
        INPUTS: asdict(inputs) if inputs is not None else None,
    }
    # Through JSON, as that of another session was: tuples become lists.
    return dict(json.loads(json.dumps(manifest)))


def check_manifest(run: Path, previous: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Compare a run's manifest with that of the session before.

    Args:
        run: The run folder, for messages.
        previous: Manifest of the session before.
        manifest: Manifest of this one. What is in `MAY_CHANGE_ON_RESUME` may differ, what is in
            `GROWS_ON_RESUME` may be larger.

    Raises:
        TrainingError: They are of two runs; resuming would mix them.
    """
    for key, value in manifest.items():
        before = previous.get(key)
        if before == value or key in MAY_CHANGE_ON_RESUME or key == INPUTS:
            continue
        if key in GROWS_ON_RESUME and None not in (before, value):
            if value > before:
                continue
            raise TrainingError(
                f"{run}: was started with {key} {before:g}, not {value:g}; a run can be made "
                "longer, not shorter"
            )
        raise TrainingError(
            f"{run}: was started with {key} {before}, not {value}; repeat the first command to "
            "resume, or name another folder"
        )


def list_growth(
    previous: Mapping[str, Any], manifest: Mapping[str, Any]
) -> tuple[tuple[str, float, float], ...]:
    """List the options of `GROWS_ON_RESUME` that have grown: (option, before, now).

    Args:
        previous: Manifest of the session before; empty if there was none.
        manifest: Manifest of this session, which `check_manifest` accepts.
    """
    return tuple(
        (key, previous[key], manifest[key])
        for key in GROWS_ON_RESUME
        if previous and previous[key] != manifest[key]
    )


def list_extensions(
    previous: Mapping[str, Any], manifest: Mapping[str, Any], step: int
) -> list[dict[str, Any]]:
    """List how a run was made longer, this session included.

    Args:
        previous: As for `list_growth`.
        manifest: As for `list_growth`.
        step: Steps that were done by then.
    """
    grown = list_growth(previous, manifest)
    return [
        *previous.get(EXTENDED, []),
        *({"option": key, "from": old, "to": new, "step": step} for key, old, new in grown),
    ]


def read_manifest(run: Path) -> dict[str, Any]:
    """Read a run's manifest.

    Raises:
        TrainingError: It is not readable.
    """
    path = run / NAME
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: not readable; name another folder") from error
    if not isinstance(manifest, dict):
        raise TrainingError(f"{path}: not a run's manifest; name another folder")
    return manifest


def read_run(run: Path) -> StoredRun:
    """Read what a run needs to be resumed.

    Args:
        run: The run folder.

    Raises:
        TrainingError: It is no run folder, its manifest is damaged, or does not say where the data
            is, as those of older versions and of other programs do not.
    """
    if not (run / NAME).is_file():
        raise TrainingError(f"{run}: holds no {NAME}; name the folder of a run")
    manifest = read_manifest(run)
    if manifest.get(INPUTS) is None:
        raise TrainingError(
            f"{run / NAME}: does not say where the data is; repeat the first command to resume"
        )
    try:
        known = {field.name for field in fields(TrainOptions)}
        values = {key: value for key, value in manifest.items() if key in known}
        values["stages"] = tuple(CropStage(**stage) for stage in manifest["stages"])
        values["pair_weights"] = tuple((name, share) for name, share in manifest["pair_weights"])
        inputs: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in manifest[INPUTS].items()
        }
        return StoredRun(
            TrainOptions(**values), LFDNConfig(**manifest["network"]), RunInputs(**inputs)
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{run / NAME}: damaged ({error}); repeat the first command to resume"
        ) from error
