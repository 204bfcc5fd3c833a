"""The parts of a divided video, joined: one target from segments that other processes made.

    TARGET FOLDER/.NAME.parts-DIGEST/
        .00000.unfinished-…/   the segments of a part, and their journal (`output/journal.py`)

Nothing is decoded or encoded again; the target is audited as that of any run. Parts that are
finished outlast the run, so that the next one makes only the others.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lfdn_video.batch.messages import Job
from lfdn_video.batch.values import Recipe
from lfdn_video.errors import OutputError
from lfdn_video.files import STEM_CHARACTERS, Inputs
from lfdn_video.input.open import open_reader
from lfdn_video.output.journal import Journal
from lfdn_video.output.open import open_writer
from lfdn_video.output.writer import Writer
from lfdn_video.parts import Part
from lfdn_video.pipeline import Summary


def parts_folder(target: Path) -> Path:
    """Return the folder for the parts of a target, beside it and hidden."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
    return target.with_name(f".{target.stem[:STEM_CHARACTERS]}.parts-{digest}")


def part_target(target: Path, part: Part) -> Path:
    """Return what names a part's work folder; its extension is the target's."""
    return parts_folder(target) / f"{part.number:05}{target.suffix}"


def has_unfinished(target: Path) -> bool:
    """Tell whether an undivided run left segments, which are to be used."""
    return Journal(target).folder.is_dir()


def remove_parts(target: Path) -> None:
    """Remove the parts of a target, if there are any. Raises nothing."""
    shutil.rmtree(parts_folder(target), ignore_errors=True)


def join(job: Job, recipe: Recipe, parts: Sequence[Part], summaries: Sequence[Summary]) -> Summary:
    """Join all parts of a video into its target.

    Args:
        job: the video and its target.
        recipe: how it was restored.
        parts: its parts, in order.
        summaries: what came of each.

    Returns:
        The summary of all, without `seconds`.

    Raises:
        OutputError: parts were made in different ways, are not there, or the target cannot be
            written.
        LfdnVideoError: the source cannot be read any more.
    """
    target = Path(job.target)
    network, off = summaries[0].network, summaries[0].temporal_off
    if any((each.network, each.temporal_off) != (network, off) for each in summaries):
        raise OutputError(
            f"{target}: its parts were restored in different ways; use one version and one kind "
            "of device on all machines"
        )
    identity = dict(network) | {"temporal": "off" if off else "auto"}
    expected = sum(len(part.pts) for part in parts)
    with open_reader(job.source) as reader:
        encode = recipe.encode_for(overwrite=job.overwrite, resume=job.resume)
        writer = open_writer(target, reader.info, encode, inputs=Inputs(reader.files))
        assert isinstance(writer, Writer), "images are not divided"
        with writer:
            writer.start(identity)
            writer.adopt((part_target(target, part) for part in parts), parts[0].origin_pts)
            if writer.frames_written != expected:
                raise OutputError(
                    f"{target}: {expected - writer.frames_written} of {expected} frames are not in "
                    f"{parts_folder(target)}; put it where all machines see the same files"
                )
    remove_parts(target)
    about_parts = tuple(f"{part_target(target, part)}: " for part in parts)
    found = (warning for each in summaries for warning in each.warnings)
    others = (warning for warning in found if not warning.startswith(about_parts))
    return replace(
        summaries[0],
        frames=expected,
        warnings=tuple(dict.fromkeys([*others, *writer.warnings])),
        target=target,
        kept_frames=sum(each.kept_frames for each in summaries),
    )
