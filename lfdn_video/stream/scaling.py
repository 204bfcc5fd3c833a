"""The network at a smaller scale: it sees less detail, and frames keep all of theirs.

A runner around another (`scheduler.Runner`). It shrinks the input of the network and enlarges the
residual, which is then added to the decoded frame at full size. So a smaller scale costs the finest
detail of the restoration and none of the frame. `adaptation.py` chooses the scale.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor

from lfdn_video.inference.scheduler import Pending, Runner
from lfdn_video.media import Plane

T = TypeVar("T")

SMALLEST_PX = 16
"""Shortest side of the network's input."""


class ScaledRunner:
    """`runner` at `scale`, which may change from frame to frame.

    One frame is in flight at a time. Closing it closes `runner`.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.scale = 1.0
        """Share of the input's sides, up to 1."""

    @property
    def identity(self) -> Mapping[str, str]:
        return self._runner.identity

    @property
    def lookahead(self) -> int:
        """Always 0: a frame in flight would be shown only when the next one arrives."""
        return 0

    @property
    def returning(self) -> int:
        return 0

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        return self._runner.upload(planes)

    def run(
        self, batch: Callable[[], Tensor], then: Callable[[Tensor], T], *, height: int, width: int
    ) -> Pending[T]:
        size = [max(SMALLEST_PX, round(side * self.scale)) for side in (height, width)]
        if self.scale >= 1 or size >= [height, width]:
            return self._runner.run(batch, then, height=height, width=width)
        return self._runner.run(
            lambda: F.interpolate(batch(), size, mode="bilinear", antialias=True),
            lambda small: then(F.interpolate(small, [height, width], mode="bilinear")),
            height=size[0],
            width=size[1],
        )

    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Plane, ...]]:
        return self._runner.download(planes)

    def computing(self) -> AbstractContextManager[None]:
        return self._runner.computing()

    def choose_tile_px(self, height: int, width: int) -> int | None:
        return self._runner.choose_tile_px(height, width)

    def choose_batch(self, height: int, width: int) -> int:
        return self._runner.choose_batch(height, width)

    def step_down(self) -> str | None:
        return self._runner.step_down()

    def close(self) -> None:
        self._runner.close()
