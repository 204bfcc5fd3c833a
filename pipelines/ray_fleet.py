"""Restore a folder on a Ray cluster: long videos in parts, on all machines at once.

    ray start --head                                   # on one machine; its output has the address
    ray start --address=10.0.0.1:6379                  # on each of the others
    python pipelines/ray_fleet.py /mnt/share/card /mnt/share/dry

All machines need this package, the same version of it, and the two folders under the same paths. It
does what `lfdn-video derain FOLDER -o FOLDER --cluster auto` does. A machine may be lost: its tasks
are done again by others. `--cluster local` runs the same plan in processes of this machine, without
Ray. docs/fleet.md has the rest. Exits with 1 if any video failed.
"""

import sys
from pathlib import Path
from typing import Literal

import click

from lfdn_video import (
    BatchListener,
    BatchOptions,
    BatchProgress,
    ClusterOptions,
    FileResult,
    InferenceOptions,
    LfdnVideoError,
    Recipe,
    restore_many,
)


class Printer(BatchListener):
    """Prints a line for each video that ends, and how far the run is."""

    def __init__(self) -> None:
        self._percent = 0

    def file_ended(self, result: FileResult) -> None:
        if result.state == "restored":
            click.echo(f"{result.target}: {result.frames} frames in {result.seconds:.0f} s")
        elif result.state == "failed":
            click.echo(f"failed: {result.message}", err=True)

    def progressed(self, progress: BatchProgress) -> None:
        if (percent := int(100 * progress.share)) >= self._percent + 5:
            self._percent = percent
            click.echo(f"{percent} % of this run's bytes")


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--cluster", default="auto", show_default=True, help="auto, ray://HOST:10001, local.")
@click.option("--gpus", type=float, help="GPUs for each task; 0.5 puts two on one.")
@click.option("--jobs", default=2, show_default=True, help="With local: processes.")
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), default="derain", show_default=True
)
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file, also shared.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, ...")
def main(
    source: Path,
    target: Path,
    cluster: str,
    gpus: float | None,
    jobs: int,
    task: Literal["derain", "deblur"],
    weights: Path | None,
    device: str,
) -> None:
    """Restore every video of the folder SOURCE into the folder TARGET."""
    inference = InferenceOptions(device=device)
    try:
        summary = restore_many(
            [source],
            target,
            recipe=Recipe(task=task, weights=weights, inference=inference),
            options=BatchOptions(
                cluster=ClusterOptions(address=cluster, gpus=gpus),
                jobs=jobs if cluster == "local" else 1,
            ),
            listener=Printer(),
        )
    except LfdnVideoError as error:
        raise click.ClickException(str(error)) from error
    frames_per_s = summary.frames / max(summary.seconds, 1e-9)
    click.echo(f"{summary.count('restored')} restored, {frames_per_s:.1f} frames/s")
    sys.exit(1 if summary.count("failed") or summary.stopped else 0)


if __name__ == "__main__":
    main()
