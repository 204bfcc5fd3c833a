"""The scheduler: frames to batches and back; order, counts, sizes, and who closes what."""

from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn_video.errors import OptionError
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame
from lfdn_video.options import InferenceOptions
from tests.support.fakes import (
    FakeRunner,
    NetworkFailureError,
    brighten,
    fail_after,
    identity_engine,
    noise_frames,
    video_info,
)

INFO = video_info()
CONVERTER = PlaneConverter(INFO)


def _planes_equal(one: Frame, other: Frame) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def _restored(
    frames: list[Frame], runner: FakeRunner, options: InferenceOptions | None = None
) -> list[Frame]:
    return list(restore_frames(iter(frames), CONVERTER, runner, options))


@pytest.mark.parametrize("in_flight", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("count", [0, 1, 7, 10])
def test_as_many_frames_come_out_in_the_same_order(count: int, batch: int, in_flight: int) -> None:
    frames = noise_frames(INFO, count)
    runner = FakeRunner(
        batch=batch, max_batches_in_flight=in_flight, max_downloads_in_flight=in_flight
    )
    restored = _restored(frames, runner)
    assert [frame.pts for frame in restored] == [frame.pts for frame in frames]
    assert all(map(_planes_equal, restored, frames))


def test_restored_frame_keeps_its_name_duration_and_format() -> None:
    (frame,) = noise_frames(INFO, 1)
    named = replace(frame, name="one.png")
    (restored,) = _restored([named], FakeRunner())
    assert (restored.name, restored.duration, restored.format) == (
        "one.png",
        frame.duration,
        frame.format,
    )


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "yuva420p", "gray", "ya8", "gbrap"])
def test_identity_network_keeps_every_bit(name: str) -> None:
    info = video_info(name, height=47, width=63, rotation=90)
    frames = noise_frames(info, 3)
    restored = list(restore_frames(frames, PlaneConverter(info), identity_engine()))
    assert all(map(_planes_equal, restored, frames))


def test_only_the_last_batch_is_not_full() -> None:
    runner = FakeRunner(batch=4)
    _restored(noise_frames(INFO, 10), runner)
    assert [shape[0] for shape in runner.batches] == [4, 4, 2]


def test_batch_size_asked_for_is_used() -> None:
    runner = FakeRunner(batch=4)
    _restored(noise_frames(INFO, 6), runner, InferenceOptions(batch=3))
    assert [shape[0] for shape in runner.batches] == [3, 3]


def test_tiles_of_several_frames_share_a_batch() -> None:
    info, runner = video_info(height=128, width=200), FakeRunner(tile_px=128, batch=4)
    frames = noise_frames(info, 3)
    list(restore_frames(frames, PlaneConverter(info), runner))
    assert runner.batches == [(4, 3, 128, 128), (2, 3, 128, 128)]


def test_network_is_given_upright_frames() -> None:
    info, runner = video_info(height=48, width=64, rotation=90), FakeRunner()
    list(restore_frames(noise_frames(info, 1), PlaneConverter(info), runner))
    assert runner.batches == [(1, 3, 64, 48)]


def test_tiles_leave_no_seams() -> None:
    info = video_info("gbrp16le", height=150, width=220)
    (frame,) = noise_frames(info, 1)
    options = InferenceOptions(tile=128, overlap_px=16)
    runner = FakeRunner(network=lambda batch: batch * 0.5)
    (restored,) = restore_frames([frame], PlaneConverter(info), runner, options)
    for after, before in zip(restored.planes, frame.planes, strict=True):
        assert np.abs(after - before / 2).max() < 0.6  # rounding, and a little of float32


def test_tile_asked_for_is_used() -> None:
    info, runner = video_info(height=128, width=200), FakeRunner(tile_px=None)
    options = InferenceOptions(tile=128, overlap_px=16)
    list(restore_frames(noise_frames(info, 1), PlaneConverter(info), runner, options))
    assert [shape[2:] for shape in runner.batches] == [(128, 128), (128, 128)]


def test_tile_off_does_not_split_frames() -> None:
    runner = FakeRunner(tile_px=128)
    _restored(noise_frames(INFO, 1), runner, InferenceOptions(tile="off"))
    assert runner.batches == [(1, 3, 48, 64)]


def test_tile_too_small_for_the_overlap_is_refused() -> None:
    info = video_info(height=128, width=200)
    options, runner = InferenceOptions(overlap_px=32), FakeRunner(tile_px=80)
    with pytest.raises(OptionError, match="80 px is too small for an overlap of 32 px"):
        list(restore_frames(noise_frames(info, 1), PlaneConverter(info), runner, options))


def test_frames_of_another_size_start_a_new_batch() -> None:
    large = video_info(height=64, width=80)
    frames = noise_frames(INFO, 3) + [replace(f, pts=f.pts + 500) for f in noise_frames(large, 3)]
    runner = FakeRunner(batch=2)
    restored = _restored(frames, runner)
    assert [shape[0] for shape in runner.batches] == [2, 1, 2, 1]
    assert all(map(_planes_equal, restored, frames))


def test_frame_with_an_info_of_its_own_is_converted_by_it() -> None:
    own = video_info("gbrp", height=48, width=64)
    frames = [*noise_frames(INFO, 1), replace(noise_frames(own, 1)[0], pts=99, info=own)]
    restored = _restored(frames, FakeRunner(network=brighten(0.0)))
    assert all(map(_planes_equal, restored, frames))


def test_downloads_overlap_with_the_next_batch() -> None:
    runner = FakeRunner(max_batches_in_flight=1, max_downloads_in_flight=1)
    _restored(noise_frames(INFO, 4), runner)
    first_arrival = runner.log.index("arrived")
    assert runner.log[:first_arrival].count("residual") == 3


def test_with_nothing_in_flight_a_frame_is_done_before_the_next_is_asked_for() -> None:
    asked = 0

    def source() -> Generator[Frame]:
        nonlocal asked
        for frame in noise_frames(INFO, 3):
            asked += 1
            yield frame

    next(restore_frames(source(), CONVERTER, FakeRunner()))
    assert asked == 1


def test_no_compute_context_is_held_while_a_frame_is_yielded() -> None:
    runner = FakeRunner(batch=2, max_batches_in_flight=1, max_downloads_in_flight=1)
    held = [runner.open_contexts for _ in restore_frames(noise_frames(INFO, 5), CONVERTER, runner)]
    assert held == [0] * 5


def test_error_of_the_engine_passes_through() -> None:
    taken: list[Frame] = []
    with pytest.raises(NetworkFailureError):
        taken.extend(
            restore_frames(noise_frames(INFO, 5), CONVERTER, FakeRunner(network=fail_after(2)))
        )
    assert len(taken) == 2


def _closing(frames: list[Frame], closed: list[bool]) -> Generator[Frame]:
    try:
        yield from frames
    finally:
        closed.append(True)


def _leave(restored: Generator[Frame]) -> None:
    next(restored)
    restored.close()


def _exhaust(restored: Generator[Frame]) -> None:
    list(restored)


@pytest.mark.parametrize("end", [_leave, _exhaust])
def test_source_is_closed(end: Callable[[Generator[Frame]], None]) -> None:
    closed: list[bool] = []
    source = _closing(noise_frames(INFO, 3), closed)
    end(restore_frames(source, CONVERTER, FakeRunner()))
    assert closed == [True]


def test_source_is_closed_when_the_engine_fails() -> None:
    closed: list[bool] = []
    source = _closing(noise_frames(INFO, 3), closed)
    with pytest.raises(NetworkFailureError):
        list(restore_frames(source, CONVERTER, FakeRunner(network=fail_after(0))))
    assert closed == [True]


def test_error_of_the_source_passes_through() -> None:
    def source() -> Generator[Frame]:
        yield from noise_frames(INFO, 2)
        raise LookupError("the source")

    with pytest.raises(LookupError, match="the source"):
        list(restore_frames(source(), CONVERTER, FakeRunner(batch=4)))


def test_runner_is_left_open() -> None:
    runner = FakeRunner()
    _restored(noise_frames(INFO, 1), runner)
    assert not runner.closed


def test_residual_is_added_to_the_frame_it_belongs_to() -> None:
    residuals = iter((0.0, 0.1, 0.2, 0.3))

    def network(batch: Tensor) -> Tensor:
        return torch.stack([image + next(residuals) for image in batch])

    info = video_info("gray")
    black = [replace(f, planes=(np.zeros((48, 64), np.uint8),)) for f in noise_frames(info, 4)]
    runner = FakeRunner(
        network=network, batch=3, max_batches_in_flight=1, max_downloads_in_flight=1
    )
    restored = restore_frames(black, PlaneConverter(info), runner)
    assert [int(frame.planes[0].max()) for frame in restored] == [0, 26, 51, 76]
