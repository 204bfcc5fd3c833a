"""Keeps a live source open and has its newest frame at hand, whatever happens to the source.

A thread reads what the process of `grabber.py` sends, always and at once, so nothing piles up
anywhere: a frame that nobody took when the next one comes is dropped and counted. When the source
fails, or no frame came for too long, its process is ended and another one started, after waits that
grow. The watch is on frames, not on connections: a camera that keeps its socket open and sends
nothing is as dead as one that is unplugged. Knows nothing of networks or what frames are for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from lfdn_video.background import WAKE_S
from lfdn_video.errors import InputError
from lfdn_video.media import Frame
from lfdn_video.stream import wire
from lfdn_video.stream.board import StreamState
from lfdn_video.stream.child import Child

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 5.0
"""Between two tries to open a source: doubled each time, and short enough for a source that comes
back to be noticed within ten seconds."""
LONG_OUTAGE_S, LONG_OUTAGE_WAIT_S = 600.0, 30.0
"""What is away for so long is asked for less often."""

OPENING_S = 20.0
"""Before a first frame there may be more silence: names are looked up, key frames waited for."""

_log = logging.getLogger(__name__)


class Report(Protocol):
    """Told what becomes of the source, from the capture's thread."""

    def __call__(self, state: StreamState, message: str = "") -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame, and when it came."""

    frame: Frame
    """Its `info` is set, its pts is `stamp_s` in microseconds."""
    number: int
    """From 1, counting those that were dropped."""
    stamp_s: float
    """By `time.monotonic`; increasing from frame to frame."""
    captured_at: float
    """In seconds since the epoch, as well as this machine knew when the frame came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a source is waited for."""

    stall_s: float = 10.0
    """Without a frame for so long, it is opened again."""
    retries: int | None = None
    """So many failed tries in a row are accepted. None: no end of them for addresses, and for a
    camera that had been live; none at all for everything else."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the start. Always: frames_in = taken + dropped + (1 if one waits to be taken)."""

    frames_in: int = 0
    dropped: int = 0
    reconnects: int = 0
    decode_s: float = 0.0


class Capture:
    """An open source. A context manager; leaving it ends the process and the threads."""

    def __init__(
        self,
        request: wire.CaptureRequest,
        patience: Patience,
        *,
        report: Report,
        audio: Callable[[wire.AudioHeader | wire.AudioPacket], None] | None = None,
    ) -> None:
        self._request, self._patience = request, patience
        self._report, self._audio = report, audio
        self._changed = threading.Condition()
        self._newest: Captured | None = None
        self._counts = Counts()
        self._last_pts = 0
        self._was_live = False
        self._closing = self._over = False
        self._error: BaseException | None = None
        self._grabber: Child | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

    def close(self) -> None:
        """Let `take` end, from any thread. The source is given up at once."""
        with self._changed:
            self._closing = True
            grabber = self._grabber
            self._changed.notify_all()
        if grabber is not None:
            grabber.kill()

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def over(self) -> bool:
        """Whether no more frames will come; the last one may still wait to be taken."""
        with self._changed:
            return self._closing or (self._over and self._newest is None and self._error is None)

    def take(self, timeout_s: float) -> Captured | None:
        """The newest frame, waited for if it was taken before; None if none came so long.

        Raises InputError if the source is given up on.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._newest is not None or self._over or self._closing, timeout_s
            )
            if self._closing:
                return None
            if self._newest is None and self._error is not None:
                raise self._error
            taken, self._newest = self._newest, None
            return taken

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._keep_open()
        except BaseException as caught:  # noqa: BLE001 (handed over to who takes the frames)
            error = caught
        with self._changed:
            self._error, self._over = error, True
            self._changed.notify_all()

    def _keep_open(self) -> None:
        outage = _Outage()
        while not self._closing:
            frames_before = self.counts.frames_in
            ended = self._read_once()
            if self._closing or ended.error is None:
                return
            if self.counts.frames_in > frames_before:
                outage = _Outage()
            wait_s = outage.next_wait_s()
            if ended.final or not self._goes_on(outage.tries):
                raise InputError(ended.error)
            _log.info("%s; trying again in %g s", ended.error, wait_s)
            state: StreamState = "reconnecting" if self._was_live else "connecting"
            self._report(state, f"{ended.error}; trying again")
            with self._changed:
                self._changed.wait_for(lambda: self._closing, wait_s)

    def _goes_on(self, tries: int) -> bool:
        source, retries = self._request.source, self._patience.retries
        if source.kind in ("file", "lavfi"):
            return False
        if retries is not None:
            return tries <= retries
        return source.kind == "network" or self._was_live

    def _read_once(self) -> wire.Ended:
        """From starting a process to its end; says what that was."""
        source, stall_s = self._request.source, self._patience.stall_s
        with (
            Child("lfdn_video.stream.capture.grabber") as grabber,
            _Watchdog(grabber.kill, max(stall_s, OPENING_S), stall_s) as watchdog,
        ):
            with self._changed:
                self._grabber = grabber
                if self._closing:  # it did not know this one to kill it
                    return wire.Ended()
            first = True
            try:
                grabber.send(self._request)
                while True:
                    message = grabber.receive()
                    if isinstance(message, wire.StampedFrame):
                        watchdog.feed()
                        self._put(message, first=first)
                        first = False
                    elif isinstance(message, wire.Ended):
                        return message
                    elif isinstance(message, wire.Note):
                        _log.warning("%s: %s", source, message.text)
                    elif self._audio is not None:
                        self._audio(message)
            except (EOFError, BrokenPipeError):
                if watchdog.barked_after_s is not None:
                    return wire.Ended(f"{source}: no frame for {watchdog.barked_after_s:g} s")
                return wire.Ended(f"{source}: the process that reads it ended by itself")
            finally:
                with self._changed:
                    self._grabber = None

    def _put(self, picture: wire.StampedFrame, *, first: bool) -> None:
        with self._changed:
            pts = max(self._last_pts + 1, round(picture.stamp_s * 1e6))
            self._last_pts = pts
            if self._newest is not None:
                self._drop_newest()
            counts = self._counts
            again = int(first and self._was_live)
            self._counts = replace(
                counts,
                frames_in=counts.frames_in + 1,
                reconnects=counts.reconnects + again,
                decode_s=counts.decode_s + picture.decode_s,
            )
            self._newest = Captured(
                frame=replace(picture.frame, pts=pts),
                number=self._counts.frames_in,
                stamp_s=pts / 1e6,
                captured_at=time.time() - (time.monotonic() - picture.stamp_s),
            )
            self._was_live = True
            self._changed.notify_all()
        if first:
            self._report("live")

    def _drop_newest(self) -> None:
        self._newest = None
        self._counts = replace(self._counts, dropped=self._counts.dropped + 1)


class _Outage:
    """How often a source was tried in vain, and for how long."""

    def __init__(self) -> None:
        self.tries = 0
        self._since_s = time.monotonic()

    def next_wait_s(self) -> float:
        """After one more failure: how long to wait before the next try."""
        self.tries += 1
        if time.monotonic() - self._since_s > LONG_OUTAGE_S:
            return LONG_OUTAGE_WAIT_S
        return float(min(FIRST_WAIT_S * 2 ** min(self.tries - 1, 8), LONGEST_WAIT_S))


class _Watchdog:
    """Calls `bark` from a thread of its own when it was not fed for too long. A context manager."""

    def __init__(self, bark: Callable[[], None], first_s: float, then_s: float) -> None:
        self._bark, self._patience_s, self._then_s = bark, first_s, then_s
        self._changed = threading.Condition()
        self._fed_s = time.monotonic()
        self._done = False
        self.barked_after_s: float | None = None
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._done = True
            self._changed.notify_all()
        self._thread.join()

    def feed(self) -> None:
        with self._changed:
            self._fed_s, self._patience_s = time.monotonic(), self._then_s

    def _watch(self) -> None:
        with self._changed:
            while not self._done:
                left_s = self._fed_s + self._patience_s - time.monotonic()
                if left_s <= 0:
                    self.barked_after_s = self._patience_s
                    self._bark()
                    return
                self._changed.wait(left_s)
