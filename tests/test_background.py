"""Prefetching in a thread: order, bound, errors, no thread left; workers; stage clocks."""

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from lfdn_video.background import StageClock, Worker, prefetch

PATIENCE_S = 5.0


class _InterruptedError(BaseException):
    """A BaseException that is not an Exception, like KeyboardInterrupt."""


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tested"]


def _failing(text: str) -> list[int]:
    raise LookupError(text)


def _wait_until(condition: threading.Event) -> None:
    assert condition.wait(PATIENCE_S)


def test_prefetch_keeps_the_order() -> None:
    assert list(prefetch(range(100), depth=3)) == list(range(100))


def test_prefetch_of_nothing_is_empty() -> None:
    assert list(prefetch([], depth=1)) == []


def test_prefetch_starts_its_thread_at_the_first_item() -> None:
    prefetch(range(3), depth=1, name="tested")
    assert _threads() == []


def test_prefetch_refuses_a_depth_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        prefetch([], depth=0)


def test_prefetch_raises_an_error_before_the_first_item() -> None:
    def source() -> Generator[int]:
        yield from _failing("at once")

    with pytest.raises(LookupError, match="at once"):
        next(prefetch(source(), depth=2))


def test_prefetch_raises_an_error_after_the_items_before_it() -> None:
    def source() -> Generator[int]:
        yield from (1, 2)
        raise LookupError("later")

    items = prefetch(source(), depth=4)
    taken: list[int] = []
    with pytest.raises(LookupError, match="later"):
        taken.extend(items)
    assert taken == [1, 2]


def test_prefetch_passes_on_base_exceptions() -> None:
    def source() -> Generator[int]:
        yield 1
        raise _InterruptedError

    with pytest.raises(_InterruptedError):
        list(prefetch(source(), depth=1))


def test_prefetch_keeps_the_traceback_of_the_source() -> None:
    with pytest.raises(LookupError) as caught:
        list(prefetch(map(_failing, ["there"]), depth=1))
    assert caught.traceback[-1].name == "_failing"


def test_prefetch_is_at_most_depth_items_ahead() -> None:
    made = 0
    ahead = []

    def source() -> Generator[int]:
        nonlocal made
        for item in range(20):
            made += 1
            yield item

    for taken in prefetch(source(), depth=3):
        time.sleep(0.002)
        ahead.append(made - taken - 1)
    assert max(ahead) == 3


def test_closing_prefetch_early_closes_the_source_in_its_thread() -> None:
    closed_in: list[str] = []

    def source() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    items = prefetch(source(), depth=2, name="tested")
    next(items)
    items.close()
    assert closed_in == ["tested"]


def test_closing_prefetch_early_ends_its_thread() -> None:
    items = prefetch(iter(int, 1), depth=2, name="tested")
    next(items)
    items.close()
    assert _threads() == []


def test_exhausting_prefetch_ends_its_thread() -> None:
    list(prefetch(range(3), depth=1, name="tested"))
    assert _threads() == []


def test_failing_consumer_leaves_no_thread() -> None:
    def consume() -> None:
        items = prefetch(iter(int, 1), depth=2, name="tested")
        try:
            next(items)
            raise LookupError("the consumer")
        finally:
            items.close()

    with pytest.raises(LookupError, match="the consumer"):
        consume()
    assert _threads() == []


def test_closing_prefetch_waits_for_the_item_in_progress() -> None:
    started, finish, done = threading.Event(), threading.Event(), []

    def source() -> Generator[int]:
        yield 0
        started.set()
        _wait_until(finish)
        done.append(True)
        yield 1

    items = prefetch(source(), depth=1)
    next(items)
    _wait_until(started)
    threading.Timer(0.02, finish.set).start()
    items.close()
    assert done == [True]


def test_closing_the_last_of_chained_prefetches_closes_all() -> None:
    closed = []

    def stage(source: Iterator[int], name: str) -> Generator[int]:
        try:
            yield from source
        finally:
            closed.append(name)

    first = prefetch(stage(iter(int, 1), "first"), depth=1, name="tested")
    second = prefetch(stage(first, "second"), depth=1, name="tested")
    next(second)
    second.close()
    assert (closed, _threads()) == (["first", "second"], [])


def test_waiting_for_input_is_not_counted_as_work() -> None:
    slow, quick = StageClock(), StageClock()

    def source() -> Generator[int]:
        for item in range(5):
            time.sleep(0.02)
            yield item

    decoded = prefetch(source(), depth=1, clock=slow, consumer_clock=quick)
    list(prefetch((item for item in decoded), depth=1, clock=quick))
    assert slow.times.busy_s > 0.09
    assert quick.times.input_wait_s > quick.times.busy_s


def test_waiting_for_output_is_not_counted_as_work() -> None:
    clock = StageClock()
    for _ in prefetch(range(5), depth=1, clock=clock):
        time.sleep(0.02)
    assert clock.times.output_wait_s > clock.times.busy_s


def test_worker_result_raises_its_exception() -> None:
    def work() -> None:
        raise ValueError("from the worker")

    with pytest.raises(ValueError, match="from the worker"):
        Worker(work, name="worker").result()


def test_worker_result_waits_for_its_end() -> None:
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait()
        done.set()

    worker = Worker(work, name="worker")
    assert not worker.wait(0)
    go_on.set()
    worker.result()
    assert done.is_set()


def test_clock_reports_stretches_of_work_without_the_waiting_between() -> None:
    stretches: list[tuple[int, float, float]] = []
    clock = StageClock(lambda *work: stretches.append(work))
    with clock.working(), clock.waiting_for_input():
        time.sleep(0.01)
    with clock.working():
        pass
    assert [item for item, _, _ in stretches] == [0, 0, 1]
    assert sum(end - start for _, start, end in stretches) == pytest.approx(clock.times.busy_s)
    assert clock.times.busy_s < 0.01 <= clock.times.input_wait_s
