"""The steps of a run on one device that holds all images: nothing is prepared on the CPU.

Crops of several steps, a block, are cut, mirrored and degraded at once (`lfdn.datasets.resident`),
and a step is one CUDA graph (`lfdn.training.graph`): forward, backward, clipping, optimizer and
average. The CPU reads losses a block later, so that the GPU need not wait for it.

A block is a function of (seed, number of the block, stage), so an interrupted run resumes exactly.
Differences to `lfdn.training.steps`: a clean image is at three sizes instead of any, pairs of blur
are also turned, and blur does not follow the flow of real sequences.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lfdn.datasets.crops import CropStage, count_small_images, select_stage
from lfdn.datasets.resident import ImageStore, ResidentImages
from lfdn.datasets.samples import Sample
from lfdn.training import padded
from lfdn.training.checkpoint import TrainingState
from lfdn.training.degradation import SYNTHESIS_SALT, build_degradation
from lfdn.training.figures import StepFigures
from lfdn.training.fused import FusedOptimizer
from lfdn.training.graph import StepGraph, has_room, prepare_device
from lfdn.training.recipe import compute_learning_rate, compute_position
from lfdn.training.steps import Learner

BLOCK_STEPS = 8
CHOICE = 1.25
"""Clean crops that are cut for each one that is used, where flat ones are left out."""
PROBE_CROPS = 64

logger = logging.getLogger(__name__)


class ResidentSteps:
    """Steps on images that are on the device.

    Args:
        training: The training split.
        learner: The network and what belongs to it.
    """

    def __init__(self, training: Sequence[Sample], learner: Learner) -> None:
        options, device = learner.options, learner.device
        self._learner = learner
        self._options = options
        self._device = device
        self._images = ResidentImages(
            training,
            smallest_side_px=options.smallest_side_px,
            pair_weights=options.pair_weights,
        )
        size = self._images.bytes
        self._check_sides()
        if fits := has_room(device, size):
            self._images.move(device)
        where = device.type if fits else "main"
        logger.info("training images: %.0f MiB in %s memory", size / 2**20, where)
        if options.compile:
            logger.warning("--compile: not used with --resident; continuing without it")
        prepare_device(device)
        self._forward: Callable[[Tensor], Tensor] = learner.network
        if options.pad_channels:
            if padded.supports(learner.network):
                self._forward = partial(padded.forward, learner.network)
            else:
                logger.warning("--pad-channels: not for this network; continuing without it")
        self._parameters = list(learner.network.parameters())
        averages = list(learner.average.module.parameters())
        self.optimizer = FusedOptimizer(self._parameters, averages, options)
        self._step: StepGraph | None = None
        self._pending: list[tuple[int, list[float], Tensor]] = []
        """Blocks whose figures were not read: first step, learning rates, loss and norm of each."""

    @property
    def _paired_share(self) -> float:
        """Share of the crops from pairs; with images of one kind, all are of that kind."""
        if self._images.clean is None:
            return 1.0
        return self._options.paired_share if self._images.pairs else 0.0

    def _check_sides(self) -> None:
        """Refuse crops that no image is large enough for; tell how many images are left out."""
        options = self._options
        share = self._paired_share
        pools = (("pair", self._images.pairs, share, 0),
                 ("clean image", self._images.clean, 1 - share, 2 * options.margin_px))  # fmt: skip
        for kind, store, frequency, margin in pools:
            side = margin + max(stage.patch_px for stage in options.stages)
            sides = store.sides_px if store is not None and frequency else []
            if small := count_small_images(kind, sides, side):
                logger.warning(
                    "%d of %d %ss have a side below %d px: left out of the largest crops",
                    small, len(sides), kind, side,
                )  # fmt: skip

    def draw_probe(self) -> Tensor:
        """Draw degraded crops like those of the first step, `[B, 3, P, P]` on the device."""
        degraded, _ = self._draw_block(0, self._options.stages[0], 0)
        return degraded[:PROBE_CROPS]

    def run(self, state: TrainingState) -> Generator[list[StepFigures]]:
        """Run the remaining steps; yield the figures of the block before after each block."""
        options = self._options
        self._learner.network.train()
        position = compute_position(options, state.step, state.seconds)
        while position < options.steps:
            stage = select_stage(options.stages, position / options.steps)
            block, done = divmod(state.step, BLOCK_STEPS)
            count = BLOCK_STEPS - done
            if options.seconds is None:
                count = min(count, options.steps - state.step)
            degraded, target = self._draw_block(block, stage, position)
            step = self._get_step(stage)
            # Figures of the block before: it is done by now, since drawing waits for the device.
            known = self.flush()
            figures = torch.empty(count, 2, device=self._device)
            rates = []
            for index in range(count):
                where = compute_position(options, state.step + index, state.seconds)
                rates.append(compute_learning_rate(options, state.step + index, where))
                self.optimizer.rate.fill_(rates[-1])
                own = slice((done + index) * stage.batch, (done + index + 1) * stage.batch)
                figures[index].copy_(step.run(degraded[own], target[own]))
            self._pending.append((state.step, rates, figures))
            state.step += count
            state.crops += count * stage.batch
            yield known
            position = compute_position(options, state.step, state.seconds)

    def flush(self) -> list[StepFigures]:
        """Read the figures of the blocks that were begun, and wait for them.

        Raises:
            TrainingError: One of them is not finite.
        """
        known = []
        while self._pending:
            first, rates, figures = self._pending.pop(0)
            for index, (loss, norm) in enumerate(figures.tolist()):
                if not np.isfinite([loss, norm]).all():
                    raise self._learner.folder.describe_divergence(first + index, loss, norm)
                known.append(StepFigures(first + index + 1, rates[index], loss, norm))
        return known

    def _get_step(self, stage: CropStage) -> StepGraph:
        shape = (stage.batch, 3, stage.patch_px, stage.patch_px)
        if self._step is None or self._step.shape != shape:
            if self._step is not None:
                self._step.release()  # first, so that both need not fit
            self._step = StepGraph(
                self._compute, self._parameters, self.optimizer.get_state(), shape, self._device
            )
            form = "one CUDA graph a step" if self._step.is_captured else "without a CUDA graph"
            logger.info("crops of %d px, %d a step: %s", stage.patch_px, stage.batch, form)
        return self._step

    def _compute(self, degraded: Tensor, target: Tensor) -> Tensor:
        """Compute one step; return loss and norm of the gradient."""
        autocast = self._options.uses_autocast(self._device.type)
        # Without the cache of converted weights, which would outlive the graph that made them.
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=autocast, cache_enabled=False
        ):
            restored = self._forward(degraded)
        loss = self._learner.compute_loss(restored.float(), target, degraded)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        return torch.stack([loss.detach(), self.optimizer.step()])

    def _draw_block(self, block: int, stage: CropStage, position: float) -> tuple[Tensor, Tensor]:
        """Draw the crops of a block: (network input, target), `[8 · batch, 3, P, P]` in 0…1."""
        options, images = self._options, self._images
        rng = np.random.default_rng((options.seed, BLOCK_STEPS, block))
        seed = (options.seed * SYNTHESIS_SALT + block) % 2**63
        generator = torch.Generator(self._device).manual_seed(seed)
        count = BLOCK_STEPS * stage.batch
        paired = round(count * self._paired_share)
        parts = []
        if paired and images.pairs:
            crops = self._cut(images.pairs, rng, paired, stage.patch_px)
            crops = _mirror(crops, generator, turn=options.task == "deblur")
            parts.append((crops[:, 3:], crops[:, :3]))
        if count > paired and images.clean:
            side = stage.patch_px + 2 * options.margin_px
            clean = self._cut_detailed(images.clean, rng, count - paired, side)
            degradation = build_degradation(
                options.task,
                self._learner.bank,
                options.compute_hardness(position),
                rain=options.rain,
            )
            still = torch.zeros(len(clean), 2, 1, 1, device=self._device)
            pair = degradation(_mirror(clean, generator, turn=False), still, generator)
            inside = slice(options.margin_px, options.margin_px + stage.patch_px)
            parts.append((pair[0][..., inside, inside], pair[1][..., inside, inside]))
        order = torch.randperm(count, generator=generator, device=self._device)
        degraded, target = (torch.cat(side)[order] for side in zip(*parts, strict=True))
        return degraded.clamp(0, 1), target.clamp(0, 1)

    def _cut(self, store: ImageStore, rng: np.random.Generator, count: int, side: int) -> Tensor:
        crops = store.draw(rng, count, side)
        return crops.to(self._device, non_blocking=True).float() / 255

    def _cut_detailed(
        self, store: ImageStore, rng: np.random.Generator, count: int, side: int
    ) -> Tensor:
        """Cut clean crops, leaving out flat ones as far as there are others."""
        least = self._options.least_detail
        if not least:
            return self._cut(store, rng, count, side)
        crops = self._cut(store, rng, round(CHOICE * count), side)
        flat = _measure_detail(crops) < least
        return crops[torch.argsort(flat.int(), stable=True)[:count]]


def _measure_detail(crops: Tensor) -> Tensor:
    """Compute the mean difference between neighbouring pixels in green, `[B]` in 8-bit codes."""
    green = 255 * crops[:, 1]
    across = (green[:, :, 1:] - green[:, :, :-1]).abs().mean((1, 2))
    down = (green[:, 1:] - green[:, :-1]).abs().mean((1, 2))
    return (across + down) / 2


def _mirror(crops: Tensor, generator: torch.Generator, *, turn: bool) -> Tensor:
    """Mirror half of the crops left to right; if `turn`, also top to bottom, and transpose half."""

    def choose() -> Tensor:
        shape = (len(crops), 1, 1, 1)
        return torch.rand(shape, generator=generator, device=crops.device) < 0.5

    crops = torch.where(choose(), crops.flip(3), crops)
    if turn:
        crops = torch.where(choose(), crops.flip(2), crops)
        crops = torch.where(choose(), crops.transpose(2, 3), crops)
    return crops
