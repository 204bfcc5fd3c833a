"""Running an iterator in a thread, a bounded number of items ahead, and timing the stages.

`background(iterable, depth=2)` gives the same items in the same order, made in a thread of its
own. It knows nothing of frames. Where several are chained, one per stage, is `pipeline.py`.

    stage A (thread)                      stage B (consumer)
    source -> next() -> [ at most depth items ] -> next() -> ...
              busy         A waits for output /
                           B waits for input

An exception of the source is raised where its item was awaited, after the items before it. Closing
the generator stops the thread, closes the source in the thread that ran it, and waits for both; so
closing takes as long as the source needs for the item it is working on, and no longer.
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

WAKE_S = 0.5  # on Windows, Ctrl-C is noticed only between two waits that have a time limit

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Wall-clock seconds of one stage: at work, waiting for input, waiting to pass a result on."""

    busy_s: float
    input_wait_s: float
    output_wait_s: float


class StageClock:
    """Counts the seconds of one stage. Written by the stage's own thread, read by any.

    A stage is at work inside `working()`; while that goes on, the time inside
    `waiting_for_input()` is not counted as work, so the two can be nested: a stage that pulls its
    input from another thread is not charged for the other's slowness.

    `on_work` is told every stretch of work as it ends: how many times `working()` was left before,
    when it began and when it ended, by `time.perf_counter`.
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
        return StageTimes(self._busy_s, self._input_wait_s, self._output_wait_s)

    @contextmanager
    def working(self) -> Generator[None]:
        self._work_since_s = time.perf_counter()
        try:
            yield
        finally:
            self._pause()
            self._items += 1

    def add_busy(self, seconds: float) -> None:
        """Count work that has just ended and was measured otherwise."""
        self._work_since_s = time.perf_counter() - seconds
        self._pause()

    @contextmanager
    def waiting_for_input(self) -> Generator[None]:
        at_work = self._pause()
        start_s = time.perf_counter()
        try:
            yield
        finally:
            end_s = time.perf_counter()
            self._input_wait_s += end_s - start_s
            if at_work:
                self._work_since_s = end_s

    def _pause(self) -> bool:
        """The end of a stretch of work, if there was one; whether there was."""
        since_s, self._work_since_s = self._work_since_s, None
        if since_s is None:
            return False
        end_s = time.perf_counter()
        self._busy_s += end_s - since_s
        if self._on_work is not None:
            self._on_work(self._items, since_s, end_s)
        return True

    @contextmanager
    def waiting_for_output(self) -> Generator[None]:
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self._output_wait_s += time.perf_counter() - start_s


def background(
    iterable: Iterable[T],
    *,
    depth: int,
    name: str = "background",
    clock: StageClock | None = None,
    feeds: StageClock | None = None,
) -> Generator[T]:
    """Give the items of `iterable`, made in a thread that is at most `depth` items ahead.

    `clock` is the clock of the stage that runs in the thread, `feeds` that of the stage that takes
    the items. The thread starts with the first item asked for; before that there is nothing to
    close, and a generator handed in is not closed either. `name` is the thread's.
    """
    if depth < 1:
        raise ValueError(f"depth: at least 1 item ahead is needed, got {depth}")
    return _background(iterable, depth, name, clock or StageClock(), feeds or StageClock())


def _background(
    iterable: Iterable[T], depth: int, name: str, clock: StageClock, feeds: StageClock
) -> Generator[T]:
    channel: _Channel[T] = _Channel(depth)
    # A daemon, so that a second Ctrl-C can end the process even if the source never returns.
    thread = threading.Thread(
        target=_produce, args=(iterable, channel, clock), name=name, daemon=True
    )
    try:
        thread.start()
        while True:
            with feeds.waiting_for_input():
                message = channel.get()
            if isinstance(message, _End):
                if message.error is not None:
                    raise message.error
                return
            yield message.item
            del message  # or the item would live until the next one is there
    finally:
        channel.close()
        while thread.is_alive():
            thread.join(WAKE_S)


class Worker:
    """A function that runs in a thread, and whose exception is raised where it is waited for."""

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether it is done by then."""
        # Not by `join`: Python before 3.13 takes the thread for ended if a signal interrupts it.
        return self._done.wait(timeout_s)

    def result(self) -> None:
        """Wait for the end. Raises what the function raised."""
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
    """What one thread hands to one other: at most `depth` items, then how it ended."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[_Item[T]] = deque()
        self._end: _End | None = None
        self._closed = False
        self._changed = threading.Condition()

    def wait_for_room(self) -> bool:
        """Whether another item is wanted; waits while `depth` are there untaken."""
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
                _log.debug("a stage failed after its consumer had left: %r", error)
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
            self._items.clear()
            self._changed.notify_all()


def _produce(iterable: Iterable[T], channel: _Channel[T], clock: StageClock) -> None:
    """What the thread runs: moves items while they come and are wanted, then closes the source."""
    error: BaseException | None = None
    try:
        iterator = iter(iterable)
        try:
            _move(iterator, channel, clock)
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
    except BaseException as caught:  # noqa: BLE001 (handed over to the thread that waits for it)
        error = caught
    channel.end(error)


def _move(iterator: Iterator[T], channel: _Channel[T], clock: StageClock) -> None:
    while True:
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
