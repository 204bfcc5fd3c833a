"""Runs the network on a smaller frame, at a lower cost, while the frame keeps its detail.

The network's input is scaled down; its residual is scaled up again and added to the decoded frame
at full size. A smaller scale costs fine detail of the restoration, but none of the frame.
`adaptation.py` chooses the scale.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch.nn.functional as F
from torch import Tensor

from lfdn_video.inference.runner import Future, Job, Runner, RunnerWrapper

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

logger = logging.getLogger(__name__)

MIN_SIDE_PX = 16
"""The smallest side of the network's input."""


class ScaledRunner(RunnerWrapper):
    """Wraps a runner and runs it at `scale`, which may change between frames; one frame at a time.

    Args:
        runner: runs the network on the smaller frames.
        lighter: loads a network that takes less time, for `use_lighter`; None: there is none.
    """

    def __init__(self, runner: Runner, lighter: Callable[[], Runner] | None = None) -> None:
        super().__init__(runner)
        self._lighter = lighter
        self.scale = 1.0
        """The network's input over the frame, by their sides; above 0, up to 1."""

    def use_lighter(self) -> bool:
        """Run the lighter network from the next frame on, if there is one and it does not yet."""
        if self._lighter is None:
            return False
        logger.info("the lite network takes over, since the full one needs a smaller image")
        self._runner = self._lighter()
        self._lighter = None
        return True

    @property
    def max_batches_in_flight(self) -> int:
        """0: a frame left in flight would be shown only when the next one arrives."""
        return 0

    @property
    def max_downloads_in_flight(self) -> int:
        """0, for the same reason."""
        return 0

    def submit(self, job: Job[T]) -> Future[T]:
        height = max(MIN_SIDE_PX, round(job.height * self.scale))
        width = max(MIN_SIDE_PX, round(job.width * self.scale))
        if self.scale >= 1 or [height, width] >= [job.height, job.width]:
            return self._runner.submit(job)
        return self._runner.submit(_ScaledJob(job, height, width))


@dataclass(frozen=True, slots=True)
class _ScaledJob(Generic[T_co]):
    """A `Job` whose batch is scaled down to `height` × `width` px, and its residual up again."""

    job: Job[T_co]
    height: int
    width: int

    def make_batch(self) -> Tensor:
        size = [self.height, self.width]
        return F.interpolate(self.job.make_batch(), size, mode="bilinear", antialias=True)

    def consume(self, residual: Tensor, /) -> T_co:
        full_size = [self.job.height, self.job.width]
        return self.job.consume(F.interpolate(residual, full_size, mode="bilinear"))
