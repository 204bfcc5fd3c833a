"""The process that restores the files of a batch, one after the other, with one loaded network.

`workers.py` starts it as `python -m lfdn_video.batch.worker`. It receives a `Setup`, then `Job`s. A
file that brings down FFmpeg or torch brings down this process alone. SIGTERM ends the job as
Ctrl-C ends a single run: temporary files are removed, finished segments stay. When the run that
started it is gone, it ends at once, as by a power cut.
"""

import logging
import os
import queue
import signal
import threading
import time
from types import FrameType
from typing import Any

from lfdn_video.batch.jobs import do_job
from lfdn_video.batch.messages import (
    Divided,
    Failed,
    Finished,
    Job,
    Progressed,
    Ready,
    Refused,
    Setup,
    Warned,
)
from lfdn_video.batch.values import Recipe
from lfdn_video.child import Parent, connect_to_parent
from lfdn_video.errors import LfdnVideoError
from lfdn_video.inference.runner import Runner
from lfdn_video.progress import Progress

PROGRESS_INTERVAL_S = 0.25

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows knows one way to end a process


def serve(parent: Parent) -> None:
    """Restore what the parent sends, until it is gone or a signal comes.

    Args:
        parent: the process that started this one.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("lfdn", "lfdn_video", "py.warnings"):
        logging.getLogger(name).addHandler(_Forwarder(parent))
        logging.getLogger(name).propagate = False
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(parent, requests), name="parent", daemon=True).start()
    setup: Setup = requests.get()
    recipe = setup.recipe
    # Imported late: torch takes seconds to load.
    from lfdn_video.inference.engine import load_engine

    try:
        engine = load_engine(recipe.task, weights=recipe.weights, options=recipe.inference)
    except LfdnVideoError as error:
        parent.send(Refused(type(error).__name__, str(error)))
        return
    with engine:
        parent.send(Ready())
        while True:
            job: Job = requests.get()
            parent.send(_run(job, recipe, engine, parent))


def _run(job: Job, recipe: Recipe, engine: Runner, parent: Parent) -> Finished | Failed | Divided:
    last_s = float("-inf")

    def report(progress: Progress) -> None:
        nonlocal last_s
        if (now_s := time.monotonic()) - last_s >= PROGRESS_INTERVAL_S:
            last_s = now_s
            parent.send(Progressed(progress))

    return do_job(job, recipe, engine, report)


def _receive(parent: Parent, requests: "queue.SimpleQueue[Any]") -> None:
    try:
        while True:
            requests.put(parent.receive())
    except (EOFError, OSError, ValueError):
        os.kill(os.getpid(), KILL)


def _interrupt(_: int, __: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and cleaning up takes a while
    raise KeyboardInterrupt


class _Forwarder(logging.Handler):
    """Sends our warnings to the parent."""

    def __init__(self, parent: Parent) -> None:
        super().__init__(logging.WARNING)
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "py.warnings":
            self._parent.send(Warned(record.getMessage()))


def main() -> None:
    """Run the worker."""
    try:
        with connect_to_parent() as parent:
            serve(parent)
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # asked to end, or nobody is left to tell


if __name__ == "__main__":
    main()
