"""Lanes: several frames in the network at once, on a CPU."""

import itertools
import threading
import time
from collections.abc import Callable, Generator

import numpy as np
import pytest
import torch
from torch import Tensor

import lfdn
from lfdn.cpu import optimize_for_cpu
from lfdn_video.errors import DeviceMemoryError, WeightsError
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame
from lfdn_video.options import InferenceOptions
from tests.support.fakes import NetworkFailureError, brighten, fail_after, noise_frames, video_info

BATCH = torch.full((1, 3, 16, 16), 0.5)


@pytest.fixture(autouse=True)
def four_cores() -> Generator[None]:
    """Make torch use four threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Meeting:
    """A network that waits until the expected number of frames are in it."""

    def __init__(self, expected: int) -> None:
        self._barrier = threading.Barrier(expected)
        self.met: list[tuple[int, int]] = []
        """For each frame, the thread that ran it and its number of cores."""

    def __call__(self, batch: Tensor) -> Tensor:
        self._barrier.wait(timeout=20)
        self.met.append((threading.get_ident(), torch.get_num_threads()))
        return batch


def test_each_lane_has_a_frame_and_its_share_of_the_cores() -> None:
    network = Meeting(2)
    with Engine(network, lanes=2) as engine:
        in_flight = [engine.compute_residual(BATCH) for _ in range(4)]
        assert all(pending.result().count_nonzero() == 0 for pending in in_flight)
        assert engine.max_batches_in_flight == 2
    assert [cores for _, cores in network.met] == [2] * 4
    assert len({thread for thread, _ in network.met} - {threading.get_ident()}) == 2


def test_there_are_no_more_lanes_than_cores() -> None:
    with Engine(brighten(0.25), lanes=9) as engine:
        engine.compute_residual(BATCH).result()
        assert engine.max_batches_in_flight == 4


def test_with_one_lane_the_network_runs_in_the_callers_thread() -> None:
    network = Meeting(1)
    with Engine(network) as engine:
        engine.compute_residual(BATCH).result()
        assert engine.max_batches_in_flight == 0
    assert network.met == [(threading.get_ident(), 4)]


def test_there_are_fewer_lanes_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lfdn_video.inference.device_runner.free_system_bytes",
        lambda: 5 * 450 * BATCH[0, 0].numel(),
    )
    network = Meeting(1)
    with Engine(network, lanes=4) as engine:
        engine.compute_residual(BATCH).result()  # half of what is free may be used: two frames
        assert engine.max_batches_in_flight == 2
        engine.compute_residual(
            torch.rand(1, 3, 64, 64)
        ).result()  # and not one of these; but one it is
        assert engine.max_batches_in_flight == 1
    assert [cores for _, cores in network.met] == [2, 4]


def test_change_of_size_loses_no_batch_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lfdn_video.inference.device_runner.free_system_bytes",
        lambda: 5 * 450 * BATCH[0, 0].numel(),
    )

    def slow(batch: Tensor) -> Tensor:
        time.sleep(0.01)
        return batch + 0.25

    with Engine(slow, lanes=4) as engine:
        in_flight = [engine.compute_residual(torch.zeros(1, 3, side, 16)) for side in (16, 64) * 5]
        for pending in in_flight:
            assert pending.result().eq(0.25).all()


def test_stepping_down_leaves_one_lane() -> None:
    with Engine(brighten(0.25), lanes=4) as engine:
        assert engine.step_down() == "one at a time"
        assert engine.step_down() is None
        engine.compute_residual(BATCH).result()
        assert engine.max_batches_in_flight == 1


def test_close_leaves_no_thread_and_gives_torch_its_cores_back() -> None:
    with Engine(brighten(0.25), lanes=2) as engine:
        engine.compute_residual(BATCH).result()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("network")]
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [4]


def test_network_that_is_not_finite_is_refused_in_a_lane() -> None:
    with Engine(brighten(float("nan")), lanes=2) as engine:
        pending = engine.compute_residual(BATCH)
        with pytest.raises(WeightsError, match="not finite"):
            pending.result()


def test_running_out_of_memory_in_a_lane_is_a_device_memory_error() -> None:
    with Engine(lambda batch: batch.new_empty(1 << 60), lanes=2) as engine:
        pending = engine.compute_residual(BATCH)
        with pytest.raises(DeviceMemoryError):
            pending.result()


def test_several_lanes_give_the_same_frames_in_order_as_one() -> None:
    info = video_info()
    network = optimize_for_cpu(lfdn.load("derain").eval())
    given = {}
    for lanes in (1, 3):
        with Engine(network, lanes=lanes) as engine:
            frames = restore_frames(noise_frames(info, 7), PlaneConverter(info), engine)
            given[lanes] = list(frames)
    assert [frame.pts for frame in given[3]] == [frame.pts for frame in given[1]]
    for one, several in zip(given[1], given[3], strict=True):
        for plane, other in zip(one.planes, several.planes, strict=True):
            assert abs(plane.astype(int) - other.astype(int)).max() <= 1


def test_whole_frame_is_converted_both_ways_in_its_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    info, where = video_info(), list[str]()
    for name in ("to_rgb", "add_residual"):
        original = getattr(PlaneConverter, name)

        def noted(*arguments: object, original: Callable[..., object] = original) -> object:
            where.append(threading.current_thread().name)
            return original(*arguments)

        monkeypatch.setattr(PlaneConverter, name, noted)
    with Engine(brighten(0.1), lanes=2) as engine:
        list(restore_frames(noise_frames(info, 3), PlaneConverter(info), engine))
    assert len(where) == 6
    assert all(name.startswith("network") for name in where)


def test_tiles_finished_out_of_order_make_the_same_frames() -> None:
    """The first of each two waits for the second one."""
    info = video_info(height=256, width=300)
    options = InferenceOptions(tile=128, overlap_px=16)
    frames = noise_frames(info, 4)  # an even number of tiles
    turn = itertools.count()
    second_is_done = [threading.Event() for _ in range(100)]  # one a pair: none may take another's

    def late_first(batch: Tensor) -> Tensor:
        pair, is_second = divmod(next(turn), 2)
        if is_second:
            second_is_done[pair].set()
        else:
            assert second_is_done[pair].wait(timeout=20)
        return batch * 0.5

    def restored(network: Callable[[Tensor], Tensor], lanes: int) -> list[Frame]:
        with Engine(network, lanes=lanes) as engine:
            return list(restore_frames(frames, PlaneConverter(info), engine, options))

    for one, other in zip(restored(lambda t: t * 0.5, 1), restored(late_first, 2), strict=True):
        assert one.pts == other.pts
        assert all(map(np.array_equal, one.planes, other.planes))


def test_failing_network_raises_and_leaves_no_thread() -> None:
    info = video_info()
    taken: list[Frame] = []
    with Engine(fail_after(3), lanes=2) as engine, pytest.raises(NetworkFailureError):
        taken.extend(restore_frames(noise_frames(info, 8), PlaneConverter(info), engine))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("network")]


def test_closing_the_frames_early_leaves_no_thread() -> None:
    info = video_info()
    with Engine(brighten(0.1), lanes=2) as engine:
        frames = restore_frames(noise_frames(info, 8), PlaneConverter(info), engine)
        next(frames)
        frames.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("network")]


@pytest.mark.parametrize(("lanes", "expected"), [(1, 0), (2, 2)])
def test_packaged_network_has_as_many_lanes_as_asked_for(lanes: int, expected: int) -> None:
    options = InferenceOptions(device="cpu")
    with load_engine("derain", options=options, lanes=lanes) as engine:
        engine.compute_residual(torch.rand(1, 3, 32, 32)).result()
        assert engine.max_batches_in_flight == expected
