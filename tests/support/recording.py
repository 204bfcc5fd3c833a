"""A CUDA graph on the CPU: it records operations, and refuses what a graph cannot hold."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from lfdn_video.inference.graphs import Recording

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default: "the value of a tensor",
    aten.is_nonzero.default: "the value of a tensor",
    aten.equal.default: "a comparison of values",
    aten.nonzero.default: "a shape that depends on values",
    aten.masked_select.default: "a shape that depends on values",
    aten.unique_consecutive.default: "a shape that depends on values",
    aten._unique2.default: "a shape that depends on values",
    aten.repeat_interleave.Tensor: "a shape that depends on values",
    aten.lift_fresh.default: "a tensor from the host's memory",
}
"""Operations that wait for the GPU, or read memory of the host."""
RANDOM_NAMES = ("rand", "bernoulli", "dropout", "normal", "uniform")


class NotRecordableError(RuntimeError):
    """What was recorded would not work as a CUDA graph."""


class _Record(TorchDispatchMode):
    """Records every operation, with the tensors themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITS or func.__name__.startswith(RANDOM_NAMES):
            raise NotRecordableError(f"{func}: {WAITS.get(func, 'random numbers')}")
        if func is aten._to_copy.default and args[0].dtype == torch.float64:
            raise NotRecordableError(f"{func}: float64, which only tensors of the host are in")
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, out))
        return out


@dataclass
class FakeRecorder:
    """Records like `graphs.CudaRecorder`, and replays on the same memory."""

    problem: Exception | None = None
    """Raised instead of recording."""
    recordings: int = 0
    frees: int = 0
    steps: list[int] = field(default_factory=list)
    """Number of operations in each recording."""

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> Recording:
        if self.problem is not None:
            raise self.problem
        work()
        with _Record() as record:
            results = work()
        self.recordings += 1
        self.steps.append(len(record.steps))
        return Recording(lambda: replay(record.steps), results)

    def free_memory(self) -> None:
        self.frees += 1


def replay(steps: list[tuple[Any, Any, Any, Any]]) -> None:
    """Run the operations again, and put the results where they were the first time."""
    with torch.inference_mode():
        for func, args, kwargs, recorded in steps:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(recorded), _tensors(again), strict=True):
                assert old.shape == new.shape
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record_shapes(work: Callable[[], object]) -> list[tuple[Any, ...]]:
    """Run `work` as it would be recorded; return each operation with the shapes of its results."""
    with _Record() as record:
        work()
    return [
        (func, *(tuple(each.shape) for each in _tensors(out))) for func, _, _, out in record.steps
    ]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
