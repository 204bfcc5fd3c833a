"""Memory fallback: the order of reductions, and that no frame is lost."""

import itertools
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn import LFDN, LFDNConfig
from lfdn.cpu import CpuLFDN
from lfdn.cuda import optimize_for_cuda
from lfdn_video import restore
from lfdn_video.errors import DeviceMemoryError
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.cpu import CpuRunner
from lfdn_video.inference.cuda import CudaRunner
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions, InferenceOptions
from tests.support.clips import Clip, planes, times
from tests.support.fakes import FakeRunner, identity, noise_frames, video_info

LARGE = video_info(height=640, width=640)
SMALL = video_info()
Shapes = Sequence[tuple[int, ...]]


def _restored(
    frames: list[Frame], runner: FakeRunner, options: InferenceOptions | None = None
) -> list[Frame]:
    converter = PlaneConverter(LARGE if frames[0].planes[0].shape[0] == 640 else SMALL)
    return list(restore_frames(iter(frames), converter, runner, options))


def _same(restored: list[Frame], frames: list[Frame]) -> bool:
    return [frame.pts for frame in restored] == [frame.pts for frame in frames] and all(
        np.array_equal(one, other)
        for new, old in zip(restored, frames, strict=True)
        for one, other in zip(new.planes, old.planes, strict=True)
    )


def _limit(samples: int) -> Callable[[str, Shapes], bool]:
    """Make memory run out for batches of more than this many samples."""
    return lambda what, shapes: what == "residual" and prod(shapes[0]) > samples


@pytest.mark.parametrize("in_flight", [0, 1, 3])
def test_batch_is_halved_first(in_flight: int, caplog: pytest.LogCaptureFixture) -> None:
    frames = noise_frames(SMALL, 11)
    limit = _limit(2 * 3 * 48 * 64)
    runner = FakeRunner(
        batch=8,
        max_batches_in_flight=in_flight,
        max_downloads_in_flight=in_flight,
        short_of_memory=limit,
    )
    assert _same(_restored(frames, runner), frames)
    assert max(shape[0] for shape in runner.batches) == 2
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        f"fake: out of memory (residual); continuing with at most {count} tiles at a time"
        for count in (4, 2)
    ]


@pytest.mark.parametrize(
    "options", [None, InferenceOptions(tile="off"), InferenceOptions(tile=512)]
)
def test_tiles_are_halved_once_the_batch_is_one_tile(options: InferenceOptions | None) -> None:
    frames = noise_frames(LARGE, 3)
    runner = FakeRunner(batch=2, short_of_memory=_limit(3 * 192 * 192))
    assert _same(_restored(frames, runner, options), frames)
    assert {shape[0] for shape in runner.batches} == {1}
    assert max(max(shape[2:]) for shape in runner.batches) <= 192


def test_runner_steps_down_last_and_tiles_and_batches_begin_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frames = noise_frames(LARGE, 4)
    steps = ["in float16", "on the CPU"]
    runner = FakeRunner(batch=2, steps_down=steps.copy())
    runner.short_of_memory = lambda what, _: what == "residual" and bool(runner.steps_down)
    assert _same(_restored(frames, runner), frames)
    said = [record.getMessage().partition("continuing ")[2] for record in caplog.records]
    smaller = [
        "with at most 1 tiles at a time",
        "in tiles of at most 320 px",
        "in tiles of at most 128 px",
    ]
    assert [text for text in said if text] == [*smaller, steps[0], *smaller, steps[1]]
    assert runner.batches[-1] == (2, 3, 640, 640)


@pytest.mark.parametrize("in_flight", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("failing", range(1, 24, 2))
def test_every_frame_comes_once_and_in_order_wherever_memory_runs_out(
    in_flight: int, batch: int, failing: int
) -> None:
    """In an upload, a batch or a download, and once more while frames are restored again."""
    frames = noise_frames(SMALL, 7)
    asked = itertools.count(1)
    runner = FakeRunner(
        batch=batch,
        max_batches_in_flight=in_flight,
        max_downloads_in_flight=in_flight,
        steps_down=["in float16", "on the CPU"],
        short_of_memory=lambda *_: next(asked) in (failing, failing + 2),
    )
    assert _same(_restored(frames, runner), frames)


def test_nothing_left_to_reduce_is_an_error_after_the_frames_restored_before() -> None:
    frames = noise_frames(SMALL, 5)
    asked = itertools.count()
    runner = FakeRunner(short_of_memory=lambda what, _: what == "residual" and next(asked) >= 3)
    restored = restore_frames(iter(frames), PlaneConverter(SMALL), runner)
    assert _same([next(restored) for _ in range(3)], frames[:3])
    with pytest.raises(DeviceMemoryError, match=r"out of memory .*; use smaller tiles"):
        next(restored)


def test_video_loses_no_frame_when_memory_runs_out(tmp_path: Path) -> None:
    """On the CPU, with PyTorch's own error, from file to file."""
    source = Clip(size=(320, 256), pts=[0, 1, 3, 7, 8]).make(tmp_path / "in.mkv")

    def network(batch: Tensor) -> Tensor:
        if batch.numel() > 3 * 160 * 160:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 9 GiB.")
        return identity(batch)

    with Engine(network) as engine:
        summary = restore(
            source, tmp_path / "out.mkv", engine=engine, encode=EncodeOptions(codec="ffv1")
        )
    assert summary.frames == 5
    assert planes(tmp_path / "out.mkv") == planes(source)
    assert times(tmp_path / "out.mkv") == times(source)


def test_engine_on_a_cpu_has_no_fallback() -> None:
    assert Engine(torch.nn.Identity(), precision="float32").step_down() is None


@pytest.mark.usefixtures("fake_cuda")
def test_engine_on_a_gpu_falls_back_to_float16_then_to_the_cpu() -> None:
    engine = Engine(torch.nn.Identity(), device=torch.device("cuda"), precision="float32")
    assert (engine.step_down(), engine.precision) == ("in float16", "float16")
    assert engine.step_down() == "on the CPU"
    assert (engine.device.type, engine.precision) == ("cpu", "float32")
    assert engine.compute_residual(torch.rand(1, 3, 8, 8)).result().abs().max() == 0
    assert engine.step_down() is None


@pytest.mark.usefixtures("fake_cuda")
def test_run_goes_on_when_the_engine_falls_back_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the runner for CUDA and fake streams."""
    monkeypatch.setattr("lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 1 << 30)

    def network(batch: Tensor) -> Tensor:
        if isinstance(engine._runner, CudaRunner):
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 9 GiB.")
        return batch

    frames = noise_frames(SMALL, 5)
    with Engine(network) as engine:
        engine._runner = CudaRunner(network, torch.device("cpu"))
        assert _same(list(restore_frames(frames, PlaneConverter(SMALL), engine)), frames)
        assert isinstance(engine._runner, CpuRunner)
    said = [record.getMessage().partition("continuing ")[2] for record in caplog.records]
    assert [text for text in said if text] == [
        *(f"with at most {count} tiles at a time" for count in (4, 2, 1)),
        "in float16",
        *(f"with at most {count} tiles at a time" for count in (4, 2, 1)),
        "on the CPU",
    ]


@pytest.mark.usefixtures("fake_cuda")
def test_cpu_takes_over_with_its_own_form_of_the_network() -> None:
    """That for a GPU would be slower there, and hold memory of the GPU."""
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)).eval()
    model = optimize_for_cuda(network)
    batch = torch.rand(1, 3, 32, 32)
    with Engine(model) as engine, torch.inference_mode():
        expected = network(batch).clamp(0, 1) - batch
        engine._runner = CudaRunner(model, torch.device("cpu"), precision="float16")
        assert engine.step_down() == "on the CPU"
        assert isinstance(engine._runner._model, CpuLFDN)
        torch.testing.assert_close(engine.compute_residual(batch).result(), expected)


@pytest.mark.needs_cuda
def test_gpu_without_memory_falls_back_to_the_cpu(tmp_path: Path) -> None:
    source = Clip(size=(320, 256), pts=range(5)).make(tmp_path / "in.mkv")
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with Engine(torch.nn.Conv2d(3, 3, 1), device=torch.device("cuda")) as engine:
            summary = restore(source, tmp_path / "out.mkv", engine=engine)
            assert engine.device.type == "cpu"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert summary.frames == 5
