"""How fast the network learns to undo one blur, some, and any: what `--easing` is for.

    python benchmarks/learnability.py --data clean=D/bsds_train --hardness 0 --hardness 1

Each hardness (`lfdn.degrade.BlurMix.eased`: 0 is one blur of one length and direction, 1 all that
training draws) starts from the same weights, sees the same crops, and is judged on kept pictures
that are blurred as hard, by PSNR on RGB.
"""

import math
import time
from pathlib import Path

import click
import torch

from lfdn import LFDN, degrade, load
from lfdn.datasets.crops import CropDataset, CropStage
from lfdn.datasets.layouts import read_sets
from lfdn.datasets.samples import split_samples
from lfdn.training.losses import charbonnier
from lfdn.training.optim import Muon
from lfdn.training.validation import Validation

WARMUP_STEPS = 50
CPU = torch.device("cpu")


def learn(
    sets: tuple[str, ...], hardness: float, *, start: LFDN, steps: int, patch_px: int, batch: int
) -> tuple[float, float]:
    """(input, output): mean PSNR on RGB of the kept pictures after `steps` steps."""
    training, held = split_samples(read_sets(sets))
    crops = CropDataset(
        training,
        (CropStage(1.0, patch_px, batch),),
        steps=steps,
        seed=1,
        paired_share=0.0,
        motion=True,
    )
    mix = degrade.BlurMix(sharp=0, still=0).eased(hardness)
    validation = Validation(
        held,
        seed=1,
        degrade=lambda clean, flow, generator: degrade.blur(
            clean, generator=generator, flow=flow, mix=mix
        ),
    )
    network = LFDN(start.config)
    network.load_state_dict(start.state_dict())
    optimizer = Muon(network.parameters(), lr=0.0)
    for step in range(steps):
        drawn = crops[step]
        blurred, sharp = degrade.blur(
            drawn.clean.float() / 255,
            generator=torch.Generator().manual_seed(step),
            flow=drawn.flow,
            mix=mix,
        )
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / WARMUP_STEPS)
            group["lr"] = 1e-3 * warm * (1 + math.cos(math.pi * step / steps))
        with torch.autocast("cpu", torch.bfloat16):
            restored = network(blurred.contiguous(memory_format=torch.channels_last))
        loss = charbonnier(restored.float(), sharp)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    score = validation.score(network, CPU)
    return score.input_rgb, score.output_rgb


@click.command()
@click.option("--data", "sets", multiple=True, required=True, metavar="LAYOUT=FOLDER")
@click.option(
    "--hardness", "hardnesses", multiple=True, type=click.FloatRange(0, 1), default=(0, 1)
)
@click.option("--weights", default="derain", show_default=True, help="To start from.")
@click.option("--steps", default=300, show_default=True)
@click.option("--patch-px", default=112, show_default=True)
@click.option("--batch", default=8, show_default=True)
def main(
    sets: tuple[str, ...],
    hardnesses: tuple[float, ...],
    weights: str,
    steps: int,
    patch_px: int,
    batch: int,
) -> None:
    """Learn, and tell the gain."""
    start = load(Path(weights) if Path(weights).is_file() else weights)
    for hardness in hardnesses:
        began = time.monotonic()
        before, after = learn(
            sets, hardness, start=start, steps=steps, patch_px=patch_px, batch=batch
        )
        click.echo(
            f"hardness {hardness:g}: {before:.2f} -> {after:.2f} dB ({after - before:+.2f}) "
            f"after {steps} steps, {time.monotonic() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
