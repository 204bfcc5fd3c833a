"""Several processes that train one network, as `torchrun` starts them; or one alone.

Each process draws and degrades the whole batch of a step, so all have the same, and keeps every
n-th picture of it: n processes do what one would, but for the order of sums.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the others. `device`: the one it works on."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """Join the processes of `torchrun`: NCCL with a GPU each, or gloo on CPUs.

    Without torchrun, one process on `device`.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(torch.device(device))
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = torch.device(device).type == "cuda"
    own = torch.device("cuda", local) if on_gpu else torch.device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", device_id=own if on_gpu else None)
    try:
        yield Ranks(own, rank, count)
    finally:
        distributed.destroy_process_group()
