"""The training loop. Knows crops, losses and the run's folder; prints nothing.

`lfdn train` is its user. What a run does is in `recipe.py`, what it leaves in `checkpoint.py`.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from lfdn import degrade
from lfdn.datasets.data import CropBatch, Crops, Sample, split
from lfdn.model import LFDN, LFDNConfig
from lfdn.training.checkpoint import Progress, Report, RunFolder, TrainingError
from lfdn.training.distributed import Ranks, join
from lfdn.training.losses import LOSSES
from lfdn.training.optim import Muon
from lfdn.training.recipe import TrainOptions, learning_rate
from lfdn.training.validation import Degradation, Validation
from lfdn.weights import save

__all__ = ["Progress", "Report", "TrainOptions", "TrainingError", "train"]

log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...] | list[Tensor]
SYNTHESIS_SALT = 0x5EED  # keeps the synthetic rain's random numbers apart from the crops'


def train(
    samples: Sequence[Sample],
    run: Path,
    *,
    options: TrainOptions,
    config: LFDNConfig | None = None,
    initial: LFDN | None = None,
    bank: Tensor | None = None,
    on_report: Callable[[Report], None] | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> LFDN:
    """Train on `samples` in the folder `run`, going on from its `last.pt` if there is one.

    `initial`: start from these weights (and their configuration) instead of from random ones.
    `bank`: streak layers for synthetic rain (`datasets.data.streak_bank`). Returns the averaged
    network in eval mode. SIGINT and SIGTERM end it after the step, with a checkpoint, by
    KeyboardInterrupt.

    Under `torchrun`, the processes share each batch; rank 0 alone validates, writes and reports.

    Raises TrainingError when the loss or a gradient is not finite, or when `run` is another run's
    folder, and lfdn.datasets.data.DataError for bad data.
    """
    with ExitStack() as stack:
        ranks = stack.enter_context(join(options.device))
        stop = stack.enter_context(_Stop())
        trainer = _Trainer(samples, run, options, config, initial, bank, ranks)
        try:
            return trainer.fit(stop, on_report, on_step)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):  # which PyTorch raises wherever we are
                raise
            raise TrainingError(
                f"{run}: a process that prepares crops was killed, for lack of memory perhaps; "
                "the same command goes on, with fewer --workers if need be"
            ) from error


class _Trainer:
    """One run, in one process."""

    def __init__(
        self,
        samples: Sequence[Sample],
        run: Path,
        options: TrainOptions,
        config: LFDNConfig | None,
        initial: LFDN | None,
        bank: Tensor | None,
        ranks: Ranks,
    ) -> None:
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self._options, self._ranks, self._device = options, ranks, ranks.device
        self._network = _network(config, initial, self._device)
        self._average = AveragedModel(self._network, multi_avg_fn=_warm_average(options.ema_decay))
        self._optimizer = _optimizer(self._network, options)
        self._parts = {
            "network": self._network,
            "average": self._average,
            "optimizer": self._optimizer,
        }
        self._folder = RunFolder(run)
        if ranks.leads:
            self._folder.begin(options, self._network.config, samples)
        training, held = split(samples)
        self._crops = Crops(
            training,
            [replace(s, patch_px=s.patch_px + 2 * options.margin_px) for s in options.stages],
            steps=options.steps,
            seed=options.seed,
            paired_share=options.paired_share,
            smallest_side_px=options.smallest_side_px,
            least_detail=options.least_detail,
            motion=options.task == "deblur",
        )
        _check_batches(options, ranks)
        self._bank = bank.to(self._device) if bank is not None else None
        self._validation = Validation(
            held if ranks.leads else [],
            seed=options.seed,
            degrade=_degradation(options.task, bank),
        )
        self._progress = self._folder.load(**self._parts)

    def fit(
        self,
        stop: "_Stop",
        on_report: Callable[[Report], None] | None,
        on_step: Callable[[Progress], None] | None,
    ) -> LFDN:
        """The steps that are left."""
        options, progress, leads = self._options, self._progress, self._ranks.leads
        forward = self._forward()
        began, before = time.monotonic(), progress.seconds
        with closing(self._batches()) as batches:
            for step, batch in batches:
                self._step(forward, step, batch)
                progress.step = step + 1
                progress.seconds = before + time.monotonic() - began
                if leads and on_step is not None:
                    on_step(progress)
                last = progress.step == options.steps
                due = last or progress.step % options.validate_every == 0
                report = self._validate() if leads and due else None
                if leads and (due or stop.wanted or progress.step % options.checkpoint_every == 0):
                    self._folder.save(progress, **self._parts)
                if report is not None and on_report is not None:
                    on_report(report)
                if stop.wanted and not last:
                    raise KeyboardInterrupt
        return self._averaged().eval()

    def _step(self, forward: nn.Module, step: int, batch: CropBatch) -> None:
        options = self._options
        rate = learning_rate(options, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        degraded, target = self._prepare(step, batch)
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=options.autocast(self._device.type)
        ):
            restored = forward(degraded)
        loss = LOSSES[options.loss](restored.float(), target)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), options.clip_norm)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(
                f"{self._folder.path}: at step {step} the loss is {loss.item():.4g}, the norm of "
                f"its gradient {norm.item():.4g}; {self._folder.best.name} and last.pt are of "
                "before; try a lower --learning-rate or --clip-norm"
            )
        self._optimizer.step()
        self._average.update_parameters(self._network)
        self._progress.losses.append(loss.item())
        self._progress.gradient_norms.append(norm.item())

    def _validate(self) -> Report:
        """Score the averaged weights, keep them if they are the best, write the row."""
        options, progress = self._options, self._progress
        network = self._averaged()
        score = self._validation.score(network, self._device)
        report = Report(
            step=progress.step,
            seconds=progress.seconds,
            learning_rate=learning_rate(options, progress.step - 1),
            loss=fmean(progress.losses),
            gradient_norm=fmean(progress.gradient_norms),
            validation_input_psnr_y=score.input_y,
            validation_psnr_y=score.output_y,
            validation_input_psnr_rgb=score.input_rgb,
            validation_psnr_rgb=score.output_rgb,
        )
        progress.losses.clear()
        progress.gradient_norms.clear()
        self._folder.append(report)
        samples = self._folder.path / "samples"
        self._validation.picture(network, self._device, samples / f"step_{progress.step:07d}.png")
        chosen = score.output_rgb if options.task == "deblur" else score.output_y
        if not chosen <= progress.best:  # also without pairs, where it is nan
            progress.best = chosen
            notes = {"step": str(progress.step), "recipe": str(asdict(options))}
            save(network, self._folder.best, task=options.task, notes=notes, half=False)
        return report

    def _forward(self) -> nn.Module:
        """The network as it is called: on every rank, compiled if wanted and possible."""
        network: nn.Module = self._network
        if self._ranks.count > 1:
            network = DistributedDataParallel(network)
        if not self._options.compile:
            return network
        if lacking := _lacking_compiler(self._device.type):
            log.warning("--compile needs %s; going on without", lacking)
            return network
        compiled: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
        return compiled

    def _batches(self) -> Generator[tuple[int, CropBatch]]:
        """(step, batch), in order; worker processes prepare crops ahead."""
        steps = range(self._progress.step, self._options.steps)
        loader = DataLoader(
            self._crops,
            batch_size=None,
            sampler=steps,
            num_workers=self._options.workers,
            worker_init_fn=_ignore_signals,
            pin_memory=self._device.type == "cuda",
        )
        yield from zip(steps, loader, strict=True)

    def _prepare(self, step: int, batch: CropBatch) -> tuple[Tensor, Tensor]:
        """This rank's (network input, target), degraded here where a crop has no pair."""
        device, ranks = self._device, self._ranks
        degraded = batch.degraded.to(device, non_blocking=True).float() / 255
        target = batch.clean.to(device, non_blocking=True).float() / 255
        synthetic = ~batch.paired
        if synthetic.any():
            seed = (self._options.seed * SYNTHESIS_SALT + step) % 2**63
            generator = torch.Generator(device).manual_seed(seed)
            flow = batch.flow[synthetic].to(device, non_blocking=True)
            hardness = self._options.hardness(step)
            degrades = _degradation(self._options.task, self._bank, hardness)
            made = degrades(target[synthetic], flow, generator)
            degraded[synthetic], target[synthetic] = made
        margin, layout = self._options.margin_px, torch.channels_last
        inside = slice(margin, target.shape[-1] - margin)
        own = np.s_[ranks.rank :: ranks.count, :, inside, inside]
        return (
            degraded[own].contiguous(memory_format=layout),
            target[own].contiguous(memory_format=layout),
        )

    def _averaged(self) -> LFDN:
        network = self._average.module
        assert isinstance(network, LFDN)
        return network


class _Stop:
    """Whether SIGINT or SIGTERM came (to the main thread); a second one acts at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "_Stop":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as it was given

    def _note(self, number: int, _: FrameType | None) -> None:
        self.wanted = True
        signal.signal(number, signal.SIG_DFL)


def _ignore_signals(_: int) -> None:
    """Terminals and service managers send them to every process; a worker goes with its parent."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _network(config: LFDNConfig | None, initial: LFDN | None, device: torch.device) -> LFDN:
    network = LFDN(initial.config if initial else config)
    if initial is not None:
        network.load_state_dict(initial.state_dict())
    network = network.to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


def _optimizer(network: LFDN, options: TrainOptions) -> torch.optim.Optimizer:
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "muon": Muon}
    make: Callable[..., torch.optim.Optimizer] = kinds[options.optimizer]
    return make(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)


def _warm_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential average that forgets its start: at most (1 + n) / (10 + n) of it is kept."""

    def update(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        warm = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(warm)(averages, current, count)  # type: ignore[no-untyped-call]

    return update


def _check_batches(options: TrainOptions, ranks: Ranks) -> None:
    for stage in options.stages:
        if stage.batch % ranks.count:
            raise TrainingError(
                f"--stages: a batch of {stage.batch} cannot be shared by {ranks.count} processes; "
                "choose a multiple"
            )


def _lacking_compiler(device_type: str) -> str | None:
    """What `torch.compile` would miss here, if anything."""
    if device_type == "cuda":
        return None if find_spec("triton") else "triton"
    known = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return None if any(shutil.which(name) for name in known) else "a C++ compiler"


def _degradation(task: str, bank: Tensor | None, hardness: float = 1.0) -> Degradation:
    """What the task degrades clean pictures with; `hardness` is the blur's."""
    if task == "deblur":
        mix = degrade.BlurMix().eased(hardness)
        return lambda clean, flow, generator: degrade.blur(
            clean, generator=generator, flow=flow, mix=mix
        )
    return lambda clean, _, generator: degrade.rain(clean, generator=generator, bank=bank)
