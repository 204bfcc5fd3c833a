"""Turns at a shared device: each its share, and nobody waits for one that asks for nothing."""

import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from torch import Tensor

from lfdn_video.errors import DeviceError
from lfdn_video.inference.engine import Engine
from lfdn_video.media import Frame
from lfdn_video.stream.turns import Turns, _User
from tests.support.fakes import NetworkFailureError, brighten, fail_after, noise_frames, video_info
from tests.support.waiting import wait_until


@pytest.fixture
def turns() -> Generator[Turns]:
    with Turns() as running:
        yield running


def frame(height: int = 16, width: int = 24) -> Frame:
    info = video_info(height=height, width=width)
    return replace(noise_frames(info, 1)[0], info=info)


def hold(turns: Turns) -> tuple[threading.Event, threading.Thread]:
    """Keep the turns busy until the event is set."""
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait()

    thread = threading.Thread(target=turns.run, args=(_User(), work))
    thread.start()
    begun.wait()
    return release, thread


def order_of(turns: Turns, *requests: tuple[_User, str]) -> list[str]:
    """Return the order in which requests are served that all wait at the same time."""
    served: list[str] = []

    def is_waiting(count: int) -> bool:
        return len(turns._waiting) == count

    release, holder = hold(turns)
    threads = []
    for count, (user, name) in enumerate(requests, 1):
        work = partial(served.append, name)
        threads.append(threading.Thread(target=turns.run, args=(user, work)))
        threads[-1].start()
        wait_until(partial(is_waiting, count), "the request")
    release.set()
    for thread in [*threads, holder]:
        thread.join()
    return served


def test_who_used_less_is_served_first(turns: Turns) -> None:
    requests = (_User(3.0), "much"), (_User(1.0), "little"), (_User(2.0), "some")
    assert order_of(turns, *requests) == ["little", "some", "much"]


def test_equals_are_served_in_order(turns: Turns) -> None:
    assert order_of(turns, *((_User(), name) for name in "abc")) == ["a", "b", "c"]


def test_time_that_was_not_used_is_not_saved_up(turns: Turns) -> None:
    turns.run(_User(100.0), lambda: None)  # the clock is there now
    late = _User()
    turns.run(late, lambda: None)
    assert late.used_s >= 100.0


def test_time_is_counted(turns: Turns) -> None:
    user = _User()
    turns.run(user, lambda: time.sleep(0.05))
    turns.run(_User(), lambda: None)  # the first turn is over
    assert user.used_s >= 0.05


def test_frames_of_other_sizes_and_scales_come_back_to_their_cameras(turns: Turns) -> None:
    first, second = frame(16, 24), frame(32, 20)
    with Engine(brighten(0.1)) as engine:
        shares = [turns.share(engine), turns.share(engine)]
        restored = [shares[0].restore(first, 1.0), shares[1].restore(second, 0.5)]
        restored += [shares[0].restore(first, 1.0)]
        for share in shares:
            share.close()
    for before, after in zip((first, second, first), restored, strict=True):
        assert [plane.shape for plane in before.planes] == [plane.shape for plane in after.planes]
        assert after.planes[0].astype(int).mean() > before.planes[0].astype(int).mean() + 5
    assert np.array_equal(restored[0].planes[0], restored[2].planes[0])


def test_failure_is_raised_to_its_camera_alone(turns: Turns) -> None:
    with Engine(fail_after(0)) as broken, Engine(brighten(0.1)) as engine:
        bad, good = turns.share(broken), turns.share(engine)
        with pytest.raises(NetworkFailureError):
            bad.restore(frame(), 1.0)
        assert good.restore(frame(), 1.0).planes


def test_all_frames_are_restored_in_one_thread(turns: Turns) -> None:
    seen: set[str] = set()

    def network(batch: Tensor) -> Tensor:
        seen.add(threading.current_thread().name)
        return batch

    with Engine(network) as engine, closing(turns.share(engine)) as share:
        share.restore(frame(), 1.0)
    assert seen == {"turns"}


def test_lighter_network_takes_over_for_one_camera(turns: Turns) -> None:
    with Engine(brighten(0)) as engine, Engine(brighten(0.2)) as lite:
        one = turns.share(engine, lighter=lambda: lite)
        other = turns.share(engine, lighter=lambda: lite)
        assert one.use_lighter()
        assert not one.use_lighter()
        same = frame()
        changed, unchanged = one.restore(same, 1.0), other.restore(same, 1.0)
    assert np.array_equal(unchanged.planes[0], same.planes[0])
    assert not np.array_equal(changed.planes[0], same.planes[0])


def test_busy_time_shows_work_that_does_not_end(turns: Turns) -> None:
    assert turns.busy_s == 0
    release, holder = hold(turns)
    wait_until(lambda: turns.busy_s > 0.02, "time")
    release.set()
    holder.join()
    wait_until(lambda: turns.busy_s == 0, "the end")


def test_end_refuses_those_who_wait() -> None:
    with Turns() as turns:
        pass
    with pytest.raises(DeviceError, match="closed"):
        turns.run(_User(), lambda: None)
