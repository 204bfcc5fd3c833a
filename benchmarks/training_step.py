"""Seconds of one training step (forward, backward, AdamW) in each precision, eager or compiled.

python benchmarks/training_step.py
python benchmarks/training_step.py --compile
"""

import time
from statistics import median

import click
import torch

from lfdn import LFDN
from lfdn.training.losses import charbonnier

WARM_UP = 2


def seconds(precision: str, *, patch_px: int, batch: int, steps: int, compiled: bool) -> float:
    """The median of `steps` steps after the first ones."""
    torch.manual_seed(1)
    network = LFDN()
    optimizer = torch.optim.AdamW(network.parameters())
    run = torch.compile(network) if compiled else network
    images = torch.rand(batch, 3, patch_px, patch_px).to(memory_format=torch.channels_last)
    times = []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            restored = run(images)
        optimizer.zero_grad(set_to_none=True)
        charbonnier(restored.float(), images).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
        times.append(time.perf_counter() - began)
    return median(times[WARM_UP:])


@click.command()
@click.option("--patch-px", default=112, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--steps", default=9, show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile, which takes a while.")
def main(patch_px: int, batch: int, steps: int, compiled: bool) -> None:
    """Time training steps on the CPU."""
    for precision in ("float32", "bfloat16"):
        took_s = seconds(precision, patch_px=patch_px, batch=batch, steps=steps, compiled=compiled)
        click.echo(f"{precision:10}{took_s:.3f} s a step")


if __name__ == "__main__":
    main()
