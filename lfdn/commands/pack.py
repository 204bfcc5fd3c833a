"""`lfdn pack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@data_options
@click.option("--streaks", type=FOLDER, help="Pack this folder of streak layers too.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="WebP quality; files stay as they are unless told.",
)
@click.option(
    "--max-side-px",
    type=click.IntRange(min=16),
    help="Shrink clean pictures without a pair to this.",
)
@click.option("-o", "--output", "target", type=FOLDER, required=True)
@click.option("--force", is_flag=True, help="Overwrite the target.")
def pack(
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    quality: int | None,
    max_side_px: int | None,
    target: Path,
    force: bool,
) -> None:
    """Pack data sets into one file, to be named as pack=FILE (and --streaks FILE) elsewhere."""
    from lfdn.datasets.images import ImageSource, list_images
    from lfdn.datasets.pack import write_pack

    if target.exists() and not force:
        raise click.ClickException(f"{target}: exists; choose another name or add --force")
    try:
        samples = read_samples(sets, exclude)
        layers = [ImageSource(path) for path in list_images(streaks)] if streaks else []
        write_pack(samples, target, streaks=layers, quality=quality, max_side_px=max_side_px)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    size = target.stat().st_size / 2**20
    click.echo(f"{target}: {len(samples)} samples, {len(layers)} streak layers, {size:.1f} MiB")
