"""The options of `lfdn train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

import click

from lfdn.commands.options import DEVICE, PATH, RAIN, SEED

if TYPE_CHECKING:
    from lfdn.datasets.crops import CropStage
    from lfdn.training.recipe import OptimizerName, RainName, TrainPrecision

BY_PRESET = "by preset"


def _parse_stages(
    _: click.Context, __: click.Parameter, text: str | None
) -> tuple[CropStage, ...] | None:
    if text is None:
        return None
    from lfdn.datasets.crops import CropStage

    try:
        parts = [part.replace("x", ":").split(":") for part in text.split(",")]
        return tuple(CropStage(float(until), int(side), int(batch)) for until, side, batch in parts)
    except ValueError as error:
        message = f"--stages: {text!r} is not UNTIL:PXxBATCH,...; for example 0.5:112x16,1:224x4"
        raise click.UsageError(message) from error


def _parse_weights(
    _: click.Context, __: click.Parameter, text: str | None
) -> tuple[tuple[str, float], ...] | None:
    if text is None:
        return None
    try:
        parts = [part.rsplit("=", 1) for part in text.split(",")]
        weights = tuple((name, float(share)) for name, share in parts)
    except ValueError as error:
        message = f"--pair-weights: {text!r} is not NAME=SHARE,...; for example GOPR=0.3,nm=0.2"
        raise click.UsageError(message) from error
    total = sum(share for _, share in weights)
    if any(share < 0 for _, share in weights) or not 0 < total < 1 + 1e-6:
        raise click.UsageError(f"--pair-weights: the shares must be 0…1 in all, not {total:g}")
    return weights


PRESET = (
    click.option(
        "--preset",
        type=click.Choice(["default", "paper"]),
        default="default",
        show_default=True,
        help="Preset for the options below. default: tuned for the task. paper: MSE, Adam, "
        "learning rate 1e-4, a tenth of it every 500,000 steps. Explicit options override the "
        "preset.",
    ),
    click.option(
        "--init", type=PATH, help="Weights file to start from, instead of random weights."
    ),
    click.option(
        "--network",
        type=click.Choice(["full", "lite"]),
        help="Network to train: full, the paper's, or lite, a narrower one for live video on a "
        "CPU.  [default: full, or the network of --init]",
    ),
    click.option(
        "--teacher",
        type=click.Path(),
        metavar="FILE|TASK",
        help="Trained weights, or a task with packaged ones, whose output the network learns "
        "beside the truth.",
    ),
    click.option(
        "--teacher-weight",
        type=click.FloatRange(0, 1),
        show_default=BY_PRESET,
        help="Weight of the loss against the teacher's output; the truth has the rest.",
    ),
    RAIN,
    click.option(
        "--revive",
        is_flag=True,
        default=None,
        help="Give new weights to channels of the initial network that never fire.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        show_default=BY_PRESET,
        help="Number of steps. May be larger on resuming: the schedule is stretched.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True),
        help="Train for this time instead of a number of steps. Needs --resident. May be longer on "
        "resuming.",
    ),
    click.option(
        "--stages",
        metavar="UNTIL:PXxBATCH,...",
        callback=_parse_stages,
        show_default=BY_PRESET,
        help="Progressive crop and batch sizes, such as 0.6:112x16,1:224x4. UNTIL is the share of "
        "the steps at which a stage ends, PX the side of its crops in pixels, BATCH their number "
        "per step in all processes together.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["charbonnier", "log_mse", "mse", "relative"]),
        show_default=BY_PRESET,
        help="Loss function. relative: charbonnier, with more weight on less damaged images.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["adamw", "adam", "muon"]),
        show_default=BY_PRESET,
        help="Optimizer.",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(min=0),
        show_default=BY_PRESET,
        help="Learning rate after the warm-up.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["cosine", "step"]),
        show_default=BY_PRESET,
        help="Learning rate schedule. cosine: down to zero. step: a tenth every 500,000 steps.",
    ),
    click.option(
        "--weight-decay",
        type=click.FloatRange(min=0),
        show_default=BY_PRESET,
        help="Weight decay.",
    ),
    click.option(
        "--clip-norm",
        type=click.FloatRange(min=0, min_open=True),
        show_default=BY_PRESET,
        help="Gradient clipping: largest 2-norm over all parameters.",
    ),
    click.option(
        "--ema-decay",
        type=click.FloatRange(0, 1),
        show_default=BY_PRESET,
        help="Decay per step of the averaged weights (EMA); 0 turns averaging off.",
    ),
    click.option(
        "--paired-share",
        type=click.FloatRange(0, 1),
        show_default=BY_PRESET,
        help="Share of a batch from pairs; the rest is clean images, degraded on the fly.",
    ),
    click.option(
        "--pair-weights",
        metavar="NAME=SHARE,...",
        callback=_parse_weights,
        help="How often some pairs are drawn: SHARE (0 to 1) of all crops from pairs comes from "
        "those whose name begins with NAME. Needs --resident.",
    ),
    click.option(
        "--smallest-side-px",
        type=click.IntRange(min=16),
        show_default=BY_PRESET,
        help="Smallest side of a clean image after random downscaling.",
    ),
    click.option(
        "--least-detail",
        type=click.FloatRange(min=0),
        show_default=BY_PRESET,
        help="Minimum mean difference between neighbouring pixels (0 to 255) of a clean crop; "
        "flatter crops are redrawn up to 3 times.",
    ),
    click.option(
        "--margin-px",
        type=click.IntRange(min=0),
        show_default=BY_PRESET,
        help="Margin around a crop while it is degraded; cropped off afterwards.",
    ),
    click.option(
        "--easing",
        type=click.FloatRange(0, 1),
        show_default=BY_PRESET,
        help="Share of the steps over which motion blur goes from one simple kind to full variety.",
    ),
)
"""Options that replace values of the preset."""

EXECUTION = (
    click.option(
        "--resident",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Hold all images on the device, and make crops there; on CUDA each step is one graph. "
        "auto: on one CUDA device.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        default="auto",
        show_default=True,
        help="Precision. bfloat16: autocast with float32 weights. auto: bfloat16 on CUDA, else "
        "float32.",
    ),
    SEED,
    DEVICE,
    click.option(
        "--compile",
        is_flag=True,
        help="Use torch.compile: faster steps, after a minute or two of compilation.",
    ),
    click.option(
        "--pad-channels",
        is_flag=True,
        help="Compute with channels padded to multiples of 8, for tensor cores. Needs --resident.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Number of CPU threads.  [default: all cores]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Number of processes that prepare crops.",
    ),
    click.option(
        "--validate-every",
        type=click.IntRange(min=1),
        default=1000,
        show_default="1000 steps",
        help="Steps between validations.",
    ),
    click.option(
        "--checkpoint-every",
        type=click.IntRange(min=1),
        default=1000,
        show_default="1000 steps",
        help="Steps between checkpoints.",
    ),
    click.option(
        "--log-every",
        type=click.IntRange(min=1),
        default=50,
        show_default="50 steps",
        help="Steps between rows of steps.csv, and between points in TensorBoard.",
    ),
)
"""Options that say how a run is computed."""


class TrainValues(TypedDict):
    """Fields of `lfdn.training.recipe.TrainOptions` from options of the same names.

    None stands for the preset's value.
    """

    steps: int | None
    stages: tuple[CropStage, ...] | None
    pair_weights: tuple[tuple[str, float], ...] | None
    teacher_weight: float | None
    rain: RainName | None
    revive: bool | None
    seconds: float | None
    loss: str | None
    optimizer: OptimizerName | None
    learning_rate: float | None
    schedule: Literal["cosine", "step"] | None
    weight_decay: float | None
    clip_norm: float | None
    ema_decay: float | None
    paired_share: float | None
    smallest_side_px: int | None
    least_detail: float | None
    margin_px: int | None
    easing: float | None
    precision: TrainPrecision
    seed: int
    device: str
    compile: bool
    pad_channels: bool
    threads: int | None
    workers: int
    validate_every: int
    checkpoint_every: int
    log_every: int
