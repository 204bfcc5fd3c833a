"""The seam between scheduling and devices: the interface of whatever runs the network.

    Runner    runs batches on a device: `engine.Engine`, or a wrapper around one
    Job       one batch: makes the network's input and consumes its residual
    Steps     the same, as functions that a runner may record
    Future    a result that may not be there yet

Knows tensors and planes, and no device.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from lfdn_video.media import Plane

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Future(Protocol[T_co]):
    """A result that may not be there yet; `concurrent.futures.Future` has the same interface."""

    def result(self) -> T_co:
        """Wait for the result and return it, or raise its error. Call it once."""


class CompletedFuture(Generic[T]):
    """A `Future` whose result is there from the start."""

    def __init__(self, value: T) -> None:
        self._value = value

    def result(self) -> T:
        return self._value


class DeferredFuture(Generic[T]):
    """A `Future` whose last step runs in the thread that calls `result()`."""

    def __init__(self, finish: Callable[[], T]) -> None:
        self._finish = finish

    def result(self) -> T:
        return self._finish()


class Job(Protocol[T_co]):
    """One batch for the network, in two steps.

    The runner calls each step once and within `compute_context()`: `make_batch`, then the network,
    then `consume`. It decides when and in which thread:

                      make_batch              consume
        CPU, lanes    in the lane's thread    right after the network, in the same thread
        elsewhere     within `submit`         within `result()`, in the thread that calls it

    So in a lane a frame stays in one thread, whose caches hold it, from planes to restored planes;
    on a GPU `submit` returns while the network still runs.
    """

    @property
    def height(self) -> int:
        """Height of the batch in px, known before it is made."""

    @property
    def width(self) -> int:
        """Width of the batch in px, known before it is made."""

    def make_batch(self) -> Tensor:
        """Return the network's input: RGB `[B, 3, height, width]`, float32, in 0…1."""

    def consume(self, residual: Tensor, /) -> T_co:
        """Use the residual: restored minus input, `[B, 3, height, width]`, float32, in -1…1."""


@dataclass(frozen=True, slots=True)
class Steps(Generic[T_co]):
    """The two steps of a job as functions of tensors alone, for a runner that records them.

    `make_batch` and `restore` depend on nothing that is not in their arguments or in `key`.
    """

    key: tuple[Hashable, ...]
    """Jobs with equal keys, and with inputs of equal shapes and types, have the same functions."""
    px: int
    """Number of pixels of the batch."""
    inputs: tuple[Tensor, ...]
    """What is on the device already: planes."""
    make_batch: Callable[[Sequence[Tensor]], Tensor]
    """From the inputs to the network's input; see `Job.make_batch`."""
    restore: Callable[[Sequence[Tensor], Tensor], tuple[Tensor, ...]]
    """From the inputs and the residual to the results."""
    deliver: Callable[[tuple[Tensor, ...]], T_co]
    """Uses the results, in place of `Job.consume`."""


@runtime_checkable
class RecordableJob(Job[T_co], Protocol[T_co]):
    """A job that a runner may record, such as in a CUDA graph. It then calls neither step."""

    def get_steps(self) -> Steps[T_co]:
        """Return the steps as functions."""


class Runner(Protocol):
    """Runs a network on a device. Used by one thread at a time."""

    @property
    def device_name(self) -> str:
        """The device in use now, such as `cpu` or `cuda:0`."""

    @property
    def identity(self) -> Mapping[str, str]:
        """The settings that results depend on; runners with equal identities restore alike."""

    @property
    def max_batches_in_flight(self) -> int:
        """Batches that may stay in flight; beyond it, the caller waits for the oldest. 0: none."""

    @property
    def max_downloads_in_flight(self) -> int:
        """Downloads that may stay in flight; beyond it, the caller waits for the oldest."""

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        """Copy planes to the device.

        Args:
            planes: integer arrays `[h, w]`, uint8 or uint16. On a CPU the tensors share their
                memory, so leave it unchanged until the frame is done; elsewhere it may be
                overwritten as soon as this returns.

        Returns:
            Tensors of the same sizes; use them within `compute_context()`.

        Raises:
            DeviceMemoryError: the device ran out of memory.
        """

    def submit(self, job: Job[T]) -> Future[T]:
        """Run one batch; see `Job` for which thread calls its steps when.

        Args:
            job: makes the batch and consumes the residual.

        Returns:
            A future whose `result()` is what `job.consume` returned.

        Raises:
            DeviceMemoryError: the device ran out of memory. Raised here or by `result()`.
            WeightsError: the network's output is not finite, even in float32. By `result()` only.
        """

    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Plane, ...]]:
        """Start copying tensors back from the device.

        Args:
            planes: tensors that were computed within `compute_context()`.

        Returns:
            A future of arrays of the same shapes and types, owned by the caller.

        Raises:
            DeviceMemoryError: the device ran out of memory.
        """

    def compute_context(self) -> AbstractContextManager[None]:
        """Return the context for work on the device's tensors: its stream, without gradients.

        Never hold it across a `yield`: stream and inference mode are settings of the thread, and
        would stay on in the code that runs while the generator is suspended.

        Raises:
            DeviceMemoryError: from within the block, if the device runs out of memory.
        """

    def choose_tile_px(self, height: int, width: int) -> int | None:
        """Choose the tile size for frames of one size.

        Args:
            height: height of an upright frame in px.
            width: width of an upright frame in px.

        Returns:
            The largest side of a tile in px; None: do not split the frame.
        """

    def choose_batch(self, height: int, width: int) -> int:
        """Choose the batch for tiles of one size.

        Args:
            height: height of a tile in px.
            width: width of a tile in px.

        Returns:
            The number of tiles to run at a time, 1 or more.
        """

    def step_down(self) -> str | None:
        """Use less memory from now on, at a price.

        Returns:
            How, in words that follow "continuing", such as "on the CPU"; None if nothing is left to
            try.
        """

    def close(self) -> None:
        """Wait for everything in flight and release the buffers; safe to call again.

        Only the code that created a runner closes it.
        """


class RunnerWrapper:
    """A `Runner` that forwards to another one, `_runner`; subclasses override what they change."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def device_name(self) -> str:
        return self._runner.device_name

    @property
    def identity(self) -> Mapping[str, str]:
        return self._runner.identity

    @property
    def max_batches_in_flight(self) -> int:
        return self._runner.max_batches_in_flight

    @property
    def max_downloads_in_flight(self) -> int:
        return self._runner.max_downloads_in_flight

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        return self._runner.upload(planes)

    def submit(self, job: Job[T]) -> Future[T]:
        return self._runner.submit(job)

    def download(self, planes: tuple[Tensor, ...]) -> Future[tuple[Plane, ...]]:
        return self._runner.download(planes)

    def compute_context(self) -> AbstractContextManager[None]:
        return self._runner.compute_context()

    def choose_tile_px(self, height: int, width: int) -> int | None:
        return self._runner.choose_tile_px(height, width)

    def choose_batch(self, height: int, width: int) -> int:
        return self._runner.choose_batch(height, width)

    def step_down(self) -> str | None:
        return self._runner.step_down()

    def close(self) -> None:
        self._runner.close()
