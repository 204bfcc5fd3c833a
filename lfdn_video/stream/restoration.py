"""Restores captured frames one by one: network, then the temporal stage.

    captured ─▶ network, at a scale ─▶ temporal stage ─▶ those that are ready, with their captures

A frame may wait for the next one (`delay` 1), so what comes out need not be what went in; each
keeps its capture. Neighbours are frames that the network restored in one way: another scale or
connection to the source, or a stage that was paused, starts a new sequence. Whether the stage is
to act is decided in `adaptation.py`.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lfdn_video.media import Frame
from lfdn_video.options import Delay
from lfdn_video.stream.adaptation import SCALES
from lfdn_video.stream.capture.capture import CapturedFrame
from lfdn_video.stream.network import LiveNetwork
from lfdn_video.temporal.stage import TemporalStage

TRIAL_SCALES = (SCALES[0], SCALES[2])
"""Scales of a trial. The first pass at each includes warming up, or compiling for its size, so it
does not count."""

TRIAL_STEP_PX = 4
"""A trial of the stage moves one frame by this much, as a copy of it would be no neighbour."""


@dataclass(frozen=True, slots=True, eq=False)
class RestoredCapture:
    """A restored frame, and the capture it was made from."""

    captured: CapturedFrame
    frame: Frame


class Restoration:
    """Network and temporal stage of one live source. Close it at the end.

    Args:
        network: the network; closed with this.
        delay: number of frames after a frame that the temporal stage waits for.
    """

    def __init__(self, network: LiveNetwork, *, delay: Delay) -> None:
        self._network = network
        self._delay = delay
        self._stage: TemporalStage | None = None
        self._waiting: deque[CapturedFrame] = deque()
        """Those in the stage whose result has not come out."""
        self._sequence: tuple[object, ...] = ()
        """What the frames of the stage have in common."""
        self.model_s = 0.0
        """Seconds in the network of the newest frame."""
        self.temporal_s = 0.0
        """Seconds in the temporal stage for the newest frame; 0 if it did not act."""
        self.is_blind = False
        """True if the temporal stage saw nothing at last, and frames were dropped before that."""
        self._last_number = 0

    def account(self) -> dict[str, object]:
        """Return what the temporal stage did so far, as fields of the status."""
        if self._stage is None:
            return {}
        did = self._stage.summary
        return {
            "temporal_frames": did.frames,
            "temporal_mean_change": did.mean_change,
            "temporal_left": did.left,
            "temporal_given_back": did.given_back,
        }

    def push(
        self, captured: CapturedFrame, *, scale: float, refines: bool
    ) -> list[RestoredCapture]:
        """Restore the next frame.

        Args:
            captured: the frame.
            scale: of the network's input.
            refines: the temporal stage is to act.

        Returns:
            Frames that are ready, in order of capture: this one or earlier ones, if any.
        """
        frame = captured.frame
        follows, self._last_number = captured.number == self._last_number + 1, captured.number
        self.temporal_s = 0.0
        began_s = time.monotonic()
        restored = self._network.restore(frame, scale)
        restored_s = time.monotonic()
        self.model_s = restored_s - began_s
        sequence = (scale, captured.connection, refines)
        ready = self.finish() if sequence != self._sequence else []
        self._sequence = sequence
        self.is_blind = False
        if not refines:
            return [*ready, RestoredCapture(captured, restored)]
        if self._stage is None:
            assert frame.info is not None
            self._stage = TemporalStage(frame.info, ahead=self._delay)
        self._waiting.append(captured)
        unseen = self._count_unseen()
        ready += self._pair(self._stage.push(frame, restored))
        self.is_blind = self._count_unseen() > unseen and not follows
        self.temporal_s = time.monotonic() - restored_s
        return ready

    def release(self) -> list[RestoredCapture]:
        """Return the frame that waits for the next one, as that takes too long."""
        return self._pair(self._stage.release()) if self._stage is not None else []

    def finish(self) -> list[RestoredCapture]:
        """End the sequence: return the frame that waits for the next one, if any."""
        return self._pair(self._stage.finish()) if self._stage is not None else []

    def close(self) -> None:
        """End what the network has in flight, and the stage's threads."""
        self._network.close()
        if self._stage is not None:
            self._stage.close()

    def use_lighter(self) -> bool:
        """Run the lighter network from the next frame on, if there is one and it does not yet."""
        return self._network.use_lighter()

    def measure_costs(self, frame: Frame, max_latency_s: float) -> dict[float, float]:
        """Measure seconds in the network by scale; a cost above the bound ends the trial."""
        costs_s: dict[float, float] = {}
        for scale in TRIAL_SCALES:
            for _ in range(2):
                began_s = time.monotonic()
                self._network.restore(frame, scale)
                costs_s[scale] = time.monotonic() - began_s
            if costs_s[scale] > max_latency_s:
                break
        return costs_s

    def measure_stage_s(self, frame: Frame) -> float:
        """Measure seconds in the temporal stage, with all of its neighbours, on a moved frame."""
        assert frame.info is not None
        stage = TemporalStage(frame.info, ahead=self._delay)
        seconds = 0.0
        for step in range(4):
            moved = replace(
                frame,
                planes=tuple(np.roll(p, step * TRIAL_STEP_PX, axis=1) for p in frame.planes),
            )
            began_s = time.monotonic()
            stage.push(moved, moved)
            seconds = time.monotonic() - began_s
        stage.close()
        return seconds

    def _count_unseen(self) -> int:
        """Count the frames whose neighbours told nothing."""
        return self._stage.summary.left.get("too few neighbours", 0) if self._stage else 0

    def _pair(self, frames: Sequence[Frame]) -> list[RestoredCapture]:
        return [RestoredCapture(self._waiting.popleft(), frame) for frame in frames]
