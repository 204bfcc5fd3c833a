"""The stage: restored frames in, in order; out the same without what only one of them has.

    decoded, restored ─▶ push: window ─ neighbours ─ rule ─▶ frames, in order

A frame waits until its neighbours are there, and depends on the `REACH` frames before and after it
alone: so a run that is resumed needs no more than these. Neighbours are always the frames that the
network made, never the stage's own results, which would sink to a running minimum. What is done to
a frame is in `rule.py`; who a neighbour is, is decided here.
"""

import os
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import cv2

from lfdn_video.media import Frame, FrameFormat, Plane
from lfdn_video.temporal.align import Aligned, Levels, find_consensus
from lfdn_video.temporal.copies import is_copy
from lfdn_video.temporal.flow import (
    Field,
    FlowEstimator,
    find_valid,
    is_large_enough,
    to_flow_image,
)
from lfdn_video.temporal.rule import Picture, Reason, correct, weigh

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

REACH = 4
"""Frames before and after a frame among which its neighbours are looked for."""

Ahead: TypeAlias = Literal[0, 1, 2]
"""How many neighbours after a frame it may wait for."""

_REACH_AHEAD: Mapping[Ahead, int] = {0: 0, 1: 1, 2: REACH}
"""Frames after a frame among which they are looked for: who waits for one does not wait longer."""

NEIGHBOURS_A_SIDE = 2
"""More would help little (+.3 dB with three), fewer do harm (-.8 dB with one)."""

LEAST_NEIGHBOURS = 2
"""With one alone nothing tells which of two frames is right."""

LEAST_SHARE_VALID = 0.1
"""A neighbour with a valid flow in less of the frame shows another scene."""

MOST_THREADS = 4
"""A frame needs four new flows; OpenCV works outside of Python's lock."""


@dataclass(frozen=True, slots=True)
class TemporalSummary:
    """What the temporal stage did in a run."""

    frames: int
    """Frames that were changed."""
    mean_change: float
    """Mean absolute change of their luma, in codes of 8 bits; 0 if there was none."""
    left: Mapping[str, int]
    """Number of the other frames, which stayed as the network made them, by reason."""


class TemporalStage:
    """Refines the frames of one run, in order. Close it at the end.

    A live source passes each frame to `push`. A file's frames are decoded and restored in two
    threads: `record` what is decoded, `refine` what is restored.

    Args:
        info: how the frames are stored that do not say so themselves.
        ahead: neighbours after a frame: 0, none, so that a frame is ready at once; 1, the next
            frame, unless that is a copy or shows another scene; 2, as many as before it, looked for
            among `REACH` frames.
        warm_up: number of frames at the start that are only neighbours: a run that is resumed has
            them already, and they are not yielded.
    """

    def __init__(self, info: FrameFormat, *, ahead: Ahead = 2, warm_up: int = 0) -> None:
        self._info = info
        self._ahead = ahead
        self._warm_up = warm_up
        self._decoded: deque[Frame] = deque()
        self._window: deque[_Entry] = deque()
        self._at = 0
        """Index in the window of the frame that is yielded next."""
        self._entered = 0
        # Starts its threads when it is given work.
        self._pool = ThreadPoolExecutor(
            min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="temporal"
        )
        self._flows: dict[tuple[int, int], Future[Field]] = {}
        self._estimators: deque[FlowEstimator] = deque()
        self._changed = 0
        self._change_sum = 0.0
        self._left: Counter[str] = Counter()

    @property
    def summary(self) -> TemporalSummary:
        """What was done so far."""
        mean = self._change_sum / self._changed if self._changed else 0.0
        return TemporalSummary(self._changed, mean, dict(self._left))

    def push(self, decoded: Frame, restored: Frame) -> list[Frame]:
        """Take the next frame, and return those whose neighbours are now known.

        Args:
            decoded: the frame before the network.
            restored: what the network made of it.

        Returns:
            Frames in the order in which they were pushed, without the first `warm_up`; none while
            the oldest that waits needs a later one. Frames on which the stage does not act are
            those that were pushed, others are new; alpha is shared.
        """
        self._window.append(self._enter(decoded, restored))
        return list(self._ready_frames(ended=False))

    def release(self) -> list[Frame]:
        """Return the frames that still wait, as if no more came; if one does, it sees them yet."""
        return list(self._ready_frames(ended=True))

    def finish(self) -> list[Frame]:
        """End the sequence: return the frames that still wait. The next one pushed starts anew."""
        ready = self.release()
        self._window.clear()
        self._flows.clear()
        self._at = 0
        return ready

    def close(self) -> None:
        """End all threads. What still waits is discarded. May be called again."""
        self._pool.shutdown(cancel_futures=True)
        self._window.clear()
        self._flows.clear()

    def record(self, decoded: Iterable[Frame]) -> Generator[Frame]:
        """Pass on the frames that the network is to restore, and remember them.

        Args:
            decoded: the frames in order. A generator is closed at the end.
        """
        with closing(decoded) if isinstance(decoded, Generator) else nullcontext():
            for frame in decoded:
                # Another thread takes them out again; both ends of a deque may be used at once.
                self._decoded.append(frame)
                yield frame

    def refine(self, restored: Iterable[Frame]) -> Generator[Frame]:
        """Push all frames, then close the stage.

        Args:
            restored: what the network made of the frames from `record`, each one, in their order.
                A generator is closed at the end.

        Yields:
            The frames in the same order, as `push` and `finish` return them.
        """
        with (
            closing(restored) if isinstance(restored, Generator) else nullcontext(),
            closing(self),
        ):
            for frame in restored:
                decoded = self._decoded.popleft()
                assert decoded.pts == frame.pts, "the network yields each frame, in order"
                yield from self.push(decoded, frame)
            yield from self.finish()

    def _enter(self, decoded: Frame, frame: Frame) -> "_Entry":
        levels = Levels(frame.info or self._info)
        luma = levels.luma_of(frame.planes)
        entry = _Entry(
            number=self._entered,
            frame=frame,
            decoded=decoded,
            levels=levels,
            luma=luma,
            decoded_luma=levels.luma_of(decoded.planes),
            image=to_flow_image(luma, levels.depth),
        )
        self._entered += 1
        return entry

    def _ready_frames(self, *, ended: bool) -> Generator[Frame]:
        """Yield the frames whose neighbours are known."""
        while self._at < len(self._window):
            neighbours = _find_neighbours(self._window, self._at, self._ahead, ended=ended)
            if neighbours is None:
                return
            entry = self._window[self._at]
            if entry.number >= self._warm_up:
                yield self._refine(entry, neighbours)
            self._at += 1
            if self._at > REACH:
                self._window.popleft()
                self._at -= 1
                first = self._window[0].number
                self._flows = {key: flow for key, flow in self._flows.items() if min(key) >= first}

    def _refine(self, entry: "_Entry", neighbours: Sequence["_Entry"]) -> Frame:
        aligned: list[Aligned] = []
        if len(neighbours) >= LEAST_NEIGHBOURS and is_large_enough(entry.image):
            aligned = self._align(entry, neighbours)
        if len(aligned) < LEAST_NEIGHBOURS:
            return self._leave(entry, "too few neighbours")
        samples = [each.sample for each in aligned]
        consensus = find_consensus(entry.luma, samples, entry.levels)
        verdict = weigh(entry.luma, entry.decoded_luma, consensus)
        if verdict.reason is not None:
            return self._leave(entry, verdict.reason)
        picture = Picture(
            restored=entry.frame.planes,
            decoded=entry.decoded.planes,
            luma=entry.luma,
            decoded_luma=entry.decoded_luma,
            levels=entry.levels,
        )
        planes = correct(picture, verdict.brighter, consensus, aligned)
        difference = cv.absdiff(entry.levels.luma_of(planes), entry.luma)
        self._changed += 1
        self._change_sum += cv.mean(difference)[0] / entry.levels.unit
        return replace(entry.frame, planes=planes)

    def _leave(self, entry: "_Entry", reason: Reason) -> Frame:
        self._left[reason] += 1
        return entry.frame

    def _align(self, entry: "_Entry", neighbours: Sequence["_Entry"]) -> list[Aligned]:
        """Align the neighbours; those that show another scene, after a cut, are left out."""
        for other in neighbours:
            for pair in ((entry, other), (other, entry)):
                key = (pair[0].number, pair[1].number)
                if key not in self._flows:
                    self._flows[key] = self._pool.submit(self._estimate, *pair)

        def align(other: "_Entry") -> Aligned:
            # The flows were submitted before, so that they are never waited for in vain.
            there = self._flows[entry.number, other.number].result()
            back = self._flows[other.number, entry.number].result()
            valid = find_valid(there, back, entry.luma.shape[0])
            return Aligned(
                other.frame, other.luma, there, valid, reference=entry.luma, levels=entry.levels
            )

        aligned = self._pool.map(align, neighbours)
        return [each for each in aligned if each.share_valid >= LEAST_SHARE_VALID]

    def _estimate(self, entry: "_Entry", other: "_Entry") -> Field:
        estimator = self._estimators.pop() if self._estimators else FlowEstimator()
        flow = estimator.estimate(entry.image, other.image)
        self._estimators.append(estimator)
        return flow


@dataclass(slots=True, eq=False)
class _Entry:
    """A frame in the window."""

    number: int
    """Counts the frames of the run from 0."""
    frame: Frame
    decoded: Frame
    levels: Levels
    luma: Plane
    decoded_luma: Plane
    image: Plane
    """What flows are computed on."""

    def is_like(self, other: "_Entry") -> bool:
        """Tell whether both have one size and format."""
        mine, theirs = self.frame, other.frame
        if (mine.format, mine.planes[0].shape) != (theirs.format, theirs.planes[0].shape):
            return False
        return _orientation(mine) == _orientation(theirs)

    def repeats(self, other: "_Entry") -> bool:
        """Tell whether this was decoded as a copy of the other, which is like it."""
        return is_copy(self.decoded_luma, other.decoded_luma, self.levels.unit)


def _orientation(frame: Frame) -> tuple[object, ...]:
    info = frame.info
    return () if info is None else (info.rotation, info.flip, info.colour)


def _find_neighbours(
    window: Sequence[_Entry], at: int, ahead: Ahead, *, ended: bool
) -> list[_Entry] | None:
    """Choose a frame's neighbours, without copies.

    Args:
        window: consecutive frames, from `REACH` before the frame, or from the first of the run.
        at: the frame's index in it.
        ahead: how many there may be after the frame.
        ended: no frame follows.

    Returns:
        The neighbours; None if a frame that decides is not there yet.
    """
    entry = window[at]
    chosen: list[_Entry] = []
    for step, most, reach in ((-1, NEIGHBOURS_A_SIDE, REACH), (1, ahead, _REACH_AHEAD[ahead])):
        wanted = len(chosen) + most
        for index in range(at + step, at + step * (reach + 1), step):
            if index < 0 or (index >= len(window) and ended):
                break
            if index >= len(window):
                return None
            other = window[index]
            if not other.is_like(entry):
                break
            if not any(other.repeats(each) for each in (entry, *chosen)):
                chosen.append(other)
            if len(chosen) == wanted:
                break
    return chosen
