"""A CUDA graph on the CPU: it records operations, and refuses what a graph cannot hold."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from lfdn_video.inference.graphs import Recording, RefuseWaits

RANDOM_NAMES = ("rand", "bernoulli", "dropout", "normal", "uniform")


class NotRecordableError(RuntimeError):
    """What was recorded would not work as a CUDA graph."""


class _Record(RefuseWaits):
    """Records every operation, with the tensors themselves."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch
        self.steps: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.startswith(RANDOM_NAMES):
            raise NotRecordableError(f"{func}: random numbers")
        if func is torch.ops.aten._to_copy.default and args[0].dtype == torch.float64:
            raise NotRecordableError(f"{func}: float64, which only tensors of the host are in")
        kwargs = kwargs or {}
        out = super().__torch_dispatch__(func, types, args, kwargs)
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
