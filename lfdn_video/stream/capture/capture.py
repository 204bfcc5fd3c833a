"""Keeps a live source open and its newest frame available, even if the source fails.

A thread receives everything from the grabber process at once, so nothing piles up: a frame that was
not fetched before the next one arrived is dropped and counted. When the source fails or stalls, the
process is killed and restarted, with growing waits in between. We watch frames, not connections: a
camera that keeps its socket open and sends nothing is as dead as an unplugged one. Knows nothing of
networks, or of the use of frames.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from lfdn_video.background import WAKE_S
from lfdn_video.child import Child
from lfdn_video.errors import InputError
from lfdn_video.media import Frame
from lfdn_video.stream import wire
from lfdn_video.stream.board import StreamState
from lfdn_video.stream.capture.reconnect import Outage, Patience, Watchdog

GRABBER = "lfdn_video.stream.capture.grabber"

OPENING_S = 20.0
"""Minimum timeout of a source's first frame, in seconds: host names have to be resolved, and
decoding starts at a keyframe."""

logger = logging.getLogger(__name__)


class StateListener(Protocol):
    """Called with every change of the source's state, from the capture's thread."""

    def __call__(self, state: StreamState, message: str = "") -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class CapturedFrame:
    """A frame of a live source, and when it was captured."""

    frame: Frame
    """Its `info` is set, its pts is `stamp_s` in microseconds."""
    number: int
    """Number of the frame, from 1; dropped frames count too."""
    stamp_s: float
    """Time of capture by `time.monotonic`; strictly increasing."""
    captured_at: float
    """Time of capture in seconds since the epoch, by the system's current clock."""
    connection: int
    """Number of times the source was reopened before."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals since the start: frames_in = fetched + dropped + (1 if one is waiting)."""

    frames_in: int = 0
    """Frames received."""
    dropped: int = 0
    """Frames replaced by newer ones before they were fetched."""
    reconnects: int = 0
    """Number of times a source that had been live was reopened."""
    decode_s: float = 0.0
    """Seconds spent decoding."""


class Capture:
    """An open live source. A context manager: leaving it ends the process and the threads."""

    def __init__(
        self,
        request: wire.CaptureRequest,
        patience: Patience,
        *,
        on_state: StateListener,
        on_audio: Callable[[wire.AudioHeader | wire.AudioPacket], None] | None = None,
    ) -> None:
        """Prepare to read a source; entering opens it.

        Args:
            request: the source and its options.
            patience: limits of the waits for it.
            on_state: called from the capture's thread when the source is live or failed.
            on_audio: called from that thread with the audio, if the request asks for it.
        """
        self._request = request
        self._patience = patience
        self._on_state = on_state
        self._on_audio = on_audio
        self._changed = threading.Condition()
        self._newest: CapturedFrame | None = None
        self._counts = Counts()
        self._last_pts = 0
        self._was_live = False
        self._closing = False
        self._ended = False
        self._error: BaseException | None = None
        self._grabber: Child | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        while self._thread.is_alive():
            self._thread.join(WAKE_S)
        with self._changed:
            if self._newest is not None:
                self._drop_newest()

    @property
    def counts(self) -> Counts:
        with self._changed:
            return self._counts

    @property
    def closing(self) -> bool:
        """True once `close` was called."""
        return self._closing

    @property
    def ended(self) -> bool:
        """True if `wait_for_frame` will neither return a frame nor raise again."""
        with self._changed:
            return self._closing or (self._ended and self._newest is None and self._error is None)

    def close(self) -> None:
        """Stop reading and make `wait_for_frame` return. Safe from any thread."""
        with self._changed:
            self._closing = True
            grabber = self._grabber
            self._changed.notify_all()
        if grabber is not None:
            grabber.kill()

    def wait_for_frame(self, timeout_s: float) -> CapturedFrame | None:
        """Wait for the newest frame; each is returned once.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            The frame; None at the timeout, or if the source ended or was closed.

        Raises:
            InputError: the source failed and is not retried.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._newest is not None or self._ended or self._closing, timeout_s
            )
            if self._closing:
                return None
            if self._newest is None and self._error is not None:
                raise self._error
            captured, self._newest = self._newest, None
            return captured

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._keep_open()
        except BaseException as caught:  # noqa: BLE001 (raised by `wait_for_frame`)
            error = caught
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()

    def _keep_open(self) -> None:
        """Run one grabber after the other, until the source ends or retrying stops."""
        outage = Outage()
        while not self._closing:
            frames_before = self.counts.frames_in
            ended = self._run_grabber()
            if self._closing or ended.error is None:
                return
            if self.counts.frames_in > frames_before:
                outage = Outage()  # it was live, so this is the first failure of a new outage
            wait_s = outage.add_failure()
            if ended.final or not self._may_retry(outage.tries):
                raise InputError(ended.error)
            logger.info("%s; trying again in %g s", ended.error, wait_s)
            state: StreamState = "reconnecting" if self._was_live else "connecting"
            self._on_state(state, f"{ended.error}; trying again")
            with self._changed:
                self._changed.wait_for(lambda: self._closing, wait_s)

    def _may_retry(self, tries: int) -> bool:
        source = self._request.source
        if source.kind in ("file", "lavfi"):
            return False
        if self._patience.retries is not None:
            return tries <= self._patience.retries
        return source.kind == "network" or self._was_live

    def _run_grabber(self) -> wire.Ended:
        """Run a grabber to its end and return the reason."""
        source = self._request.source
        stall_s = self._patience.stall_s
        with (
            Child(GRABBER) as grabber,
            Watchdog(grabber.kill, max(stall_s, OPENING_S), stall_s) as watchdog,
        ):
            with self._changed:
                self._grabber = grabber
                if self._closing:  # `close` was called before it could kill this one
                    return wire.Ended()
            try:
                grabber.send(self._request)
                return self._receive(grabber, watchdog)
            except (EOFError, BrokenPipeError):
                if watchdog.timed_out_after_s is not None:
                    return wire.Ended(f"{source}: no frame for {watchdog.timed_out_after_s:g} s")
                return wire.Ended(f"{source}: the process that reads it exited unexpectedly")
            finally:
                with self._changed:
                    self._grabber = None

    def _receive(self, grabber: Child, watchdog: Watchdog) -> wire.Ended:
        is_first = True
        while True:
            message = grabber.receive()
            if isinstance(message, wire.StampedFrame):
                watchdog.feed()
                self._store(message, is_first=is_first)
                is_first = False
            elif isinstance(message, wire.Ended):
                return message
            elif isinstance(message, wire.Note):
                logger.warning("%s: %s", self._request.source, message.text)
            elif self._on_audio is not None:
                self._on_audio(message)

    def _store(self, stamped: wire.StampedFrame, *, is_first: bool) -> None:
        """Store a frame as the newest; `is_first` if it is the first of its grabber."""
        with self._changed:
            # Stamps of two grabbers may coincide or go back; pts must increase.
            pts = max(self._last_pts + 1, round(stamped.stamp_s * 1e6))
            self._last_pts = pts
            if self._newest is not None:
                self._drop_newest()
            counts = self._counts
            self._counts = replace(
                counts,
                frames_in=counts.frames_in + 1,
                reconnects=counts.reconnects + int(is_first and self._was_live),
                decode_s=counts.decode_s + stamped.decode_s,
            )
            self._newest = CapturedFrame(
                frame=replace(stamped.frame, pts=pts),
                number=self._counts.frames_in,
                stamp_s=pts / 1e6,
                captured_at=time.time() - (time.monotonic() - stamped.stamp_s),
                connection=self._counts.reconnects,
            )
            self._was_live = True
            self._changed.notify_all()
        if is_first:
            self._on_state("live")

    def _drop_newest(self) -> None:
        self._newest = None
        self._counts = replace(self._counts, dropped=self._counts.dropped + 1)
