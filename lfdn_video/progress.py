"""How far a run is, and which of its stages it waits for.

`pipeline.py` gives each stage its clock and asks the meter after each frame. What a clock measures
is in `background.py`, how it is drawn in `trace.py`.
"""

import time
from dataclasses import dataclass
from typing import Literal, Self

from lfdn_video.background import StageClock, StageTimes
from lfdn_video.errors import OutputError
from lfdn_video.trace import Trace

Stage = Literal["decode", "model", "temporal", "encode"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run, reported after each frame."""

    frames_done: int
    """Frames in the target so far, those of an earlier, interrupted run included."""
    frames_total: int | None
    """The source's own estimate; None if it has none, or if it turned out too low."""
    elapsed_s: float
    """Seconds since the network was ready."""
    fps: float
    """Frames per second of this run so far."""
    eta_s: float | None
    """Estimated seconds until the last frame; None without `frames_total`."""
    bottleneck: Stage
    """The stage that worked longest so far; the others wait for it."""


class StageClocks:
    """The clocks of the stages, and the trace of what they measure, if one is wanted.

    Enter it before the writer: when that is left, it flushes the encoder, copies streams and
    renames the target, and this time counts as encoding.

    Args:
        trace: the trace to fill; None: there is none.
        temporal: there is a stage between network and writer.
    """

    def __init__(self, trace: Trace | None = None, *, temporal: bool = False) -> None:
        self._trace = trace
        self._last_frame_s: float | None = None
        self.decode = self._add_clock("decode")
        self.model = self._add_clock("model")
        self.temporal = self._add_clock("temporal") if temporal else None
        self.encode = self._add_clock("encode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._last_frame_s is not None:
            self.encode.add_busy(time.perf_counter() - self._last_frame_s)
        if self._trace is None:
            return
        try:
            self._trace.save()
        except OutputError as late:
            if error is None:
                raise
            error.add_note(str(late))  # the error that ended the run comes first

    def note(self, name: str, value: object) -> None:
        """Put a JSON value beside the bars of the trace, if there is one."""
        if self._trace is not None:
            self._trace.notes[name] = value

    def note_last_frame(self) -> None:
        """Start counting the completion of the target as encoding."""
        self._last_frame_s = time.perf_counter()

    @property
    def times(self) -> dict[Stage, StageTimes]:
        """Seconds at work and waiting, by stage, in the order of a frame's way."""
        times: dict[Stage, StageTimes] = {"decode": self.decode.times, "model": self.model.times}
        if self.temporal is not None:
            times["temporal"] = self.temporal.times
        return {**times, "encode": self.encode.times}

    @property
    def bottleneck(self) -> Stage:
        """The stage that worked longest so far."""
        times = self.times
        return max(times, key=lambda stage: times[stage].busy_s)

    def _add_clock(self, stage: Stage) -> StageClock:
        return StageClock(self._trace.add_stage(stage) if self._trace is not None else None)


class ProgressMeter:
    """Counts frames and estimates how long the rest takes; the run's time starts when it is made.

    Args:
        expected: frames of the whole run, if known.
        clocks: the run's clocks.
        kept: frames that an earlier run finished.
    """

    def __init__(self, expected: int | None, clocks: StageClocks, kept: int) -> None:
        self.frames_done = kept
        self._kept = kept
        self._expected = expected
        self._clocks = clocks
        self._start_s = time.perf_counter()

    def progress(self) -> Progress:
        """Return the state of the run now."""
        elapsed_s = time.perf_counter() - self._start_s
        fps = (self.frames_done - self._kept) / elapsed_s if elapsed_s > 0 else 0.0
        total = self._expected
        if total is not None and total < self.frames_done:
            total = None
        eta_s = (total - self.frames_done) / fps if total is not None and fps > 0 else None
        return Progress(
            frames_done=self.frames_done,
            frames_total=total,
            elapsed_s=elapsed_s,
            fps=fps,
            eta_s=eta_s,
            bottleneck=self._clocks.bottleneck,
        )
