"""The training loop, for one device. Knows crops, losses and checkpoints; prints nothing.

A run is a folder: `last.pt` (everything needed to go on), `best.safetensors` (the averaged weights
that scored best on the validation split) and `metrics.csv`. `python -m lfdn train` is its user.
"""

import csv
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from lfdn import degrade
from lfdn.data import (
    SMALLEST_SIDE_PX,
    CropBatch,
    Crops,
    Pixels,
    Sample,
    Stage,
    split,
    to_tensor,
)
from lfdn.losses import LOSSES
from lfdn.metrics import luma, psnr, quantize
from lfdn.model import LFDN, LFDNConfig
from lfdn.weights import save

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
Degradation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(clean `[B, 3, H, W]`, flow `[B, 2, H, W]`, generator) to (degraded, target)."""

CPU = torch.device("cpu")

STAGES = (Stage(0.60, 112, 16), Stage(0.85, 160, 8), Stage(1.0, 224, 4))
VALIDATION_PICTURES = 24
VALIDATION_CROP_PX = 256
SYNTHESIS_SALT = 0x5EED  # keeps the synthetic rain's random numbers apart from the crops'


class TrainingError(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """One run. The recipe of the packaged weights is in their model card."""

    task: Literal["derain", "deblur"] = "derain"
    steps: int = 20_000
    stages: tuple[Stage, ...] = STAGES
    paired_share: float = 0.35
    """Share of each batch taken from pairs; the rest are clean pictures with synthetic rain."""
    loss: str = "charbonnier"
    learning_rate: float = 8e-4
    warmup_steps: int = 250
    weight_decay: float = 1e-4
    clip_norm: float = 0.2
    """Twice the gradient's usual norm: one bad batch must not undo a thousand good ones."""
    ema_decay: float = 0.999
    smallest_side_px: int = SMALLEST_SIDE_PX
    """Larger clean pictures are shrunk by a random factor, down to this."""
    precision: Precision = "float32"
    compile: bool = False
    """`torch.compile` the network: a quarter faster on the CPU, after a minute for each stage."""
    device: str = "cpu"
    seed: int = 1
    validate_every: int = 1000
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss: {self.loss!r} is none of {', '.join(LOSSES)}")
        if self.steps < 1:
            raise ValueError(f"steps: at least 1 is needed, got {self.steps}")


@dataclass(frozen=True, slots=True)
class Report:
    """One row of `metrics.csv`."""

    step: int
    seconds: float
    learning_rate: float
    loss: float
    gradient_norm: float
    """Before clipping; this and the loss are means since the last row."""
    validation_input_psnr_y: float
    validation_psnr_y: float


def train(
    samples: Sequence[Sample],
    run: Path,
    *,
    options: TrainOptions,
    config: LFDNConfig | None = None,
    initial: LFDN | None = None,
    bank: Tensor | None = None,
    on_report: Callable[[Report], None] | None = None,
) -> LFDN:
    """Train on `samples` in the folder `run`, going on from its `last.pt` if there is one.

    `initial`: start from these weights (and their configuration) instead of from random ones.
    `bank`: streak layers for synthetic rain (`lfdn.data.streak_bank`). Returns the averaged network
    in eval mode. Raises TrainingError when the loss is not finite and
    lfdn.data.DataError for bad data.
    """
    run.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    network = LFDN(initial.config if initial else config)
    if initial is not None:
        network.load_state_dict(initial.state_dict())
    network = network.to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub
    update = get_ema_multi_avg_fn(options.ema_decay)  # type: ignore[no-untyped-call]  # torch
    average = AveragedModel(network, multi_avg_fn=update)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    forward = torch.compile(network, dynamic=False) if options.compile else network
    start, best = _resume(run, network, average, optimizer)
    training, held = split(samples)
    degrade_batch = _degradation(options.task, bank, device)
    validation = _validation_pairs(held, options.seed, _degradation(options.task, bank, CPU))
    crops = Crops(
        training,
        options.stages,
        steps=options.steps,
        seed=options.seed,
        paired_share=options.paired_share,
        smallest_side_px=options.smallest_side_px,
        motion=options.task == "deblur",
    )

    began, losses, norms = time.monotonic(), list[float](), list[float]()
    for step, batch in _batches(crops, start):
        rate = _learning_rate(options, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        degraded, target = _prepare(batch, options.seed, step, device, degrade_batch)
        with _autocast(device, options.precision):
            restored = forward(degraded)
        loss = LOSSES[options.loss](restored.float(), target)
        if not torch.isfinite(loss):
            raise TrainingError(f"{run}: loss is {loss.item()} at step {step}; last.pt is good")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        norms.append(nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm).item())
        optimizer.step()
        average.update_parameters(network)
        losses.append(loss.item())

        done = step + 1
        if done % options.validate_every == 0 or done == options.steps:
            averaged = _averaged(average)
            before, after = _validate(averaged, validation, device)
            seconds = time.monotonic() - began
            report = Report(done, seconds, rate, fmean(losses), fmean(norms), before, after)
            losses.clear()
            norms.clear()
            _append(run / "metrics.csv", report)
            if after > best:
                best = after
                notes = {"step": str(done), "recipe": str(asdict(options))}
                save(averaged, run / "best.safetensors", task=options.task, notes=notes, half=False)
            _checkpoint(run, done, best, network, average, optimizer)
            if on_report is not None:
                on_report(report)
    return _averaged(average).eval()


def _batches(crops: Crops, start: int) -> Iterator[tuple[int, CropBatch]]:
    """(step, batch) from `start` on; one worker process prepares crops ahead."""
    steps = range(start, len(crops))
    loader = DataLoader(crops, batch_size=None, sampler=steps, num_workers=1)
    yield from zip(steps, loader, strict=True)


def _degradation(task: str, bank: Tensor | None, device: torch.device) -> Degradation:
    """What the task degrades clean pictures with."""
    if task == "deblur":
        return lambda clean, flow, generator: degrade.blur(clean, generator=generator, flow=flow)
    layers = bank.to(device) if bank is not None else None
    return lambda clean, _, generator: degrade.rain(clean, generator=generator, bank=layers)


def _prepare(
    batch: CropBatch, seed: int, step: int, device: torch.device, degrade_batch: Degradation
) -> tuple[Tensor, Tensor]:
    """(network input, target) as float on `device`; degraded here where a crop has no pair."""
    degraded = batch.degraded.to(device).float() / 255
    target = batch.clean.to(device).float() / 255
    synthetic = ~batch.paired
    if synthetic.any():
        generator = torch.Generator(device).manual_seed((seed * SYNTHESIS_SALT + step) % 2**63)
        flow = batch.flow[batch.paired.logical_not()].to(device)
        degraded[synthetic], target[synthetic] = degrade_batch(target[synthetic], flow, generator)
    layout = torch.channels_last
    return degraded.contiguous(memory_format=layout), target.contiguous(memory_format=layout)


def _learning_rate(options: TrainOptions, step: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warm = min(1.0, (step + 1) / max(1, options.warmup_steps))
    return options.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / options.steps))


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _validation_pairs(
    held: Sequence[Sample], seed: int, degrade_batch: Degradation
) -> list[tuple[Tensor, Tensor]]:
    """Fixed (degraded, clean) centre crops: real pairs, and clean pictures degraded by the seed."""
    paired = [s for s in held if s.degraded is not None][:VALIDATION_PICTURES]
    clean = [s for s in held if s.degraded is None]
    clean = clean[:: max(1, len(clean) // VALIDATION_PICTURES)][:VALIDATION_PICTURES]
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for sample in paired:
        assert sample.degraded is not None
        pairs.append((_centre(sample.degraded.read()), _centre(sample.clean.read())))
    for sample in clean:
        picture = _centre(sample.clean.read())
        pairs.append(degrade_batch(picture, torch.zeros_like(picture[:, :2]), generator))
    return pairs


def _centre(pixels: Pixels) -> Tensor:
    height, width = pixels.shape[:2]
    side = VALIDATION_CROP_PX
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return to_tensor(pixels[top : top + side, left : left + side])


def _validate(
    network: LFDN, pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device
) -> tuple[float, float]:
    """Mean PSNR-Y of the inputs and of the restored pictures, 8-bit, in dB."""
    if not pairs:
        return math.nan, math.inf
    network.eval()
    before, after = [], []
    with torch.inference_mode():
        for degraded, clean in pairs:
            restored = network(degraded.to(device)).cpu()
            reference = luma(quantize(clean))
            before.append(psnr(luma(quantize(degraded)), reference).clamp(max=60).item())
            after.append(psnr(luma(quantize(restored)), reference).clamp(max=60).item())
    return sum(before) / len(before), sum(after) / len(after)


def _averaged(average: AveragedModel) -> LFDN:
    network = average.module
    assert isinstance(network, LFDN)
    return network


def _checkpoint(
    run: Path,
    step: int,
    best: float,
    network: LFDN,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
) -> None:
    state = {
        "step": step,
        "best": best,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = run / "last.pt.partial"
    torch.save(state, partial)
    partial.replace(run / "last.pt")


def _resume(
    run: Path, network: LFDN, average: AveragedModel, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load `last.pt` if it is there; (the next step, the best validation score so far)."""
    path = run / "last.pt"
    if not path.is_file():
        return 0, -math.inf
    state = torch.load(path, weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    log.info("%s: going on from step %d", path, state["step"])
    return int(state["step"]), float(state["best"])


def _append(path: Path, report: Report) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(report)))
        if new:
            writer.writeheader()
        writer.writerow(asdict(report))
