"""`lfdn average`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from lfdn.commands.options import OVERWRITE, PATH, add_options, list_inputs
from lfdn.files import check_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.command(short_help="Average the weights of several runs.")
@click.argument("sources", metavar="FILE...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", "target", type=PATH, required=True, help="Weights file to write.")
@add_options(OVERWRITE)
def average(sources: Sequence[Path], target: Path, overwrite: bool) -> None:
    """Average the weights of runs that started from the same ones.

    Each FILE is a weights file, or a run folder, whose best weights count. Fine-tuned weights and
    those they were tuned from are often better averaged than each alone (Wortsman et al., Model
    soups, 2022). Measure the result on a validation split.
    """
    import torch

    from lfdn import weights

    paths = [each / "best.safetensors" if each.is_dir() else each for each in sources]
    check_target(target, list_inputs((), *paths), overwrite=overwrite)
    if len(paths) < 2:
        raise click.UsageError("at least two files are needed")
    networks = [weights.read_weights(path) for path in paths]
    heads = [weights.read_header(path) for path in paths]
    for path, head in zip(paths, heads, strict=True):
        if any(head[key] != heads[0][key] for key in ("task", "config")):
            raise click.ClickException(
                f"{path}: trained for another task or network than {paths[0]}; give files of one"
            )
    mean = networks[0]
    with torch.no_grad():
        for parameters in zip(*(each.parameters() for each in networks), strict=True):
            parameters[0].copy_(torch.stack(parameters).mean(0))
    notes = {"averaged": json.dumps([head["digest"] for head in heads])}
    weights.save_weights(
        mean, target, task=heads[0]["task"], notes=notes, half=False, overwrite=overwrite
    )
    click.echo(f"{target}: mean of {len(paths)} files")
