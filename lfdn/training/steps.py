"""The steps of a run whose crops are prepared on the CPU, in processes beside the training.

`CropSteps.run_step` is one step: crops from `lfdn.datasets.crops`, degraded by
`lfdn.training.degradation`, pass the network, the loss and the optimizer. On one GPU
`lfdn.training.resident` does the same without the CPU.
"""

import logging
import os
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from lfdn.datasets.crops import CropBatch, CropDataset
from lfdn.datasets.samples import Sample
from lfdn.model import LFDN
from lfdn.training.checkpoint import RunFolder, TrainingState
from lfdn.training.degradation import build_degradation, degrade_batch
from lfdn.training.distillation import Teacher
from lfdn.training.distributed import ProcessRank
from lfdn.training.figures import StepFigures
from lfdn.training.losses import LOSSES, measure_damage
from lfdn.training.optim import Muon
from lfdn.training.recipe import TrainOptions, compute_learning_rate
from lfdn.training.signals import ignore_signals

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Learner:
    """What the steps of a run work on."""

    network: LFDN
    average: AveragedModel
    teacher: Teacher | None
    options: TrainOptions
    folder: RunFolder
    bank: Tensor | None
    """Streak layers on the device."""
    rank: ProcessRank

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.rank.device

    def compute_loss(self, restored: Tensor, target: Tensor, degraded: Tensor) -> Tensor:
        """Compute the loss of a batch, beside the teacher if there is one."""
        if self.teacher is not None:
            return self.teacher.compute_loss(restored, target, degraded)
        return LOSSES[self.options.loss](restored, target, measure_damage(degraded, target))


class Steps(Protocol):
    """Where the steps of a run are computed."""

    optimizer: Any
    """Has `state_dict` and `load_state_dict`, for the checkpoint."""

    def draw_probe(self) -> Tensor:
        """Draw degraded crops like those of the first step, `[B, 3, P, P]` on the device."""

    def run(self, state: TrainingState) -> Generator[list[StepFigures]]:
        """Run the remaining steps; yield after each one, or after each few.

        Yields:
            The figures that are known by then, in order; those of the last steps may follow later.

        Raises:
            TrainingError: One of them is not finite.
        """

    def flush(self) -> list[StepFigures]:
        """Wait for the steps that were begun, and return the figures that are still missing.

        Raises:
            TrainingError: One of them is not finite.
        """


class CropSteps:
    """Steps on crops from worker processes, in one or several processes.

    Args:
        training: The training split.
        learner: The network and what belongs to it.
    """

    def __init__(self, training: Sequence[Sample], learner: Learner) -> None:
        options = learner.options
        self._learner = learner
        self._options = options
        self._device = learner.device
        self._rank = learner.rank
        self.optimizer = _build_optimizer(learner.network, options)
        margins_px = 2 * options.margin_px
        self._crops = CropDataset(
            training,
            [replace(stage, patch_px=stage.patch_px + margins_px) for stage in options.stages],
            steps=options.steps,
            seed=options.seed,
            paired_share=options.paired_share,
            smallest_side_px=options.smallest_side_px,
            least_detail=options.least_detail,
            motion=options.task == "deblur",
        )

    def draw_probe(self) -> Tensor:
        """Draw the crops of the first step, degraded: `[B, 3, P, P]`."""
        return self._prepare(0, self._crops[0])[0]

    def run(self, state: TrainingState) -> Generator[list[StepFigures]]:
        """Run the remaining steps; yield the figures of each one."""
        forward = self._wrap_network()
        for step, batch in self._iterate_batches(state.step):
            loss, norm = self.run_step(forward, step, batch)
            state.step = step + 1
            state.crops += len(batch.clean)
            yield [StepFigures(state.step, compute_learning_rate(self._options, step), loss, norm)]

    def flush(self) -> list[StepFigures]:
        """Return nothing: figures are read after each step."""
        return []

    def run_step(self, forward: nn.Module, step: int, batch: CropBatch) -> tuple[float, float]:
        """Train on one batch.

        Args:
            forward: The network, wrapped by `_wrap_network`.
            step: Number of the step, counted from 0.
            batch: The batch of all processes; this one trains on its share.

        Returns:
            (loss, norm of the gradient before clipping).

        Raises:
            TrainingError: One of them is not finite; the network is as before the step.
        """
        options, learner = self._options, self._learner
        # A function of the step, like the crops and their degradation: there is no scheduler whose
        # state a checkpoint would have to hold.
        rate = compute_learning_rate(options, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        degraded, target = self._prepare(step, batch)
        autocast = options.uses_autocast(self._device.type)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=autocast):
            restored = forward(degraded)
        loss = learner.compute_loss(restored.float(), target, degraded)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        norm = nn.utils.clip_grad_norm_(learner.network.parameters(), options.clip_norm)
        # Before the weights change, so that the network and later checkpoints stay good.
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise learner.folder.describe_divergence(step, loss.item(), norm.item())
        self.optimizer.step()
        learner.average.update_parameters(learner.network)
        return loss.item(), norm.item()

    def _prepare(self, step: int, batch: CropBatch) -> tuple[Tensor, Tensor]:
        """Degrade the batch; return this process's share of it, without the margins."""
        options = self._options
        degradation = build_degradation(
            options.task, self._learner.bank, options.compute_hardness(step), rain=options.rain
        )
        degraded, target = degrade_batch(
            batch, degradation, seed=options.seed, step=step, device=self._device
        )
        margin = options.margin_px
        inside = slice(margin, target.shape[-1] - margin)
        own = np.s_[self._rank.rank :: self._rank.world_size, :, inside, inside]
        layout = torch.channels_last
        return (
            degraded[own].contiguous(memory_format=layout),
            target[own].contiguous(memory_format=layout),
        )

    def _wrap_network(self) -> nn.Module:
        """Wrap the network for several processes; compile it if requested and possible."""
        network: nn.Module = self._learner.network
        if self._rank.world_size > 1:
            network = DistributedDataParallel(network)
        if not self._options.compile:
            return network
        if missing := _find_missing_compiler(self._device.type):
            logger.warning("--compile needs %s; continuing without it", missing)
            return network
        compiled: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
        return compiled

    def _iterate_batches(self, first: int) -> Generator[tuple[int, CropBatch]]:
        """Yield (step, batch) for the remaining steps; worker processes prepare batches ahead."""
        steps = range(first, self._options.steps)
        loader = DataLoader(
            self._crops,
            batch_size=None,  # an item is a whole batch already
            sampler=steps,  # in order, from the first step that is not done
            num_workers=self._options.workers,
            worker_init_fn=ignore_signals,
            pin_memory=self._device.type == "cuda",
        )
        batches = iter(loader)
        for step in steps:
            try:
                batch = next(batches)
            except (OSError, EOFError) as error:  # its end of a pipe or a socket is gone
                raise self._learner.folder.describe_lost_worker() from error
            yield step, batch


def _build_optimizer(network: LFDN, options: TrainOptions) -> torch.optim.Optimizer:
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "muon": Muon}
    kind: Callable[..., torch.optim.Optimizer] = kinds[options.optimizer]
    return kind(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)


def _find_missing_compiler(device_type: str) -> str | None:
    """Name the compiler that `torch.compile` needs on this device and that is missing, or None."""
    if device_type == "cuda":
        return None if find_spec("triton") else "triton"
    known = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return None if any(shutil.which(name) for name in known) else "a C++ compiler"
