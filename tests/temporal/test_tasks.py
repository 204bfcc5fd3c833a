"""Tasks that begin when what they need is there."""

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from lfdn_video.temporal import tasks as module
from lfdn_video.temporal.tasks import Tasks

WAIT_S = 10.0


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    made = Tasks()
    yield made
    made.close()


def test_results_of_others_arrive_in_order(tasks: Tasks) -> None:
    one, two = tasks.run(lambda: 1), tasks.run(lambda: 2)
    assert tasks.run(lambda *values: values, two, one, two).result(WAIT_S) == (2, 1, 2)


def test_a_task_that_waits_holds_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_THREADS", 1)
    tasks = Tasks()
    missing: Future[int] = Future()
    waiting = [tasks.run(lambda value: value + 1, missing) for _ in range(5)]
    assert tasks.run(lambda: "free").result(WAIT_S) == "free"
    missing.set_result(1)
    assert [each.result(WAIT_S) for each in waiting] == [2] * 5
    tasks.close()


def test_an_error_reaches_all_that_need_the_result(tasks: Tasks) -> None:
    def fail() -> int:
        raise ValueError("broken")

    broken = tasks.run(fail)
    with pytest.raises(ValueError, match="broken"):
        tasks.run(lambda one, _: one, tasks.run(lambda one: one, broken), broken).result(WAIT_S)


def test_what_was_needed_is_not_kept(tasks: Tasks) -> None:
    class Large:
        pass

    source = tasks.run(lambda: 1)  # as a flow, which other frames need later
    made = tasks.run(lambda _: Large(), source)
    alive = weakref.ref(made.result(WAIT_S))
    del made
    # The thread drops its own reference a moment after the result is there.
    for _ in range(1000):
        gc.collect()
        if alive() is None:
            break
        threading.Event().wait(0.001)
    assert alive() is None
    assert source.result(WAIT_S) == 1


def test_closing_drops_what_has_not_begun(tasks: Tasks) -> None:
    missing: Future[int] = Future()
    waiting = tasks.run(lambda value: value, missing)
    tasks.close()
    tasks.close()
    missing.set_result(1)
    with pytest.raises(RuntimeError):
        waiting.result(WAIT_S)


def test_a_task_for_which_there_is_no_thread_fails(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        tasks.run(lambda: 1).result(WAIT_S)
