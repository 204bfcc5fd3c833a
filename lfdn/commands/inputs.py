"""The options by which a command is told its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lfdn.datasets.samples import Sample

FOLDER = click.Path(path_type=Path)
DATA_HELP = (
    "May be repeated. Pairs: rain800, test100, rain100, rain14000, gopro, gopro_gamma, hide, "
    "kohler, reds, pairs. To be degraded: clean, sequences, videos. Of either kind: pack. "
    "docs/data.md shows the folders of each."
)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--data` and `--exclude`, which reach the command as `sets` and `exclude`."""
    command = click.option(
        "--exclude",
        multiple=True,
        metavar="PATTERN",
        help="Leave out the samples of these names, such as 'dog/*'; may be repeated.",
    )(command)
    return click.option(
        "--data", "sets", multiple=True, required=True, metavar="LAYOUT=PATH", help=DATA_HELP
    )(command)


def read_samples(sets: Sequence[str], exclude: Sequence[str]) -> list[Sample]:
    """What `data_options` names. Raises lfdn.datasets.images.DataError."""
    from lfdn.datasets import layouts
    from lfdn.datasets.samples import exclude_samples

    try:
        return exclude_samples(layouts.read_sets(sets), exclude)
    except layouts.UnknownLayoutError as error:
        raise click.UsageError(f"--data: {error}") from error
