"""Restore all clips of a dashcam's folder into another folder.

    python pipelines/dashcam_folder.py /media/dashcam ~/dry

Run it again at any time, by hand or from a timer: finished clips are skipped, one that was
interrupted is resumed, a bad file is reported and does not stop the others, and subfolders are
preserved. Exits with 1 if any clip
failed. The network is loaded once for all clips. A recipe over the Python API: copy it and change
it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click

from lfdn_video import EncodeOptions, InferenceOptions, LfdnVideoError, load_engine, restore

CLIP_SUFFIXES = {".mp4", ".mov", ".mkv", ".avi", ".ts", ".m4v"}


def find_clips(folder: Path) -> Iterator[Path]:
    """Yield the clips below `folder`, sorted, without hidden files and folders."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in CLIP_SUFFIXES and path.is_file() and not hidden:
            yield path


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), default="derain", show_default=True
)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights file instead of packaged weights."
)
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, ...")
def main(
    source: Path,
    target: Path,
    task: Literal["derain", "deblur"],
    weights: Path | None,
    device: str,
) -> None:
    """Restore every clip of the folder SOURCE into the folder TARGET."""
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise click.UsageError(f"{target}: lies in {source}; choose a folder outside")
    inference = InferenceOptions(device=device)
    try:
        engine = load_engine(task, weights=weights, options=inference)
    except LfdnVideoError as error:
        raise click.ClickException(str(error)) from error
    done = skipped = failed = 0
    with engine:
        for clip in find_clips(source):
            restored = target / clip.relative_to(source)
            if restored.exists():  # `restore` renames its temporary file when it is complete
                skipped += 1
                continue
            restored.parent.mkdir(parents=True, exist_ok=True)
            try:
                summary = restore(
                    clip,
                    restored,
                    task=task,
                    inference=inference,
                    encode=EncodeOptions(resume=True),
                    engine=engine,
                )
            except LfdnVideoError as error:
                failed += 1
                click.echo(f"failed: {error}", err=True)
                continue
            done += 1
            click.echo(f"{restored}: {summary.frames} frames in {summary.seconds:.0f} s")
            for warning in summary.warnings:
                click.echo(f"warning: {warning}", err=True)
    click.echo(f"{done} restored, {skipped} skipped, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
