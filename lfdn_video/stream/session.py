"""A live session: fetches a source's newest frame, restores it, shows and writes the result.

    grabber process     demux, decode                               capture/grabber.py
    thread "capture"    keeps the newest frame, drops the others    capture/capture.py
    caller's thread     network, temporal stage, board, sinks       restoration.py, here

A live stream never falls behind. The network takes the newest frame whenever it is free, so the
latency is about one pass of the network and one frame interval; if that is above the bound, the
network's input is scaled down (`scaling.py`, `adaptation.py`). Every frame is accounted for: frames
in = frames out + frames dropped. Status and newest frame go to a `Board`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from lfdn_video.errors import LfdnVideoError
from lfdn_video.media import Frame, Image
from lfdn_video.options import InferenceOptions, LiveOptions
from lfdn_video.stream.adaptation import LOW_WATERMARK, Adaptation, choose_floor, is_too_small
from lfdn_video.stream.addresses import Source
from lfdn_video.stream.board import Board, StreamState, View
from lfdn_video.stream.capture.capture import Capture, CapturedFrame, StateListener
from lfdn_video.stream.capture.reconnect import Patience
from lfdn_video.stream.meter import Meter
from lfdn_video.stream.wire import AudioHeader, AudioPacket, CaptureRequest
from lfdn_video.temporal.choice import find_reason_off

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner
    from lfdn_video.stream.network import LiveNetwork
    from lfdn_video.stream.restoration import Restoration, RestoredCapture

STATUS_INTERVAL_S = 0.5
"""Seconds between updates of the status while no frame arrives."""

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
            shows: True if the board also receives images, for viewers, as often as it wants them.
        """
        self._source = source
        self._board = board
        self._options = options or LiveOptions()
        self._sinks = sinks
        self._shows = shows
        self._adaptation = _make_adaptation(self._options, board.status.task)
        self._capture = _make_capture(
            source,
            self._options,
            audio=bool(sinks),
            on_state=self._set_state,
            on_audio=self._pass_audio,
        )
        self._meter = Meter()
        self._in_flight: deque[CapturedFrame] = deque()
        """Fetched and not delivered yet: in the network, or waiting in the temporal stage."""

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
        """Restore the source with a network of its own; see `frames_by`.

        Args:
            runner: the network, which stays open.
            inference: tiles and batch; None: the defaults.
            lighter: loads a network for when `runner` is too slow for full scale.

        Returns:
            The generator of `frames_by`.
        """
        from lfdn_video.stream.network import OwnNetwork

        return self.frames_by(OwnNetwork(runner, inference, lighter))

    def frames_by(self, network: "LiveNetwork") -> Generator[LiveFrame]:
        """Restore the source until it ends, fails or `stop` is called.

        Close the generator when leaving it early.

        Args:
            network: the network, which is closed at the end.

        Yields:
            Frames as they are restored. A slow consumer gets newer frames, not a queue of old ones.

        Raises:
            LfdnVideoError: the source, the network or a sink failed for good.
        """
        from lfdn_video.stream.restoration import Restoration

        self._board.update(
            started_at=time.time(),
            changed_at=time.time(),
            max_latency_s=self._options.max_latency_s,
            prefer=self._options.prefer if self._adaptation.adapts else None,
        )
        self._meter.load.device = network.device_name
        try:
            with (
                self._capture,
                closing(Restoration(network, delay=self._options.delay)) as restoration,
            ):
                yield from self._restore_newest(restoration)
        except BaseException as error:
            left_early = isinstance(error, GeneratorExit | KeyboardInterrupt)
            if left_early:
                self._finish("ended")
            else:
                self._finish("failed", self._source.redact(str(error)))
            raise
        self._finish("ended")

    def _restore_newest(self, restoration: "Restoration") -> Generator[LiveFrame]:
        """Fetch the newest frame each time, after the last was delivered, and restore it."""
        end_s = time.monotonic() + (self._options.duration_s or float("inf"))
        size: tuple[int, int] | None = None
        while not self._capture.ended and (left_s := end_s - time.monotonic()) > 0:
            try:
                captured = self._capture.wait_for_frame(
                    min(left_s, _patience_s(self._in_flight, self._options))
                )
            except LfdnVideoError:
                yield from self._deliver(restoration.finish(), restoration)
                raise
            self._publish()  # also without a frame, so that rates fall while a source is silent
            if captured is None:
                if self._in_flight and _patience_s(self._in_flight, self._options) == 0:
                    yield from self._deliver(restoration.release(), restoration)
                continue
            frame = captured.frame
            self._in_flight.append(captured)
            _set_floor(self._adaptation, self._board)
            adapts, is_new = self._adaptation.adapts, size != (size := (frame.width, frame.height))
            if adapts and (is_new or (self._adaptation.scale < 1 and restoration.use_lighter())):
                yield from self._try_out(captured, restoration)
                continue
            ready = restoration.push(
                captured, scale=self._adaptation.scale, refines=self._adaptation.refines
            )
            self._meter.model_s += restoration.model_s
            self._meter.temporal_s += restoration.temporal_s
            yield from self._deliver(ready, restoration)
        yield from self._deliver(restoration.finish(), restoration)

    def _try_out(self, captured: CapturedFrame, restoration: "Restoration") -> Generator[LiveFrame]:
        """Use a frame of a new size or network for a trial; it is then too old to be shown."""
        self._in_flight.pop()
        self._meter.dropped += 1
        yield from self._deliver(restoration.finish(), restoration)
        max_latency_s = self._options.max_latency_s
        _start_from_trial(self._adaptation, captured.frame, restoration, max_latency_s)

    def _deliver(
        self, ready: "Sequence[RestoredCapture]", restoration: "Restoration"
    ) -> Generator[LiveFrame]:
        """Show restored frames, then write them to the sinks."""
        for restored in ready:
            captured, frame = restored.captured, restored.frame
            result = LiveFrame(captured, frame)
            if self._shows and self._board.wants_view():
                image = result.image
                raw = result.raw
                result.latency_s = time.monotonic() - captured.stamp_s
                self._board.show(
                    View(captured.number, raw, image, captured.captured_at, result.latency_s)
                )
            # Sinks come after the board: a slow disk must not add to the latency of what is shown.
            shown_s = time.monotonic()
            self._meter.count_frame(result.latency_s)
            assert self._in_flight[0] is captured, "each frame comes out, in order"
            self._in_flight.popleft()
            _adapt(self._adaptation, result.latency_s, restoration, self._source)
            for sink in self._sinks:
                sink.write_frame(frame, captured.stamp_s, captured.captured_at)
            self._meter.encode_s += time.monotonic() - shown_s
            self._publish(
                latency_s=result.latency_s, size=_upright_size(frame), **restoration.account()
            )
            yield result

    def _publish(self, **changes: object) -> None:
        """Update the board's status with all counts, and with `changes`."""
        counts = self._meter.summarize(self._capture.counts)
        temporal = "on" if self._adaptation.refines else "off"
        self._board.update(
            inference_scale=self._adaptation.scale,
            too_small=is_too_small(self._board.status.task, self._adaptation.scale),
            temporal="paused" if self._adaptation.paused else temporal,
            **counts,
            **changes,
        )

    def _set_state(self, state: StreamState, message: str = "") -> None:
        if state != self._board.status.state:
            self._board.update(changed_at=time.time())
        self._board.update(state=state, message=message)

    def _finish(self, state: StreamState, message: str = "") -> None:
        self._meter.dropped += len(self._in_flight)
        self._in_flight.clear()
        self._publish()
        self._set_state(state, message)
        self._board.close()

    def _pass_audio(self, message: AudioHeader | AudioPacket) -> None:
        for sink in self._sinks:
            sink.add_audio(message)


def _make_capture(
    source: Source,
    options: LiveOptions,
    *,
    audio: bool,
    on_state: StateListener,
    on_audio: Callable[[AudioHeader | AudioPacket], None],
) -> Capture:
    request = CaptureRequest(
        source=source,
        loop=options.loop,
        patience_s=options.stall_timeout_s,
        audio=audio,
        options=options.input_options,
    )
    patience = Patience(stall_s=options.stall_timeout_s, retries=options.retries)
    return Capture(request, patience, on_state=on_state, on_audio=on_audio)


def _make_adaptation(options: LiveOptions, task: str) -> Adaptation:
    refines = find_reason_off(options.temporal, task) is None
    return Adaptation(
        options.max_latency_s,
        fixed=None if isinstance(options.scale, str) else options.scale,
        delay=options.delay if refines else None,
    )


def _patience_s(in_flight: Sequence[CapturedFrame], options: LiveOptions) -> float:
    """Return how long to wait for a frame: less if one waits for it, and has to be shown."""
    if not in_flight:
        return STATUS_INTERVAL_S
    due_s = in_flight[0].stamp_s + LOW_WATERMARK * options.max_latency_s
    return min(STATUS_INTERVAL_S, max(0.0, due_s - time.monotonic()))


def _start_from_trial(
    adaptation: Adaptation, frame: Frame, restoration: "Restoration", max_latency_s: float
) -> None:
    """Choose the scale, and the lighter network where the first one would need a smaller image."""
    stage_s = 0.0
    if adaptation.refines or adaptation.paused:
        stage_s = restoration.measure_stage_s(frame)
    costs_s = restoration.measure_costs(frame, max_latency_s)
    adaptation.start_from_trial(costs_s, time.monotonic(), stage_s)
    if adaptation.scale < 1 and restoration.use_lighter():
        costs_s = restoration.measure_costs(frame, max_latency_s)
        adaptation.start_from_trial(costs_s, time.monotonic(), stage_s)


def _set_floor(adaptation: Adaptation, board: Board) -> None:
    """Let the smallest scale follow what is preferred now, which a viewer may change."""
    status = board.status
    adaptation.set_floor(choose_floor(status.task, status.prefer), time.monotonic())


def _adapt(
    adaptation: Adaptation, latency_s: float, restoration: "Restoration", source: Source
) -> None:
    """Let the scale adapt, and log changes."""
    before = (adaptation.scale, adaptation.paused, adaptation.saturated)
    adaptation.observe_frame(
        latency_s, restoration.model_s, time.monotonic(), restoration.temporal_s
    )
    adaptation.observe_stage(blind=restoration.is_blind, now_s=time.monotonic())
    _log_changes(before, adaptation, latency_s, source)


def _log_changes(
    before: tuple[float, bool, bool], adaptation: Adaptation, latency_s: float, source: Source
) -> None:
    """Log what differs from `before`: scale, pause of the temporal stage, saturation."""
    scale, was_paused, was_saturated = before
    if adaptation.scale != scale:
        logger.info(
            "%s: scale of the network's input: %g, was %g (latency %.2f s)",
            *(source, adaptation.scale, scale, latency_s),
        )
    if adaptation.paused != was_paused:
        what = "paused" if adaptation.paused else "on again"
        logger.info("%s: neighbouring frames: %s (latency %.2f s)", source, what, latency_s)
    if adaptation.saturated and not was_saturated:
        logger.warning(
            "%s: %.1f s behind even at the smallest scale; use a lower resolution, "
            "a faster device, or a larger --max-latency",
            *(source, latency_s),
        )


def _upright_size(frame: Frame) -> tuple[int, int]:
    """Return width and height after rotation, in px."""
    assert frame.info is not None
    is_sideways = frame.info.rotation in (90, 270)
    return (frame.height, frame.width) if is_sideways else (frame.width, frame.height)


def _to_image(frame: Frame) -> Image:
    from lfdn_video.inference.colour import PlaneConverter

    assert frame.info is not None
    return PlaneConverter(frame.info).to_image(frame.planes)
