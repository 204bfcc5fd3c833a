"""`lfdn pack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lfdn.commands.options import (
    DATA,
    EXCLUDE,
    OVERWRITE,
    PATH,
    add_options,
    list_inputs,
    read_samples,
)
from lfdn.files import check_target

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Pack data sets into one file.")
@add_options(DATA, EXCLUDE)
@click.option("--streaks", type=PATH, help="Folder of streak layers to pack too.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="WebP quality to recode images with.  [default: keep files as they are]",
)
@click.option(
    "--max-side-px",
    type=click.IntRange(min=16),
    help="Longest side of clean images without a pair; larger ones are shrunk.",
)
@click.option(
    "--shrink-pairs",
    type=click.IntRange(1, 16),
    default=1,
    help="Factor by which both images of each pair are shrunk, and their rain or blur.",
)
@click.option("-o", "--output", "target", type=PATH, required=True, help="Pack file to write.")
@add_options(OVERWRITE)
def pack(
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    quality: int | None,
    max_side_px: int | None,
    shrink_pairs: int,
    target: Path,
    overwrite: bool,
) -> None:
    """Pack data sets into one file, for use as pack=FILE and --streaks FILE."""
    from lfdn.datasets.images import ImageSource, list_images
    from lfdn.datasets.pack import write_pack

    samples = read_samples(sets, exclude)
    layers = [ImageSource(path) for path in list_images(streaks)] if streaks else []
    inputs = list_inputs(samples, *(layer.path for layer in layers))
    check_target(target, inputs, overwrite=overwrite)
    write_pack(
        samples,
        target,
        streaks=layers,
        quality=quality,
        max_side_px=max_side_px,
        shrink_pairs=shrink_pairs,
        overwrite=overwrite,
    )
    size = target.stat().st_size / 2**20
    click.echo(f"{target}: {len(samples)} samples, {len(layers)} streak layers, {size:.1f} MiB")
