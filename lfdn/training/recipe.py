"""The recipe of a training run: options, presets, learning rate. Knows no files."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from lfdn.datasets.crops import SMALLEST_SIDE_PX, CropStage
from lfdn.training.losses import LOSSES

Task = Literal["derain", "deblur"]
RainName = Literal["default", "wide", "filmed"]
TrainPrecision = Literal["auto", "float32", "bfloat16"]
OptimizerName = Literal["adamw", "adam", "muon"]
PAPER_DECAY_STEPS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """The options of a run. The defaults are for rain; `build_options` knows all presets.

    Raises:
        ValueError: There is no such loss, a count is below 1, or a share is not in 0…1.
    """

    task: Task = "derain"
    steps: int = 20_000
    stages: tuple[CropStage, ...] = (
        CropStage(0.60, 112, 16),
        CropStage(0.85, 160, 8),
        CropStage(1.0, 224, 4),
    )
    paired_share: float = 0.35
    """Share of each batch from pairs; the rest are clean images, degraded while training."""
    loss: str = "charbonnier"
    """A name in `LOSSES`."""
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 8e-4
    schedule: Literal["cosine", "step"] = "cosine"
    """`cosine`: to zero at the last step. `step`: a tenth every 500,000 steps, as in the paper."""
    warmup_steps: int = 250
    weight_decay: float = 1e-4
    clip_norm: float = 0.2
    """Largest 2-norm of the gradient, twice its usual value: one bad batch must not undo a thousand
    good ones."""
    teacher_weight: float = 0.3
    """Weight of the loss against a teacher's output, 0…1; that against the truth has the rest. Only
    with a teacher; see `lfdn.training.distillation`."""
    rain: RainName = "default"
    """Mix of the synthetic rain: see `lfdn.degrade.RainMix`."""
    revive: bool = False
    """Give new weights to channels of the initial network that never fire: see
    `lfdn.training.revive`."""
    pair_weights: tuple[tuple[str, float], ...] = ()
    """(beginning of a name, share): how often some pairs are drawn; the others have what is left of
    1. Only with `resident`."""
    resident: bool = False
    """Hold all images on the device, and draw and degrade crops there: `lfdn.training.resident`."""
    seconds: float | None = None
    """Train for this time, validation included, instead of for `steps`; stages and schedule follow
    the time that is over. Only with `resident`."""
    ema_decay: float = 0.999
    """Decay of the averaged weights, which are the ones validated and saved. It is lower during the
    first steps."""
    smallest_side_px: int = SMALLEST_SIDE_PX
    """Larger clean images are shrunk by a random factor, down to this."""
    least_detail: float = 0.0
    """Mean difference between neighbouring pixels, in 8-bit codes, below which a crop without a
    pair is drawn again."""
    margin_px: int = 0
    """Margin around each crop, degraded with it and then cropped off: content that enters the crop
    during the exposure comes from there."""
    easing: float = 0.0
    """Share of the steps over which motion blur grows from one simple kind to all kinds."""
    seed: int = 1
    precision: TrainPrecision = "auto"
    """`bfloat16`: autocast; the weights stay float32. `auto`: bfloat16 on CUDA only."""

    device: str = "cpu"
    pad_channels: bool = False
    """Compute with channels padded to multiples of 8 (`lfdn.training.padded`); only with
    `resident`."""
    compile: bool = False
    """`torch.compile` the network: a quarter faster on the CPU, after a minute for each stage."""
    threads: int | None = None
    """CPU threads; all cores by default."""
    workers: int = 1
    """Processes that prepare crops."""
    validate_every: int = 1000
    """Steps between two validations."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints; each validation writes one too."""
    log_every: int = 50
    """Steps between two rows of `steps.csv`."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss: {self.loss!r} is none of {', '.join(LOSSES)}")
        if not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight: must be in 0…1, got {self.teacher_weight}")
        for name in ("steps", "validate_every", "checkpoint_every", "log_every", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: at least 1 is needed, got {getattr(self, name)}")
        for name in ("seconds", "pair_weights", "pad_channels"):
            if getattr(self, name) and not self.resident:
                option = name.replace("_", "-")
                raise ValueError(f"--{option}: the images must be on one device; add --resident on")

    def compute_hardness(self, step: float) -> float:
        """Compute the hardness of the blur in `step`, 0…1: see `lfdn.degrade.BlurMix.eased`."""
        return min(1.0, step / (self.easing * self.steps)) if self.easing else 1.0

    def uses_autocast(self, device_type: str) -> bool:
        """Return True if the forward pass runs in bfloat16 on a device such as `cpu` or `cuda`."""
        automatic = "bfloat16" if device_type == "cuda" else "float32"
        return (automatic if self.precision == "auto" else self.precision) == "bfloat16"


MAY_CHANGE_ON_RESUME = frozenset(
    {
        "device",
        "compile",
        "pad_channels",
        "threads",
        "workers",
        "validate_every",
        "checkpoint_every",
        "log_every",
    }
)
"""Options that do not affect the trained weights: device, speed, intervals of looking at them."""

GROWS_ON_RESUME = ("steps", "seconds")
"""Options that may be larger on resuming. The run goes on as one of the new length does from this
step: learning rate, stages and easing are functions of the share that is done."""

PRESETS: dict[str, dict[Task, dict[str, Any]]] = {
    "default": {
        "derain": {},
        "deblur": {
            "steps": 12_000,
            "stages": (CropStage(0.25, 64, 24), CropStage(0.8, 112, 8), CropStage(1.0, 160, 4)),
            "loss": "log_mse",
            "optimizer": "muon",
            "learning_rate": 1.5e-3,
            "clip_norm": 1.0,
            "smallest_side_px": 160,
            "least_detail": 7.0,
            "margin_px": 16,
            "easing": 0.2,
        },
    },
}
_PAPER: dict[str, Any] = {
    "steps": 2 * PAPER_DECAY_STEPS,
    "stages": (CropStage(1.0, 256, 8),),
    "loss": "mse",
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "schedule": "step",
    "warmup_steps": 0,
    "weight_decay": 1e-4,
    "clip_norm": math.inf,
    "ema_decay": 0.0,
}
PRESETS["paper"] = {"derain": _PAPER, "deblur": _PAPER}
"""Section 4.1 of the paper. It states neither crops nor steps; those are ours."""


def build_options(preset: str, task: Task, **explicit: Any) -> TrainOptions:
    """Combine a preset with explicit options.

    Args:
        preset: A name in `PRESETS`.
        task: `derain` or `deblur`.
        **explicit: Fields of `TrainOptions`. They override the preset unless they are None.

    Returns:
        The options of a run.

    Raises:
        ValueError: As for `TrainOptions`.
    """
    overrides = {field: value for field, value in explicit.items() if value is not None}
    return TrainOptions(task=task, **{**PRESETS[preset][task], **overrides})


def compute_position(options: TrainOptions, step: int, seconds: float) -> float:
    """Compute where in its schedule a run is: in steps, up to `options.steps`.

    Args:
        options: Of the run.
        step: Steps that are done.
        seconds: Time that is over.

    Returns:
        `step`, or if the run has a given time, the share of it that is over, times all steps.
    """
    if options.seconds is None:
        return step
    return options.steps * min(1.0, seconds / options.seconds)


def compute_learning_rate(options: TrainOptions, step: int, position: float | None = None) -> float:
    """Compute the learning rate: a linear warm-up times the schedule.

    Args:
        options: Of the run.
        step: Number of the step, counted from 0.
        position: Of the step in the schedule (`compute_position`); by default `step`.

    Returns:
        The rate.
    """
    position = step if position is None else position
    warmup = min(1.0, (step + 1) / max(1, options.warmup_steps))
    if options.schedule == "step":
        factor = 0.1 ** (step // PAPER_DECAY_STEPS)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * position / options.steps))
    return options.learning_rate * warmup * factor
