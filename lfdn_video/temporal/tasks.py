"""Tasks in threads, each begun when what it needs is there: no thread waits for another one."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

MOST_THREADS = 16
"""OpenCV and NumPy work outside of Python's lock; what is left in it fills no more threads."""

Result = TypeVar("Result")


class Tasks:
    """Runs tasks. Close it at the end."""

    def __init__(self) -> None:
        self.threads = min(MOST_THREADS, os.cpu_count() or 1)
        # Starts its threads when it is given work.
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="temporal")

    def run(self, function: Callable[..., Result], *needs: "Future[Any]") -> "Future[Result]":
        """Run a function on what others give, once all of them are done.

        Args:
            function: is called with the results of `needs`.
            *needs: futures of other tasks; the first error among them is that of this one, too.
        """
        future: Future[Result] = Future()
        task = _Task(self._pool, future, function, needs)
        for need in needs:
            need.add_done_callback(task.count_down)
        task.count_down()
        return future

    def close(self) -> None:
        """End the threads, and drop what has not begun. May be called again."""
        self._pool.shutdown(cancel_futures=True)


class _Task(Generic[Result]):
    """A task that waits for what it needs."""

    def __init__(
        self,
        pool: Executor,
        future: "Future[Result]",
        function: Callable[..., Result],
        needs: "tuple[Future[Any], ...]",
    ) -> None:
        self._pool = pool
        self._work = [(future, function, needs)]
        self._lock = threading.Lock()
        self._missing = len(needs) + 1

    def count_down(self, _: "Future[Any] | None" = None) -> None:
        """Note that one of its needs is there, or that all are known."""
        with self._lock:
            self._missing -= 1
            if self._missing:
                return
        try:
            self._pool.submit(self._run)
        except RuntimeError as error:  # closed meanwhile, or there can be no thread
            self._work.pop()[0].set_exception(error)

    def _run(self) -> None:
        if not self._work:  # no thread could be started for it, but there is one now
            return
        # What it needed remembers the task for as long as it lives itself; frames are large.
        future, function, needs = self._work.pop()
        try:
            result = function(*(need.result() for need in needs))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)
