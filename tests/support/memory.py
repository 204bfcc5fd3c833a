"""Counts the memory of tensors, on any device."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class MemoryPeak(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch
    """Within it, `peak` is the largest size of all tensors alive that were made within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch
        self.peak = 0
        self._size = 0
        self._alive: dict[int, list[int]] = {}
        """By address of a storage: number of tensors on it, and its size in bytes."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_flatten(out)[0]:
            if isinstance(leaf, Tensor):
                self._count(leaf)
        self.peak = max(self.peak, self._size)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address not in self._alive:
            self._alive[address] = [0, storage.nbytes()]
            self._size += storage.nbytes()
        self._alive[address][0] += 1
        weakref.finalize(tensor, self._forget, address, self._alive[address])

    def _forget(self, address: int, entry: list[int]) -> None:
        entry[0] -= 1
        if entry[0] == 0:
            self._size -= entry[1]
            if self._alive.get(address) is entry:
                del self._alive[address]
