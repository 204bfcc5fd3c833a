"""The stage: restored frames in, in order; out the same without what only one of them has.

    decoded, restored ─▶ push: window ─ neighbours ─┬─ switch ─ gate ─┬─▶ frames, in order
                                                    └──── texture ────┘

A frame waits until its neighbours are there, and depends on the `REACH` frames before and after it
alone: so a run that is resumed needs no more than these. Neighbours are always the frames that the
network made, never the stage's own results, which would sink to a running minimum. Who a neighbour
is, is decided here; what they show is found in `evidence.py`, whether that is rain is decided in
`rule.py`, what was texture in `texture.py`, and what is done about it in `correct.py`.
"""

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import cv2

from lfdn_video.media import Frame, FrameFormat, Plane
from lfdn_video.temporal.align import Aligned, Levels
from lfdn_video.temporal.copies import is_copy
from lfdn_video.temporal.correct import correct, give_back
from lfdn_video.temporal.evidence import LEAST_SAMPLES, Picture, look
from lfdn_video.temporal.flow import Path, is_large_enough, to_flow_image
from lfdn_video.temporal.gate import Gate
from lfdn_video.temporal.layers import load_gate
from lfdn_video.temporal.motion import Motion
from lfdn_video.temporal.rule import Reason, weigh

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

REACH = 4
"""Frames before and after a frame among which its neighbours are looked for."""

Ahead: TypeAlias = Literal[0, 1, 3]
"""Which neighbours after a frame it may wait for: none, the next one, or as many as before it."""

NEIGHBOURS_A_SIDE = 3
"""Two a side cost .1 to .3 dB, one .8 dB."""

_AHEAD: Mapping[Ahead, tuple[int, int]] = {0: (0, 0), 1: (1, 1), 3: (NEIGHBOURS_A_SIDE, REACH)}
"""Neighbours after a frame, and frames among which they are looked for: who waits for one does not
wait longer."""

LEAST_SHARE_VALID = 0.1
"""A neighbour with a valid flow in less of the frame shows another scene."""


@dataclass(frozen=True, slots=True)
class TemporalSummary:
    """What the temporal stage did in a run."""

    frames: int
    """Frames that were changed."""
    mean_change: float
    """Mean absolute change of their luma, in codes of 8 bits; 0 if there was none."""
    left: Mapping[str, int]
    """Number of the other frames, by reason. They stayed as the network made them, but for texture
    that was given back."""
    given_back: int = 0
    """Frames in which texture was given back that the network had taken for rain."""


class TemporalStage:
    """Refines the frames of one run, in order. Close it at the end.

    A live source passes each frame to `push`. A file's frames are decoded and restored in two
    threads: `record` what is decoded, `refine` what is restored.

    Args:
        info: how the frames are stored that do not say so themselves.
        ahead: neighbours after a frame: 0, none, so that a frame is ready at once; 1, the next
            frame, unless that is a copy or shows another scene; 3, as many as before it, looked for
            among `REACH` frames.
        wants: tells whether a frame is to be yielded; others are only neighbours, such as those at
            the start of a run that is resumed, which has them already. None: all are.
        gate: decides how far samples move; None: the packaged one.
    """

    def __init__(
        self,
        info: FrameFormat,
        *,
        ahead: Ahead = 3,
        wants: Callable[[Frame], bool] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._info = info
        self._ahead = ahead
        self._wants = wants
        self._decoded: deque[Frame] = deque()
        self._window: deque[_Entry] = deque()
        self._begun: deque[Future[_Refined]] = deque()
        """Frames in work, in order."""
        self._at = 0
        """Index in the window of the frame that is yielded next."""
        self._entered = 0
        self._motion = Motion()
        self._gate = gate if gate is not None else load_gate()
        self._changed = 0
        self._change_sum = 0.0
        self._left: Counter[str] = Counter()
        self._given_back = 0

    @property
    def summary(self) -> TemporalSummary:
        """What was done so far."""
        mean = self._change_sum / self._changed if self._changed else 0.0
        return TemporalSummary(self._changed, mean, dict(self._left), self._given_back)

    def push(self, decoded: Frame, restored: Frame) -> list[Frame]:
        """Take the next frame, and return those whose neighbours are now known.

        Args:
            decoded: the frame before the network.
            restored: what the network made of it.

        Returns:
            Frames in the order in which they were pushed, if they are wanted; none while
            the oldest that waits needs a later one. Frames on which the stage does not act are
            those that were pushed, others are new; alpha is shared.
        """
        self._window.append(self._enter(decoded, restored))
        self._begin_ready(ended=False)
        return list(self._take_begun())

    def release(self) -> list[Frame]:
        """Return the frames that still wait, as if no more came; if one does, it sees them yet."""
        self._begin_ready(ended=True)
        return list(self._take_begun())

    def finish(self) -> list[Frame]:
        """End the sequence: return the frames that still wait. The next one pushed starts anew."""
        ready = self.release()
        self._window.clear()
        self._motion.forget()
        self._at = 0
        return ready

    def close(self) -> None:
        """End all threads. What still waits is discarded. May be called again."""
        self._motion.close()
        self._window.clear()
        self._begun.clear()

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
        """Push all frames, then close the stage. Several are in work at a time.

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
            frames = iter(restored)
            while True:
                try:
                    frame = next(frames, None)
                except Exception:
                    # What is begun is whole: a run that resumes need not make it again.
                    yield from self._take_begun()
                    raise
                if frame is None:
                    break
                decoded = self._decoded.popleft()
                assert decoded.pts == frame.pts, "the network yields each frame, in order"
                self._window.append(self._enter(decoded, frame))
                self._begin_ready(ended=False)
                yield from self._take_begun(besides=self._motion.frames_at_once)
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

    def _begin_ready(self, *, ended: bool) -> None:
        """Begin the frames whose neighbours are known."""
        while self._at < len(self._window):
            sides = _find_neighbours(self._window, self._at, self._ahead, ended=ended)
            if sides is None:
                return
            entry = self._window[self._at]
            if self._wants is None or self._wants(entry.frame):
                self._begun.append(self._begin(entry, sides))
            self._at += 1
            if self._at > REACH:
                self._window.popleft()
                self._at -= 1
                self._motion.forget(self._window[0].number)

    def _take_begun(self, *, besides: int = 0) -> Generator[Frame]:
        """Wait for the oldest frames in work, and yield all but the newest few."""
        while len(self._begun) > besides:
            refined = self._begun.popleft().result()
            self._given_back += refined.given_back
            if refined.reason is None:
                self._changed += 1
                self._change_sum += refined.change
            else:
                self._left[refined.reason] += 1
            yield refined.frame

    def _begin(self, entry: "_Entry", sides: Sequence[Sequence["_Entry"]]) -> "Future[_Refined]":
        """Submit the tasks of a frame; those that it waits for come first."""
        aligned: list[Future[Aligned]] = []
        if sum(map(len, sides)) >= LEAST_SAMPLES and is_large_enough(entry.image):
            for side in sides:
                if side:
                    self._motion.prepare(entry, side[0])
            paths = [path for side in sides for path in self._motion.follow(entry, side)]
            others = [other for side in sides for other in side]
            aligned = [
                self._motion.pool.submit(_align, entry, other, path)
                for other, path in zip(others, paths, strict=True)
            ]
        return self._motion.pool.submit(_refine, entry, aligned, self._gate)


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


@dataclass(frozen=True, slots=True)
class _Refined:
    """A frame that is done."""

    frame: Frame
    reason: Reason | None = None
    """Why no rain was taken out of it."""
    change: float = 0.0
    """Mean absolute change of its luma where rain was, in codes of 8 bits."""
    given_back: bool = False
    """Whether texture was."""


def _align(entry: _Entry, other: _Entry, path: Future[Path]) -> Aligned:
    return Aligned(
        other.frame,
        other.luma,
        other.decoded_luma,
        path.result(),
        reference=entry.luma,
        levels=entry.levels,
        after=other.number > entry.number,
    )


def _refine(entry: _Entry, neighbours: Sequence[Future[Aligned]], gate: Gate) -> _Refined:
    aligned = [neighbour.result() for neighbour in neighbours]
    # The others show another scene, after a cut.
    aligned = [each for each in aligned if each.share_valid >= LEAST_SHARE_VALID]
    if len(aligned) < LEAST_SAMPLES:
        return _Refined(entry.frame, "too few neighbours")
    picture = Picture(
        restored=entry.frame.planes,
        decoded=entry.decoded.planes,
        luma=entry.luma,
        decoded_luma=entry.decoded_luma,
        levels=entry.levels,
    )
    evidence = look(picture, aligned)
    verdict = weigh(evidence)
    planes, change = picture.restored, 0.0
    if verdict.reason is None:
        planes = correct(evidence, verdict, gate)
        difference = cv.absdiff(entry.levels.luma_of(planes), entry.luma)
        change = cv.mean(difference)[0] / entry.levels.unit
    whole = give_back(evidence, planes)
    frame = entry.frame if whole is picture.restored else replace(entry.frame, planes=whole)
    return _Refined(frame, verdict.reason, change=change, given_back=whole is not planes)


def _orientation(frame: Frame) -> tuple[object, ...]:
    info = frame.info
    return () if info is None else (info.rotation, info.flip, info.colour)


def _find_neighbours(
    window: Sequence[_Entry], at: int, ahead: Ahead, *, ended: bool
) -> tuple[list[_Entry], list[_Entry]] | None:
    """Choose a frame's neighbours, without copies.

    Args:
        window: consecutive frames, from `REACH` before the frame, or from the first of the run.
        at: the frame's index in it.
        ahead: which there may be after the frame.
        ended: no frame follows.

    Returns:
        The neighbours before and after it, the nearest first; None if a frame that decides is not
        there yet.
    """
    entry = window[at]
    before: list[_Entry] = []
    after: list[_Entry] = []
    most_after, reach_after = _AHEAD[ahead]
    for side, step, most, reach in (
        (before, -1, NEIGHBOURS_A_SIDE, REACH),
        (after, 1, most_after, reach_after),
    ):
        for index in range(at + step, at + step * (reach + 1), step):
            if index < 0 or (index >= len(window) and ended):
                break
            if index >= len(window):
                return None
            other = window[index]
            if not other.is_like(entry):
                break
            if not any(other.repeats(each) for each in (entry, *before, *after)):
                side.append(other)
            if len(side) == most:
                break
    return before, after
