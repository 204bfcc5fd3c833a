"""`lfdn degrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lfdn.commands.options import DATA, EXCLUDE, PATH, SEED, STREAKS, add_options, read_samples

if TYPE_CHECKING:
    from pathlib import Path

    from lfdn.datasets.pairs import DegradationKind


@click.command(short_help="Write pairs of images, degraded as in training.")
@click.argument("kind", type=click.Choice(["rain", "blur"]))
@add_options(DATA, EXCLUDE, STREAKS, SEED)
@click.option("-o", "--output", "target", type=PATH, required=True, help="New folder to write.")
def degrade(
    kind: DegradationKind,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    seed: int,
    target: Path,
) -> None:
    """Write pairs of images, degraded as in training, for use as pairs=TARGET.

    Reads clean images and writes PNG files to TARGET/input and TARGET/target. To degrade a video,
    see `lfdn-video degrade`.
    """
    from rich.progress import track

    from lfdn.datasets import layouts
    from lfdn.datasets.pairs import write_pairs

    samples = read_samples(sets, exclude)
    bank = layouts.read_streak_bank(streaks) if streaks else None
    written = write_pairs(samples, target, kind=kind, seed=seed, bank=bank)
    for _ in track(written, "pairs", total=len(samples), transient=True):
        pass
    click.echo(f"{target}: {len(samples)} pairs")
