"""`lfdn narrow`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from lfdn.commands.options import (
    DATA,
    EXCLUDE,
    OVERWRITE,
    PATH,
    RAIN,
    SEED,
    STREAKS,
    WEIGHTS,
    add_options,
    list_inputs,
    read_samples,
)
from lfdn.files import check_target

if TYPE_CHECKING:
    from lfdn.config import NetworkName
    from lfdn.datasets.crops import CropStage
    from lfdn.training.recipe import RainName, Task


@click.command(short_help="Begin a narrower network from trained weights.")
@add_options(WEIGHTS, DATA, EXCLUDE, STREAKS)
@click.option(
    "--network",
    type=click.Choice(["lite"]),
    default="lite",
    show_default=True,
    help="Network to begin.",
)
@click.option(
    "--crops",
    metavar="PXxCOUNT",
    default="112x96",
    show_default=True,
    help="Training crops to fit it to: side in px, a multiple of 16, and number.",
)
@click.option("--paired-share", type=click.FloatRange(0, 1), default=0.4, show_default=True,
              help="Share of the crops from pairs.")  # fmt: skip
@add_options(RAIN, SEED)
@click.option("-o", "--output", "target", type=PATH, required=True, help="Weights file to write.")
@add_options(OVERWRITE)
def narrow(
    weights: str,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    network: NetworkName,
    crops: str,
    paired_share: float,
    rain: RainName | None,
    seed: int,
    target: Path,
    overwrite: bool,
) -> None:
    """Begin a narrower network from trained weights, for `lfdn train --init`.

    Fits each layer to the trained network's by least squares, in seconds. The result restores
    less than after training. Name training sets only.
    """
    import torch

    from lfdn.config import NETWORKS
    from lfdn.datasets import layouts
    from lfdn.datasets.crops import CropDataset
    from lfdn.datasets.samples import split_samples
    from lfdn.training import narrow as narrowing
    from lfdn.training.degradation import build_degradation, degrade_batch
    from lfdn.weights import available, find_packaged, load, read_header, save_weights

    stage = _parse_crops(crops)
    try:
        wide = load(weights)
        path = find_packaged(weights)[0] if weights in available() else Path(weights)
        task = read_header(path)["task"]
        samples = read_samples(sets, exclude)
        check_target(target, list_inputs(samples, path, streaks), overwrite=overwrite)
        training, _ = split_samples(samples)
        batch = CropDataset(
            training,
            [stage],
            steps=1,
            seed=seed,
            paired_share=paired_share,
            motion=task == "deblur",
        )[0]
        bank = layouts.read_streak_bank(streaks) if streaks else None
        degradation = build_degradation(cast("Task", task), bank, rain=rain or "default")
        torch.manual_seed(seed)
        degraded, clean = degrade_batch(
            batch, degradation, seed=seed, step=0, device=torch.device("cpu")
        )
        begun = narrowing.narrow(wide, NETWORKS[network], degraded, clean)
        notes = {"begun from": read_header(path)["digest"]}
        save_weights(begun, target, task=task, notes=notes, half=False, overwrite=overwrite)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{target}: begun from {weights}")


def _parse_crops(text: str) -> CropStage:
    from lfdn.datasets.crops import CropStage

    try:
        side_px, count = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise click.UsageError(f"--crops: {text!r} is not PXxCOUNT, such as 112x96") from error
    if side_px < 1 or side_px % 16 or count < 1:
        raise click.UsageError(
            f"--crops: {side_px} px is not a multiple of 16, or there are no crops"
        )
    return CropStage(1.0, side_px, count)
