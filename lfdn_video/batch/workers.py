"""The processes that restore the files of a batch.

A process is started when there is work for it, and again when one has died of its file. Its
messages are read by a thread of its own and wait in one queue.
"""

import os
import queue
import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Generic, Literal

from lfdn_video import errors
from lfdn_video.batch.messages import Divided, Failed, Finished, Job, Ready, Refused, Setup
from lfdn_video.batch.pool import Pool, Tag
from lfdn_video.batch.values import Recipe
from lfdn_video.child import Child
from lfdn_video.errors import DeviceError, LfdnVideoError

MODULE = "lfdn_video.batch.worker"
"""What runs in each process."""

END_S = 60.0
"""Seconds in which a worker that is asked to end has to remove its temporary files."""

CORES_PER_JOB = 4
BYTES_PER_JOB = 3 << 30
"""Memory that a run of 1080p takes on a CPU, with a margin (docs/benchmarks.md)."""


@dataclass(slots=True, eq=False)
class _Worker(Generic[Tag]):
    child: Child
    stack: ExitStack
    tag: Tag
    ready: bool = False


@dataclass(frozen=True, slots=True)
class _Lost:
    """In place of a message: the process is gone."""


class Workers(Pool[Tag]):
    """A number of worker processes. A context manager: leaving it ends them.

    Args:
        count: the largest number of processes.
        recipe: how each file is restored.
    """

    def __init__(self, count: int, recipe: Recipe) -> None:
        self._count = count
        self._recipe = recipe
        self._idle: list[_Worker[Tag]] = []
        self._busy: list[_Worker[Tag]] = []
        self._messages: queue.SimpleQueue[tuple[_Worker[Tag], Any]] = queue.SimpleQueue()

    def __enter__(self) -> "Workers[Tag]":
        return self

    def __exit__(self, *_: object) -> None:
        workers = [*self._idle, *self._busy]
        for worker in workers:
            worker.child.terminate()
        deadline_s = time.monotonic() + END_S
        for worker in workers:
            worker.child.wait(max(0.0, deadline_s - time.monotonic()))
            worker.stack.close()
        self._idle, self._busy = [], []

    @property
    def busy(self) -> int:
        """Number of jobs that have been given and have not ended."""
        return len(self._busy)

    @property
    def free(self) -> int:
        """Number of jobs that can be given now."""
        return self._count - len(self._busy)

    def give(self, job: Job, tag: Tag) -> None:
        """Give a job to a free worker; `free` must be above 0.

        Args:
            job: the job.
            tag: what its messages are to be marked with.
        """
        worker = self._idle.pop() if self._idle else self._start(tag)
        worker.tag = tag
        self._busy.append(worker)
        with suppress(OSError):  # it died while idle: the thread that reads its messages says so
            worker.child.send(job)

    def wait(self, timeout_s: float) -> tuple[Tag, Any] | None:
        """Wait for the next message about a job.

        Args:
            timeout_s: seconds to wait at most.

        Returns:
            As `Pool.wait`. When a job has ended, its worker is free again.

        Raises:
            LfdnVideoError: the network cannot be loaded, so no job can be done.
        """
        try:
            worker, message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(message, Ready):
            worker.ready = True
            return None
        if isinstance(message, Refused):
            raise recreate(message)
        if isinstance(message, _Lost):
            return self._lose(worker)
        if isinstance(message, Finished | Failed | Divided):
            self._busy.remove(worker)
            self._idle.append(worker)
        return worker.tag, message

    def _start(self, tag: Tag) -> _Worker[Tag]:
        environment = {}
        if self._count > 1:  # the processes share the cores
            threads = max(1, (os.cpu_count() or 1) // self._count)
            environment["OMP_NUM_THREADS"] = str(threads)
        stack = ExitStack()
        child = stack.enter_context(Child(MODULE, environment))
        worker = _Worker(child, stack, tag)
        child.send(Setup(self._recipe))
        threading.Thread(target=self._read, args=(worker,), name="worker", daemon=True).start()
        return worker

    def _read(self, worker: _Worker[Tag]) -> None:
        try:
            while True:
                self._messages.put((worker, worker.child.receive()))
        except (EOFError, OSError, ValueError):
            self._messages.put((worker, _Lost()))

    def _lose(self, worker: _Worker[Tag]) -> tuple[Tag, Failed] | None:
        """Clear up after a process that ended by itself."""
        worker.child.wait(END_S)
        code = worker.child.exit_code
        worker.stack.close()
        if worker in self._idle:
            self._idle.remove(worker)
            return None
        if worker not in self._busy:
            return None
        self._busy.remove(worker)
        reason = _describe_end(code)
        if not worker.ready:
            raise DeviceError(f"worker: the process ended {reason} while it loaded the network")
        # Whoever asks a worker to end means the run, and not this file.
        kind = "Stopped" if code in (0, -signal.SIGTERM) else "Lost"
        return worker.tag, Failed(kind, f"the process that restored it ended {reason}")


def count_jobs(wanted: Literal["auto"] | int, device: str, free_bytes: int) -> int:
    """Choose how many files to restore at the same time.

    Args:
        wanted: a number, which is returned, or `auto`.
        device: the device asked for, as in `InferenceOptions.device`.
        free_bytes: free memory of this machine.

    Returns:
        1 or more; 1 unless the network runs on the CPU, since a GPU is busy with one file.
    """
    if wanted != "auto":
        return wanted
    if device != "cpu":
        return 1
    return max(1, min((os.cpu_count() or 1) // CORES_PER_JOB, free_bytes // BYTES_PER_JOB))


def recreate(refused: Refused) -> LfdnVideoError:
    """Make the error that a worker met while it loaded the network."""
    kind = getattr(errors, refused.kind, DeviceError)
    if kind is errors.DeviceMemoryError:  # it would add its advice again
        kind = DeviceError
    error = kind(refused.message)
    assert isinstance(error, LfdnVideoError)
    return error


def _describe_end(code: int | None) -> str:
    if code is None:
        return "without a reason"
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
