"""The device: what goes up comes down, half precision is watched, slots wait for their copies."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn import LFDN, LFDNConfig
from lfdn.weights import save_weights
from lfdn_video.errors import DeviceError, OptionError, WeightsError
from lfdn_video.inference import engine as engine_module
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import (
    Engine,
    Layout,
    SlotRing,
    available_devices,
    choose_device,
    choose_precision,
    load_engine,
)
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.options import InferenceOptions
from tests.support.fakes import (
    brighten,
    identity,
    identity_engine,
    noise_frames,
    noise_planes,
    video_info,
)

CPU = torch.device("cpu")
TINY = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


def _overflow_in_half(batch: Tensor) -> Tensor:
    """A network that only float32 can hold."""
    halved = torch.is_autocast_enabled(batch.device.type)
    return batch + float("inf") if halved else batch * 0.5


@pytest.fixture
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_free_bytes", lambda _: 500 << 20)


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gray", "gbrp16le"])
def test_what_goes_up_comes_down(name: str) -> None:
    planes, engine = noise_planes(video_info(name, height=47)), identity_engine()
    after = engine.download(engine.upload(planes)).result()
    assert all(np.array_equal(a, b) for a, b in zip(after, planes, strict=True))


def test_types_are_kept() -> None:
    engine = identity_engine()
    planes = noise_planes(video_info("yuv420p10le"))
    assert {a.dtype for a in engine.download(engine.upload(planes)).result()} == {
        np.dtype(np.uint16)
    }


def test_an_array_that_must_not_be_written_to_is_taken() -> None:
    (plane,) = noise_planes(video_info("gray"))
    plane.flags.writeable = False
    assert np.array_equal(identity_engine().upload([plane])[0].numpy(), plane)


def test_a_network_that_changes_nothing_has_no_residual() -> None:
    batch = torch.rand(2, 3, 16, 16)
    assert identity_engine().residual(batch).result().count_nonzero() == 0


def test_the_residual_is_what_the_network_changes() -> None:
    batch = torch.rand(2, 3, 16, 16) * 0.5
    residual = Engine(brighten(0.25)).residual(batch).result()
    torch.testing.assert_close(residual, torch.full_like(batch, 0.25))


def test_the_restored_picture_does_not_leave_the_range() -> None:
    batch = torch.full((1, 3, 16, 16), 0.9)
    residual = Engine(brighten(0.25)).residual(batch).result()
    torch.testing.assert_close(residual, torch.full_like(batch, 0.1))


def test_the_input_is_left_as_it_was() -> None:
    batch = torch.rand(1, 3, 16, 16)
    before = batch.clone()
    Engine(brighten(0.25)).residual(batch).result()
    assert batch.equal(before)


def test_the_network_runs_in_eval_mode() -> None:
    network = LFDN(TINY).train()
    Engine(network)
    assert not network.training


def test_the_residual_is_that_of_the_network_itself() -> None:
    network, batch = LFDN(TINY).eval(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = network(batch).clamp(0, 1) - batch
    residual = Engine(network).residual(batch).result()
    torch.testing.assert_close(residual, expected, atol=1e-6, rtol=0)


def test_bfloat16_does_not_round_the_picture_itself() -> None:
    network, batch = LFDN(TINY), torch.rand(1, 3, 32, 48)
    for parameter in network.decoder[3].parameters():
        torch.nn.init.zeros_(parameter)
    residual = Engine(network, precision="bfloat16").residual(batch).result()
    assert (residual.dtype, int(residual.count_nonzero())) == (torch.float32, 0)


def test_what_half_precision_cannot_hold_is_done_again() -> None:
    engine, batch = Engine(_overflow_in_half, precision="bfloat16"), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(engine.residual(batch).result(), batch * -0.5)
    assert engine.redone_batches == 1


def test_doing_it_again_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    engine, batch = Engine(_overflow_in_half, precision="bfloat16"), torch.rand(1, 3, 16, 16)
    for _ in range(3):
        engine.residual(batch).result()
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_network_that_is_never_finite_is_refused(value: float) -> None:
    residual = Engine(brighten(value)).residual(torch.rand(1, 3, 16, 16))
    with pytest.raises(WeightsError, match="not finite"):
        residual.result()


def test_no_gradient_is_kept() -> None:
    residual = Engine(LFDN(TINY)).residual(torch.rand(1, 3, 16, 16)).result()
    assert not residual.requires_grad


def test_running_out_of_memory_says_what_helps() -> None:
    def network(batch: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore.")

    with pytest.raises(DeviceError, match=r"9 GiB.*smaller tiles"):
        Engine(network).residual(torch.rand(1, 3, 16, 16))


def test_an_allocation_the_system_refuses_says_what_helps() -> None:
    with pytest.raises(DeviceError, match="smaller tiles"):
        Engine(lambda batch: batch.new_empty(1 << 60)).residual(torch.rand(1, 3, 16, 16))


def test_other_errors_of_a_network_pass_through() -> None:
    with pytest.raises(RuntimeError, match="must match"):
        Engine(lambda batch: batch + torch.ones(7)).residual(torch.rand(1, 3, 16, 16))


def test_a_full_hd_picture_is_taken_whole() -> None:
    assert identity_engine().choose_tile_px(1080, 1920) is None


def test_a_larger_picture_is_cut() -> None:
    assert identity_engine().choose_tile_px(2160, 3840) == engine_module.AUTO_TILE_PX["cpu"]


@pytest.mark.usefixtures("_little_memory")
def test_what_does_not_fit_the_memory_is_cut() -> None:
    tile_px = identity_engine().choose_tile_px(1080, 1920)
    assert tile_px is not None
    assert tile_px**2 * engine_module.NETWORK_BYTES_PER_PX["float32"] <= 250 << 20


def test_a_cpu_takes_one_tile_at_a_time() -> None:
    assert identity_engine().choose_batch(64, 64) == 1


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu;", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="none of auto, cpu, cuda, cuda:N, mps"):
        choose_device(name)


def test_a_missing_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="cuda: no CUDA device"):
        choose_device("cuda")


def test_a_device_beyond_the_last_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="cuda:2: no such device; there are cuda:0 to cuda:1"):
        choose_device("cuda:2")


def test_auto_is_the_first_device_there_is() -> None:
    assert str(choose_device("auto")) == available_devices()[0].name


def test_the_cpu_is_always_there() -> None:
    assert available_devices()[-1].name == "cpu"


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cuda", "float16"),
        ("bfloat16", "cpu", "bfloat16"),
        ("float32", "cuda", "float32"),
    ],
)
def test_precision_fits_the_device(name: str, device: str, expected: str) -> None:
    assert choose_precision(name, torch.device(device)) == expected


def test_float16_is_not_for_the_cpu() -> None:
    with pytest.raises(OptionError, match="use float32 or bfloat16"):
        choose_precision("float16", CPU)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'int4' is none of auto, float32, .*, int8"):
        choose_precision("int4", CPU)


def test_missing_weights_are_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_engine("derain", weights=tmp_path / "absent.safetensors")


def test_weights_of_another_task_are_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rain.safetensors"
    save_weights(LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)), path, task="derain")
    load_engine("deblur", weights=path).close()
    assert "was trained to derain, and is used to deblur" in caplog.text


def test_a_missing_device_is_noticed_before_weights_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        load_engine("derain", weights=tmp_path / "absent", options=InferenceOptions(device="cuda"))


def test_closing_twice_is_harmless() -> None:
    engine = identity_engine()
    engine.close()
    engine.close()


@dataclass
class _Event:
    """A copy that is over when somebody waits for it."""

    log: list[str] = field(default_factory=list)

    def record(self, stream: object, /) -> None:
        self.log.append("record")

    def wait(self, stream: object, /) -> None:
        self.log.append("wait")

    def synchronize(self) -> None:
        self.log.append("synchronize")


def _buffer(size_bytes: int) -> Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8)


def _ring(count: int, *, allocate: Callable[[int], Tensor] = _buffer) -> SlotRing:
    return SlotRing(count, allocate=allocate, new_event=_Event)


def test_a_slot_is_refilled_only_after_its_event() -> None:
    ring = _ring(1)
    slot = ring.take(8)
    slot.event.record(None)
    ring.give_back(slot)
    again = ring.take(8)
    assert again is slot
    assert isinstance(slot.event, _Event)
    assert slot.event.log == ["record", "synchronize"]


def test_slots_are_taken_in_turn() -> None:
    ring = _ring(3)
    seen = []
    for _ in range(7):
        slot = ring.take(8)
        seen.append(id(slot))
        ring.give_back(slot)
    assert seen == seen[:3] * 2 + seen[:1]


def test_the_ring_does_not_grow_while_slots_come_back() -> None:
    ring = _ring(2)
    for _ in range(10):
        ring.give_back(ring.take(8))
    assert len(ring) == 2


def test_a_slot_in_use_is_never_given_out() -> None:
    ring = _ring(1)
    slots = [ring.take(8) for _ in range(4)]
    assert len({id(slot) for slot in slots}) == 4


def test_a_slot_grows_with_its_frames() -> None:
    ring = _ring(1)
    ring.give_back(ring.take(8))
    assert len(ring.take(1000).buffer) >= 1000


def test_a_buffer_is_allocated_once() -> None:
    sizes: list[int] = []
    ring = _ring(2, allocate=lambda size: sizes.append(size) or _buffer(size))  # type: ignore[func-returns-value]  # append's None is what makes this short
    for _ in range(9):
        ring.give_back(ring.take(64))
    assert sizes == [64, 64]


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gray", "gbrp16le"])
def test_planes_packed_into_a_buffer_come_out_again(name: str) -> None:
    planes = [torch.from_numpy(plane) for plane in noise_planes(video_info(name, height=47))]
    layout = Layout.of([plane.dtype for plane in planes], planes)
    views = layout.views(_buffer(layout.size_bytes))
    for view, plane in zip(views, planes, strict=True):
        view.copy_(plane)
    assert all(view.equal(plane) for view, plane in zip(views, planes, strict=True))


def test_a_single_flag_can_be_packed() -> None:
    layout = Layout.of([torch.bool], [torch.tensor(True)])
    assert layout.views(_buffer(layout.size_bytes))[0].shape == ()


class _Stream:
    """A stream that has nothing to do."""

    def wait_stream(self, other: object) -> None: ...

    def synchronize(self) -> None: ...


@pytest.fixture
def cuda_events(monkeypatch: pytest.MonkeyPatch) -> list[_Event]:
    """Lets the code for CUDA run on the CPU; gives the events it makes."""
    events: list[_Event] = []

    def new_event() -> _Event:
        events.append(_Event())
        return events[-1]

    monkeypatch.setattr(engine_module, "_stream", lambda _: _Stream())
    monkeypatch.setattr(engine_module, "_event", new_event)
    monkeypatch.setattr(engine_module, "_pinned", _buffer)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    return events


@pytest.mark.usefixtures("cuda_events")
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gbrap"])
def test_planes_pass_the_slots_unharmed(name: str) -> None:
    transfers = engine_module._Streamed(CPU)
    sent = [noise_planes(video_info(name, height=47), seed) for seed in range(9)]
    pending = [transfers.download(transfers.upload(planes)) for planes in sent]
    for after, before in zip((each.result() for each in pending), sent, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.usefixtures("cuda_events")
def test_a_download_is_the_callers_own() -> None:
    transfers = engine_module._Streamed(CPU)
    first, second = (transfers.upload(noise_planes(video_info("gray"), seed)) for seed in (1, 2))
    (kept,) = transfers.download(first).result()
    before = kept.copy()
    transfers.download(second).result()
    assert np.array_equal(kept, before)


def test_the_network_waits_for_the_upload(cuda_events: list[_Event]) -> None:
    engine_module._Streamed(CPU).upload(noise_planes(video_info("gray")))
    assert cuda_events[0].log == ["record", "wait"]


def test_an_array_is_read_after_the_event_of_its_copy(cuda_events: list[_Event]) -> None:
    transfers = engine_module._Streamed(CPU)
    transfers.download((torch.zeros(4, 4),)).result()
    assert cuda_events[0].log == ["record", "synchronize"]


def test_uploads_take_turns_among_a_fixed_number_of_slots(cuda_events: list[_Event]) -> None:
    transfers = engine_module._Streamed(CPU)
    for seed in range(20):
        transfers.upload(noise_planes(video_info("gray"), seed))
    assert len(cuda_events) == engine_module.UPLOAD_SLOTS


@pytest.mark.needs_cuda
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gbrp16le"])
def test_every_frame_keeps_its_bits_through_cuda(name: str) -> None:
    info = video_info(name, height=480, width=854)
    frames = noise_frames(info, 24)
    with Engine(identity, device=torch.device("cuda"), precision="float16") as engine:
        restored = list(restore_frames(frames, PlaneConverter(info), engine))
    for after, before in zip(restored, frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(after.planes, before.planes, strict=True))


@pytest.mark.needs_cuda
def test_arrays_may_be_overwritten_once_they_are_uploaded() -> None:
    plane = np.zeros((1080, 1920), np.uint8)
    with Engine(identity, device=torch.device("cuda")) as engine:
        uploaded = []
        for value in range(20):
            plane[:] = value
            uploaded.append(engine.upload([plane]))
        pending = [engine.download(planes) for planes in uploaded]
        assert [int(each.result()[0].max()) for each in pending] == list(range(20))


@pytest.mark.needs_cuda
def test_cuda_agrees_with_the_cpu() -> None:
    network, batch = LFDN(TINY), torch.rand(2, 3, 64, 96)
    expected = Engine(network).residual(batch).result().clone()
    with Engine(network, device=torch.device("cuda")) as engine:
        residual = engine.residual(batch.cuda()).result()
        (after,) = engine.download((residual,)).result()
    # Convolutions run in TF32, with 10 bits of mantissa.
    torch.testing.assert_close(torch.from_numpy(after), expected, atol=2e-3, rtol=0)


@pytest.mark.needs_cuda
def test_half_precision_is_watched_on_cuda() -> None:
    batch = torch.rand(1, 3, 16, 16).cuda()
    with Engine(_overflow_in_half, device=batch.device, precision="float16") as engine:
        residual = engine.residual(batch).result()
        torch.cuda.synchronize()
        torch.testing.assert_close(residual, batch * -0.5)


@pytest.mark.needs_cuda
def test_the_current_stream_is_left_alone() -> None:
    before = torch.cuda.current_stream()
    with Engine(identity, device=torch.device("cuda")) as engine:
        engine.residual(torch.rand(1, 3, 16, 16).cuda()).result()
        assert torch.cuda.current_stream() == before
