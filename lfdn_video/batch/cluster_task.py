"""What runs on a machine of a cluster: one job, in a process that Ray starts and reuses."""

import logging
from dataclasses import dataclass

from lfdn_video.batch.jobs import do_job
from lfdn_video.batch.messages import Divided, Failed, Finished, Job, Refused
from lfdn_video.batch.values import Recipe
from lfdn_video.errors import LfdnVideoError
from lfdn_video.inference.engine import load_engine
from lfdn_video.inference.runner import Runner


@dataclass(slots=True)
class _Loaded:
    """The network of this process, which outlasts its jobs."""

    recipe: Recipe | None = None
    engine: Runner | None = None


_loaded = _Loaded()


def run_job(recipe: Recipe, job: Job) -> Finished | Failed | Divided | Refused:
    """Do a job. Its warnings are in the summary.

    Args:
        recipe: how files are restored; paths must be valid on this machine.
        job: the job.

    Returns:
        How it ended; `Refused` if the network cannot be loaded here.
    """
    for name in ("lfdn", "lfdn_video"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    try:
        engine = _load(recipe)
    except LfdnVideoError as error:
        return Refused(type(error).__name__, str(error))
    return do_job(job, recipe, engine, None)


def _load(recipe: Recipe) -> Runner:
    if _loaded.engine is None or _loaded.recipe != recipe:
        if _loaded.engine is not None:
            _loaded.engine.close()
            _loaded.engine = None
        _loaded.engine = load_engine(recipe.task, weights=recipe.weights, options=recipe.inference)
        _loaded.recipe = recipe
    return _loaded.engine
