"""Stands in for `lfdn_video.batch.worker`: no network, and every end that a job can have.

The name of a source says what happens to it; anything else is copied.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from lfdn_video.batch.messages import (
    Failed,
    Finished,
    Job,
    Progressed,
    Ready,
    Refused,
    Setup,
    Warned,
)
from lfdn_video.child import connect_to_parent
from tests.support import runs


def work(job: Job) -> Finished | Failed:
    name = Path(job.source).stem
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("stop"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if name.startswith("bad"):
        return Failed("InputError", f"{job.source}: no video; convert it")
    if name.startswith("full"):
        return Failed("OutputError", f"{job.target}: cannot be written: No space left on device")
    if name.startswith("slow"):
        time.sleep(0.5)
    shutil.copy(job.source, job.target)
    return Finished(runs.summary())


def main() -> None:
    with connect_to_parent() as parent:
        setup: Setup = parent.receive()
        if setup.recipe.inference.batch == 13:
            parent.send(Refused("DeviceError", "cuda: no such device; use cpu"))
            return
        if setup.recipe.inference.batch == 14:
            os.kill(os.getpid(), signal.SIGSEGV)
        parent.send(Ready())
        while True:
            job: Job = parent.receive()
            parent.send(Progressed(runs.progress()))
            parent.send(Warned("a warning"))
            parent.send(work(job))


if __name__ == "__main__":
    main()
