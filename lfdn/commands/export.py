"""`lfdn export`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from lfdn.commands.options import OVERWRITE, PATH, REGISTER, add_options, list_inputs
from lfdn.files import check_target

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Export the best weights of a training run.")
@click.argument("source", type=PATH)
@click.option("-o", "--output", "target", type=PATH, required=True, help="Weights file to write.")
@add_options(REGISTER, OVERWRITE)
def export(source: Path, target: Path, register: bool, overwrite: bool) -> None:
    """Export weights as a float16 file for `--weights`, and print its SHA-256.

    SOURCE is a weights file, or a run folder, whose best weights are exported.
    """
    from lfdn import weights

    source = source / "best.safetensors" if source.is_dir() else source
    check_target(target, list_inputs((), source), overwrite=overwrite)
    network = weights.read_weights(source)
    head = weights.read_header(source)
    notes = json.loads(head["notes"])
    weights.save_weights(network, target, task=head["task"], notes=notes, overwrite=overwrite)
    if register:
        weights.register_weights(target)
    click.echo(f"{weights.file_sha256(target)}  {target}")
