"""Options that several subcommands share, and functions that read what they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lfdn.files import Inputs, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lfdn.datasets.samples import Sample
    from lfdn.datasets.sequences import FrameSequence

_Command = TypeVar("_Command", bound="Callable[..., Any]")

PATH = click.Path(path_type=Path)

_DATA_HELP = (
    "Data set; may be repeated. Layouts of pairs: rain800, test100, rain100, rain14000, "
    "gopro, gopro_gamma, hide, kohler, reds, pairs. Layouts of clean images: clean, sequences, "
    "videos. Layout of a file from `lfdn pack`: pack. docs/data.md describes them all."
)
DATA = click.option(
    "--data", "sets", multiple=True, required=True, metavar="LAYOUT=PATH", help=_DATA_HELP
)
DATA_OR_RESUME = click.option(
    "--data", "sets", multiple=True, metavar="LAYOUT=PATH", help=_DATA_HELP
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
    type=click.Path(),  # a string, and shells complete files
    metavar="FILE|TASK",
    default="derain",
    show_default=True,
    help="Weights file, or a task with packaged weights.",
)
SEED = click.option("--seed", type=int, default=1, show_default=True, help="Random seed.")
RAIN = click.option(
    "--rain",
    type=click.Choice(["default", "wide", "filmed"]),
    help="Synthetic rain. wide: sparser, more slanted, wider and longer streaks too. filmed: also "
    "images with only a few streaks, at any slant.  [default: default]",
)
DEVICE = click.option(
    "--device", default="cpu", show_default=True, help="Device: cpu, cuda, cuda:1, ..."
)
REGISTER = click.option(
    "--register", is_flag=True, help="Add the file to the index.json beside it, for packaging."
)


class OptionWithAlias(click.Option):
    """An option whose help shows its first name alone: the others are older names of it."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        names, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names


OVERWRITE = click.option(
    "--overwrite",
    "--force",
    "overwrite",
    cls=OptionWithAlias,
    is_flag=True,
    help="Replace files that exist.",
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


def list_inputs(samples: Iterable[Sample] = (), *others: Path | None) -> Inputs:
    """List the files that a command reads, for `lfdn.files.check_target`.

    Args:
        samples: The samples whose images it reads.
        others: Other files and folders, such as weights; None is left out.
    """
    found = (path for sample in samples for path in sample.files)
    return Inputs([*found, *(path for path in others if path is not None)], "an input")


def check_folder(folder: Path, inputs: Inputs, *, overwrite: bool) -> None:
    """Check that files can be written to a folder, which is created if there is none.

    Raises:
        lfdn.files.TargetError: It is no folder, an input, or exists and `overwrite` is False.
    """
    inputs.refuse(folder)
    above = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    if not above.is_dir():
        raise TargetError(f"{above}: is not a folder; give the name of a folder")
    if above == folder and not overwrite:
        raise TargetError(f"{folder}: exists already; choose another name or allow overwriting")


def check_device(name: str) -> None:
    """Check that torch knows a device of this name here.

    Raises:
        ValueError: It does not.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device: {name!r} is no device; use cpu, cuda or cuda:1") from error
    if device.type == "cpu":
        return
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if here is None or here.type != device.type:
        found = f"torch {torch.__version__} finds {here.type if here else 'no GPU'} here"
        raise ValueError(f"--device: {name} cannot be used: {found}; use --device cpu")
    if (device.index or 0) >= (count := torch.accelerator.device_count()):
        raise ValueError(f"--device: there is no {name}: the last one is {device.type}:{count - 1}")
