"""A live source, restored as it comes: `live()`, and the policy behind it.

    process "grabber"   demux, decode                                 grabber.py
    thread "capture"    keeps the newest frame, drops the rest        capture.py
    the caller's        network, then who watches, then who records   here

A live stream never falls behind. The network takes the newest frame whenever it is free, so what is
shown is about as old as one pass of the network and one frame; and the network gets a smaller
picture (`scaling.py`) when that is too old (`adaptation.py`). Frames that nobody had time for are
counted: frames in = frames out + frames dropped. How it goes is pinned to a `Board`.
"""

import logging
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lfdn_video.media import Frame, Image
from lfdn_video.options import InferenceOptions, LiveOptions
from lfdn_video.stream.adaptation import SCALES, Adaptation
from lfdn_video.stream.addresses import Source, parse_source
from lfdn_video.stream.board import LATENCY_BOUNDS_S, Board, Status, StreamState, View
from lfdn_video.stream.capture.capture import Capture, Captured, Patience
from lfdn_video.stream.wire import AudioHeader, AudioPacket, CaptureRequest

if TYPE_CHECKING:
    from lfdn_video.inference.scheduler import Runner
    from lfdn_video.stream.scaling import ScaledRunner

TICK_S = 0.5
"""So often it is told how it goes while no frame comes."""

RATE_S = 4.0
"""Rates are those of the last few seconds."""

TRIALS = (SCALES[0], SCALES[0], SCALES[2])
"""At a new size; the first one pays for preparations."""

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where restored frames go, beside the board."""

    def write(self, frame: Frame, stamp_s: float, captured_at: float) -> None:
        """A restored frame; its `info` is set."""

    def add_audio(self, message: AudioHeader | AudioPacket) -> None:
        """Audio of the source, from another thread and ahead of its pictures."""


class LiveFrame:
    """A restored picture, and when it was captured. Arrays are made when they are asked for."""

    def __init__(self, captured: Captured, restored: Frame) -> None:
        self._captured, self._restored = captured, restored
        self.latency_s = time.monotonic() - captured.stamp_s
        """From capture to here."""

    @property
    def number(self) -> int:
        """Of the captured frame, from 1; what is missing in between was dropped."""
        return self._captured.number

    @property
    def captured_at(self) -> float:
        """In seconds since the epoch."""
        return self._captured.captured_at

    @cached_property
    def image(self) -> Image:
        """`[H, W, 3]`, uint8, RGB, upright: restored."""
        return _image(self._restored)

    @cached_property
    def raw(self) -> Image:
        """The same as it was captured."""
        return _image(self._captured.frame)


class Session:
    """One live source. Iterate over `frames` once; `stop` it from any thread."""

    def __init__(
        self,
        source: Source,
        board: Board,
        options: LiveOptions | None = None,
        *,
        sinks: Sequence[Sink] = (),
        shows: bool = False,
    ) -> None:
        """`shows`: pin pictures to the board, too, for who watches."""
        self._source, self._board, self._options = source, board, options or LiveOptions()
        self._sinks, self._shows = sinks, shows
        scale = self._options.scale
        self._adaptation = Adaptation(
            self._options.max_latency_s, fixed=None if isinstance(scale, str) else scale
        )
        request = CaptureRequest(
            source=source,
            loop=self._options.loop,
            patience_s=self._options.stall_timeout_s,
            audio=bool(sinks),
            options=self._options.input_options,
        )
        patience = Patience(stall_s=self._options.stall_timeout_s, retries=self._options.retries)
        self._capture = Capture(request, patience, report=self._report, audio=self._pass_audio)
        self._meter = _Meter()
        self._under_way: Captured | None = None

    def stop(self) -> None:
        """Let `frames` end after the one that is under way."""
        self._capture.close()

    @property
    def stopped(self) -> bool:
        """Whether it was told to."""
        return self._capture.closing

    def frames(
        self, runner: "Runner", inference: InferenceOptions | None = None
    ) -> Generator[LiveFrame]:
        """Restored frames as they come. Raises an LfdnVideoError; close it if you leave it early.

        Who takes them late gets newer ones.
        """
        from lfdn_video.stream.scaling import ScaledRunner

        self._board.update(
            started_at=time.time(),
            changed_at=time.time(),
            max_latency_s=self._options.max_latency_s,
        )
        try:
            with self._capture:
                yield from self._restored(ScaledRunner(runner), inference)
        except BaseException as error:
            state: StreamState = (
                "ended" if isinstance(error, GeneratorExit | KeyboardInterrupt) else "failed"
            )
            self._end(state, "" if state == "ended" else self._source.redact(str(error)))
            raise
        self._end("ended")

    def _restored(
        self, runner: "ScaledRunner", inference: InferenceOptions | None
    ) -> Generator[LiveFrame]:
        from lfdn_video.inference.colour import PlaneConverter
        from lfdn_video.inference.scheduler import restore_frames

        def restore(frames: Generator[Frame], frame: Frame) -> Generator[Frame]:
            assert frame.info is not None
            return restore_frames(frames, PlaneConverter(frame.info), runner, inference)

        def measure(frame: Frame) -> dict[float, float]:
            costs_s: dict[float, float] = {}
            for runner.scale in TRIALS:
                began_s = time.monotonic()
                for _ in restore((each for each in (frame,)), frame):
                    pass
                costs_s[runner.scale] = time.monotonic() - began_s
                if costs_s[runner.scale] > self._options.max_latency_s:
                    break
            return costs_s

        wanted = self._wanted(runner, measure)
        if (first := next(wanted, None)) is None:
            return
        with closing(restore(_prepended(first, wanted), first)) as restored:
            for frame in restored:
                yield self._finished(frame)

    def _wanted(
        self, runner: "ScaledRunner", measure: Callable[[Frame], dict[float, float]]
    ) -> Generator[Frame]:
        """The frames to restore, each taken when the one before is done with."""
        end_s = time.monotonic() + (self._options.duration_s or float("inf"))
        size: tuple[int, int] | None = None
        while not self._capture.over and (left_s := end_s - time.monotonic()) > 0:
            captured = self._capture.take(min(TICK_S, left_s))
            self._tell()
            if captured is None:
                continue
            frame = captured.frame
            self._under_way = captured
            if size != (size := (frame.width, frame.height)) and self._adaptation.adapts:
                # How long the network takes is found out on a frame that is not shown.
                self._adaptation.begin(measure(frame), time.monotonic())
                self._meter.dropped += 1
                self._under_way = None
                continue
            runner.scale = self._adaptation.scale
            self._began_s = time.monotonic()
            yield frame

    def _finished(self, frame: Frame) -> LiveFrame:
        """Show a restored frame, and write it."""
        captured, restored_s = self._under_way, time.monotonic()
        assert captured is not None
        result = LiveFrame(captured, frame)
        if self._shows:
            image, raw = result.image, result.raw
            result.latency_s = time.monotonic() - captured.stamp_s
            self._board.show(
                View(captured.number, raw, image, captured.captured_at, result.latency_s)
            )
        shown_s = time.monotonic()
        self._meter.count(result.latency_s, restored_s - self._began_s)
        self._under_way = None
        self._adapt(result.latency_s, restored_s - self._began_s)
        for sink in self._sinks:
            sink.write(frame, captured.stamp_s, captured.captured_at)
        self._meter.encode_s += time.monotonic() - shown_s
        self._tell(latency_s=result.latency_s, size=_upright_size(frame))
        return result

    def _adapt(self, latency_s: float, cost_s: float) -> None:
        before, helpless = self._adaptation.scale, self._adaptation.beyond_help
        self._adaptation.note(latency_s, cost_s, time.monotonic())
        if self._adaptation.scale != before:
            _log.info(
                "the network gets pictures of %g of their sides, after %g (%.2f s behind)",
                *(self._adaptation.scale, before, latency_s),
            )
        if self._adaptation.beyond_help and not helpless:
            _log.warning(
                "%s: %.1f s behind, and nothing smaller helps; give it a smaller picture, "
                "a faster device, or more --max-latency",
                *(self._source, latency_s),
            )

    def _tell(self, **more: object) -> None:
        counts, meter = self._capture.counts, self._meter
        meter.tick(counts.frames_in)
        self._board.update(
            frames_in=counts.frames_in,
            frames_out=meter.out,
            frames_dropped=counts.dropped + meter.dropped,
            reconnects=counts.reconnects,
            fps_in=meter.fps_in,
            fps_out=meter.fps_out,
            inference_scale=self._adaptation.scale,
            latency_counts=tuple(meter.latency_counts),
            latency_sum_s=meter.latency_sum_s,
            stage_s={
                "decode": counts.decode_s,
                "model": meter.model_s,
                "encode": meter.encode_s,
            },
            **more,
        )

    def _report(self, state: StreamState, message: str = "") -> None:
        if state != self._board.status.state:
            self._board.update(changed_at=time.time())
        self._board.update(state=state, message=message)

    def _end(self, state: StreamState, message: str = "") -> None:
        if self._under_way is not None:
            self._under_way = None
            self._meter.dropped += 1
        self._tell()
        self._report(state, message)
        self._board.close()

    def _pass_audio(self, message: AudioHeader | AudioPacket) -> None:
        for sink in self._sinks:
            sink.add_audio(message)


def live(
    source: str | int | Path,
    *,
    task: str = "derain",
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    options: LiveOptions | None = None,
    engine: "Runner | None" = None,
    board: Board | None = None,
) -> Generator[LiveFrame]:
    """The restored frames of a live source, as they come; it is opened again when it fails.

    `source`: the number of a camera, an address, a file (played in real time), or `lavfi:` and a
    test source of FFmpeg. `engine`: one to use instead of making one, best by `load_engine(...,
    lanes=1)`, which gives each frame all cores; it stays open. `board`: where else it is to be seen
    how it goes, and the pictures. Close the generator if you leave it early.
    """
    parsed = parse_source(str(source))
    session = Session(
        parsed,
        board or Board(Status(source=str(parsed), task=task)),
        options,
        shows=board is not None,
    )
    with (
        live_engine(task, weights=weights, inference=inference, engine=engine) as runner,
        closing(session.frames(runner, inference)) as frames,
    ):
        yield from frames


@contextmanager
def live_engine(
    task: str,
    *,
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    engine: "Runner | None" = None,
) -> Generator["Runner"]:
    """The network for a task; one made here is closed here."""
    from lfdn_video.inference.engine import load_engine

    made = Path(weights) if weights else None
    options = inference or InferenceOptions()
    runner = engine or load_engine(task, weights=made, options=options, lanes=1)
    try:
        yield runner
    finally:
        if engine is None:
            runner.close()


class _Meter:
    """Counts what becomes of frames; rates are those of the last seconds."""

    def __init__(self) -> None:
        self.out = self.dropped = 0
        self.model_s = self.encode_s = self.latency_sum_s = 0.0
        self.fps_in = self.fps_out = 0.0
        self.latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._ticks: deque[tuple[float, int, int]] = deque()

    def count(self, latency_s: float, model_s: float) -> None:
        self.out += 1
        self.model_s += model_s
        self.latency_sum_s += latency_s
        self.latency_counts[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1

    def tick(self, frames_in: int) -> None:
        now_s = time.monotonic()
        self._ticks.append((now_s, frames_in, self.out))
        while now_s - self._ticks[0][0] > RATE_S:
            self._ticks.popleft()
        then_s, then_in, then_out = self._ticks[0]
        if now_s > then_s:
            self.fps_in = (frames_in - then_in) / (now_s - then_s)
            self.fps_out = (self.out - then_out) / (now_s - then_s)


def _prepended(first: Frame, others: Generator[Frame]) -> Generator[Frame]:
    with closing(others):
        yield first
        del first  # or it would live as long as the session
        yield from others


def _upright_size(frame: Frame) -> tuple[int, int]:
    assert frame.info is not None
    turned = frame.info.rotation in (90, 270)
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def _image(frame: Frame) -> Image:
    from lfdn_video.inference.colour import PlaneConverter

    assert frame.info is not None
    return PlaneConverter(frame.info).to_image(frame.planes)
