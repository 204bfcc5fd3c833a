"""Train the gate of the temporal stage on the clips of `draw_gate_clips.py`.

    python pipelines/train_gate.py clips/ -o gate.safetensors

Each clip's middle frame is looked at as the stage does it, once with all of its neighbours and once
with some left out, as in `live` or beside a cut. Frames on which the switch has too many false
alarms are left out, as the gate is never asked about them. What the gate sees and the true luma of
up to `--places` places each are what it learns from: its weighted sum should be the truth, by the
Huber loss. Every tenth clip by its number is held back; PSNR there is printed for restored frames,
for the layers, for the rule, for both together and for the best single choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from lfdn_video.media import Colour, Frame, FrameFormat, PixelFormat
from lfdn_video.temporal.align import Levels
from lfdn_video.temporal.correct import find_colours, sample_planes
from lfdn_video.temporal.evidence import LEAST_SAMPLES, Picture, look
from lfdn_video.temporal.flow import to_flow_image
from lfdn_video.temporal.gate import CHOICES, Gate, describe, follow_rule
from lfdn_video.temporal.motion import align_sides
from lfdn_video.temporal.rule import MOST_FALSE_ALARMS, propose, weigh

WIDTHS = (32, 16)
BATCH = 8192
RATE = 4e-3
LEAST_ERROR = 2.0
"""Added to the mean squared error of a frame before its errors are divided by it."""
DELTA = 20.0
"""Of the Huber loss, in 8-bit codes."""
HELD_BACK = 10
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Entry:
    """A frame of a clip; see `motion.Seen`."""

    number: int
    frame: Frame
    luma: Array
    image: Array


@dataclass(frozen=True)
class Examples:
    """What the gate sees at some places, and what is true there, in 8-bit codes."""

    features: Array
    choices: Array
    rule: Array
    """Weights of the rule alone."""
    truth: Array
    weight: Array
    """Of the error: in a frame with small ones it counts more, as it does in decibels."""


def to_frame(image: Array, form: PixelFormat, number: int) -> Frame:
    planes = tuple(np.ascontiguousarray(image[..., c]) for c in (1, 2, 0))
    return Frame(planes, form, number)


def choose_sides(random: np.random.Generator, *, every: bool) -> tuple[list[int], list[int]]:
    """Choose the neighbours before and after the middle of seven frames."""
    if every:
        return [2, 1, 0], [4, 5, 6]
    return [([2, 1, 0], [4]), ([2, 1, 0], []), ([2, 1], [4, 5]), ([2], [4, 5, 6])][
        int(random.choice(4, p=[0.35, 0.35, 0.15, 0.15]))
    ]


def examine(clip: Path, *, places: int, every: bool) -> Examples | None:
    """Look at a clip's middle frame as the stage does."""
    random = np.random.default_rng((int(clip.stem), int(every)))
    content = np.load(clip)
    height, width = content["truth"].shape[:2]
    form = PixelFormat.parse("gbrp")
    levels = Levels(FrameFormat(width=width, height=height, format=form, colour=Colour()))
    entries = []
    for number, image in enumerate(content["restored"]):
        frame = to_frame(image, form, number)
        luma = levels.luma_of(frame.planes)
        entries.append(Entry(number, frame, luma, to_flow_image(luma, 8)))
    middle = len(entries) // 2
    entry, decoded = entries[middle], to_frame(content["decoded"], form, middle)
    sides = [[entries[n] for n in side] for side in choose_sides(random, every=every)]
    # Before the network they had rain elsewhere: what it made of them serves as well.
    aligned = [each for each in align_sides(entry, sides, levels) if each.share_valid >= 0.1]
    if len(aligned) < LEAST_SAMPLES:
        return None
    decoded_luma = levels.luma_of(decoded.planes)
    picture = Picture(entry.frame.planes, decoded.planes, entry.luma, decoded_luma, levels)
    evidence = look(picture, aligned)
    if not len(evidence.places):
        return None
    verdict = weigh(evidence)
    if verdict.false_alarms > MOST_FALSE_ALARMS and not verdict.by_input:
        return None
    colours = find_colours(evidence, sample_planes(evidence))
    if random.random() < 0.15:
        colours = np.zeros_like(colours)  # as in a grey video
    features = describe(evidence, verdict, colours).T
    choices = np.stack([evidence.luma, evidence.decoded, *evidence.in_slots], 1)
    truth = to_frame(content["truth"], form, middle)
    # Rounding would hide what is left; the truth is exact.
    true_luma = sum(
        share * evidence.places.take(plane)
        for share, plane in zip((0.587, 0.114, 0.299), truth.planes, strict=True)
    )
    rule = follow_rule(evidence, *propose(evidence, verdict.brighter, colours)).T
    kept = np.sort(random.permutation(len(evidence.places))[:places])
    true = np.asarray(true_luma, np.float32)
    error = float(np.square(evidence.luma - true).sum()) / entry.luma.size
    weight = np.full(len(true), 1 / (error + LEAST_ERROR), np.float32)
    columns = (features, choices, rule, true, weight)
    return Examples(*(column[kept] for column in columns))


def build() -> nn.Sequential:
    modules: list[nn.Module] = []
    for width in WIDTHS:
        modules += [nn.LazyLinear(width), nn.ReLU()]
    return nn.Sequential(*modules, nn.LazyLinear(CHOICES))


def apply(network: nn.Module, features: Tensor, choices: Tensor) -> Tensor:
    chosen: Tensor = (network(features).softmax(1) * choices).sum(1)
    return chosen


def join(parts: Sequence[Examples]) -> list[Tensor]:
    return [
        torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))
        for name in ("features", "choices", "rule", "truth", "weight")
    ]


def psnr_db(result: Tensor, truth: Tensor) -> float:
    return float(10 * torch.log10(255**2 / (result - truth).square().mean()))


@click.command()
@click.argument("clips", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--places", default=2500, show_default=True, help="Of each clip and way to look.")
@click.option("--steps", default=4000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(clips: Path, output: Path, places: int, steps: int, seed: int) -> None:
    """Train on CLIPS, and write OUTPUT."""
    torch.manual_seed(seed)
    training: list[Examples] = []
    held_back: list[Examples] = []
    for clip in sorted(clips.glob("[0-9]*.npz")):
        is_held_back = int(clip.stem) % HELD_BACK == 0
        for every in (True, False):
            found = examine(clip, places=places, every=every)
            if found is not None:
                (held_back if is_held_back else training).append(found)
    if not training:
        raise click.ClickException(
            f"{clips}: holds no clip on which the stage would act; draw more of them"
        )
    features, choices, _, truth, weight = join(training)
    weight /= weight.mean()
    click.echo(f"{len(training)} looks, {len(truth)} places, {features.shape[1]} features")
    network = build()
    network(features[:1])
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        batch = torch.randint(len(truth), (BATCH,))
        error = apply(network, features[batch], choices[batch]) - truth[batch]
        losses = nn.functional.huber_loss(
            error, torch.zeros_like(error), delta=DELTA, reduction="none"
        )
        loss = (weight[batch] * losses).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            click.echo(f"step {step}: loss {loss.item():.3f}")
    layers = {}
    for number, layer in enumerate(m for m in network if isinstance(m, nn.Linear)):
        layers[f"weight{number}"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
        layers[f"bias{number}"] = layer.bias.detach().numpy()
    save_file(layers, output)
    click.echo(f"{sum(layer.size for layer in layers.values())} parameters")
    if held_back:
        _report(Gate(layers), *join(held_back))


def _report(
    gate: Gate, features: Tensor, choices: Tensor, rule: Tensor, truth: Tensor, weight: Tensor
) -> None:
    weights = torch.from_numpy(gate.weigh(features.numpy().T).T)
    best = choices.gather(1, (choices - truth[:, None]).abs().argmin(1, keepdim=True))[:, 0]
    results = {
        "restored": choices[:, 0],
        "layers": (weights * choices).sum(1),
        "rule": (rule * choices).sum(1),
        "both": ((weights + rule) / 2 * choices).sum(1),
        "best": best,
    }
    for name, result in results.items():
        relative = float((weight * (result - truth).square()).mean() / weight.mean())
        click.echo(f"{name} {psnr_db(result, truth):.2f} dB, relative error {relative:.2f}")


if __name__ == "__main__":
    main()
