"""Copies to a device and back: planes arrive as they were, and slots wait for their copies."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn_video.inference import transfers
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.transfers import PackedLayout, PinnedCopies, PlainCopies, SlotRing
from tests.inference.conftest import FakeEvent, allocate_buffer
from tests.support.fakes import identity, identity_engine, noise_planes, video_info

CPU = torch.device("cpu")


def _ring(count: int, *, allocate: Callable[[int], Tensor] = allocate_buffer) -> SlotRing:
    return SlotRing(count, allocate=allocate, new_event=FakeEvent)


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gray", "gbrp16le"])
def test_downloaded_planes_equal_the_uploaded_ones(name: str) -> None:
    planes = noise_planes(video_info(name, height=47))
    engine = identity_engine()
    after = engine.download(engine.upload(planes)).result()
    assert all(np.array_equal(a, b) for a, b in zip(after, planes, strict=True))


def test_downloaded_planes_keep_their_types() -> None:
    engine = identity_engine()
    planes = noise_planes(video_info("yuv420p10le"))
    assert {a.dtype for a in engine.download(engine.upload(planes)).result()} == {
        np.dtype(np.uint16)
    }


def test_upload_accepts_a_read_only_array() -> None:
    (plane,) = noise_planes(video_info("gray"))
    plane.flags.writeable = False
    assert np.array_equal(identity_engine().upload([plane])[0].numpy(), plane)


def test_plain_copies_carry_16_bits_as_int32_and_give_uint16_back() -> None:
    (plane,) = noise_planes(video_info("gray10le"))
    copies = PlainCopies(CPU)
    (tensor,) = copies.upload([plane])
    assert tensor.dtype == torch.int32
    (after,) = copies.download((tensor,)).result()
    assert after.dtype == np.uint16
    assert np.array_equal(after, plane)


def test_slot_is_acquired_again_only_after_its_event() -> None:
    ring = _ring(1)
    slot = ring.acquire(8)
    slot.event.record(None)
    ring.release(slot)
    again = ring.acquire(8)
    assert again is slot
    assert isinstance(slot.event, FakeEvent)
    assert slot.event.log == ["record", "synchronize"]


def test_slots_are_acquired_in_turn() -> None:
    ring = _ring(3)
    seen = []
    for _ in range(7):
        slot = ring.acquire(8)
        seen.append(id(slot))
        ring.release(slot)
    assert seen == seen[:3] * 2 + seen[:1]


def test_ring_does_not_grow_while_slots_are_released() -> None:
    ring = _ring(2)
    for _ in range(10):
        ring.release(ring.acquire(8))
    assert len(ring) == 2


def test_slot_in_use_is_never_acquired() -> None:
    ring = _ring(1)
    slots = [ring.acquire(8) for _ in range(4)]
    assert len({id(slot) for slot in slots}) == 4


def test_slot_grows_with_its_frames() -> None:
    ring = _ring(1)
    ring.release(ring.acquire(8))
    assert len(ring.acquire(1000).buffer) >= 1000


def test_buffer_is_allocated_once() -> None:
    sizes: list[int] = []
    ring = _ring(2, allocate=lambda size: sizes.append(size) or allocate_buffer(size))  # type: ignore[func-returns-value]  # append's None is what makes this short
    for _ in range(9):
        ring.release(ring.acquire(64))
    assert sizes == [64, 64]


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gray", "gbrp16le"])
def test_planes_packed_into_a_buffer_are_unpacked_unchanged(name: str) -> None:
    planes = [torch.from_numpy(plane) for plane in noise_planes(video_info(name, height=47))]
    layout = PackedLayout.for_planes([plane.dtype for plane in planes], planes)
    views = layout.views(allocate_buffer(layout.size_bytes))
    for view, plane in zip(views, planes, strict=True):
        view.copy_(plane)
    assert all(view.equal(plane) for view, plane in zip(views, planes, strict=True))


def test_single_flag_can_be_packed() -> None:
    layout = PackedLayout.for_planes([torch.bool], [torch.tensor(True)])
    assert layout.views(allocate_buffer(layout.size_bytes))[0].shape == ()


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gbrap"])
def test_planes_pass_pinned_slots_unchanged(name: str) -> None:
    copies = PinnedCopies(CPU)
    sent = [noise_planes(video_info(name, height=47), seed) for seed in range(9)]
    pending = [copies.download(copies.upload(planes)) for planes in sent]
    for after, before in zip((each.result() for each in pending), sent, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.usefixtures("fake_cuda")
def test_downloaded_array_is_not_overwritten_by_the_next_download() -> None:
    copies = PinnedCopies(CPU)
    first, second = (copies.upload(noise_planes(video_info("gray"), seed)) for seed in (1, 2))
    (kept,) = copies.download(first).result()
    before = kept.copy()
    copies.download(second).result()
    assert np.array_equal(kept, before)


def test_compute_stream_waits_for_the_upload(fake_cuda: list[FakeEvent]) -> None:
    PinnedCopies(CPU).upload(noise_planes(video_info("gray")))
    assert fake_cuda[0].log == ["record", "wait"]


def test_downloaded_array_is_read_after_the_event_of_its_copy(
    fake_cuda: list[FakeEvent],
) -> None:
    copies = PinnedCopies(CPU)
    copies.download((torch.zeros(4, 4),)).result()
    assert fake_cuda[0].log == ["record", "synchronize"]


def test_uploads_use_a_fixed_number_of_slots(fake_cuda: list[FakeEvent]) -> None:
    copies = PinnedCopies(CPU)
    for seed in range(20):
        copies.upload(noise_planes(video_info("gray"), seed))
    assert len(fake_cuda) == transfers.UPLOAD_SLOTS


@pytest.mark.needs_cuda
def test_arrays_may_be_overwritten_after_their_upload_to_cuda() -> None:
    plane = np.zeros((1080, 1920), np.uint8)
    with Engine(identity, device=torch.device("cuda")) as engine:
        uploaded = []
        for value in range(20):
            plane[:] = value
            uploaded.append(engine.upload([plane]))
        pending = [engine.download(planes) for planes in uploaded]
        assert [int(each.result()[0].max()) for each in pending] == list(range(20))
