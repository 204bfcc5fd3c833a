"""`lfdn export`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lfdn.commands.inputs import FOLDER


@click.command()
@click.argument("source", type=FOLDER)
@click.option("-o", "--output", "target", type=FOLDER, required=True)
@click.option("--register", is_flag=True, help="Enter it in the index.json beside it (packaging).")
def export(source: Path, target: Path, register: bool) -> None:
    """Write the best weights of a run as a float16 file for `--weights`, and print its SHA-256."""
    from lfdn import weights

    source = source / "best.safetensors" if source.is_dir() else source
    try:
        head = weights.read_header(source)
        weights.save_weights(
            weights.read_weights(source), target, task=head["task"], notes=json.loads(head["notes"])
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if register:
        weights.register_weights(target)
    click.echo(f"{weights.file_sha256(target)}  {target}")
