"""The device: precision, memory, copies to and from it, and running the network on it.

The only module that uses `torch.cuda`, and runs `lfdn`. Knows tensors and arrays, nothing of tiles,
frames or files; what is run when is the business of `scheduler.py`, which knows this one only by
its `Runner` protocol.

On the CPU arrays and tensors share their memory. Several pictures go through the network at once,
in lanes: a thread each, which has its share of the cores. So what one picture's work leaves idle,
where it is not parallel, another one uses. Together they have PyTorch's own number of threads, one
per core (OMP_NUM_THREADS or torch.set_num_threads change it). On CUDA three streams work side by
side, tied together by events alone:

    upload    array -> pinned slot ->| device       a slot is refilled after the event of its copy
    compute                          |-> colour, network, blending ->|
    download                                                         |-> pinned slot -> array

Nothing waits but `result()`, and that for its own event only. Streams and inference mode are
entered for one call at a time and never held while a generator is suspended.
"""

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

import lfdn
from lfdn.cpu import optimize_for_cpu
from lfdn.int8 import OpenVinoMissingError, load_quantized
from lfdn.weights import find_packaged, read_header
from lfdn_video.errors import DeviceError, DeviceMemoryError, OptionError, WeightsError
from lfdn_video.options import InferenceOptions

Precision = Literal["float32", "bfloat16", "float16", "int8"]
Array = np.ndarray[Any, np.dtype[Any]]
Model = Callable[[Tensor], Tensor]
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# Peak of one forward pass per input pixel, measured at 1280×720 and 1920×1088 on the CPU
# (411 and 364 in float32, 258 in bfloat16), with something to spare.
NETWORK_BYTES_PER_PX = {"float32": 450, "bfloat16": 300, "float16": 300, "int8": 450}
MEMORY_SHARE = 0.5  # of what is free when a picture's size is first seen
UNKNOWN_FREE_BYTES = 4 << 30  # where the system does not say
CPU_WHOLE_PICTURE_PX = 1920 * 1088  # larger ones are cut into tiles
AUTO_TILE_PX = {"cpu": 1024, "mps": 1024, "cuda": 2048}  # the largest side of a tile
SMALLEST_AUTO_TILE_PX = 256
LARGEST_AUTO_BATCH = 8
MOST_LANES = 4
UPLOAD_SLOTS = 3
PLANE_ALIGNMENT_BYTES = 256  # of a plane's start within a slot

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_PLANE_TYPES = {"uint8": torch.uint8, "uint16": torch.uint16}

_log = logging.getLogger(__name__)


class Pending(Protocol[T_co]):
    """Something under way; `result()` waits for it and no more. Ask once."""

    def result(self) -> T_co: ...


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device of this machine: the name to ask for it by, and a description for people."""

    name: str
    description: str


class Engine:
    """One network on one device. Used by one thread at a time; `close` it, or use it in a `with`.

    `model`: any function with the contract of `lfdn.LFDN`, or a module, which is moved to the
    device and put in eval mode. `lanes`: how many threads may run it at once, on a CPU; 1 has
    every picture done soonest, and then the model is run by the caller's thread.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device | None = None,
        precision: Precision = "float32",
        model_id: str = "",
        lanes: int = 1,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.precision = precision
        self._model_id = model_id
        self.redone_batches = 0
        """How many batches were not finite in half precision and were done again in float32."""
        if isinstance(model, torch.nn.Module):
            with _out_of_memory_explained(self.device):
                model = model.eval().to(device=self.device)
            convert_conv2d_weight_memory_format(model, torch.channels_last)
        self._model = model
        self._transfers: _Transfers = (
            _Streamed(self.device) if self.device.type == "cuda" else _Direct(self.device)
        )
        self._lanes = _Lanes(lanes) if lanes > 1 and self.device.type == "cpu" else None
        self._size_seen, self._fit = (0, 0), 1

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is under way and give up the buffers. Safe to call again."""
        self._transfers.close()
        if self._lanes is not None:
            self._lanes.close()

    @property
    def identity(self) -> dict[str, str]:
        """Which model it is, the digest of its weights if they have one, in which precision."""
        return {"model": self._model_id, "precision": self.precision}

    @property
    def lookahead(self) -> int:
        """How many batches are worth having under way when one is waited for; 0: none.

        On a CPU so many that no lane waits for the next one.
        """
        if self._lanes is not None:
            return self._lanes.count
        return 1 if self.device.type == "cuda" else 0

    @property
    def returning(self) -> int:
        """How many frames are worth having on their way back when one is waited for."""
        return 1 if self.device.type == "cuda" else 0

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        """Integer planes on the device, to be used within `computing()`.

        The arrays may be changed as soon as this returns only where the device is not the CPU.
        """
        with _out_of_memory_explained(self.device):
            return self._transfers.upload(planes)

    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Array, ...]]:
        """Planes computed within `computing()`, on their way to arrays that are the caller's."""
        with _out_of_memory_explained(self.device):
            return self._transfers.download(planes)

    @contextmanager
    def computing(self) -> Generator[None]:
        """Where tensors of the device are worked on: its stream, and no gradients.

        Not to be held while a generator is suspended. Running out of memory is a DeviceMemoryError.
        """
        with _out_of_memory_explained(self.device), self._transfers.computing():
            yield

    def run(
        self, batch: Callable[[], Tensor], then: Callable[[Tensor], T], *, height: int, width: int
    ) -> Pending[T]:
        """`then` of what the network changes in `batch()`, which is RGB in 0…1.

        `batch()` is `[B, 3, height, width]`; what changes has the same shape, float32. The restored
        picture is clamped to 0…1 before the difference is taken. If it is not finite, the batch is
        done again in float32; if that does not help, `result()` raises WeightsError. In lanes both
        functions are called there; otherwise `batch` at once, and `then` by `result()`.
        """
        if self._lanes is None:
            return self._begin(batch, then)
        self._lanes.resize(self._fitting(height, width))
        return self._lanes.submit(lambda: self._begin(batch, then).result())

    def residual(self, batch: Tensor) -> Pending[Tensor]:
        """What the network changes in RGB `[B, 3, H, W]`, 0…1. See `run`."""
        return self.run(
            lambda: batch, lambda change: change, height=batch.shape[2], width=batch.shape[3]
        )

    def redo(self, batch: Tensor) -> Tensor:
        """`residual` in float32, for a batch that half precision did not hold."""
        if self.precision in _TYPES:
            self.redone_batches += 1
            level = logging.WARNING if self.redone_batches == 1 else logging.DEBUG
            _log.log(level, "not finite in %s; done again in float32", self.precision)
            residual, finite = self._infer(batch, "float32")
            if self.download((finite,)).result()[0]:
                return residual
        raise WeightsError(
            "weights: the network's output is not finite, even in float32; use other weights"
        )

    def choose_tile_px(self, height: int, width: int) -> int | None:
        """The side of the tiles for a picture of that size; None: whole, which is best."""
        limit_px = self._limit_px()
        if self.device.type != "cuda":
            limit_px = min(limit_px, CPU_WHOLE_PICTURE_PX)
        if height * width <= limit_px:
            return None
        fitting_px = math.isqrt(limit_px)
        return max(SMALLEST_AUTO_TILE_PX, min(AUTO_TILE_PX[self.device.type], fitting_px))

    def choose_batch(self, height: int, width: int) -> int:
        """How many tiles of that size to run at a time. More than one gains nothing on a CPU."""
        if self.device.type != "cuda":
            return 1
        return max(1, min(LARGEST_AUTO_BATCH, self._limit_px() // (height * width)))

    def step_down(self) -> str | None:
        """Take less memory, at a price. Says how, or None if nothing is left to give up.

        On a GPU half precision first, then the CPU instead of it. Lanes on a CPU: one at a time.
        """
        if self.device.type == "cpu":
            if self._lanes is None or self._lanes.limit == 1:
                return None
            self._lanes.limit = 1
            return "one at a time"
        if self.device.type == "cuda" and self.precision == "float32":
            self.precision = "float16"
            return "in float16"
        self._transfers.close()
        self.device, self.precision = torch.device("cpu"), "float32"
        self._transfers = _Direct(self.device)
        if isinstance(self._model, torch.nn.Module):
            self._model.to(self.device)
        return "on the CPU"

    def _limit_px(self) -> int:
        share_bytes = MEMORY_SHARE * _free_bytes(self.device)
        return int(share_bytes / NETWORK_BYTES_PER_PX[self.precision])

    def _fitting(self, height: int, width: int) -> int:
        """How many pictures of that size there is memory for at a time."""
        if (height, width) != self._size_seen:
            self._size_seen, self._fit = (height, width), self._limit_px() // (height * width)
        return self._fit

    def _begin(self, batch: Callable[[], Tensor], then: Callable[[Tensor], T]) -> "_Change[T]":
        with self.computing():
            made = batch()
        residual, finite = self._infer(made, self.precision)
        return _Change(self, made, residual, self.download((finite,)), then)

    def _infer(self, batch: Tensor, precision: Precision) -> tuple[Tensor, Tensor]:
        """The residual, and on the device whether all of it is finite."""
        kind = self.device.type
        with self.computing():
            batch = batch.contiguous(memory_format=torch.channels_last)
            # The input stays float32: the picture the network adds its change to is not rounded.
            with torch.autocast(kind, _TYPES.get(precision), enabled=precision in _TYPES):
                restored = self._model(batch)
            finite = torch.isfinite(restored.sum(dtype=torch.float32))
            return restored.float().clamp(0, 1).sub_(batch), finite


def load_engine(
    task: str,
    *,
    weights: Path | None = None,
    options: InferenceOptions | None = None,
    lanes: int = MOST_LANES,
) -> Engine:
    """The network for `task`, or of the file `weights`, on the device that `options` asks for.

    `lanes`: how many pictures may go through it at once on a CPU. More give more pictures a second,
    1 gives each one soonest.

    Raises DeviceError, OptionError or WeightsError.
    """
    options = options or InferenceOptions()
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    try:
        model = _network(weights if weights is not None else task, device, precision)
        about = read_header(weights if weights is not None else find_packaged(task)[0])
    except lfdn.WeightsError as error:
        raise WeightsError(str(error)) from error
    except OpenVinoMissingError as error:
        raise OptionError(f"precision: {error}") from error
    if about["task"] != task:
        _log.warning("%s: was trained to %s, and is used to %s", weights, about["task"], task)
    _log.info("the network runs on %s in %s", device, precision)
    if precision == "int8":  # OpenVINO has threads of its own
        lanes = 1
    return Engine(model, device=device, precision=precision, model_id=about["digest"], lanes=lanes)


def _network(
    task_or_path: str | Path, device: torch.device, precision: Precision
) -> torch.nn.Module:
    """The form of the network that is fastest there."""
    if precision == "int8":
        return load_quantized(task_or_path)
    network = lfdn.load(task_or_path)
    return optimize_for_cpu(network) if device.type == "cpu" and precision == "float32" else network


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the first of CUDA, MPS and the CPU that is there."""
    if name == "auto":
        return torch.device(available_devices()[0].name)
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdecimal()):
        raise OptionError(f"device: {name!r} is none of auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda":
        return _cuda_device(int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("mps: this machine has no such device; use cpu")
    return torch.device(kind)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The arithmetic called `name`; "auto" is float16 on CUDA and float32 elsewhere."""
    if name == "auto":
        return "float16" if device.type == "cuda" else "float32"
    if name not in get_args(Precision):
        raise OptionError(f"precision: {name!r} is none of auto, {', '.join(get_args(Precision))}")
    precision: Precision = next(each for each in get_args(Precision) if each == name)
    if precision == "int8" and device.type != "cpu":
        raise OptionError("precision: int8 is for the CPU alone; use float16, or the device cpu")
    if precision == "float16" and device.type == "cpu":
        raise OptionError("precision: float16 is not for the CPU; use float32 or bfloat16")
    if precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise OptionError("precision: this CUDA device has no bfloat16; use float16 or float32")
    return precision


def available_devices() -> tuple[DeviceInfo, ...]:
    """What this machine has, the preferred one first and the CPU last."""
    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            of = torch.cuda.get_device_properties(index)
            text = f"{of.name}, {of.total_memory / (1 << 30):.0f} GiB"
            devices.append(DeviceInfo(f"cuda:{index}", text))
    if torch.backends.mps.is_available():
        devices.append(DeviceInfo("mps", "Apple GPU"))
    devices.append(DeviceInfo("cpu", f"{torch.get_num_threads()} threads"))
    return tuple(devices)


class _Change(Generic[T]):
    """A residual under way, the check that it is finite, and what is to be made of it."""

    def __init__(
        self,
        engine: Engine,
        batch: Tensor,
        residual: Tensor,
        finite: Pending[tuple[Array, ...]],
        then: Callable[[Tensor], T],
    ) -> None:
        self._engine, self._batch, self._residual = engine, batch, residual
        self._finite, self._then = finite, then

    def result(self) -> T:
        if not self._finite.result()[0]:
            self._residual = self._engine.redo(self._batch)
        with self._engine.computing():
            return self._then(self._residual)


class _Lanes:
    """Threads that share the cores, each with a picture of its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._cores = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def resize(self, fitting: int) -> None:
        """As many as fit, up to the limit. Where that changes, what is under way is done first."""
        count = max(1, min(self.limit, self._cores, fitting))
        if count != self.count:
            if self._pool is not None:
                self._pool.shutdown()
            self.count = count
            self._pool = ThreadPoolExecutor(
                count,
                thread_name_prefix="network",
                initializer=torch.set_num_threads,  # of the thread that calls it, and of later ones
                initargs=(max(1, self._cores // count),),
            )

    def submit(self, work: Callable[[], T]) -> Pending[T]:
        assert self._pool is not None
        return self._pool.submit(work)

    def close(self) -> None:
        """Wait for what is under way; what has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool, self.count = None, 0
            torch.set_num_threads(self._cores)


class _Transfers(Protocol):
    """How planes get to a device and back. See `Engine` for the methods."""

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]: ...
    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Array, ...]]: ...
    def computing(self) -> AbstractContextManager[None]: ...
    def close(self) -> None: ...


class _Direct:
    """No streams: shared memory on the CPU, plain copies on MPS."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        # A tensor cannot be made of an array that must not be written to; that one is copied.
        arrays = [np.require(plane, requirements=["C", "W"]) for plane in planes]
        tensors = [torch.from_numpy(array) for array in arrays]
        if self._device.type == "mps":  # which has no uint16
            tensors = [t.to(torch.int32) if t.dtype == torch.uint16 else t for t in tensors]
        return tuple(tensor.to(self._device) for tensor in tensors)

    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Array, ...]]:
        arrays = [plane.cpu().numpy() for plane in planes]
        return _Done(tuple(a.astype(np.uint16) if a.dtype == np.int32 else a for a in arrays))

    @contextmanager
    def computing(self) -> Generator[None]:
        with torch.inference_mode():
            yield

    def close(self) -> None:
        pass


class _Done(Generic[T]):
    """A `Pending` that is not."""

    def __init__(self, value: T) -> None:
        self._value = value

    def result(self) -> T:
        return self._value


class _Streamed:
    """CUDA: three streams and two sets of pinned slots, owned until `close`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.synchronize(device)  # the weights were put there on another stream
        self._upload = _stream(device)
        self._compute = _stream(device)
        self._download = _stream(device)
        self._to_device = SlotRing(UPLOAD_SLOTS, allocate=_pinned, new_event=_event)
        self._from_device = SlotRing(1, allocate=_pinned, new_event=_event)

    def upload(self, planes: Sequence[Array]) -> tuple[Tensor, ...]:
        layout = Layout.of([_PLANE_TYPES[plane.dtype.name] for plane in planes], planes)
        slot = self._to_device.take(layout.size_bytes)
        for view, plane in zip(layout.views(slot.buffer), planes, strict=True):
            np.copyto(view.numpy(), plane)
        with torch.cuda.stream(self._upload):
            filled = slot.buffer[: layout.size_bytes]
            packed = filled.to(self._device, non_blocking=True, copy=True)
            slot.event.record(self._upload)
        self._to_device.give_back(slot)
        slot.event.wait(self._compute)
        packed.record_stream(self._compute)  # or its memory could be reused while still read
        return layout.views(packed)

    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Array, ...]]:
        layout = Layout.of([plane.dtype for plane in planes], planes)
        slot = self._from_device.take(layout.size_bytes)
        self._download.wait_stream(self._compute)
        with torch.cuda.stream(self._download), torch.inference_mode():
            for view, plane in zip(layout.views(slot.buffer), planes, strict=True):
                view.copy_(plane, non_blocking=True)
                plane.record_stream(self._download)
            slot.event.record(self._download)
        return _Downloading(self._from_device, slot, layout)

    @contextmanager
    def computing(self) -> Generator[None]:
        with torch.cuda.stream(self._compute), torch.inference_mode():
            yield

    def close(self) -> None:
        for stream in (self._upload, self._compute, self._download):
            stream.synchronize()
        self._to_device.clear()
        self._from_device.clear()


class _Downloading:
    """A copy into a pinned slot; `result` copies it out and gives the slot back."""

    def __init__(self, ring: "SlotRing", slot: "Slot", layout: "Layout") -> None:
        self._ring, self._slot, self._layout = ring, slot, layout

    def result(self) -> tuple[Array, ...]:
        self._slot.event.synchronize()
        arrays = tuple(view.numpy().copy() for view in self._layout.views(self._slot.buffer))
        self._ring.give_back(self._slot)
        return arrays


class Event(Protocol):
    """What is used of `torch.cuda.Event`. One never recorded is over."""

    def record(self, stream: Any, /) -> None: ...
    def wait(self, stream: Any, /) -> None: ...
    def synchronize(self) -> None: ...


@dataclass(slots=True)
class Slot:
    """Host memory of one copy, uint8 `[n]`, and the event after which it may be touched."""

    buffer: Tensor
    event: Event


class SlotRing:
    """Slots in turn. The one that was given back longest ago is taken next, after its event.

    At least `count` are made before one is used again; more only if all are taken. `take` is the
    only place that hands out memory a copy may still be using, and it waits.
    """

    def __init__(
        self, count: int, *, allocate: Callable[[int], Tensor], new_event: Callable[[], Event]
    ) -> None:
        self._count, self._allocate, self._new_event = count, allocate, new_event
        self._free: deque[Slot] = deque()
        self._owned: list[Slot] = []

    def __len__(self) -> int:
        return len(self._owned)

    def take(self, size_bytes: int) -> Slot:
        """A slot of at least that size, not in use by any copy. `give_back` it."""
        if not self._free or len(self._owned) < self._count:
            slot = Slot(self._allocate(size_bytes), self._new_event())
            self._owned.append(slot)
            return slot
        slot = self._free.popleft()
        slot.event.synchronize()
        if len(slot.buffer) < size_bytes:
            slot.buffer = self._allocate(size_bytes)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Put at the end of the queue; a copy recorded in its event may still be under way."""
        self._free.append(slot)

    def clear(self) -> None:
        """Forget every slot. Only when no copy is under way."""
        self._free.clear()
        self._owned.clear()


class _Shaped(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Several planes packed into one buffer, each at an aligned offset."""

    dtypes: tuple[torch.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]
    offsets_bytes: tuple[int, ...]
    size_bytes: int

    @classmethod
    def of(cls, dtypes: Sequence[torch.dtype], planes: Sequence[_Shaped]) -> "Layout":
        shapes = tuple(tuple(plane.shape) for plane in planes)
        offsets, end = [], 0
        for dtype, shape in zip(dtypes, shapes, strict=True):
            start = -(-end // PLANE_ALIGNMENT_BYTES) * PLANE_ALIGNMENT_BYTES
            offsets.append(start)
            end = start + math.prod(shape) * dtype.itemsize
        return cls(tuple(dtypes), shapes, tuple(offsets), end)

    def views(self, buffer: Tensor) -> tuple[Tensor, ...]:
        """The planes as views of a uint8 `buffer` `[>= size_bytes]`."""
        return tuple(
            buffer[offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
            for dtype, shape, offset in zip(
                self.dtypes, self.shapes, self.offsets_bytes, strict=True
            )
        )


def _pinned(size_bytes: int) -> Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)


def _event() -> Event:
    # Blocking: who waits sleeps, and leaves the core to the decoder and the encoder.
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch.cuda has none


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch.cuda has none


def _cuda_device(index: int) -> torch.device:
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f" (torch {torch.__version__} is built without CUDA)"
        raise DeviceError(f"cuda: no CUDA device can be used{built}; use cpu, or see the README")
    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"cuda:{index}: no such device; there are cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


@contextmanager
def _out_of_memory_explained(device: torch.device) -> Generator[None]:
    """Running out of memory, as an error that says what helps."""
    try:
        yield
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        # The CPU's allocator has no exception type of its own.
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in first_line:
            raise DeviceMemoryError(f"{device}: out of memory ({first_line})") from error
        raise


def _free_bytes(device: torch.device) -> int:
    """Memory that can still be had on the device, as far as it says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    return min(_free_system_bytes(), _free_group_bytes())


def _free_system_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):  # unlike SC_AVPHYS_PAGES, counts what caches hold
                return int(line.split()[1]) << 10
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # not on this system
        return UNKNOWN_FREE_BYTES


def _free_group_bytes() -> int:
    """What the container's own limit (cgroup 2) leaves; no limit is a very large number."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        details = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        caches = sum(int(value) for key, value in details if key == "inactive_file")
    except (OSError, ValueError):  # no such group, or "max"
        return 1 << 62
    return limit - used + caches
