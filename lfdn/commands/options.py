"""Options that several subcommands share, and functions that read what they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lfdn.datasets.samples import Sample
    from lfdn.datasets.sequences import FrameSequence

_Command = TypeVar("_Command", bound="Callable[..., Any]")

PATH = click.Path(path_type=Path)

DATA = click.option(
    "--data",
    "sets",
    multiple=True,
    required=True,
    metavar="LAYOUT=PATH",
    help="Data set; may be repeated. Layouts of pairs: rain800, test100, rain100, rain14000, "
    "gopro, gopro_gamma, hide, kohler, reds, pairs. Layouts of clean images: clean, sequences, "
    "videos. Layout of a file from `lfdn pack`: pack. docs/data.md describes them all.",
)
EXCLUDE = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out samples by name, such as 'dog/*'; may be repeated.",
)
STREAKS = click.option(
    "--streaks", type=PATH, help="Folder or pack of rendered streak layers, white on black."
)
WEIGHTS = click.option(
    "--weights",
    default="derain",
    show_default=True,
    help="Weights file, or a task with packaged weights.",
)
SEED = click.option("--seed", type=int, default=1, show_default=True, help="Random seed.")
DEVICE = click.option(
    "--device", default="cpu", show_default=True, help="Device: cpu, cuda, cuda:1, ..."
)
REGISTER = click.option(
    "--register", is_flag=True, help="Add the file to the index.json beside it, for packaging."
)


def add_options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Add options to a command; `--help` lists them in this order."""

    def decorate(command: _Command) -> _Command:
        # Decorators apply from the innermost outwards, and `--help` lists the outermost first.
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def read_samples(sets: Sequence[str], exclude: Sequence[str]) -> list[Sample]:
    """Find the samples that `--data` names, without those that `--exclude` names.

    Raises:
        click.UsageError: A set is not LAYOUT=PATH, or its layout is unknown.
        lfdn.datasets.images.DataError: A folder is missing or not laid out as expected.
    """
    from lfdn.datasets import layouts, samples

    try:
        return samples.exclude_samples(layouts.read_sets(sets), exclude)
    except layouts.UnknownLayoutError as error:
        raise click.UsageError(f"--data: {error}") from error


def read_sequences(sets: Sequence[str], exclude: Sequence[str]) -> list[FrameSequence]:
    """Find the sequences that `--data` names, without those that `--exclude` names.

    Raises:
        click.UsageError: A set is not LAYOUT=PATH, or its layout is unknown or none of sequences.
        lfdn.datasets.images.DataError: A folder is missing or not laid out as expected, or a
            sequence is not complete.
    """
    from lfdn.datasets import layouts, sequences

    try:
        return sequences.read_frame_sequences(sets, exclude)
    except layouts.UnknownLayoutError as error:
        raise click.UsageError(f"--data: {error}") from error


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse to write over an existing file or folder.

    Raises:
        click.ClickException: `path` exists, and `force` is False.
    """
    if path.exists() and not force:
        raise click.ClickException(f"{path}: exists; choose another name or add --force")
