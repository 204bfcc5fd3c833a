"""CUDA graphs: the kernels of a batch, recorded once for each shape and then started together.

A network starts hundreds of kernels, each of which takes Python and the driver longer to start than
the GPU to run. A graph starts all of them in one call. It works on fixed memory: a batch is copied
in, and the results are copied out.

    a shape's first batch     as usual: a folder of images may have a new shape each time
    its second in a row       run twice more, so that cuDNN chooses its kernels and to see that the
                              network never waits for the GPU; then recorded
    from then on              replayed

Where several streams take turns, "in a row" means within one turn of each.

What cannot be recorded, or has too little memory for it, is run as usual.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

MAX_GRAPHS = 2
"""Graphs that are kept: those of a stream, and of its last, smaller batch or a second size."""

_aten = torch.ops.aten
WAITS = {
    _aten._local_scalar_dense.default: "the value of a tensor",  # noqa: SLF001
    _aten.equal.default: "a comparison of values",
    _aten.nonzero.default: "a shape that depends on values",
    _aten.masked_select.default: "a shape that depends on values",
    _aten.unique_consecutive.default: "a shape that depends on values",
    _aten._unique2.default: "a shape that depends on values",  # noqa: SLF001
    _aten.repeat_interleave.Tensor: "a shape that depends on values",
    _aten.lift_fresh.default: "a tensor from the host's memory",
}
"""Operations that wait for the GPU, or copy memory of the host."""

Work = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
Key = tuple[Hashable, ...]

logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """Records what a function does on the GPU; `CudaRecorder`, or a fake."""

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> "Recording":
        """Run `work` a few times, and record it; its results are those of every replay.

        Raises:
            RuntimeError: it cannot be recorded; `torch.OutOfMemoryError`: memory is short.
        """

    def free_memory(self) -> None:
        """Give the memory of dropped recordings back to the device."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded function."""

    replay: Callable[[], None]
    """Run it again, on the memory that it was recorded with."""
    results: tuple[Tensor, ...]
    """What it returned; each replay overwrites them."""


@dataclass(frozen=True, slots=True)
class _Graph:
    inputs: tuple[Tensor, ...]
    recording: Recording

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.recording.replay()
        # Copies: the caller still reads them when the next batch is replayed.
        return tuple(result.clone() for result in self.recording.results)


class GraphCache:
    """Runs functions of tensors, by graphs where that is possible.

    The functions must depend on nothing but their inputs: Python runs only to record them.

    Args:
        recorder: records them.
        has_memory: whether a graph for batches of this number of pixels fits into memory.
        streams: the number of streams that take turns, each of which may have a shape of its own.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        has_memory: Callable[[int], bool],
        streams: int = 1,
    ) -> None:
        self._recorder = recorder
        self._has_memory = has_memory
        self._graphs: OrderedDict[Key, _Graph] = OrderedDict()
        self._max_graphs = max(MAX_GRAPHS, streams)
        self._last_eager: deque[Key] = deque(maxlen=streams)
        """Of the last batches that were run as usual: not more than there are graphs, as shapes
        that come in turn would push each other out."""
        self._refused: set[Key] = set()
        self.replays = 0
        """Number of batches that a graph has run."""

    def __len__(self) -> int:
        return len(self._graphs)

    def run(
        self, work: Work, inputs: Sequence[Tensor], *, px: int, key: Key = ()
    ) -> tuple[Tensor, ...]:
        """Return `work(inputs)`.

        Args:
            work: the function.
            inputs: its argument, on the device.
            px: number of pixels of the batch.
            key: tells functions with inputs of the same shapes apart.

        Raises:
            torch.OutOfMemoryError: memory does not suffice, even without any graph.
        """
        key = (*key, px, *((tuple(each.shape), each.dtype) for each in inputs))
        graph = self._graphs.get(key)
        if graph is None and key in self._last_eager and key not in self._refused:
            graph = self._record(work, inputs, px, key)
        if graph is None:
            self._last_eager.append(key)
            return self._run_eagerly(work, inputs)
        self._graphs.move_to_end(key)
        self.replays += 1
        return graph.run(inputs)

    def clear(self) -> None:
        """Drop every graph, and free its memory."""
        self._refused.clear()
        if self._graphs:
            self._graphs.clear()
            self._recorder.free_memory()

    def _run_eagerly(self, work: Work, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        try:
            return work(inputs)
        except torch.OutOfMemoryError:
            if not self._graphs:
                raise
        # Graphs of shapes that are no longer in use hold memory too.
        self.clear()
        return work(inputs)

    def _record(self, work: Work, inputs: Sequence[Tensor], px: int, key: Key) -> _Graph | None:
        while len(self._graphs) >= self._max_graphs:
            self._graphs.popitem(last=False)
        problem = "too little memory"
        if self._has_memory(px):
            try:
                mine = tuple(each.clone() for each in inputs)
                graph = _Graph(mine, self._recorder.record(lambda: work(mine)))
            except torch.OutOfMemoryError:
                self._recorder.free_memory()
            except RuntimeError as error:
                problem = str(error).partition("\n")[0]
            else:
                self._graphs[key] = graph
                return graph
        self._refused.add(key)
        logger.warning(
            "%d px at a time: no CUDA graph (%s); continuing without, slower", px, problem
        )
        return None


class RefuseWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch
    """Within it, operations of this thread that a graph cannot hold raise an error.

    Found only while a graph is recorded, they would leave PyTorch's allocator unable to reuse
    memory.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in WAITS:
            raise RuntimeError(f"{func} waits for {WAITS[func]}")
        return func(*args, **(kwargs or {}))


class CudaRecorder:
    """Records on a stream of a device, other than the default stream.

    Args:
        stream: the stream that is current when `record` is called.
        is_half: whether convolutions are in half precision now.
        time_kernels: let cuDNN time its kernels for each new shape; else it chooses by rules.
    """

    def __init__(
        self,
        stream: torch.cuda.Stream,
        *,
        is_half: Callable[[], bool],
        time_kernels: bool = True,
    ) -> None:
        self._stream = stream
        self._is_half = is_half
        self._time_kernels = time_kernels

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> Recording:
        with _time_kernels(half=self._is_half()) if self._time_kernels else nullcontext():
            work()
            with RefuseWaits():  # type: ignore[no-untyped-call]  # torch
                work()
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile, as far as this one is concerned.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                results = work()
        return Recording(graph.replay, results)

    def free_memory(self) -> None:
        self._stream.synchronize()
        torch.cuda.empty_cache()


@contextmanager
def _time_kernels(*, half: bool) -> Generator[None]:
    """Let cuDNN time its kernels for each new shape, within the block."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark = True
    if half:
        # It has no effect on half precision, but belongs to the key under which PyTorch keeps
        # cuDNN's choice: that of batches that were run before, by rules, is not taken.
        cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before
