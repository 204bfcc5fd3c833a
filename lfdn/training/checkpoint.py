"""The run folder of a training run: its manifest, checkpoint and figures.

    run.json          run manifest: options, network and data; resuming needs the same
    last.pt           checkpoint: everything needed to resume, bit for bit
    best.safetensors  the averaged weights with the best validation score
    metrics.csv       a row for each validation
    steps.csv         a row every `log_every` steps
    samples/          restored validation images
    curves.png        plots of both files
    lock              locked by the process that trains here

Files are replaced by renaming a temporary one: a killed run leaves the old file or the new one.
"""

import json
import math
import pickle
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from lfdn.files import take_lock
from lfdn.training.figures import Row, StepsRow, append_row, drop_rows_after
from lfdn.training.manifest import NAME, TrainingError, check_manifest, read_manifest

CORRUPTION_ERRORS = (
    OSError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    EOFError,
    pickle.PickleError,
)
"""Errors that loading a truncated or changed checkpoint raises."""


@dataclass(slots=True)
class TrainingState:
    """The progress of a run, as its checkpoint stores it."""

    step: int = 0
    """Completed steps."""
    seconds: float = 0.0
    """Time spent on training, over all sessions of the run."""
    best: float = -math.inf
    """Highest validation PSNR so far, in dB."""
    crops: int = 0
    """Crops trained on."""
    losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last row of metrics."""
    gradient_norms: list[float] = field(default_factory=list)
    """Norms of the gradients of the same steps, before clipping."""
    unlogged: list[tuple[float, float]] = field(default_factory=list)
    """(loss, gradient norm) of the steps since the last row of `steps.csv`."""


class RunFolder:
    """The files of one run.

    Args:
        path: The run folder; `write_manifest` creates it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.safetensors"
        self._last = path / "last.pt"
        self._manifest = path / NAME
        self._metrics = path / "metrics.csv"
        self._steps = path / "steps.csv"

    @property
    def has_checkpoint(self) -> bool:
        """True if there is something to resume."""
        return self._last.is_file()

    @property
    def has_manifest(self) -> bool:
        """True if a run was begun here."""
        return self._manifest.is_file()

    def check_manifest(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Compare a manifest with that of the session before, if there is a checkpoint.

        Args:
            manifest: Of `lfdn.training.manifest.build_manifest`.

        Returns:
            The manifest of the session before; empty without a checkpoint.

        Raises:
            TrainingError: The folder is of another run; resuming would mix the two.
        """
        if not self.has_checkpoint:
            return {}
        previous = read_manifest(self.path)
        check_manifest(self.path, previous, manifest)
        return previous

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the run manifest, and create the folder if there is none."""
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self._manifest.with_suffix(".partial")
        partial.write_text(json.dumps(manifest, indent=1) + "\n")
        partial.replace(self._manifest)

    def save_checkpoint(self, state: TrainingState, **parts: Any) -> None:
        """Write `last.pt`.

        Args:
            state: Progress of the run.
            **parts: Modules and optimizers, by the names under which `load_checkpoint` gets them.
        """
        states = {name: part.state_dict() for name, part in parts.items()}
        partial = self._last.with_suffix(".partial")
        torch.save({"progress": asdict(state), **states}, partial)
        partial.replace(self._last)

    def load_checkpoint(self, **parts: Any) -> TrainingState:
        """Read `last.pt` into `parts`.

        Args:
            **parts: As for `save_checkpoint`. Not changed if there is no checkpoint.

        Returns:
            Progress of the run; the initial state if there is no checkpoint.

        Raises:
            TrainingError: The checkpoint is corrupt.
        """
        if not self.has_checkpoint:
            return TrainingState()
        try:
            # Tensors only, never code: a checkpoint may come from somewhere else.
            states = torch.load(self._last, weights_only=True, map_location="cpu")
            for name, part in parts.items():
                part.load_state_dict(states[name])
            state = TrainingState(**states["progress"])
        except CORRUPTION_ERRORS as error:
            raise TrainingError(
                f"{self._last}: corrupt; name another folder (with --init {self.best} to keep "
                "what was learnt)"
            ) from error
        return state

    def append(self, row: Row) -> None:
        """Append a row to `steps.csv` or `metrics.csv`."""
        append_row(self._steps if isinstance(row, StepsRow) else self._metrics, row)

    def drop_rows_after(self, step: int) -> None:
        """Drop the rows that were written after the checkpoint; resuming writes them again."""
        for path in (self._steps, self._metrics):
            drop_rows_after(path, step)

    def name_sheet(self, step: int) -> Path:
        """Return the file of the validation images of a step."""
        return self.path / "samples" / f"step_{step:07d}.png"

    def describe_divergence(self, step: int, loss: float, norm: float) -> TrainingError:
        """Describe a step whose loss or gradient is not finite."""
        return TrainingError(
            f"{self.path}: at step {step} the loss is {loss:.4g}, the norm of its gradient "
            f"{norm:.4g}; {self.best.name} and last.pt are from before; try a lower "
            "--learning-rate or --clip-norm"
        )

    def describe_lost_worker(self) -> TrainingError:
        """Describe the end of a process that prepares crops."""
        return TrainingError(
            f"{self.path}: a process that prepares crops was killed, perhaps for lack of memory; "
            "the same command resumes, with fewer --workers if need be"
        )


@contextmanager
def lock_folder(run: Path) -> Generator[None]:
    """Keep other trainings out of a run folder, which is created if there is none.

    Raises:
        TrainingError: Another training is at work in it.
    """
    run.mkdir(parents=True, exist_ok=True)
    if (lock := take_lock(run / "lock")) is None:
        message = f"{run}: another training is at work in it; wait, or name another folder"
        raise TrainingError(message)
    with lock:
        try:
            yield
        finally:
            if [path.name for path in run.iterdir()] == ["lock"]:  # nothing was trained
                shutil.rmtree(run, ignore_errors=True)
