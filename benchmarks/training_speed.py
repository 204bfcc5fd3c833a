"""Time whole training steps: crops made on the CPU, and all images on the device.

    python -m benchmarks.training_speed --device cuda
    python -m benchmarks.training_speed --patch-px 48 --batch 2

Runs `lfdn.training.train` on drawn images: reading, rain, forward, backward, optimizer, average.
The first steps are not counted: workers start, cuDNN chooses its algorithms, the graph is captured.
"""

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from lfdn.datasets import layouts
from lfdn.datasets.crops import CropStage
from lfdn.datasets.samples import Sample
from lfdn.training.recipe import TrainOptions
from lfdn.training.resident import BLOCK_STEPS
from lfdn.training.train import TrainingState, train

IMAGES = 21
SIDES_PX = (480, 640)
STEPS = 6 * BLOCK_STEPS
UNCOUNTED = 2 * BLOCK_STEPS


def draw_images(folder: Path) -> list[Sample]:
    """Write smooth random images, and read them as a data set."""
    height, width = SIDES_PX
    for number in range(IMAGES):
        coarse = np.random.default_rng(number).integers(0, 255, (30, 40, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:02d}.png")
    return layouts.read_clean(folder)


def time_training(
    samples: list[Sample],
    run: Path,
    *,
    stage: CropStage,
    steps: int,
    device: str,
    resident: bool,
    pad_channels: bool = False,
) -> dict[str, Any]:
    """Train for some steps; return the speed without the first ones."""
    options = TrainOptions(
        steps=steps,
        stages=(stage,),
        optimizer="muon",
        rain="filmed",
        device=device,
        resident=resident,
        pad_channels=pad_channels,
        validate_every=steps,
        checkpoint_every=steps,
    )
    reached: dict[int, float] = {}

    def note(state: TrainingState) -> None:
        reached[state.step] = state.seconds

    train(samples, run, options=options, on_step=note)
    last = max(reached)
    seconds = reached[last] - reached[UNCOUNTED]
    return {
        "resident": resident,
        "pad_channels": pad_channels,
        "patch_px": stage.patch_px,
        "batch": stage.batch,
        "steps": last - UNCOUNTED,
        "steps_per_s": round((last - UNCOUNTED) / seconds, 2),
        "crops_per_s": round((last - UNCOUNTED) * stage.batch / seconds, 1),
    }


def measure_training(device: str, stage: CropStage, steps: int = STEPS) -> list[dict[str, Any]]:
    """Time both ways of making crops.

    Args:
        device: Of the training.
        stage: Side of the crops and their number per step.
        steps: More than the uncounted ones.

    Returns:
        A row for each way; for images on the device also with padded channels.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (images := Path(folder) / "images").mkdir()
        samples = draw_images(images)
        for resident, pad in ((False, False), (True, False), (True, True)):
            run = Path(folder) / f"run_{resident}_{pad}"
            row = time_training(
                samples,
                run,
                stage=stage,
                steps=steps,
                device=device,
                resident=resident,
                pad_channels=pad,
            )
            rows.append(row)
            where = "images on the device" if resident else "crops made on the CPU"
            where += ", padded channels" if pad else ""
            click.echo(
                f"{device}, {stage.patch_px} px x {stage.batch}, {where}: "
                f"{row['steps_per_s']} steps/s, {row['crops_per_s']} crops/s"
            )
    return rows


@click.command()
@click.option("--device", default="cpu", show_default=True, help="Device.")
@click.option("--patch-px", default=128, show_default=True, help="Side of the crops, in px.")
@click.option("--batch", default=64, show_default=True, help="Crops per step.")
@click.option(
    "--steps",
    type=click.IntRange(min=UNCOUNTED + BLOCK_STEPS),
    default=STEPS,
    show_default=True,
    help=f"Steps, of which the last ones from {UNCOUNTED} on are timed.",
)
def main(device: str, patch_px: int, batch: int, steps: int) -> None:
    """Time training steps with crops made on the CPU and on the device."""
    measure_training(device, CropStage(1.0, patch_px, batch), steps)


if __name__ == "__main__":
    main()
