"""Threads: an iterator that runs ahead in one, a function that runs in one, and clocks for stages.

`prefetch(iterable, depth=2)` yields the same items in the same order, produced in a thread of its
own. It knows nothing of frames; `pipeline.py` chains two of them, one for each stage.

    stage A (thread)                      stage B (consumer)
    source -> next() -> [ at most depth items ] -> next() -> ...
              busy         A waits for output /
                           B waits for input

An exception of the source is raised to the consumer in place of its item, after the items before
it. Closing the generator stops the thread, closes the source in the thread that ran it, and waits
for both: no longer than the source needs for the item it is working on.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

WAKE_S = 0.5
"""Longest single wait. On Windows, Python notices Ctrl-C only between waits with a time limit."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Wall-clock seconds of one stage of a run."""

    busy_s: float
    """At work."""
    input_wait_s: float
    """Waiting for the stage before."""
    output_wait_s: float
    """Waiting for the stage after, which has enough items queued."""


class StageClock:
    """Measures the seconds of one stage. Only the stage's thread updates it; any may read it.

    Time inside `working()` counts as work, except for time inside a nested `waiting_for_input()`:
    a stage that pulls its input from another thread is not charged for that thread's slowness.

    Args:
        on_work: called at the end of each stretch of work, with the number of finished
            `working()` blocks, and the stretch's start and end by `time.perf_counter`.
    """

    def __init__(self, on_work: Callable[[int, float, float], None] | None = None) -> None:
        self._on_work = on_work
        self._items = 0
        self._work_since_s: float | None = None
        self._busy_s = 0.0
        self._input_wait_s = 0.0
        self._output_wait_s = 0.0

    @property
    def times(self) -> StageTimes:
        """The seconds so far; work in progress is not included."""
        return StageTimes(self._busy_s, self._input_wait_s, self._output_wait_s)

    @property
    def items(self) -> int:
        """Number of finished `working()` blocks."""
        return self._items

    @contextmanager
    def working(self) -> Generator[None]:
        """Count the time inside the block as work on one item."""
        self._work_since_s = time.perf_counter()
        try:
            yield
        finally:
            self._pause()
            self._items += 1

    def add_busy(self, seconds: float) -> None:
        """Count work that took `seconds`, has just ended, and was measured otherwise."""
        # Backdated, so that the listener sees the same bar as for work measured by `working`.
        self._work_since_s = time.perf_counter() - seconds
        self._pause()

    @contextmanager
    def waiting_for_input(self) -> Generator[None]:
        """Count the time inside the block as waiting for input, and interrupt `working()`."""
        was_working = self._pause()
        start_s = time.perf_counter()
        try:
            yield
        finally:
            end_s = time.perf_counter()
            self._input_wait_s += end_s - start_s
            if was_working:
                self._work_since_s = end_s

    def _pause(self) -> bool:
        """End the current stretch of work; return False if there was none."""
        since_s = self._work_since_s
        self._work_since_s = None
        if since_s is None:
            return False
        end_s = time.perf_counter()
        self._busy_s += end_s - since_s
        if self._on_work is not None:
            self._on_work(self._items, since_s, end_s)
        return True

    @contextmanager
    def waiting_for_output(self) -> Generator[None]:
        """Count the time inside the block as waiting to pass an item on."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self._output_wait_s += time.perf_counter() - start_s


def prefetch(
    iterable: Iterable[T],
    *,
    depth: int,
    name: str = "prefetch",
    clock: StageClock | None = None,
    consumer_clock: StageClock | None = None,
) -> Generator[T]:
    """Iterate over `iterable` in a thread that is at most `depth` items ahead.

    The thread starts when the first item is asked for. If the returned generator is closed before
    that, `iterable` is not closed.

    Args:
        iterable: the source of items; a generator is closed when the thread ends.
        depth: items that may be queued, at least 1.
        name: the thread's name.
        clock: clock of the stage that runs in the thread.
        consumer_clock: clock of the consuming stage; it counts the waiting for items.

    Returns:
        A generator that yields the same items in the same order. Close it when leaving it early.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth: at least 1 item ahead is needed, got {depth}")
    return _prefetch(iterable, depth, name, clock or StageClock(), consumer_clock or StageClock())


def _prefetch(
    iterable: Iterable[T], depth: int, name: str, clock: StageClock, consumer_clock: StageClock
) -> Generator[T]:
    channel: _Channel[T] = _Channel(depth)
    # A daemon, so that a second Ctrl-C ends the process even if the source never returns.
    thread = threading.Thread(
        target=_produce, args=(iterable, channel, clock), name=name, daemon=True
    )
    try:
        thread.start()
        while True:
            with consumer_clock.waiting_for_input():
                message = channel.get()
            if isinstance(message, _End):
                if message.error is not None:
                    raise message.error
                return
            yield message.item
            del message  # else the item would live until the next one is ready
    finally:
        channel.close()
        while thread.is_alive():
            thread.join(WAKE_S)


class Worker:
    """A function that runs in a thread, started at once; `result` raises its exception.

    Args:
        work: the function.
        name: the thread's name.
    """

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the function to end, at most `timeout_s`; return whether it has ended."""
        # Not `join`: before 3.13, Python takes the thread for ended if a signal interrupts that.
        return self._done.wait(timeout_s)

    def result(self) -> None:
        """Wait for the function to end. Raises what it raised."""
        while not self.wait(WAKE_S):
            pass
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as caught:  # noqa: BLE001 (handed over to the thread that waits for it)
            self._error = caught
        self._done.set()


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    item: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


class _Channel(Generic[T]):
    """A queue from one thread to one other: at most `depth` items, then the end or an error."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[_Item[T]] = deque()
        self._end: _End | None = None
        self._closed = False
        self._changed = threading.Condition()

    def wait_for_room(self) -> bool:
        """Wait until there are fewer than `depth` items; return False if the consumer has left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            return not self._closed

    def put(self, item: T) -> None:
        with self._changed:
            self._items.append(_Item(item))
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            if self._closed and error is not None:
                logger.debug("a stage failed after its consumer had left: %r", error)
            self._end = _End(error)
            self._changed.notify_all()

    def get(self) -> _Item[T] | _End:
        with self._changed:
            while not self._items and self._end is None:
                self._changed.wait(WAKE_S)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            assert self._end is not None
            return self._end

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()  # frees their memory while the source finishes its item
            self._changed.notify_all()


def _produce(iterable: Iterable[T], channel: _Channel[T], clock: StageClock) -> None:
    """Run in the thread: pass items on until the source ends or the consumer leaves; close it."""
    error: BaseException | None = None
    try:
        iterator = iter(iterable)
        try:
            _pass_items(iterator, channel, clock)
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
    except BaseException as caught:  # noqa: BLE001 (handed over to the thread that waits for it)
        error = caught
    channel.end(error)


def _pass_items(iterator: Iterator[T], channel: _Channel[T], clock: StageClock) -> None:
    while True:
        # Room is awaited before the item is made, not after: at most `depth` items exist in all,
        # not one more that waits to be put.
        with clock.waiting_for_output():
            wanted = channel.wait_for_room()
        if not wanted:
            return
        try:
            with clock.working():
                item = next(iterator)
        except StopIteration:
            return
        channel.put(item)
        del item  # the consumer alone decides how long it lives
