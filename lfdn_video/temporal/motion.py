"""Paths between the frames of a window: each flow is estimated once, in threads of its own."""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from lfdn_video.media import Plane
from lfdn_video.temporal.flow import Field, FlowEstimator, Path, find_valid, is_small, join

MOST_THREADS = 4
"""A large frame needs two new flows, a small one six; OpenCV works outside of Python's lock."""


class Seen(Protocol):
    """A frame between which and others there are paths."""

    @property
    def number(self) -> int:
        """Tells it from all others."""

    @property
    def image(self) -> Plane:
        """What flows are computed on."""

    @property
    def luma(self) -> Plane:
        """At the frame's size."""


class Motion:
    """Finds paths. Close it at the end."""

    def __init__(self) -> None:
        # Starts its threads when it is given work.
        self.pool = ThreadPoolExecutor(
            min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="temporal"
        )
        self._flows: dict[tuple[int, int], Future[Field]] = {}
        self._steps: dict[tuple[int, int], Path] = {}
        """Paths between consecutive frames of a side, which those from several frames share."""
        self._estimators: deque[FlowEstimator] = deque()

    def follow(self, frame: Seen, side: Sequence[Seen]) -> list[Path]:
        """Find the paths from a frame to those on one side of it, the nearest first.

        In large frames only consecutive ones are compared: what lies farther is reached over those
        between. In small ones each is compared with the frame itself, which is .1 dB better.
        """
        apart = is_small(frame.luma)
        starts = (frame,) * len(side) if apart else (frame, *side)
        steps = list(zip(starts, side, strict=False))
        for one, other in steps:
            self.prepare(one, other)
        paths: list[Path] = []
        for one, other in steps:
            step = self._find_step(one, other)
            paths.append(join(paths[-1], step) if paths and not apart else step)
        return paths

    def prepare(self, one: Seen, other: Seen) -> None:
        """Begin to estimate the flows between two frames, unless that was done."""
        for start, end in ((one, other), (other, one)):
            key = (start.number, end.number)
            if key not in self._flows:
                self._flows[key] = self.pool.submit(self._estimate, start, end)

    def forget(self, before: int | None = None) -> None:
        """Drop the flows of frames before a number, or of all."""
        kept = {key for key in self._flows if before is not None and min(key) >= before}
        self._flows = {key: flow for key, flow in self._flows.items() if key in kept}
        self._steps = {key: step for key, step in self._steps.items() if key in kept}

    def close(self) -> None:
        """End the threads. May be called again."""
        self.pool.shutdown(cancel_futures=True)
        self.forget()

    def _find_step(self, one: Seen, other: Seen) -> Path:
        key = (one.number, other.number)
        if key not in self._steps:
            there, back = self._flows[key].result(), self._flows[key[::-1]].result()
            self._steps[key] = Path(there, find_valid(there, back, one.luma.shape[0]))
        return self._steps[key]

    def _estimate(self, start: Seen, end: Seen) -> Field:
        estimator = self._estimators.pop() if self._estimators else FlowEstimator()
        flow = estimator.estimate(start.image, end.image, min(start.luma.shape))
        self._estimators.append(estimator)
        return flow
