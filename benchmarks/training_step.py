"""Time one training step (forward, backward, AdamW) in each precision, eager or compiled.

python -m benchmarks.training_step
python -m benchmarks.training_step --compile
"""

import time
from statistics import median

import click
import torch

from lfdn import LFDN
from lfdn.training.losses import charbonnier

WARM_UP = 2


def time_steps(precision: str, *, patch_px: int, batch: int, steps: int, compiled: bool) -> float:
    """Return the median seconds of `steps` steps after the warm-up."""
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
        charbonnier(restored.float(), images, torch.zeros(batch)).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
        times.append(time.perf_counter() - began)
    return median(times[WARM_UP:])


@click.command()
@click.option("--patch-px", default=112, show_default=True, help="Side of the crops, in px.")
@click.option("--batch", default=8, show_default=True, help="Crops per step.")
@click.option("--steps", default=9, show_default=True, help="Steps to time.")
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile.")
def main(patch_px: int, batch: int, steps: int, compiled: bool) -> None:
    """Time training steps on the CPU."""
    for precision in ("float32", "bfloat16"):
        step_s = time_steps(
            precision, patch_px=patch_px, batch=batch, steps=steps, compiled=compiled
        )
        click.echo(f"{precision:10}{step_s:.3f} s per step")


if __name__ == "__main__":
    main()
