"""CUDA graphs: when batches are recorded, what must not be recorded, and what happens then."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn import LFDN, LFDNConfig
from lfdn.config import NETWORKS
from lfdn.cuda import PaddedLFDN, optimize_for_cuda
from lfdn.cuda_layers import GRAM_CHUNKS
from lfdn_video.inference import cuda
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.cpu import CpuRunner
from lfdn_video.inference.cuda import CUDA_BYTES_PER_PX, CudaRunner
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.graphs import MAX_GRAPHS, GraphCache, _time_kernels
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.inference.tiles import Grid
from lfdn_video.media import Colour
from lfdn_video.options import InferenceOptions, ResolvedPrecision
from tests.support.fakes import brighten, identity, noise_frames, video_info
from tests.support.memory import MemoryPeak
from tests.support.recording import FakeRecorder, record_shapes

CPU = torch.device("cpu")
GPU = torch.device("cuda")
TINY = LFDNConfig(widths=(6, 6, 6, 8, 10))


def double(inputs: Sequence[Tensor]) -> tuple[Tensor]:
    return (inputs[0] * 2,)


def make_cache(recorder: FakeRecorder, *, has_memory: bool = True) -> GraphCache:
    return GraphCache(recorder, has_memory=lambda _: has_memory)


def run_sizes(cache: GraphCache, sides: list[int]) -> None:
    for side in sides:
        batch = torch.rand(1, 3, side, side)
        (found,) = cache.run(double, (batch,), px=batch.numel())
        assert torch.equal(found, batch * 2)


def test_second_batch_of_a_shape_is_recorded() -> None:
    cache = make_cache(recorder := FakeRecorder())
    run_sizes(cache, [8, 16, 8, 16])  # no two in a row
    assert recorder.recordings == 0
    run_sizes(cache, [16, 16, 16])
    assert (recorder.recordings, cache.replays) == (1, 3)


def test_streams_in_turn_have_a_graph_each() -> None:
    cache = GraphCache(recorder := FakeRecorder(), has_memory=lambda _: True, streams=3)
    run_sizes(cache, [8, 16, 24] * 4)
    assert (recorder.recordings, len(cache)) == (3, 3)
    more = GraphCache(recorder := FakeRecorder(), has_memory=lambda _: True, streams=2)
    run_sizes(more, [8, 16, 24] * 4)  # they would push each other out
    assert recorder.recordings == 0


def test_functions_of_other_keys_are_recorded_apart() -> None:
    cache = make_cache(recorder := FakeRecorder())
    batch = torch.rand(1, 3, 8, 8)
    for _ in range(3):
        assert torch.equal(cache.run(double, (batch,), px=64, key=("double",))[0], batch * 2)
    for _ in range(3):
        assert torch.equal(
            cache.run(lambda x: (x[0] + 1,), (batch,), px=64, key=("next",))[0], batch + 1
        )
    assert recorder.recordings == 2


def test_few_graphs_are_kept() -> None:
    cache = make_cache(FakeRecorder())
    for side in (8, 16, 24, 32, 40):
        run_sizes(cache, [side] * 3)
    assert len(cache) == MAX_GRAPHS
    run_sizes(cache, [40, 32, 40])
    assert cache.replays == 5 * 2 + 3


def test_result_stays_when_the_next_batch_is_replayed() -> None:
    cache = make_cache(FakeRecorder())
    batches = [torch.rand(1, 3, 8, 8) for _ in range(5)]
    found = [cache.run(double, (batch,), px=batch.numel())[0] for batch in batches]
    assert all(torch.equal(a, b * 2) for a, b in zip(found, batches, strict=True))


@pytest.mark.parametrize(
    ("problem", "has_memory", "said"),
    [
        (RuntimeError("operation not permitted\nat line 3"), True, "operation not permitted"),
        (torch.OutOfMemoryError("Tried to allocate 9 GiB"), True, "too little memory"),
        (None, False, "too little memory"),
    ],
)
def test_what_cannot_be_recorded_runs_without_a_graph(
    problem: Exception | None, *, has_memory: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = FakeRecorder(problem)
    cache = make_cache(recorder, has_memory=has_memory)
    run_sizes(cache, [8] * 6)
    assert (cache.replays, len(cache)) == (0, 0)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"192 px at a time: no CUDA graph ({said}); continuing without, slower"
    assert recorder.frees == isinstance(problem, torch.OutOfMemoryError)


def test_shortage_without_a_graph_drops_those_of_other_shapes() -> None:
    cache = make_cache(recorder := FakeRecorder())
    run_sizes(cache, [8, 8])

    def short_of_memory(inputs: Sequence[Tensor]) -> tuple[Tensor]:
        if len(cache):
            raise torch.OutOfMemoryError("Tried to allocate 9 GiB")
        return double(inputs)

    batch = torch.rand(1, 3, 16, 16)
    assert torch.equal(cache.run(short_of_memory, (batch,), px=256)[0], batch * 2)
    assert recorder.frees == 1


def test_shortage_without_any_graph_is_raised() -> None:
    def fail(_: Sequence[Tensor]) -> tuple[Tensor]:
        raise torch.OutOfMemoryError("Tried to allocate 9 GiB")

    with pytest.raises(torch.OutOfMemoryError):
        make_cache(FakeRecorder()).run(fail, (torch.rand(1, 3, 8, 8),), px=64)


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: (x * float(x.mean()),),
        lambda x: (x[x > 0.5],),
        lambda x: (x + torch.tensor([1.0, 2.0]),),
        lambda x: (x + torch.rand_like(x),),
        lambda x: (x if x.isfinite().all() else x * 0,),
    ],
)
def test_fake_refuses_what_a_graph_cannot_hold(waits: Callable[[Tensor], tuple[Tensor]]) -> None:
    with pytest.raises(RuntimeError, match=r"waits for|random|float64"):
        FakeRecorder().record(lambda: waits(torch.rand(2, 2)))


@pytest.mark.parametrize("config", [LFDNConfig(blocks=2), NETWORKS["lite"]])
@pytest.mark.parametrize("size", [(32, 48), (33, 50)])
@torch.inference_mode()
def test_network_can_be_recorded(config: LFDNConfig, size: tuple[int, int]) -> None:
    """No wait, no memory of the host, and the same operations for any content."""
    network = optimize_for_cuda(LFDN(config).eval())
    batch = torch.rand(1, 3, *size)
    expected = network(batch).clone()  # the first call builds the padded kernels
    recording = FakeRecorder().record(lambda: (network(batch),))
    for content in (torch.rand(1, 3, *size), torch.zeros(1, 3, *size), batch.clone()):
        batch.copy_(content)
        recording.replay()
    assert torch.equal(recording.results[0], expected)
    shapes = record_shapes(lambda: network(batch))
    batch.zero_()
    assert record_shapes(lambda: network(batch)) == shapes


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gbrap", "gray"])
@pytest.mark.parametrize("tile_px", [512, 96])
@torch.inference_mode()
def test_planes_and_tiles_do_not_wait_for_the_gpu(name: str, tile_px: int) -> None:
    """Conversions, split and merge are not recorded, but run while the GPU works."""
    info = video_info(name, height=160, width=120, rotation=90)
    converter = PlaneConverter(info)
    grid = Grid(120, 160, tile_px=tile_px, overlap_px=16)
    planes = [torch.from_numpy(plane) for plane in noise_frames(info, 1)[0].planes]

    def restore_one() -> None:
        tiles = grid.split(converter.to_rgb(planes))
        converter.add_residual(planes, grid.merge([tile * 0 for tile in tiles]))

    restore_one()  # weights of the tiles are made once
    record_shapes(restore_one)


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("options", [InferenceOptions(), InferenceOptions(tile=80, overlap_px=8)])
def test_replayed_batches_restore_like_the_cpu(
    options: InferenceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 1 << 30)
    info = video_info(height=96, width=144)
    network = LFDN(TINY).eval()
    frames = noise_frames(info, 20)
    restored = {}
    for runner in (CudaRunner(optimize_for_cuda(network), CPU), CpuRunner(network)):
        done = restore_frames(iter(frames), PlaneConverter(info), runner, options)
        restored[type(runner)] = [frame.planes for frame in done]
        if isinstance(runner, CudaRunner):
            assert runner._graphs.replays >= 1
        runner.close()
    for after, expected in zip(restored[CudaRunner], restored[CpuRunner], strict=True):
        for a, b in zip(after, expected, strict=True):
            assert np.abs(a.astype(int) - b.astype(int)).max() <= 1  # a sum near n + ½


@pytest.mark.usefixtures("fake_cuda")
def test_whole_frames_that_overflow_are_redone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where planes, network and planes are one graph; and the next ones are not."""
    monkeypatch.setattr("lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 1 << 30)

    def overflow_in_half(batch: Tensor) -> Tensor:
        too_bright = torch.where(batch.mean() > 0.9, torch.inf, 0.0)
        return batch + (too_bright if torch.is_autocast_enabled("cpu") else 0)

    info = video_info("gray", height=16, width=16)
    frames = [
        replace(frame, planes=(np.full((16, 16), 250 if number == 4 else 100, np.uint8),))
        for number, frame in enumerate(noise_frames(info, 8))
    ]
    runner = CudaRunner(overflow_in_half, CPU, precision="float16")
    options = InferenceOptions(batch=1)
    restored = restore_frames(iter(frames), PlaneConverter(info), runner, options)
    for after, before in zip(restored, frames, strict=True):
        assert np.array_equal(after.planes[0], before.planes[0])
    assert (runner.redone_batches, runner._graphs.replays) == (1, 7)


@pytest.mark.usefixtures("fake_cuda")
def test_frames_of_another_format_do_not_share_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their planes have equal sizes, and another range."""
    monkeypatch.setattr("lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 1 << 30)
    infos = [video_info(colour=Colour(range=each)) for each in (1, 2)]
    frames = [
        replace(frame, info=infos[number // 4 % 2])
        for number, frame in enumerate(noise_frames(infos[0], 16))
    ]
    restored = {}
    for runner in (CudaRunner(brighten(0.1), CPU), CpuRunner(brighten(0.1))):
        options = InferenceOptions(batch=1)
        done = restore_frames(iter(frames), PlaneConverter(infos[0]), runner, options)
        restored[type(runner)] = [frame.planes for frame in done]
        if isinstance(runner, CudaRunner):
            assert runner._graphs.replays == 16 - 2  # all but the first of each
        runner.close()
    for after, expected in zip(restored[CudaRunner], restored[CpuRunner], strict=True):
        assert all(map(np.array_equal, after, expected))


@pytest.mark.usefixtures("fake_cuda")
def test_failed_recording_costs_one_line_and_no_frame(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 1 << 30)
    recorder = FakeRecorder(RuntimeError("operation not permitted"))
    monkeypatch.setattr(cuda, "_new_recorder", lambda *_: recorder)
    info = video_info()
    runner = CudaRunner(brighten(0.1), CPU)
    options = InferenceOptions(batch=1)
    with caplog.at_level(logging.WARNING):
        assert (
            len(list(restore_frames(noise_frames(info, 9), PlaneConverter(info), runner, options)))
            == 9
        )
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float32, "float32"), (torch.bfloat16, "float16")]
)
@torch.inference_mode()
def test_memory_estimate_holds(dtype: torch.dtype, precision: ResolvedPrecision) -> None:
    """At least as much per pixel as the network and its residual take, and not twice as much."""
    height, width = 320, 640  # per pixel, 1280×720 takes the same
    form = PaddedLFDN(LFDN().eval(), dtype)
    image = torch.rand(1, 3, height, width)
    with MemoryPeak() as found:
        restored = form(image)
        restored.clamp(0, 1).sub_(image)
    # A constant number of products, which larger images share among more pixels.
    constant = GRAM_CHUNKS * 128 * 128 * 4 * 2
    needed = (found.peak - constant) / (height * width)
    assert needed <= CUDA_BYTES_PER_PX[precision] <= 2.5 * needed


@pytest.mark.parametrize("half", [True, False])
def test_kernels_are_timed_apart_from_choices_by_rule(*, half: bool) -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.benchmark, cudnn.allow_tf32)
    with _time_kernels(half=half):
        assert (cudnn.benchmark, cudnn.allow_tf32) == (True, before[1] and not half)
    assert (cudnn.benchmark, cudnn.allow_tf32) == before


def _restore(engine: Engine, count: int, *, height: int = 96, width: int = 160) -> int:
    """Restore noise with a network that changes nothing; return the number of wrong planes."""
    info = video_info(height=height, width=width)
    frames = noise_frames(info, count)
    restored = restore_frames(iter(frames), PlaneConverter(info), engine)
    return sum(
        not np.array_equal(a, b)
        for after, before in zip(restored, frames, strict=True)
        for a, b in zip(after.planes, before.planes, strict=True)
    )


def _graphs(engine: Engine) -> GraphCache:
    assert isinstance(engine._runner, CudaRunner)
    return engine._runner._graphs


@pytest.mark.needs_cuda
def test_one_cuda_graph_restores_300_frames() -> None:
    with Engine(identity, device=GPU, precision="float16") as engine:
        assert _restore(engine, 300) == 0
        assert _graphs(engine).replays >= 300 / 8 - 3
        assert len(_graphs(engine)) == 1


@pytest.mark.needs_cuda
def test_sizes_may_change_under_cuda_graphs() -> None:
    with Engine(identity, device=GPU, precision="float16") as engine:
        for height, width in [(96, 160), (64, 64), (96, 160), (130, 78), (64, 64)]:
            assert _restore(engine, 40, height=height, width=width) == 0
        assert len(_graphs(engine)) <= MAX_GRAPHS


@pytest.mark.needs_cuda
def test_replayed_network_agrees_with_the_eager_one() -> None:
    """Also with each content: the kernels of ALFM and of the blocks depend on the image."""
    network = optimize_for_cuda(LFDN().eval()).cuda()
    with Engine(network, device=GPU, precision="float16") as engine:
        for number in range(12):
            batch = torch.rand(1, 3, 144, 256, device=GPU) * (number + 1) / 12
            torch.cuda.synchronize()  # the engine's stream does not wait for this one
            found = engine.compute_residual(batch).result()
            torch.cuda.synchronize()
            with torch.inference_mode(), torch.autocast("cuda", torch.float16):
                expected = network(batch).float().clamp(0, 1) - batch
            torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        assert _graphs(engine).replays == 11


@pytest.mark.needs_cuda
def test_network_that_waits_on_cuda_runs_without_a_graph(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def waits(batch: Tensor) -> Tensor:
        return batch + (0 if batch.isfinite().all() else 1)

    with Engine(waits, device=GPU) as engine:
        assert _restore(engine, 40) == 0
        assert _graphs(engine).replays == 0
    assert len([r for r in caplog.records if "no CUDA graph" in r.getMessage()]) == 1


@pytest.mark.needs_cuda
def test_memory_that_runs_out_while_recording_costs_no_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def greedy(batch: Tensor) -> Tensor:
        if torch.cuda.is_current_stream_capturing():
            batch = batch + torch.empty(1 << 45, dtype=torch.uint8, device=GPU)[0]
        return batch

    with Engine(greedy, device=GPU) as engine:
        assert _restore(engine, 40) == 0
    assert any("no CUDA graph (too little memory)" in r.getMessage() for r in caplog.records)


@pytest.mark.needs_cuda
def test_two_engines_share_a_gpu() -> None:
    """Their batches alternate, each with its own graph and streams."""
    with (
        Engine(lambda x: x + 0.25, device=GPU) as first,
        Engine(lambda x: x - 0.25, device=GPU) as second,
    ):
        batch = torch.full((1, 3, 64, 64), 0.5, device=GPU)
        torch.cuda.synchronize()
        found = [
            (first.compute_residual(batch).result(), second.compute_residual(batch).result())
            for _ in range(20)
        ]
        torch.cuda.synchronize()
        assert all(bool((a == 0.25).all()) and bool((b == -0.25).all()) for a, b in found)
        assert _graphs(first).replays == _graphs(second).replays == 19
