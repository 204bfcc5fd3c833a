"""Copies of planes between arrays and a device's tensors.

    SharedMemory     CPU     no copy at all
    PlainCopies      MPS     copies that the caller waits for
    PinnedCopies     CUDA    copies on streams of their own, through a ring of pinned slots

On CUDA three streams work side by side, and events tie them together:

    upload     array -> pinned slot ->| device
    compute                           |-> RGB, network, blending, planes ->|
    download                                                               |-> pinned slot -> array

A copy from ordinary memory would make the CPU wait, as the driver has to copy it to pinned memory
first; from pinned memory the GPU copies by itself while the CPU decodes and the network runs.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lfdn_video.inference.runner import CompletedFuture, DeferredFuture, Future

Array = np.ndarray[Any, np.dtype[Any]]

UPLOAD_SLOTS = 3
PLANE_ALIGNMENT_BYTES = 256  # of a plane's start within a slot

_PLANE_TYPES = {"uint8": torch.uint8, "uint16": torch.uint16}


class Transfers(Protocol):
    """Copies planes to a device and back. See `runner.Runner` for the methods."""

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]: ...
    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Array, ...]]: ...
    def compute_context(self) -> AbstractContextManager[None]: ...
    def close(self) -> None: ...


class SharedMemory:
    """Transfers for a CPU: arrays and tensors are the same memory."""

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        return _as_tensors(planes)

    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Array, ...]]:
        return CompletedFuture(tuple(plane.numpy() for plane in planes))

    def compute_context(self) -> AbstractContextManager[None]:
        return torch.inference_mode()

    def close(self) -> None:
        pass


class PlainCopies:
    """Transfers for MPS. It has no uint16, so such planes are int32 on the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        return tuple(
            (plane.to(torch.int32) if plane.dtype == torch.uint16 else plane).to(self._device)
            for plane in _as_tensors(planes)
        )

    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Array, ...]]:
        arrays = [plane.cpu().numpy() for plane in planes]
        return CompletedFuture(
            tuple(a.astype(np.uint16) if a.dtype == np.int32 else a for a in arrays)
        )

    def compute_context(self) -> AbstractContextManager[None]:
        return torch.inference_mode()

    def close(self) -> None:
        pass


class PinnedCopies:
    """Transfers for CUDA: three streams and two rings of pinned slots, owned until `close`.

    Only two things block the CPU: filling a slot that a copy still reads, and `result()` of a
    download. Both wait for the event of that one copy. `torch.cuda.synchronize`, or waiting for a
    whole stream, would also wait for batches submitted meanwhile and leave the GPU without work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # The weights were copied on the default stream, which ours do not wait for.
        torch.cuda.synchronize(device)
        self._upload_stream = _new_stream(device)
        self.compute_stream = _new_stream(device)
        """The stream of everything between uploads and downloads."""
        self._download_stream = _new_stream(device)
        self._upload_slots = SlotRing(UPLOAD_SLOTS, allocate=_allocate_pinned, new_event=_new_event)
        # One to start with: a slot is in use until its result is fetched, so the ring grows to the
        # number of downloads in flight.
        self._download_slots = SlotRing(1, allocate=_allocate_pinned, new_event=_new_event)

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        layout = PackedLayout.for_planes(
            [_PLANE_TYPES[plane.dtype.name] for plane in planes], planes
        )
        slot = self._upload_slots.acquire(layout.size_bytes)
        for view, plane in zip(layout.views(slot.buffer), planes, strict=True):
            np.copyto(view.numpy(), plane)
        with torch.cuda.stream(self._upload_stream):
            # All planes in one copy: each copy costs a launch, and small ones waste bandwidth.
            filled = slot.buffer[: layout.size_bytes]
            packed = filled.to(self._device, non_blocking=True, copy=True)
            slot.event.record(self._upload_stream)
        self._upload_slots.release(slot)
        slot.event.wait(self.compute_stream)  # the GPU's stream waits, not this thread
        # PyTorch's allocator knows `packed` on the upload stream only. Without this it would hand
        # the memory to the next upload once the tensor is dropped, while the network still reads.
        packed.record_stream(self.compute_stream)
        return layout.views(packed)

    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Array, ...]]:
        layout = PackedLayout.for_planes([plane.dtype for plane in planes], planes)
        slot = self._download_slots.acquire(layout.size_bytes)
        # On the GPU, and only for the work submitted so far, not for later batches.
        self._download_stream.wait_stream(self.compute_stream)
        with torch.cuda.stream(self._download_stream), torch.inference_mode():
            for view, plane in zip(layout.views(slot.buffer), planes, strict=True):
                view.copy_(plane, non_blocking=True)
                # As above, the other way round: these belong to the compute stream.
                plane.record_stream(self._download_stream)
            slot.event.record(self._download_stream)
        return DeferredFuture(lambda: self._copy_out(slot, layout))

    @contextmanager
    def compute_context(self) -> Generator[None]:
        with torch.cuda.stream(self.compute_stream), torch.inference_mode():
            yield

    def close(self) -> None:
        """Wait for all copies, then free the slots: pinned memory in use must not be freed."""
        for stream in (self._upload_stream, self.compute_stream, self._download_stream):
            stream.synchronize()
        self._upload_slots.clear()
        self._download_slots.clear()

    def _copy_out(self, slot: "Slot", layout: "PackedLayout") -> tuple[Array, ...]:
        """Return copies that the caller owns, since the slot is reused."""
        slot.event.synchronize()  # else the CPU would read before the copy has written
        arrays = tuple(view.numpy().copy() for view in layout.views(slot.buffer))
        self._download_slots.release(slot)
        return arrays


class Event(Protocol):
    """The part of `torch.cuda.Event` used here. Waiting for a new event returns at once."""

    def record(self, stream: Any, /) -> None: ...
    def wait(self, stream: Any, /) -> None: ...
    def synchronize(self) -> None: ...


@dataclass(slots=True)
class Slot:
    """Host memory for one copy."""

    buffer: Tensor
    """uint8 `[n]`."""
    event: Event
    """Recorded after the copy."""


class SlotRing:
    """Slots used in rotation, so that one is filled while copies from others still run.

    Pinning memory is slow and may stop the device meanwhile, so slots are allocated once and kept.
    A released slot may still be read or written by its copy: it goes to the end of the queue, and
    `acquire` waits for the event of the one at the front. It is the only place that hands out
    slots, so no slot is touched before its copy is done.

    Args:
        count: slots to allocate before one is reused. With a single slot, every upload would wait
            for the previous copy; with `count`, only for the one `count` uploads ago.
        allocate: returns a uint8 tensor `[n]` for n bytes.
        new_event: returns an event for a new slot.
    """

    def __init__(
        self, count: int, *, allocate: Callable[[int], Tensor], new_event: Callable[[], Event]
    ) -> None:
        self._count = count
        self._allocate = allocate
        self._new_event = new_event
        self._released: deque[Slot] = deque()
        self._owned: list[Slot] = []

    def __len__(self) -> int:
        return len(self._owned)

    def acquire(self, size_bytes: int) -> Slot:
        """Return a slot of at least `size_bytes` that no copy uses. `release` it.

        If all are in use, the ring grows. Waiting instead would deadlock: the thread that would
        release a slot is the one that calls this.
        """
        if not self._released or len(self._owned) < self._count:
            slot = Slot(self._allocate(size_bytes), self._new_event())
            self._owned.append(slot)
            return slot
        slot = self._released.popleft()
        slot.event.synchronize()
        if len(slot.buffer) < size_bytes:
            slot.buffer = self._allocate(size_bytes)
        return slot

    def release(self, slot: Slot) -> None:
        """Return a slot to the ring; the copy recorded in its event may still be running."""
        self._released.append(slot)

    def clear(self) -> None:
        """Free every slot. Call it only when no copy is running."""
        self._released.clear()
        self._owned.clear()


class _HasShape(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Offsets of several planes in one buffer, aligned, so that one copy moves them all."""

    dtypes: tuple[torch.dtype, ...]
    """Type of each plane's samples."""
    shapes: tuple[tuple[int, ...], ...]
    """`(h, w)` of each plane, in px."""
    offsets_bytes: tuple[int, ...]
    """Start of each plane in the buffer."""
    size_bytes: int
    """Size of the buffer."""

    @classmethod
    def for_planes(
        cls, dtypes: Sequence[torch.dtype], planes: Sequence[_HasShape]
    ) -> "PackedLayout":
        """Lay out planes of these types and these planes' shapes, in order."""
        shapes = tuple(tuple(plane.shape) for plane in planes)
        offsets = []
        end = 0
        for dtype, shape in zip(dtypes, shapes, strict=True):
            start = -(-end // PLANE_ALIGNMENT_BYTES) * PLANE_ALIGNMENT_BYTES
            offsets.append(start)
            end = start + math.prod(shape) * dtype.itemsize
        return cls(tuple(dtypes), shapes, tuple(offsets), end)

    def views(self, buffer: Tensor) -> tuple[Tensor, ...]:
        """Return the planes as views of a uint8 `buffer` `[>= size_bytes]`."""
        return tuple(
            buffer[offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
            for dtype, shape, offset in zip(
                self.dtypes, self.shapes, self.offsets_bytes, strict=True
            )
        )


def _as_tensors(planes: Sequence[Array]) -> tuple[Tensor, ...]:
    # PyTorch makes no tensor of a read-only array, as tensors are always writable; `require`
    # copies.
    arrays = [np.require(plane, requirements=["C", "W"]) for plane in planes]
    return tuple(torch.from_numpy(array) for array in arrays)


def _allocate_pinned(size_bytes: int) -> Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)


def _new_event() -> Event:
    # Blocking: a waiting thread sleeps instead of spinning, which leaves its core to the codecs.
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch.cuda has none


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch.cuda has none
