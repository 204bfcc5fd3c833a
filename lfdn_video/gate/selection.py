"""Which frames a run restores: those that are not copied, not done, and of its part; neighbours.

    decoded ─ pick ─▶ wanted frames, and up to `reach` around them ─▶ network, temporal stage

The temporal stage needs neighbours on both sides of a seam. Frames that are picked for their sake
alone are restored, but not yielded by the stage (`wants`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing

from lfdn_video.copying import CopyPlan
from lfdn_video.media import Frame


class Selection:
    """Picks the frames of one run, in order.

    Args:
        plan: the segments that are copied; None: none is.
        done: number of frames outside of these that an earlier run finished.
        reach: frames before and after a wanted one that serve as its neighbours.
        bounds: pts of the first and the last frame that may be wanted; None: all may be.
    """

    def __init__(
        self,
        plan: CopyPlan | None,
        *,
        done: int = 0,
        reach: int = 0,
        bounds: tuple[int, int] | None = None,
    ) -> None:
        self._plan = plan
        self._bounds = bounds
        self._done = done
        self._reach = reach
        self._first_pts: int | None = None
        """Pts of the first wanted frame; None: it has not come."""

    def wants(self, frame: Frame) -> bool:
        """Tell whether a frame that was picked is to be written, and is no mere neighbour."""
        return (
            self._first_pts is not None
            and frame.pts >= self._first_pts
            and not self._is_left_out(frame)
        )

    def pick(self, frames: Generator[Frame]) -> Generator[Frame]:
        """Yield the wanted frames and their neighbours.

        Args:
            frames: all frames of the span, in order; closed at the end.
        """
        before: deque[Frame] = deque(maxlen=self._reach)
        left = self._done
        after = 0
        with closing(frames):
            for frame in frames:
                is_restored = not self._is_left_out(frame)
                if is_restored and left:
                    left -= 1
                elif is_restored:
                    if self._first_pts is None:
                        self._first_pts = frame.pts
                    yield from before
                    before.clear()
                    after = self._reach
                    yield frame
                    continue
                if after:
                    after -= 1
                    yield frame
                else:
                    before.append(frame)

    def _is_left_out(self, frame: Frame) -> bool:
        if self._bounds is not None and not self._bounds[0] <= frame.pts <= self._bounds[1]:
            return True
        return self._plan is not None and self._plan.is_copied(frame.pts)
