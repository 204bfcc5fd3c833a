"""The training loop. It prints nothing; `lfdn train` is its user.

`_Trainer.run_step` is one step: crops from `lfdn.datasets.crops`, degraded by
`lfdn.training.degradation`, pass the network, the loss and the optimizer. Around it are
checkpoints, validation, and a clean end on SIGINT and SIGTERM.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from lfdn.config import LFDNConfig
from lfdn.datasets.crops import CropBatch, CropDataset
from lfdn.datasets.images import DataError
from lfdn.datasets.samples import VALIDATION_EVERY, Sample, split_samples
from lfdn.model import LFDN
from lfdn.training.checkpoint import (
    MetricsRow,
    RunFolder,
    TrainingError,
    TrainingState,
    lock_folder,
)
from lfdn.training.degradation import build_degradation, degrade_batch
from lfdn.training.distillation import Teacher
from lfdn.training.distributed import ProcessRank, join_process_group
from lfdn.training.losses import LOSSES
from lfdn.training.optim import Muon
from lfdn.training.recipe import TrainOptions, compute_learning_rate
from lfdn.training.signals import StopSignals, ignore_signals
from lfdn.training.validation import Validation
from lfdn.weights import save_weights

__all__ = ["MetricsRow", "TrainOptions", "TrainingError", "TrainingState", "train"]

logger = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...] | list[Tensor]


def train(
    samples: Sequence[Sample],
    run: Path,
    *,
    options: TrainOptions,
    config: LFDNConfig | None = None,
    initial: LFDN | None = None,
    teacher: LFDN | None = None,
    bank: Tensor | None = None,
    on_metrics: Callable[[MetricsRow], None] | None = None,
    on_step: Callable[[TrainingState], None] | None = None,
) -> LFDN:
    """Train a network, or resume from the checkpoint in the run folder.

    SIGINT and SIGTERM end the training after the current step, with a checkpoint. Under `torchrun`
    the processes share each batch; rank 0 alone validates, writes and reports.

    Args:
        samples: The training set; every 20th sample is held back for validation.
        run: The run folder; created if there is none.
        options: The recipe.
        config: Shape of the network; by default the paper's.
        initial: Network to start from, its configuration included, instead of random weights.
        teacher: Trained network whose output is learnt beside the truth
            (`lfdn.training.distillation`).
        bank: Streak layers for synthetic rain, uint8 `[K, h, w]`
            (`lfdn.datasets.layouts.read_streak_bank`).
        on_metrics: Called after each validation.
        on_step: Called after each step.

    Returns:
        The averaged network, in eval mode, on the training device.

    Raises:
        TrainingError: The loss or a gradient is not finite, the run folder is of another run, its
            checkpoint is corrupt, the processes cannot share a batch, or a worker was killed.
        DataError: The samples cannot be used.
        KeyboardInterrupt: SIGINT or SIGTERM was received; the checkpoint is written.
    """
    with ExitStack() as stack:
        rank = stack.enter_context(join_process_group(options.device))
        if rank.is_leader:
            stack.enter_context(lock_folder(run))
        stop = stack.enter_context(StopSignals())
        trainer = _Trainer(samples, run, options, config, initial, teacher, bank, rank)
        try:
            return trainer.fit(stop, on_metrics, on_step)
        except RuntimeError as error:
            # PyTorch raises this from a signal handler, in whatever line is running.
            if "DataLoader worker" not in str(error):
                raise
            raise _lost_worker(run) from error


class _Trainer:
    """One run, in one process."""

    def __init__(
        self,
        samples: Sequence[Sample],
        run: Path,
        options: TrainOptions,
        config: LFDNConfig | None,
        initial: LFDN | None,
        teacher: LFDN | None,
        bank: Tensor | None,
        rank: ProcessRank,
    ) -> None:
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)  # for the initial weights; crops have their own seeds
        self._options = options
        self._rank = rank
        self._device = rank.device
        self._network = _build_network(config, initial, self._device)
        self._average = AveragedModel(self._network, multi_avg_fn=_build_average(options.ema_decay))
        self._optimizer = _build_optimizer(self._network, options)
        self._teacher = Teacher(teacher, options, self._device) if teacher else None
        self._parts = {
            "network": self._network,
            "average": self._average,
            "optimizer": self._optimizer,
        }
        training, held_back = split_samples(samples)
        _check_split(training, held_back)
        self._folder = RunFolder(run)
        if rank.is_leader:
            digest = self._teacher.digest if self._teacher else None
            self._folder.write_manifest(options, self._network.config, samples, teacher=digest)
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
        _check_batches(options, rank.world_size)
        self._bank = bank.to(self._device) if bank is not None else None
        self._validation = Validation(
            held_back if rank.is_leader else [],
            seed=options.seed,
            degrade=build_degradation(options.task, bank, wide=options.wide_rain),
        )
        self._state = self._folder.load_checkpoint(**self._parts)

    def fit(
        self,
        stop: "StopSignals",
        on_metrics: Callable[[MetricsRow], None] | None,
        on_step: Callable[[TrainingState], None] | None,
    ) -> LFDN:
        """Run the remaining steps, and return the averaged network."""
        options, state = self._options, self._state
        leads = self._rank.is_leader
        forward = self._wrap_network()
        began_s = time.monotonic()
        seconds_before = state.seconds
        with closing(self._iterate_batches()) as batches:
            for step, batch in batches:
                self.run_step(forward, step, batch)
                state.step = step + 1
                state.seconds = seconds_before + time.monotonic() - began_s
                if leads and on_step is not None:
                    on_step(state)
                last = state.step == options.steps
                due = last or state.step % options.validate_every == 0
                row = self._validate() if leads and due else None
                # Before `on_metrics`: a row that was reported is never reported again on resuming.
                if leads and (due or stop.requested or state.step % options.checkpoint_every == 0):
                    self._folder.save_checkpoint(state, **self._parts)
                if row is not None and on_metrics is not None:
                    on_metrics(row)
                if stop.requested and not last:
                    raise KeyboardInterrupt
        return _get_averaged(self._average).eval()

    def run_step(self, forward: nn.Module, step: int, batch: CropBatch) -> None:
        """Train on one batch.

        Args:
            forward: The network, wrapped by `_wrap_network`.
            step: Number of the step, counted from 0.
            batch: The batch of all processes; this one trains on its share.
        """
        options = self._options
        # A function of the step, like the crops and their degradation: there is no scheduler whose
        # state a checkpoint would have to hold.
        rate = compute_learning_rate(options, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        degraded, target = self._prepare(step, batch)
        autocast = options.uses_autocast(self._device.type)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=autocast):
            restored = forward(degraded)
        if self._teacher is None:
            loss = LOSSES[options.loss](restored.float(), target)
        else:
            loss = self._teacher.compute_loss(restored.float(), target, degraded)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), options.clip_norm)
        # Before the weights change, so that the network and later checkpoints stay good.
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(
                f"{self._folder.path}: at step {step} the loss is {loss.item():.4g}, the norm of "
                f"its gradient {norm.item():.4g}; {self._folder.best.name} and last.pt are from "
                "before; try a lower --learning-rate or --clip-norm"
            )
        self._optimizer.step()
        self._average.update_parameters(self._network)
        self._state.losses.append(loss.item())
        self._state.gradient_norms.append(norm.item())

    def _prepare(self, step: int, batch: CropBatch) -> tuple[Tensor, Tensor]:
        """Degrade the batch; return this process's share of it, without the margins."""
        options = self._options
        degradation = build_degradation(
            options.task, self._bank, options.compute_hardness(step), wide=options.wide_rain
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

    def _validate(self) -> MetricsRow:
        """Score the averaged weights, save them if they are the best, append a row of metrics."""
        options, state = self._options, self._state
        network = _get_averaged(self._average)
        score = self._validation.score(network, self._device)
        row = MetricsRow(
            step=state.step,
            seconds=state.seconds,
            learning_rate=compute_learning_rate(options, state.step - 1),
            loss=fmean(state.losses),
            gradient_norm=fmean(state.gradient_norms),
            validation_input_psnr_y=score.input_y,
            validation_psnr_y=score.output_y,
            validation_input_psnr_rgb=score.input_rgb,
            validation_psnr_rgb=score.output_rgb,
        )
        state.losses.clear()
        state.gradient_norms.clear()
        self._folder.append_metrics(row)
        sheet = self._folder.path / "samples" / f"step_{state.step:07d}.png"
        self._validation.write_sheet(network, self._device, sheet)
        deciding = score.output_rgb if options.task == "deblur" else score.output_y
        if not deciding <= state.best:  # true also for nan, the score without validation pairs
            state.best = deciding
            notes = {"step": str(state.step), "recipe": str(asdict(options))}
            save_weights(network, self._folder.best, task=options.task, notes=notes, half=False)
        return row

    def _wrap_network(self) -> nn.Module:
        """Wrap the network for several processes; compile it if requested and possible."""
        network: nn.Module = self._network
        if self._rank.world_size > 1:
            network = DistributedDataParallel(network)
        if not self._options.compile:
            return network
        if missing := _find_missing_compiler(self._device.type):
            logger.warning("--compile needs %s; continuing without it", missing)
            return network
        compiled: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
        return compiled

    def _iterate_batches(self) -> Generator[tuple[int, CropBatch]]:
        """Yield (step, batch) for the remaining steps; worker processes prepare batches ahead."""
        steps = range(self._state.step, self._options.steps)
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
                raise _lost_worker(self._folder.path) from error
            yield step, batch


def _get_averaged(average: AveragedModel) -> LFDN:
    network = average.module
    assert isinstance(network, LFDN)
    return network


def _check_split(training: Sequence[Sample], held_back: Sequence[Sample]) -> None:
    if held_back and not training:
        raise DataError(
            f"{held_back[0].name}: is the only image, and is kept back for validation, as one in "
            f"{VALIDATION_EVERY} is; add images"
        )


def _lost_worker(run: Path) -> TrainingError:
    return TrainingError(
        f"{run}: a process that prepares crops was killed, perhaps for lack of memory; "
        "the same command resumes, with fewer --workers if need be"
    )


def _build_network(config: LFDNConfig | None, initial: LFDN | None, device: torch.device) -> LFDN:
    network = LFDN(initial.config if initial else config)
    if initial is not None:
        network.load_state_dict(initial.state_dict())
    network = network.to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


def _build_optimizer(network: LFDN, options: TrainOptions) -> torch.optim.Optimizer:
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "muon": Muon}
    kind: Callable[..., torch.optim.Optimizer] = kinds[options.optimizer]
    return kind(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)


def _build_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Build an exponential average with a warm-up: the decay is at most (1 + n) / (10 + n).

    Otherwise the random initial weights would stay in the average for thousands of steps.
    """

    def update(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        warmed_up = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(warmed_up)(averages, current, count)  # type: ignore[no-untyped-call]

    return update


def _check_batches(options: TrainOptions, world_size: int) -> None:
    for stage in options.stages:
        if stage.batch % world_size:
            raise TrainingError(
                f"--stages: a batch of {stage.batch} cannot be shared by {world_size} processes; "
                "choose a multiple"
            )


def _find_missing_compiler(device_type: str) -> str | None:
    """Name the compiler that `torch.compile` needs on this device and that is missing, or None."""
    if device_type == "cuda":
        return None if find_spec("triton") else "triton"
    known = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return None if any(shutil.which(name) for name in known) else "a C++ compiler"
