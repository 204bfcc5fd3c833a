"""The stage: restored frames in, in order; out the same without what only one of them has.

    decoded, restored ─▶ push: window ─ neighbours ─▶ refine ─▶ frames, in order

A frame waits until its neighbours are there, and depends on the `REACH` frames before and after it
alone: so a run that is resumed needs no more than these. Neighbours are always the frames that the
network made, never the stage's own results, which would sink to a running minimum. Who a neighbour
is, is decided here; what becomes of the frame, in `refine.py`.
"""

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lfdn_video.media import Frame, FrameFormat
from lfdn_video.temporal.gate import Gate
from lfdn_video.temporal.layers import load_gate
from lfdn_video.temporal.motion import Motion
from lfdn_video.temporal.refine import Entry, Refined, refine
from lfdn_video.temporal.tasks import Tasks

REACH = 4
"""Frames before and after a frame among which its neighbours are looked for."""

Ahead: TypeAlias = Literal[0, 1, 3]
"""Which neighbours after a frame it may wait for: none, the next one, or as many as before it."""

NEIGHBOURS_A_SIDE = 3
"""Two a side cost .1 to .3 dB, one .8 dB."""

_AHEAD: Mapping[Ahead, tuple[int, int]] = {0: (0, 0), 1: (1, 1), 3: (NEIGHBOURS_A_SIDE, REACH)}
"""Neighbours after a frame, and frames among which they are looked for: who waits for one does not
wait longer."""

MOST_SAMPLES_AT_ONCE = 32_000_000
"""Of luma, of all frames in work. What is known of neighbours takes about 110 bytes a sample."""


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
        self._window: deque[Entry] = deque()
        self._begun: deque[Future[Refined]] = deque()
        """Frames in work, in order."""
        self._at = 0
        """Index in the window of the frame that is yielded next."""
        self._entered = 0
        self._tasks = Tasks()
        self._motion = Motion(self._tasks)
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
        self._enter(decoded, restored)
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
        self._tasks.close()
        self._motion.forget()
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
                self._enter(decoded, frame)
                self._begin_ready(ended=False)
                yield from self._take_begun(besides=self._count_at_once(frame))
            yield from self.finish()

    def _enter(self, decoded: Frame, restored: Frame) -> None:
        self._window.append(Entry.of(self._entered, decoded, restored, self._info))
        self._entered += 1

    def _begin_ready(self, *, ended: bool) -> None:
        """Begin the frames whose neighbours are known."""
        while self._at < len(self._window):
            sides = _find_neighbours(self._window, self._at, self._ahead, ended=ended)
            if sides is None:
                return
            entry = self._window[self._at]
            if self._wants is None or self._wants(entry.frame):
                future = refine(entry, sides, self._gate, self._motion, self._tasks)
                self._begun.append(future)
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

    def _count_at_once(self, frame: Frame) -> int:
        """Say how many frames may be in work: enough for all threads, if memory allows."""
        samples = frame.planes[0].size
        return max(2, min(self._tasks.threads, MOST_SAMPLES_AT_ONCE // samples))


def _find_neighbours(
    window: Sequence[Entry], at: int, ahead: Ahead, *, ended: bool
) -> tuple[list[Entry], list[Entry]] | None:
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
    before: list[Entry] = []
    after: list[Entry] = []
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
