"""The engine: residuals, half precision that overflows, sizes that fit the memory, loading."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn import LFDN, LFDNConfig
from lfdn.config import NETWORKS, NetworkName
from lfdn.weights import file_sha256, find_packaged, save_weights
from lfdn_video.errors import DeviceError, OptionError, WeightsError
from lfdn_video.inference import device_runner
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.cpu import CpuRunner
from lfdn_video.inference.cuda import CudaRunner
from lfdn_video.inference.engine import Engine, identify_weights, load_engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.options import InferenceOptions
from tests.support.fakes import brighten, identity, identity_engine, noise_frames, video_info

CPU = torch.device("cpu")
TINY = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


def _overflow_in_half(batch: Tensor) -> Tensor:
    """A network that overflows in half precision and halves its input in float32."""
    halved = torch.is_autocast_enabled(batch.device.type)
    return batch + float("inf") if halved else batch * 0.5


@pytest.fixture
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_runner, "free_system_bytes", lambda: 500 << 20)


def test_identity_network_has_no_residual() -> None:
    batch = torch.rand(2, 3, 16, 16)
    assert identity_engine().compute_residual(batch).result().count_nonzero() == 0


def test_residual_is_the_output_minus_the_input() -> None:
    batch = torch.rand(2, 3, 16, 16) * 0.5
    residual = Engine(brighten(0.25)).compute_residual(batch).result()
    torch.testing.assert_close(residual, torch.full_like(batch, 0.25))


def test_restored_frame_is_clamped_to_the_range() -> None:
    batch = torch.full((1, 3, 16, 16), 0.9)
    residual = Engine(brighten(0.25)).compute_residual(batch).result()
    torch.testing.assert_close(residual, torch.full_like(batch, 0.1))


def test_input_is_not_modified() -> None:
    batch = torch.rand(1, 3, 16, 16)
    before = batch.clone()
    Engine(brighten(0.25)).compute_residual(batch).result()
    assert batch.equal(before)


def test_network_is_put_in_eval_mode() -> None:
    network = LFDN(TINY).train()
    Engine(network)
    assert not network.training


def test_residual_equals_that_of_the_bare_network() -> None:
    network, batch = LFDN(TINY).eval(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = network(batch).clamp(0, 1) - batch
    residual = Engine(network).compute_residual(batch).result()
    torch.testing.assert_close(residual, expected, atol=1e-6, rtol=0)


def test_bfloat16_does_not_round_the_input() -> None:
    network, batch = LFDN(TINY), torch.rand(1, 3, 32, 48)
    for parameter in network.decoder[3].parameters():
        torch.nn.init.zeros_(parameter)
    residual = Engine(network, precision="bfloat16").compute_residual(batch).result()
    assert (residual.dtype, int(residual.count_nonzero())) == (torch.float32, 0)


def test_batch_that_overflows_in_half_precision_is_redone_in_float32() -> None:
    engine, batch = Engine(_overflow_in_half, precision="bfloat16"), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(engine.compute_residual(batch).result(), batch * -0.5)
    assert engine.redone_batches == 1


def test_redoing_batches_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    engine, batch = Engine(_overflow_in_half, precision="bfloat16"), torch.rand(1, 3, 16, 16)
    for _ in range(3):
        engine.compute_residual(batch).result()
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_network_that_is_never_finite_is_refused(value: float) -> None:
    residual = Engine(brighten(value)).compute_residual(torch.rand(1, 3, 16, 16))
    with pytest.raises(WeightsError, match="not finite"):
        residual.result()


def test_residual_has_no_gradient() -> None:
    residual = Engine(LFDN(TINY)).compute_residual(torch.rand(1, 3, 16, 16)).result()
    assert not residual.requires_grad


def test_running_out_of_memory_says_what_helps() -> None:
    def network(batch: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore.")

    with pytest.raises(DeviceError, match=r"9 GiB.*smaller tiles"):
        Engine(network).compute_residual(torch.rand(1, 3, 16, 16))


def test_allocation_the_system_refuses_says_what_helps() -> None:
    with pytest.raises(DeviceError, match="smaller tiles"):
        Engine(lambda batch: batch.new_empty(1 << 60)).compute_residual(torch.rand(1, 3, 16, 16))


def test_other_errors_of_a_network_pass_through() -> None:
    with pytest.raises(RuntimeError, match="must match"):
        Engine(lambda batch: batch + torch.ones(7)).compute_residual(torch.rand(1, 3, 16, 16))


def test_full_hd_frame_is_not_split() -> None:
    assert identity_engine().choose_tile_px(1080, 1920) is None


def test_larger_frame_is_split() -> None:
    assert identity_engine().choose_tile_px(2160, 3840) == CpuRunner.max_auto_tile_px


@pytest.mark.usefixtures("_little_memory")
def test_frame_that_does_not_fit_in_memory_is_split() -> None:
    tile_px = identity_engine().choose_tile_px(1080, 1920)
    assert tile_px is not None
    assert tile_px**2 * device_runner.NETWORK_BYTES_PER_PX["float32"] <= 250 << 20


def test_cpu_runs_one_tile_at_a_time() -> None:
    assert identity_engine().choose_batch(64, 64) == 1


@pytest.mark.usefixtures("fake_cuda")
def test_gpu_batches_as_many_tiles_as_fit_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_per_px = device_runner.NETWORK_BYTES_PER_PX["float16"]
    monkeypatch.setattr(
        "lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 2 * 5 * 64 * 64 * bytes_per_px
    )
    runner = CudaRunner(identity, CPU, precision="float16")
    assert [runner.choose_batch(side, side) for side in (32, 64, 128)] == [8, 5, 1]


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gbrap"])
def test_runner_for_cuda_restores_frames_like_the_one_for_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fake streams, on the CPU."""
    monkeypatch.setattr("lfdn_video.inference.cuda.free_cuda_bytes", lambda _: 1 << 30)
    info = video_info(name)
    restored = {}
    for runner in (CudaRunner(brighten(0.1), CPU), CpuRunner(brighten(0.1))):
        frames = restore_frames(noise_frames(info, 11), PlaneConverter(info), runner)
        restored[type(runner)] = [(frame.pts, frame.planes) for frame in frames]
        runner.close()
    pairs = zip(restored[CudaRunner], restored[CpuRunner], strict=True)
    for (pts, planes), (expected_pts, expected_planes) in pairs:
        assert pts == expected_pts
        assert all(map(np.array_equal, planes, expected_planes))


def test_missing_weights_raise_our_own_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_engine("derain", weights=tmp_path / "absent.safetensors")


def test_weights_of_another_task_are_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rain.safetensors"
    save_weights(LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)), path, task="derain")
    load_engine("deblur", weights=path).close()
    assert "was trained to derain but is used to deblur" in caplog.text


def test_missing_device_is_noticed_before_weights_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        load_engine("derain", weights=tmp_path / "absent", options=InferenceOptions(device="cuda"))


def test_engine_can_be_closed_twice() -> None:
    engine = identity_engine()
    engine.close()
    engine.close()


@pytest.mark.needs_cuda
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gbrp16le"])
def test_frames_keep_every_bit_through_cuda(name: str) -> None:
    info = video_info(name, height=480, width=854)
    frames = noise_frames(info, 24)
    with Engine(identity, device=torch.device("cuda"), precision="float16") as engine:
        restored = list(restore_frames(frames, PlaneConverter(info), engine))
    for after, before in zip(restored, frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(after.planes, before.planes, strict=True))


@pytest.mark.needs_cuda
def test_cuda_agrees_with_the_cpu() -> None:
    network, batch = LFDN(TINY), torch.rand(2, 3, 64, 96)
    expected = Engine(network).compute_residual(batch).result().clone()
    with Engine(network, device=torch.device("cuda")) as engine:
        residual = engine.compute_residual(batch.cuda()).result()
        (after,) = engine.download((residual,)).result()
    # Convolutions run in TF32, with 10 bits of mantissa.
    torch.testing.assert_close(torch.from_numpy(after), expected, atol=2e-3, rtol=0)


@pytest.mark.needs_cuda
def test_batch_that_overflows_on_cuda_is_redone_in_float32() -> None:
    batch = torch.rand(1, 3, 16, 16).cuda()
    with Engine(_overflow_in_half, device=batch.device, precision="float16") as engine:
        residual = engine.compute_residual(batch).result()
        torch.cuda.synchronize()
        torch.testing.assert_close(residual, batch * -0.5)


@pytest.mark.needs_cuda
def test_current_cuda_stream_is_left_alone() -> None:
    before = torch.cuda.current_stream()
    with Engine(identity, device=torch.device("cuda")) as engine:
        engine.compute_residual(torch.rand(1, 3, 16, 16).cuda()).result()
        assert torch.cuda.current_stream() == before


def test_network_of_the_weights_file_runs_whatever_its_shape(tmp_path: Path) -> None:
    save_weights(LFDN(NETWORKS["lite"]), path := tmp_path / "lite.safetensors", task="derain")
    for options in (InferenceOptions(device="cpu"), InferenceOptions(device="cpu", network="lite")):
        with load_engine("derain", weights=path, options=options) as engine:
            assert engine.compute_residual(torch.rand(1, 3, 16, 16)).result().shape[1] == 3


@pytest.mark.parametrize(("config", "words"), [("lite", "the network lite"), (None, "another")])
def test_weights_of_another_network_are_refused(
    tmp_path: Path, config: NetworkName | None, words: str
) -> None:
    network = LFDN(NETWORKS[config] if config else TINY)
    save_weights(network, path := tmp_path / "some.safetensors", task="derain")
    with pytest.raises(OptionError, match=f"^network: .* holds {words}.*, not full; leave"):
        load_engine("derain", weights=path, options=InferenceOptions(network="full"))


def test_network_without_packaged_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfdn.weights._read_index", dict)
    with pytest.raises(WeightsError, match="derain_lite: no packaged weights"):
        load_engine("derain", options=InferenceOptions(network="lite"))


def test_weights_are_identified_without_being_loaded(tmp_path: Path) -> None:
    packaged = identify_weights("derain", None, "auto")
    assert packaged == file_sha256(find_packaged("derain")[0])
    assert identify_weights("derain", None, "lite") != packaged
    assert identify_weights("derain", find_packaged("derain")[0], "auto") == packaged
    with pytest.raises(WeightsError, match="no such weight file"):
        identify_weights("derain", tmp_path / "none.safetensors", "auto")
