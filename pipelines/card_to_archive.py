"""Restore all clips of a dashcam's card into an archive, from Python.

    python pipelines/card_to_archive.py /media/dashcam ~/dry

It does what `lfdn-video derain /media/dashcam -o ~/dry` does, and shows how a program of your own
calls `restore_many`, hears of each clip and reads the result. Run it again at any time: finished
clips are skipped, an interrupted one is resumed. Exits with 1 if any clip failed.
"""

import sys
from pathlib import Path
from typing import Literal

import click

from lfdn_video import (
    BatchListener,
    BatchOptions,
    FileResult,
    InferenceOptions,
    LfdnVideoError,
    Recipe,
    restore_many,
)


class Printer(BatchListener):
    """Prints a line for each clip."""

    def file_ended(self, result: FileResult) -> None:
        if result.state == "restored":
            click.echo(f"{result.target}: {result.frames} frames in {result.seconds:.0f} s")
        elif result.state == "failed":
            click.echo(f"failed: {result.message}", err=True)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), default="derain", show_default=True
)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights file instead of packaged weights."
)
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, ...")
@click.option("--retry", is_flag=True, help="Try clips again that failed before.")
def main(
    source: Path,
    target: Path,
    task: Literal["derain", "deblur"],
    weights: Path | None,
    device: str,
    retry: bool,
) -> None:
    """Restore every clip of the folder SOURCE into the folder TARGET."""
    inference = InferenceOptions(device=device)
    try:
        summary = restore_many(
            [source],
            target,
            recipe=Recipe(task=task, weights=weights, inference=inference),
            options=BatchOptions(retry=retry),
            listener=Printer(),
        )
    except LfdnVideoError as error:
        raise click.ClickException(str(error)) from error
    counts = {state: summary.count(state) for state in ("restored", "finished", "failed")}
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    sys.exit(1 if counts["failed"] or summary.stopped else 0)


if __name__ == "__main__":
    main()
