"""A run's folder: what it was told, how far it is, its metrics.

    run.json          options, network and data, to refuse going on with others
    last.pt           everything needed to go on, bit for bit
    best.safetensors  the averaged weights that scored best on the validation split
    metrics.csv       a row for every validation
    samples/          pictures of the validation split, restored

Every file is written under another name and renamed, so that a kill leaves the old one or the new.
"""

import csv
import hashlib
import json
import logging
import math
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from lfdn.datasets.data import Sample
from lfdn.model import LFDNConfig
from lfdn.training.recipe import CHANGEABLE, TrainOptions

log = logging.getLogger(__name__)


DAMAGE = (OSError, KeyError, TypeError, ValueError, RuntimeError, EOFError, pickle.PickleError)
"""What a checkpoint that was cut off or changed raises."""


class TrainingError(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept."""


@dataclass(frozen=True, slots=True)
class Report:
    """One row of `metrics.csv`."""

    step: int
    seconds: float
    """Of training, all sittings together."""
    learning_rate: float
    loss: float
    gradient_norm: float
    """Before clipping; this and the loss are means since the last row."""
    validation_input_psnr_y: float
    validation_psnr_y: float
    validation_input_psnr_rgb: float
    validation_psnr_rgb: float


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    step: int = 0
    """Steps that are done."""
    seconds: float = 0.0
    best: float = -math.inf
    """The highest validation PSNR so far, in dB."""
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    """Of the steps since the last row of metrics."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.safetensors"
        self._last = path / "last.pt"
        self._told = path / "run.json"
        self._metrics = path / "metrics.csv"

    def begin(self, options: TrainOptions, config: LFDNConfig, samples: Sequence[Sample]) -> None:
        """Note what the run is told, or compare it with what it was told before.

        Raises TrainingError if it is another run, so that going on would mix two.
        """
        told = json.loads(json.dumps(_told(options, config, samples)))
        if self._last.is_file():
            try:
                before = json.loads(self._told.read_text())
            except (OSError, ValueError) as error:
                raise TrainingError(f"{self._told}: not readable; name another folder") from error
            for key in told:
                if before.get(key) != told[key] and key not in CHANGEABLE:
                    raise TrainingError(
                        f"{self.path}: was started with {key} {before.get(key)}, not {told[key]}; "
                        "repeat the first command to go on, or name another folder"
                    )
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self._told.with_suffix(".partial")
        partial.write_text(json.dumps(told, indent=1) + "\n")
        partial.replace(self._told)

    def save(self, progress: Progress, **parts: Any) -> None:
        """`parts`: modules and optimizers, by the names under which `load` finds them."""
        state = {name: part.state_dict() for name, part in parts.items()}
        partial = self._last.with_suffix(".partial")
        torch.save({"progress": asdict(progress), **state}, partial)
        partial.replace(self._last)

    def load(self, **parts: Any) -> Progress:
        """Fill `parts` from `last.pt`; the beginning if there is none.

        Raises TrainingError for a file that is damaged.
        """
        if not self._last.is_file():
            self._metrics.unlink(missing_ok=True)
            return Progress()
        try:
            state = torch.load(self._last, weights_only=True, map_location="cpu")
            for name, part in parts.items():
                part.load_state_dict(state[name])
            progress = Progress(**state["progress"])
        except DAMAGE as error:
            raise TrainingError(
                f"{self._last}: damaged; name another folder (with --init {self.best} to keep "
                "what was learnt)"
            ) from error
        self._drop_rows_after(progress.step)
        log.info("%s: going on from step %d", self._last, progress.step)
        return progress

    def append(self, report: Report) -> None:
        """A row of `metrics.csv`."""
        new = not self._metrics.exists()
        with self._metrics.open("a", newline="") as file:
            writer = csv.DictWriter(file, [column.name for column in fields(Report)])
            if new:
                writer.writeheader()
            writer.writerow(asdict(report))

    def _drop_rows_after(self, step: int) -> None:
        """Rows that were written after the checkpoint will be written again."""
        if not self._metrics.exists():
            return
        head, *rows = self._metrics.read_text().splitlines(keepends=True)
        kept = [row for row in rows if int(row.split(",", 1)[0]) <= step]
        partial = self._metrics.with_suffix(".partial")
        partial.write_text("".join([head, *kept]))
        partial.replace(self._metrics)


def _told(options: TrainOptions, config: LFDNConfig, samples: Sequence[Sample]) -> dict[str, Any]:
    """As JSON: the options, the network, and a fingerprint of the data's names."""
    names = "\n".join(f"{sample.name} {sample.degraded is not None}" for sample in samples)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return {**asdict(options), "network": asdict(config), "samples": len(samples), "names": digest}
