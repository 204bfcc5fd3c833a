"""How far a run is, and which of its stages it waits for.

`pipeline.py` gives each stage its clock and asks the meter after each frame. What a clock measures
is in `background.py`, how it is drawn in `trace.py`.
"""

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from lfdn_video.background import StageClock, StageTimes
from lfdn_video.errors import OutputError
from lfdn_video.files import Inputs
from lfdn_video.frame_io import FrameWriter
from lfdn_video.media import VideoInfo
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.trace import Trace

Stage = Literal["decode", "model", "temporal", "encode"]

PACE_WINDOW_S = 60.0
"""The time left is estimated from the pace of this many seconds."""
SAMPLE_INTERVAL_S = 0.5


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
    """Estimated seconds until the target is complete and has been read again.

    None without `frames_total`, and before the second frame.
    """
    bottleneck: Stage
    """The stage that worked longest so far; the others wait for it."""
    size: tuple[int, int] | None = None
    """Width and height of the source's frames in px, upright; None: unknown."""
    device: str = ""
    """Where the network runs now, such as `cpu` or `cuda:0`."""
    precision: str = ""
    """The network's precision now, such as `float32`."""
    resumable: bool = False
    """True if what is finished outlasts an interrupted run, for the next one to resume."""
    looked_at: tuple[int, int] | None = None
    """Number of the segment in which rain is looked for, from 1, and of all; None: of none."""


@dataclass(frozen=True, slots=True)
class RunSetting:
    """What of a run stays the same from frame to frame, for its `Progress`."""

    expected: int | None = None
    """Frames of the whole run, if known."""
    kept: int = 0
    """Frames that an earlier run finished."""
    size: tuple[int, int] | None = None
    """As in `Progress`."""
    resumable: bool = False
    """As in `Progress`."""
    audited: bool = False
    """True if every frame of the finished target is decoded once more."""

    @classmethod
    def of(cls, info: VideoInfo, span: SpanOptions, writer: FrameWriter, kept: int) -> Self:
        """Collect what a run knows: of its source, its span and its target."""
        is_sideways = info.rotation in (90, 270)
        return cls(
            expected=info.expected_frames(span),
            kept=kept,
            size=(info.height, info.width) if is_sideways else (info.width, info.height),
            resumable=writer.resumable,
            audited=writer.audits and not info.from_images,
        )


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
    def clocks(self) -> dict[Stage, StageClock]:
        """The clocks by stage, in the order of a frame's way."""
        clocks: dict[Stage, StageClock] = {"decode": self.decode, "model": self.model}
        if self.temporal is not None:
            clocks["temporal"] = self.temporal
        return {**clocks, "encode": self.encode}

    @property
    def times(self) -> dict[Stage, StageTimes]:
        """Seconds at work and waiting, by stage, in the order of a frame's way."""
        return {stage: clock.times for stage, clock in self.clocks.items()}

    @property
    def bottleneck(self) -> Stage:
        """The stage that worked longest so far."""
        times = self.times
        return max(times, key=lambda stage: times[stage].busy_s)

    def _add_clock(self, stage: Stage) -> StageClock:
        return StageClock(self._trace.add_stage(stage) if self._trace is not None else None)


def open_clocks(
    trace: str | Path | None,
    inputs: Inputs,
    target: Path,
    encode: EncodeOptions,
    temporal_off: str | None,
) -> StageClocks:
    """Make the clocks of a run, and the trace that they fill, if one is wanted.

    Args:
        trace: the trace's file; None: none is wanted.
        inputs: the files that the run reads, which the trace must not replace; the target is added.
        target: the run's target.
        encode: `overwrite` applies to the trace, too.
        temporal_off: why there is no temporal stage; None: there is one.

    Raises:
        OutputError: the trace cannot be written, exists, or is an input.
    """
    if trace is None:
        return StageClocks(temporal=temporal_off is None)
    inputs.add(target, "the target")
    timeline = Trace(Path(trace), inputs=inputs, overwrite=encode.overwrite)
    clocks = StageClocks(timeline, temporal=temporal_off is None)
    clocks.note("temporal_off", temporal_off)
    return clocks


class ProgressMeter:
    """Counts frames and estimates how long the rest takes; the run's time starts when it is made.

    Args:
        setting: what is known before the first frame.
        clocks: the run's clocks.
    """

    def __init__(self, setting: RunSetting, clocks: StageClocks) -> None:
        self.frames_done = setting.kept
        """Frames in the target."""
        self.frames_through = 0
        """Frames that came through all stages before the writer, not all of them wanted there."""
        self._items_before = {stage: clock.items for stage, clock in clocks.clocks.items()}
        self._setting = setting
        self._clocks = clocks
        self._start_s = time.perf_counter()
        self._pace = _Pace()

    def progress(self, device: str = "", precision: str = "") -> Progress:
        """Return the state of the run now; call it after each frame.

        Args:
            device: where the network runs.
            precision: its precision.
        """
        now_s = time.perf_counter()
        elapsed_s = now_s - self._start_s
        done = self.frames_done
        total = self._setting.expected
        if total is not None and total < done:
            total = None
        self._pace.note_frame(now_s, done)
        eta_s = None
        if total is not None:
            ahead, drain_s = self._count_ahead()
            left_s = self._pace.estimate_left_s(now_s, total - ahead)
            if left_s is not None:
                eta_s = left_s + drain_s + self._estimate_audit_s(total)
        return Progress(
            frames_done=done,
            frames_total=total,
            elapsed_s=elapsed_s,
            fps=(done - self._setting.kept) / elapsed_s if elapsed_s > 0 else 0.0,
            eta_s=eta_s,
            bottleneck=self._clocks.bottleneck,
            size=self._setting.size,
            device=device,
            precision=precision,
            resumable=self._setting.resumable,
        )

    def _count_ahead(self) -> tuple[int, float]:
        """Count the frames that have left the slowest stage and are on their way to the writer.

        Frames come out at the pace of that stage, and for these it has no work left.

        Returns:
            Their number, and the seconds that the stages after it will work on as many at the end.
        """
        clocks = self._clocks.clocks
        stages = list(clocks)
        slowest = self._clocks.bottleneck
        if slowest == "encode":
            return 0, 0.0
        left = clocks[slowest].items - self._items_before[slowest]
        ahead = max(0, left - self.frames_through)
        later = (clocks[stage] for stage in stages[stages.index(slowest) + 1 :])
        frame_s = sum(clock.times.busy_s / max(1, clock.items) for clock in later)
        return ahead, ahead * frame_s

    def _estimate_audit_s(self, total: int) -> float:
        """Estimate how long reading the target again takes: as long as reading the source did."""
        if not self._setting.audited:
            return 0.0
        # The few that are decoded and wait for the network are left out.
        return total * self._clocks.decode.times.busy_s / max(1, self.frames_done)


class _Pace:
    """The pace of the last minute, without the time before the first frame.

    Before it, stages start and fill up, and the frames that an earlier run kept are skipped. Lanes
    finish several frames at a time, so the pace is measured between the starts of such bursts:
    between single frames it would depend on how many of the last burst have come.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        """Time and frames done before it, at starts of bursts."""
        self._last_s = 0.0
        """Time of the newest frame."""
        self._started_done = 0
        """Frames done before the newest burst."""
        self._burst = 1
        """Frames of the burst before it."""

    def note_frame(self, now_s: float, done: int) -> None:
        """Note that a frame is done, `done` with it."""
        samples = self._samples
        is_start = not samples
        if samples:
            first_s, first_done = samples[0]
            usual_gap_s = (now_s - first_s) / (done - first_done)
            is_start = now_s - self._last_s >= usual_gap_s / 2
        self._last_s = now_s
        if not is_start:
            return
        if samples:
            self._burst = done - 1 - self._started_done
        self._started_done = done - 1
        # Replaced while it is near the one before, so that few are kept however fast frames come.
        if len(samples) > 2 and samples[-1][0] - samples[-2][0] < SAMPLE_INTERVAL_S:
            samples.pop()
        samples.append((now_s, done - 1))
        while len(samples) > 2 and now_s - samples[1][0] > PACE_WINDOW_S:
            samples.popleft()

    def estimate_left_s(self, now_s: float, total: int) -> float | None:
        """Estimate the seconds until all frames are done; None: too little is known."""
        if len(self._samples) < 2:
            return None
        (first_s, first_done), (last_s, last_done) = self._samples[0], self._samples[-1]
        if last_done <= first_done or last_s <= first_s:
            return None
        frame_s = (last_s - first_s) / (last_done - first_done)
        left = total - last_done - self._burst  # a burst comes all at once, at `last_s`
        return max(0.0, left * frame_s - (now_s - last_s))
