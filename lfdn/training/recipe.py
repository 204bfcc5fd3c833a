"""What a training run does: its options, the presets, the learning rate. Knows no files."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from lfdn.datasets.data import SMALLEST_SIDE_PX, Stage
from lfdn.training.losses import LOSSES

Task = Literal["derain", "deblur"]
Precision = Literal["auto", "float32", "bfloat16"]
Optimizer = Literal["adamw", "adam", "muon"]
PAPER_DECAY_STEPS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """One run. The defaults are ours for rain; `preset` gives those of every task."""

    task: Task = "derain"
    steps: int = 20_000
    stages: tuple[Stage, ...] = (Stage(0.60, 112, 16), Stage(0.85, 160, 8), Stage(1.0, 224, 4))
    paired_share: float = 0.35
    """Share of each batch taken from pairs; the rest are clean pictures, degraded here."""
    loss: str = "charbonnier"
    optimizer: Optimizer = "adamw"
    learning_rate: float = 8e-4
    schedule: Literal["cosine", "step"] = "cosine"
    """`cosine`: to zero at the last step. `step`: a tenth every 500,000 steps, as in the paper."""
    warmup_steps: int = 250
    weight_decay: float = 1e-4
    clip_norm: float = 0.2
    """Twice the gradient's usual norm: one bad batch must not undo a thousand good ones."""
    ema_decay: float = 0.999
    """Of the averaged weights, which are what is validated and kept; less in the first steps."""
    smallest_side_px: int = SMALLEST_SIDE_PX
    """Larger clean pictures are shrunk by a random factor, down to this."""
    least_detail: float = 0.0
    """By how many codes of 255 neighbours should differ in a crop that is degraded here."""
    margin_px: int = 0
    """Crops are degraded with so much around them, which is cut off: what enters a picture during
    the exposure comes from there."""
    easing: float = 0.0
    """Share of the steps over which motion blur grows from one simple kind to all."""
    seed: int = 1
    precision: Precision = "auto"
    """`auto`: bfloat16 autocast on CUDA, float32 elsewhere. The weights are float32 always."""

    device: str = "cpu"
    compile: bool = False
    """`torch.compile` the network: a quarter faster on the CPU, after a minute for each stage."""
    threads: int | None = None
    workers: int = 1
    """Processes that prepare crops."""
    validate_every: int = 1000
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss: {self.loss!r} is none of {', '.join(LOSSES)}")
        for name in ("steps", "validate_every", "checkpoint_every", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: at least 1 is needed, got {getattr(self, name)}")

    def hardness(self, step: int) -> float:
        """Of the blur in `step`, 0…1: see `lfdn.degrade.BlurMix.eased`."""
        return min(1.0, step / (self.easing * self.steps)) if self.easing else 1.0

    def autocast(self, device_type: str) -> bool:
        """Whether the forward pass runs in bfloat16."""
        wanted = "bfloat16" if device_type == "cuda" else "float32"
        return (wanted if self.precision == "auto" else self.precision) == "bfloat16"


CHANGEABLE = frozenset(
    {"device", "compile", "threads", "workers", "validate_every", "checkpoint_every"}
)
"""What may differ when a run goes on: where and how often, but not what is computed."""

PRESETS: dict[str, dict[Task, dict[str, Any]]] = {
    "default": {
        "derain": {},
        "deblur": {
            "steps": 12_000,
            "stages": (Stage(0.25, 64, 24), Stage(0.8, 112, 8), Stage(1.0, 160, 4)),
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
    "stages": (Stage(1.0, 256, 8),),
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
"""The paper's section 4.1, which tells neither crops nor steps: those are ours."""


def preset(name: str, task: Task, **given: Any) -> TrainOptions:
    """The options of a preset for a task; what is `given` (and not None) comes before it."""
    told = {field: value for field, value in given.items() if value is not None}
    return TrainOptions(task=task, **{**PRESETS[name][task], **told})


def learning_rate(options: TrainOptions, step: int) -> float:
    """Of `step`, from 0: a linear warm-up times the schedule."""
    warm = min(1.0, (step + 1) / max(1, options.warmup_steps))
    if options.schedule == "step":
        factor = 0.1 ** (step // PAPER_DECAY_STEPS)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * step / options.steps))
    return options.learning_rate * warm * factor
