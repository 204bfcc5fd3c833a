"""One job, in whatever process: a file restored, or a part of it, or a long video divided."""

from collections.abc import Callable

from lfdn_video.batch.messages import Divided, Failed, Finished, Job
from lfdn_video.batch.values import Recipe
from lfdn_video.child import describe_failure
from lfdn_video.errors import LfdnVideoError
from lfdn_video.files import Inputs
from lfdn_video.inference.runner import Runner
from lfdn_video.input.open import open_reader
from lfdn_video.input.packets import index_packets
from lfdn_video.output.open import open_writer
from lfdn_video.parts import Part, divide
from lfdn_video.pipeline import Summary, restore
from lfdn_video.progress import Progress
from lfdn_video.temporal.stage import REACH


def do_job(
    job: Job, recipe: Recipe, engine: Runner, on_progress: Callable[[Progress], None] | None
) -> Finished | Failed | Divided:
    """Do a job.

    Args:
        job: the job.
        recipe: how files are restored.
        engine: the loaded network; it stays open.
        on_progress: called after each frame; None: nobody is.

    Returns:
        How it ended.
    """
    try:
        if job.divide and len(parts := find_parts(job, recipe)) > 1:
            return Divided(parts)
        return Finished(_restore(job, recipe, engine, on_progress))
    except LfdnVideoError as error:
        return Failed(type(error).__name__, _one_line(error, str(error)))
    except Exception as error:  # noqa: BLE001 (a bug costs one file, not the others)
        return Failed(type(error).__name__, f"{job.source}: {describe_failure(error)}")


def find_parts(job: Job, recipe: Recipe) -> tuple[Part, ...]:
    """Divide a long video whose frames are where its packets say. Decodes nothing.

    Args:
        job: the video and its target.
        recipe: how it is restored.

    Returns:
        Its parts; none if it has to be restored as a whole.

    Raises:
        LfdnVideoError: it cannot be restored at all.
    """
    if recipe.only_when_needed or recipe.deinterlace or not recipe.span.whole:
        return ()
    with open_reader(job.source) as reader:
        encode = recipe.encode_for(overwrite=job.overwrite, resume=job.resume)
        writer = open_writer(job.target, reader.info, encode, inputs=Inputs(reader.files))
        if writer.segment_frames is None:
            return ()
        index = index_packets(reader.info)
        if index.problem or any(group.obstacle for group in index.groups):
            return ()
        pts = sorted(index.pts)
        return divide(pts, reader.info, segment_frames=writer.segment_frames, reach=REACH)


def _restore(
    job: Job, recipe: Recipe, engine: Runner, on_progress: Callable[[Progress], None] | None
) -> Summary:
    return restore(
        job.source,
        job.target,
        task=recipe.task,
        weights=recipe.weights,
        inference=recipe.inference,
        encode=recipe.encode_for(overwrite=job.overwrite, resume=job.resume),
        span=recipe.span,
        deinterlace=recipe.deinterlace,
        temporal=recipe.temporal,
        only_when_needed=recipe.only_when_needed,
        engine=engine,
        on_progress=on_progress,
        part=job.part,
    )


def _one_line(error: BaseException, message: str) -> str:
    return " ".join("; ".join([message, *getattr(error, "__notes__", [])]).split())
