"""The run folder of a training run: its manifest, checkpoint and metrics.

    run.json          run manifest: options, network and data; resuming needs the same
    last.pt           checkpoint: everything needed to resume, bit for bit
    best.safetensors  the averaged weights with the best validation score
    metrics.csv       a row for each validation
    samples/          restored validation images
    lock              locked by the process that trains here

Files are replaced by renaming a temporary one: a killed run leaves the old file or the new one.
"""

import csv
import hashlib
import json
import logging
import math
import pickle
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from lfdn.config import LFDNConfig
from lfdn.datasets.samples import Sample
from lfdn.files import take_lock
from lfdn.training.recipe import MAY_CHANGE_ON_RESUME, TrainOptions

logger = logging.getLogger(__name__)

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


class TrainingError(RuntimeError):
    """Training cannot continue; the last good checkpoint is still there."""


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """One row of `metrics.csv`. PSNR in dB, over the validation images."""

    step: int
    seconds: float
    """Time spent on training, over all sessions of the run."""
    learning_rate: float
    loss: float
    """Mean since the last row."""
    gradient_norm: float
    """Mean since the last row, before clipping."""
    validation_input_psnr_y: float
    validation_psnr_y: float
    validation_input_psnr_rgb: float
    validation_psnr_rgb: float
    crops: int
    """Crops trained on, over all sessions of the run."""


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


class RunFolder:
    """The files of one run.

    Args:
        path: The run folder; `write_manifest` creates it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.safetensors"
        self._last = path / "last.pt"
        self._manifest = path / "run.json"
        self._metrics = path / "metrics.csv"

    def write_manifest(
        self,
        options: TrainOptions,
        config: LFDNConfig,
        samples: Sequence[Sample],
        *,
        teacher: str | None = None,
    ) -> None:
        """Write the run manifest; if there is a checkpoint, compare with its manifest first.

        Args:
            options: Options of the run. Those in `MAY_CHANGE_ON_RESUME` may differ.
            config: Shape of the network.
            samples: The training set, by whose names it is recognized.
            teacher: SHA-256 of the teacher, if there is one.

        Raises:
            TrainingError: The folder is of another run; resuming would mix the two.
        """
        # Through JSON, as the previous manifest was: tuples become lists.
        manifest = json.loads(json.dumps(_build_manifest(options, config, samples, teacher)))
        if self._last.is_file():
            try:
                previous = json.loads(self._manifest.read_text())
            except (OSError, ValueError) as error:
                message = f"{self._manifest}: not readable; name another folder"
                raise TrainingError(message) from error
            for key, value in manifest.items():
                if previous.get(key) != value and key not in MAY_CHANGE_ON_RESUME:
                    raise TrainingError(
                        f"{self.path}: was started with {key} {previous.get(key)}, not {value}; "
                        "repeat the first command to resume, or name another folder"
                    )
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
        """Read `last.pt` into `parts`, and drop the rows of metrics that were written after it.

        Args:
            **parts: As for `save_checkpoint`. Not changed if there is no checkpoint.

        Returns:
            Progress of the run; the initial state if there is no checkpoint.

        Raises:
            TrainingError: The checkpoint is corrupt.
        """
        if not self._last.is_file():
            self._metrics.unlink(missing_ok=True)
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
        self._drop_rows_after(state.step)
        logger.info("%s: resuming from step %d", self._last, state.step)
        return state

    def append_metrics(self, row: MetricsRow) -> None:
        """Append a row to `metrics.csv`; the first one gets a header."""
        new = not self._metrics.exists()
        with self._metrics.open("a", newline="") as file:
            writer = csv.DictWriter(file, [column.name for column in fields(MetricsRow)])
            if new:
                writer.writeheader()
            writer.writerow(asdict(row))

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

    def _drop_rows_after(self, step: int) -> None:
        """Drop the rows that were written after the checkpoint; resuming writes them again."""
        if not self._metrics.exists():
            return
        head, *rows = self._metrics.read_text().splitlines(keepends=True)
        kept = [row for row in rows if int(row.split(",", 1)[0]) <= step]
        partial = self._metrics.with_suffix(".partial")
        partial.write_text("".join([head, *kept]))
        partial.replace(self._metrics)


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


def _build_manifest(
    options: TrainOptions, config: LFDNConfig, samples: Sequence[Sample], teacher: str | None
) -> dict[str, Any]:
    """Collect the options, the networks, and a fingerprint of the samples' names."""
    names = "\n".join(f"{sample.name} {sample.degraded is not None}" for sample in samples)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return {
        **asdict(options),
        "network": asdict(config),
        "teacher": teacher,
        "samples": len(samples),
        "names": digest,
    }
