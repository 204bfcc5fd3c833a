"""`lfdn degrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("kind", type=click.Choice(["rain", "blur"]))
@data_options
@click.option(
    "--streaks", type=FOLDER, help="Rendered streak layers, white on black: a folder, or a pack."
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("-o", "--output", "target", type=FOLDER, required=True, help="A new folder.")
def degrade(
    kind: Any,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    seed: int,
    target: Path,
) -> None:
    """Write pairs of the rain or the blur that training draws, to be named as pairs=TARGET.

    Clean pictures go in, TARGET/input and TARGET/target come out, as PNG. For a degraded video see
    `lfdn-video degrade`.
    """
    from rich.progress import track

    from lfdn.datasets import layouts
    from lfdn.datasets.pairs import write_pairs

    try:
        samples = read_samples(sets, exclude)
        bank = layouts.read_streak_bank(streaks) if streaks else None
        written = write_pairs(samples, target, kind=kind, seed=seed, bank=bank)
        for _ in track(written, "pairs", total=len(samples), transient=True):
            pass
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{target}: {len(samples)} pairs")
