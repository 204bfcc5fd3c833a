"""Paths between the frames of a window: each flow is estimated once."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Protocol

from lfdn_video.media import Frame, Plane
from lfdn_video.temporal.align import Aligned, Levels
from lfdn_video.temporal.flow import Field, FlowEstimator, Path, find_valid, is_small, join
from lfdn_video.temporal.tasks import Tasks


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
    """Finds paths.

    Args:
        tasks: where all that takes time is done.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._flows: dict[tuple[int, int], Future[Field]] = {}
        self._steps: dict[tuple[int, int], Future[Path]] = {}
        """Paths between consecutive frames of a side, which those from several frames share."""
        self._estimators: deque[FlowEstimator] = deque()

    def follow(self, frame: Seen, side: Sequence[Seen]) -> list[Future[Path]]:
        """Begin to find the paths from a frame to those on one side of it, the nearest first.

        In large frames only consecutive ones are compared: what lies farther is reached over those
        between. In small ones each is compared with the frame itself, which is .1 dB better.
        """
        apart = is_small(frame.luma)
        starts = (frame,) * len(side) if apart else (frame, *side)
        steps = list(zip(starts, side, strict=False))
        for one, other in steps:
            self.prepare(one, other)
        paths: list[Future[Path]] = []
        for one, other in steps:
            step = self._find_step(one, other)
            if paths and not apart:
                step = self._tasks.run(join, paths[-1], step)
            paths.append(step)
        return paths

    def prepare(self, one: Seen, other: Seen) -> None:
        """Begin to estimate the flows between two frames, unless that was done."""
        for start, end in ((one, other), (other, one)):
            key = (start.number, end.number)
            if key not in self._flows:
                self._flows[key] = self._tasks.run(partial(self._estimate, start, end))

    def forget(self, before: int | None = None) -> None:
        """Drop the flows of frames before a number, or of all."""
        kept = {key for key in self._flows if before is not None and min(key) >= before}
        self._flows = {key: flow for key, flow in self._flows.items() if key in kept}
        self._steps = {key: step for key, step in self._steps.items() if key in kept}

    def _find_step(self, one: Seen, other: Seen) -> Future[Path]:
        key = (one.number, other.number)
        if key not in self._steps:
            check = partial(_check, frame_height=one.luma.shape[0])
            self._steps[key] = self._tasks.run(check, self._flows[key], self._flows[key[::-1]])
        return self._steps[key]

    def _estimate(self, start: Seen, end: Seen) -> Field:
        estimator = self._estimators.pop() if self._estimators else FlowEstimator()
        flow = estimator.estimate(start.image, end.image, min(start.luma.shape))
        self._estimators.append(estimator)
        return flow


class Shown(Seen, Protocol):
    """One that can be a neighbour."""

    @property
    def frame(self) -> Frame:
        """Its planes."""


def align_sides(middle: Shown, sides: Sequence[Sequence[Shown]], levels: Levels) -> list[Aligned]:
    """Align the neighbours of a single frame, where there is no stage.

    Args:
        middle: the frame.
        sides: those before and those after it, the nearest first, as if the network had not run:
            what they were before it is what they are.
        levels: what the samples mean.

    Returns:
        All of them, in this order.
    """
    with closing(Tasks()) as tasks:
        motion = Motion(tasks)
        return [
            Aligned(
                other.frame,
                other.luma,
                other.luma,
                path.result(),
                reference=middle.luma,
                levels=levels,
                after=other.number > middle.number,
            )
            for side in sides
            for other, path in zip(side, motion.follow(middle, side), strict=True)
        ]


def _check(there: Field, back: Field, frame_height: int) -> Path:
    return Path(there, find_valid(there, back, frame_height))
