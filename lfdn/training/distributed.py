"""Training one network in several processes, as `torchrun` starts them, or in a single one.

Each process draws and degrades the whole batch of a step, which is therefore the same in all, and
trains on every n-th image of it: n processes compute what one would, except for the order of sums.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """Rank of this process, and the device it trains on."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_leader(self) -> bool:
        """True in the one process that validates, writes and reports."""
        return self.rank == 0


@contextmanager
def join_process_group(device: str) -> Iterator[ProcessRank]:
    """Join the process group of `torchrun`: NCCL with a GPU each, or gloo on CPUs.

    Args:
        device: Such as `cpu` or `cuda`. Under torchrun each process takes its own GPU.

    Yields:
        The rank of this process; without torchrun the only one, on `device`. The process group
        exists until the context ends.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ProcessRank(torch.device(device))
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = torch.device(device).type == "cuda"
    own = torch.device("cuda", local_rank) if on_gpu else torch.device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", device_id=own if on_gpu else None)
    try:
        yield ProcessRank(own, rank, world_size)
    finally:
        distributed.destroy_process_group()
