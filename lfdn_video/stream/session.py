"""A live session: fetches a source's newest frame, restores it, shows and writes the result.

    grabber process     demux, decode                               capture/grabber.py
    thread "capture"    keeps the newest frame, drops the others    capture/capture.py
    caller's thread     network, then board, then sinks             here

A live stream never falls behind. The network takes the newest frame whenever it is free, so the
latency is about one pass of the network and one frame interval; if that is above the bound, the
network's input is scaled down (`scaling.py`, `adaptation.py`). Every frame is accounted for: frames
in = frames out + frames dropped. Status and newest frame go to a `Board`.
"""

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from lfdn_video.media import Frame, Image
from lfdn_video.options import InferenceOptions, LiveOptions
from lfdn_video.stream.adaptation import SCALES, Adaptation
from lfdn_video.stream.addresses import Source
from lfdn_video.stream.board import Board, StreamState, View
from lfdn_video.stream.capture.capture import Capture, CapturedFrame
from lfdn_video.stream.capture.reconnect import Patience
from lfdn_video.stream.meter import Meter
from lfdn_video.stream.wire import AudioHeader, AudioPacket, CaptureRequest

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner
    from lfdn_video.stream.scaling import ScaledRunner

STATUS_INTERVAL_S = 0.5
"""Seconds between updates of the status while no frame arrives."""

TRIAL_SCALES = (SCALES[0], SCALES[0], SCALES[2])
"""The passes of a trial. The first one includes warming up, so it is measured again."""

logger = logging.getLogger(__name__)


class LiveSink(Protocol):
    """A target of restored frames other than the board. It is called from two threads."""

    def write_frame(self, frame: Frame, stamp_s: float, captured_at: float) -> None:
        """Write a restored frame, called from the session's thread.

        Args:
            frame: a restored frame, as its source stores it; its `info` is set.
            stamp_s: its time of capture by `time.monotonic`; strictly increasing.
            captured_at: the same in seconds since the epoch.
        """

    def add_audio(self, message: AudioHeader | AudioPacket) -> None:
        """Receive audio of the source, from the capture's thread, ahead of its frames."""


class LiveFrame:
    """A restored frame of a live source. Images are converted on first access.

    Attributes:
        latency_s: seconds from its capture until it was restored and, with a board, shown.
    """

    def __init__(self, captured: CapturedFrame, restored: Frame) -> None:
        self._captured = captured
        self._restored = restored
        self.latency_s = time.monotonic() - captured.stamp_s

    @property
    def number(self) -> int:
        """Number of the captured frame, from 1. Gaps are dropped frames."""
        return self._captured.number

    @property
    def captured_at(self) -> float:
        """Time of capture, in seconds since the epoch."""
        return self._captured.captured_at

    @cached_property
    def image(self) -> Image:
        """The restored frame: `[H, W, 3]`, uint8, RGB, upright."""
        return _to_image(self._restored)

    @cached_property
    def raw(self) -> Image:
        """The captured frame: `[H, W, 3]`, uint8, RGB, upright."""
        return _to_image(self._captured.frame)


class Session:
    """One live source, from opening to end. Iterate over `frames` once."""

    def __init__(
        self,
        source: Source,
        board: Board,
        options: LiveOptions | None = None,
        *,
        sinks: Sequence[LiveSink] = (),
        shows: bool = False,
    ) -> None:
        """Prepare a session; iterating over `frames` opens the source.

        Args:
            source: the source to restore.
            board: receives the status, and is closed at the end.
            options: reading of the source, and the bound on latency; None: the defaults.
            sinks: receive every restored frame and the audio. The caller closes them.
            shows: True if the board also receives images, for viewers.
        """
        self._source = source
        self._board = board
        self._options = options or LiveOptions()
        self._sinks = sinks
        self._shows = shows
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
        self._capture = Capture(
            request, patience, on_state=self._set_state, on_audio=self._pass_audio
        )
        self._meter = Meter()
        self._in_flight: CapturedFrame | None = None
        self._submitted_s = 0.0
        """Time when the frame in flight was submitted to the network, by `time.monotonic`."""

    def stop(self) -> None:
        """Let `frames` end after the frame in flight. Safe from any thread."""
        self._capture.close()

    @property
    def stopped(self) -> bool:
        """True once `stop` was called or `frames` has ended."""
        return self._capture.closing

    def frames(
        self,
        runner: "Runner",
        inference: InferenceOptions | None = None,
        lighter: "Callable[[], Runner] | None" = None,
    ) -> Generator[LiveFrame]:
        """Restore the source until it ends, fails or `stop` is called.

        Close the generator when leaving it early.

        Args:
            runner: the network, which stays open.
            inference: tiles and batch; None: the defaults.
            lighter: loads a network for when `runner` is too slow for full scale.

        Yields:
            Frames as they are restored. A slow consumer gets newer frames, not a queue of old ones.

        Raises:
            LfdnVideoError: the source, the network or a sink failed for good.
        """
        from lfdn_video.stream.scaling import ScaledRunner

        self._board.update(
            started_at=time.time(),
            changed_at=time.time(),
            max_latency_s=self._options.max_latency_s,
        )
        try:
            with self._capture:
                yield from self._restore_newest(ScaledRunner(runner, lighter), inference)
        except BaseException as error:
            left_early = isinstance(error, GeneratorExit | KeyboardInterrupt)
            if left_early:
                self._finish("ended")
            else:
                self._finish("failed", self._source.redact(str(error)))
            raise
        self._finish("ended")

    def _restore_newest(
        self, runner: "ScaledRunner", inference: InferenceOptions | None
    ) -> Generator[LiveFrame]:
        captured = self._fetch_frames(runner, inference)
        if (first := next(captured, None)) is None:
            return
        with closing(
            _restore_stream(_chain(first, captured), first, runner, inference)
        ) as restored:
            for frame in restored:
                yield self._deliver(frame)

    def _fetch_frames(
        self, runner: "ScaledRunner", inference: InferenceOptions | None
    ) -> Generator[Frame]:
        """Yield the newest frame each time; the next is fetched after the last was delivered."""
        end_s = time.monotonic() + (self._options.duration_s or float("inf"))
        size: tuple[int, int] | None = None
        while not self._capture.ended and (left_s := end_s - time.monotonic()) > 0:
            captured = self._capture.wait_for_frame(min(STATUS_INTERVAL_S, left_s))
            self._publish()  # also without a frame, so that rates fall while a source is silent
            if captured is None:
                continue
            frame = captured.frame
            self._in_flight = captured
            adapts, is_new = self._adaptation.adapts, size != (size := (frame.width, frame.height))
            if adapts and (is_new or (self._adaptation.scale < 1 and runner.use_lighter())):
                # The frame is used for a trial, and is too old to be shown afterwards.
                costs_s = _measure_costs(frame, runner, inference, self._options.max_latency_s)
                self._adaptation.start_from_trial(costs_s, time.monotonic())
                self._drop_in_flight()
                continue
            runner.scale = self._adaptation.scale
            self._submitted_s = time.monotonic()
            yield frame

    def _deliver(self, frame: Frame) -> LiveFrame:
        """Show the restored frame in flight, then write it to the sinks."""
        captured = self._in_flight
        assert captured is not None
        model_s = time.monotonic() - self._submitted_s
        result = LiveFrame(captured, frame)
        if self._shows:
            image = result.image
            raw = result.raw
            result.latency_s = time.monotonic() - captured.stamp_s
            self._board.show(
                View(captured.number, raw, image, captured.captured_at, result.latency_s)
            )
        # Sinks come after the board: a slow disk must not add to the latency of what is shown.
        shown_s = time.monotonic()
        self._meter.count_frame(result.latency_s, model_s)
        self._in_flight = None
        self._adapt(result.latency_s, model_s)
        for sink in self._sinks:
            sink.write_frame(frame, captured.stamp_s, captured.captured_at)
        self._meter.encode_s += time.monotonic() - shown_s
        self._publish(latency_s=result.latency_s, size=_upright_size(frame))
        return result

    def _adapt(self, latency_s: float, cost_s: float) -> None:
        """Let the scale adapt, and log changes."""
        scale_before = self._adaptation.scale
        was_saturated = self._adaptation.saturated
        self._adaptation.observe_frame(latency_s, cost_s, time.monotonic())
        scale = self._adaptation.scale
        if scale != scale_before:
            logger.info(
                "scale of the network's input: %g, was %g (latency %.2f s)",
                scale,
                scale_before,
                latency_s,
            )
        if self._adaptation.saturated and not was_saturated:
            logger.warning(
                "%s: %.1f s behind even at the smallest scale; use a lower resolution, "
                "a faster device, or a larger --max-latency",
                self._source,
                latency_s,
            )

    def _publish(self, **changes: object) -> None:
        """Update the board's status with all counts, and with `changes`."""
        counts = self._meter.summarize(self._capture.counts)
        self._board.update(inference_scale=self._adaptation.scale, **counts, **changes)

    def _set_state(self, state: StreamState, message: str = "") -> None:
        if state != self._board.status.state:
            self._board.update(changed_at=time.time())
        self._board.update(state=state, message=message)

    def _finish(self, state: StreamState, message: str = "") -> None:
        if self._in_flight is not None:
            self._drop_in_flight()
        self._publish()
        self._set_state(state, message)
        self._board.close()

    def _drop_in_flight(self) -> None:
        self._in_flight = None
        self._meter.dropped += 1

    def _pass_audio(self, message: AudioHeader | AudioPacket) -> None:
        for sink in self._sinks:
            sink.add_audio(message)


def _restore_stream(
    frames: Generator[Frame], first: Frame, runner: "Runner", inference: InferenceOptions | None
) -> Generator[Frame]:
    """Restore `frames`, whose format is that of `first`."""
    from lfdn_video.inference.colour import PlaneConverter
    from lfdn_video.inference.scheduler import restore_frames

    assert first.info is not None
    return restore_frames(frames, PlaneConverter(first.info), runner, inference)


def _measure_costs(
    frame: Frame,
    runner: "ScaledRunner",
    inference: InferenceOptions | None,
    max_latency_s: float,
) -> dict[float, float]:
    """Measure seconds in the network by scale; a cost above the bound ends the trial."""
    costs_s: dict[float, float] = {}
    for runner.scale in TRIAL_SCALES:
        began_s = time.monotonic()
        for _ in _restore_stream((each for each in (frame,)), frame, runner, inference):
            pass
        costs_s[runner.scale] = time.monotonic() - began_s
        if costs_s[runner.scale] > max_latency_s:
            break
    return costs_s


def _chain(first: Frame, others: Generator[Frame]) -> Generator[Frame]:
    with closing(others):
        yield first
        del first  # else it would live as long as the session
        yield from others


def _upright_size(frame: Frame) -> tuple[int, int]:
    """Return width and height after rotation, in px."""
    assert frame.info is not None
    is_sideways = frame.info.rotation in (90, 270)
    return (frame.height, frame.width) if is_sideways else (frame.width, frame.height)


def _to_image(frame: Frame) -> Image:
    from lfdn_video.inference.colour import PlaneConverter

    assert frame.info is not None
    return PlaneConverter(frame.info).to_image(frame.planes)
