"""The training loop. It prints nothing; `lfdn train` is its user.

A step is in `lfdn.training.steps`, or in `lfdn.training.resident` for one GPU. Here is what is
around it: checkpoints, validation, and a clean end on SIGINT and SIGTERM.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lfdn.config import LFDNConfig
from lfdn.datasets.images import DataError
from lfdn.datasets.samples import VALIDATION_EVERY, Sample, split_samples
from lfdn.model import LFDN
from lfdn.training.checkpoint import RunFolder, TrainingState, lock_folder
from lfdn.training.degradation import build_degradation
from lfdn.training.distillation import Teacher
from lfdn.training.distributed import ProcessRank, join_process_group
from lfdn.training.figures import MetricsRow, StepFigures, StepsRow
from lfdn.training.manifest import (
    EXTENDED,
    RunInputs,
    TrainingError,
    build_manifest,
    list_extensions,
    list_growth,
)
from lfdn.training.recipe import TrainOptions, compute_learning_rate, compute_position
from lfdn.training.resident import ResidentSteps
from lfdn.training.revive import revive
from lfdn.training.signals import StopSignals
from lfdn.training.steps import CropSteps, Learner, Steps
from lfdn.training.summary import RunSummary, summarize_sets
from lfdn.training.validation import Validation
from lfdn.weights import save_weights

__all__ = [
    "Callbacks",
    "MetricsRow",
    "RunInputs",
    "StepsRow",
    "TrainOptions",
    "TrainingError",
    "TrainingState",
    "train",
]

Tensors = tuple[Tensor, ...] | list[Tensor]


class Callbacks(TypedDict, total=False):
    """Functions that `train` calls, in the process that validates and writes."""

    on_start: Callable[[RunSummary], None]
    """Before the first step, when all images are read."""
    on_step: Callable[[TrainingState], None]
    """After each step, or after each few."""
    on_log: Callable[[StepsRow], None]
    """After each row of `steps.csv`."""
    on_validation: Callable[[int, int], None]
    """While a validation runs: (pairs done, all pairs), first with 0."""
    on_metrics: Callable[[MetricsRow], None]
    """After each validation; checkpoint and images are written by then."""


def train(
    samples: Sequence[Sample],
    run: Path,
    *,
    options: TrainOptions,
    config: LFDNConfig | None = None,
    initial: LFDN | None = None,
    teacher: LFDN | None = None,
    bank: Tensor | None = None,
    inputs: RunInputs | None = None,
    **callbacks: Unpack[Callbacks],
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
        inputs: Where all of these came from, for the manifest; `lfdn.training.manifest.read_run`
            reads it.
        **callbacks: See `Callbacks`.

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
        origin = _Origin(config, initial, teacher, bank, inputs)
        try:
            return _Trainer(samples, run, options, origin, rank, callbacks).fit(stop)
        except torch.OutOfMemoryError as error:
            reason = str(error).splitlines()[0]
            message = f"{run}: {reason}; choose smaller crops or batches in --stages"
            raise TrainingError(message) from error
        except RuntimeError as error:
            # PyTorch raises this from a signal handler, in whatever line is running.
            if "DataLoader worker" not in str(error):
                raise
            raise RunFolder(run).describe_lost_worker() from error


class _Origin(NamedTuple):
    """What a run begins from, besides its options and its samples."""

    config: LFDNConfig | None
    initial: LFDN | None
    teacher: LFDN | None
    bank: Tensor | None
    inputs: RunInputs | None


class _Trainer:
    """One run, in one process."""

    def __init__(
        self,
        samples: Sequence[Sample],
        run: Path,
        options: TrainOptions,
        origin: _Origin,
        rank: ProcessRank,
        callbacks: Callbacks,
    ) -> None:
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)  # for the initial weights; crops have their own seeds
        self._options = options
        self._rank = rank
        self._callbacks: Callbacks = callbacks if rank.is_leader else {}
        device, bank = rank.device, origin.bank
        network = _build_network(origin.config, origin.initial, device)
        self._average = AveragedModel(network, multi_avg_fn=_build_average(options.ema_decay))
        self._training, self._held_back = split_samples(samples)
        _check_split(self._training, self._held_back)
        _check_batches(options, rank.world_size)
        self._folder = RunFolder(run)
        teacher = Teacher(origin.teacher, options, device) if origin.teacher else None
        digest = teacher.digest if teacher else None
        manifest = build_manifest(
            options, network.config, samples, teacher=digest, inputs=origin.inputs
        )
        before = self._folder.check_manifest(manifest) if rank.is_leader else {}
        self._grown = list_growth(before, manifest)
        self._learner = Learner(
            network=network,
            average=self._average,
            teacher=teacher,
            options=options,
            folder=self._folder,
            bank=bank.to(device) if bank is not None else None,
            rank=rank,
        )
        build = ResidentSteps if options.resident else CropSteps
        self._steps: Steps = build(self._training, self._learner)
        self._parts = {
            "network": network,
            "average": self._average,
            "optimizer": self._steps.optimizer,
        }
        self._validation = Validation(
            self._held_back if rank.is_leader else [],
            seed=options.seed,
            degrade=build_degradation(options.task, bank, rain=options.rain),
        )
        self._state = self._folder.load_checkpoint(**self._parts)
        if rank.is_leader:
            manifest[EXTENDED] = list_extensions(before, manifest, self._state.step)
            self._folder.write_manifest(manifest)
            self._folder.drop_rows_after(self._state.step)
        if options.revive and not self._state.step:
            revive(network, self._steps.draw_probe(), seed=options.seed)
            _get_averaged(self._average).load_state_dict(network.state_dict())

    def fit(self, stop: StopSignals) -> LFDN:
        """Run the remaining steps, and return the averaged network."""
        options, state, callbacks = self._options, self._state, self._callbacks
        leads = self._rank.is_leader
        stop.raise_if_requested()  # while images were read
        if "on_start" in callbacks:
            callbacks["on_start"](self._summarize())
        began_s = time.monotonic()
        seconds_before, before = state.seconds, state.step
        with closing(self._steps.run(state)) as steps:
            for figures in steps:
                state.seconds = seconds_before + time.monotonic() - began_s
                self._record(figures)
                if "on_step" in callbacks:
                    callbacks["on_step"](state)
                last = compute_position(options, state.step, state.seconds) >= options.steps
                due = last or _is_passed(options.validate_every, before, state.step)
                save = due or _is_passed(options.checkpoint_every, before, state.step)
                before = state.step
                if save or stop.requested:
                    self._record(self._steps.flush(), last=last)
                row = self._validate() if leads and due else None
                # Before `on_metrics`: a row that was reported is never reported again on resuming.
                if leads and (save or stop.requested):
                    self._folder.save_checkpoint(state, **self._parts)
                if row is not None and "on_metrics" in callbacks:
                    callbacks["on_metrics"](row)
                if stop.requested and not last:
                    raise KeyboardInterrupt
        return _get_averaged(self._average).eval()

    def _record(self, figures: Iterable[StepFigures], *, last: bool = False) -> None:
        """Add the figures of some steps to the state, and write a row for every so many."""
        state, every = self._state, self._options.log_every
        for each in figures:
            state.losses.append(each.loss)
            state.gradient_norms.append(each.gradient_norm)
            state.unlogged.append((each.loss, each.gradient_norm))
            self._latest = each
            if each.step % every == 0:
                self._log()
        if last and state.unlogged:
            self._log()

    def _log(self) -> None:
        """Write a row of what was not logged yet."""
        state, latest = self._state, self._latest
        losses, norms = zip(*state.unlogged, strict=True)
        state.unlogged.clear()
        if not self._rank.is_leader:
            return
        row = StepsRow(
            latest.step, state.seconds, latest.learning_rate, fmean(losses), fmean(norms)
        )
        self._folder.append(row)
        if "on_log" in self._callbacks:
            self._callbacks["on_log"](row)

    def _validate(self) -> MetricsRow:
        """Score the averaged weights, save them if they are the best, append a row of metrics."""
        options, state = self._options, self._state
        network = _get_averaged(self._average)
        position = compute_position(options, state.step - 1, state.seconds)
        score = self._validation.score(
            network, self._rank.device, on_pair=self._callbacks.get("on_validation")
        )
        row = MetricsRow(
            step=state.step,
            seconds=state.seconds,
            learning_rate=compute_learning_rate(options, state.step - 1, position),
            loss=fmean(state.losses),
            gradient_norm=fmean(state.gradient_norms),
            validation_input_psnr_y=score.input_y,
            validation_psnr_y=score.output_y,
            validation_input_psnr_rgb=score.input_rgb,
            validation_psnr_rgb=score.output_rgb,
            crops=state.crops,
        )
        state.losses.clear()
        state.gradient_norms.clear()
        self._folder.append(row)
        self._validation.write_sheet(
            network, self._rank.device, self._folder.name_sheet(state.step)
        )
        deciding = score.output_rgb if options.task == "deblur" else score.output_y
        if not deciding <= state.best:  # true also for nan, the score without validation pairs
            state.best = deciding
            notes = {"step": str(state.step), "recipe": str(asdict(options))}
            save_weights(network, self._folder.best, task=options.task, notes=notes, half=False)
        return row

    def _summarize(self) -> RunSummary:
        """Describe the run before its first step."""
        options, state, device = self._options, self._state, self._rank.device
        bank = self._learner.bank
        position = compute_position(options, state.step, state.seconds)
        return RunSummary(
            options=options,
            parameters=sum(weight.numel() for weight in self._learner.network.parameters()),
            sets=summarize_sets(self._training, self._held_back, options),
            streaks=0 if bank is None else len(bank),
            device=str(device),
            processes=self._rank.world_size,
            threads=torch.get_num_threads(),
            precision="bfloat16" if options.uses_autocast(device.type) else "float32",
            validation_pairs=len(self._validation),
            validation_px=self._validation.px,
            step=state.step,
            seconds=state.seconds,
            best=state.best,
            learning_rate=compute_learning_rate(options, state.step, position),
            grown=self._grown,
        )


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


def _build_network(config: LFDNConfig | None, initial: LFDN | None, device: torch.device) -> LFDN:
    network = LFDN(initial.config if initial else config)
    if initial is not None:
        network.load_state_dict(initial.state_dict())
    network = network.to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


def _build_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Build an exponential average with a warm-up: the decay is at most (1 + n) / (10 + n).

    Otherwise the random initial weights would stay in the average for thousands of steps.
    """

    def update(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        warmed_up = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(warmed_up)(averages, current, count)  # type: ignore[no-untyped-call]

    return update


def _is_passed(interval: int, before: int, now: int) -> bool:
    """Return True if a multiple of `interval` was reached between two counts of steps."""
    return now // interval > before // interval


def _check_batches(options: TrainOptions, world_size: int) -> None:
    for stage in options.stages:
        if stage.batch % world_size:
            raise TrainingError(
                f"--stages: a batch of {stage.batch} cannot be shared by {world_size} processes; "
                "choose a multiple"
            )
