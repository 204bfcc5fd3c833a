"""The restored stream passed on to a server, RTSP, RTMP, SRT or MPEG-TS over UDP, as it comes.

Like everything live it does not fall behind: frames wait in a short queue whose oldest are dropped.
A server that fails or hangs is connected to again; meanwhile nothing else waits for it. Encoding
and sending are done in a process of their own, `pusher.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

from lfdn_video.background import WAKE_S
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import mask_secrets, scheme_of
from lfdn_video.stream.child import Child
from lfdn_video.stream.sinks.outlet import AudioQueue, check_encoding
from lfdn_video.stream.sinks.pusher import KINDS

QUEUE_FRAMES = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 5.0
STUCK_S = 10.0
"""A frame that cannot be sent for so long: the server hangs."""
ENDING_S = 3.0
"""For what is under way to be sent at the end."""

_log = logging.getLogger(__name__)


class Push:
    """A sink of a session. A context manager; leaving it ends the stream."""

    def __init__(self, target: str, *, encode: EncodeOptions | None = None) -> None:
        self._name = mask_secrets(target)
        if scheme_of(target) not in KINDS:
            known = ", ".join(f"{scheme}://" for scheme in KINDS)
            raise OptionError(f"out: {self._name} is no place to push to; give one of {known}")
        self._request = wire.PushRequest(target=target, encode=encode or EncodeOptions())
        check_encoding(self._request.encode, _checked_kind(scheme_of(target)))
        self._audio = AudioQueue()
        self._queue: deque[wire.StampedFrame] = deque(maxlen=QUEUE_FRAMES)
        self._changed = threading.Condition()
        self._closing = False
        self._child: Child | None = None
        self._sending_since_s: float | None = None
        self._hopeless: str | None = None
        """What is wrong, if no further try can be any better."""
        self._thread = threading.Thread(target=self._run, name="push", daemon=True)
        self.connections = 0
        """How often the server was connected to, or tried."""

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
            self._closing = True
            self._changed.notify_all()
        self._thread.join(ENDING_S)
        self._kill()
        while self._thread.is_alive():
            self._thread.join(WAKE_S)
            self._kill()

    def add_audio(self, message: wire.AudioHeader | wire.AudioPacket) -> None:
        self._audio.add(message)

    def write(self, frame: Frame, stamp_s: float, captured_at: float) -> None:  # noqa: ARG002
        """Queue a frame; never waits. OutputError if there is no way to push at all."""
        if self._hopeless is not None:
            raise OutputError(self._hopeless)
        with self._changed:
            self._queue.append(wire.StampedFrame(frame, stamp_s, 0.0))
            self._changed.notify_all()
            since_s = self._sending_since_s
        if since_s is not None and time.monotonic() - since_s > STUCK_S:
            _log.warning("%s: takes nothing any more; connecting again", self._name)
            self._kill()

    def _kill(self) -> None:
        with self._changed:
            if self._child is not None:
                self._child.kill()

    def _run(self) -> None:
        wait_s = 0.0
        while self._next(peek=True) is not None:
            ended = self._push_once()
            if ended is None:
                wait_s = 0.0
                continue
            if ended.final:
                self._hopeless = ended.error
                return
            wait_s = min(2 * wait_s or FIRST_WAIT_S, LONGEST_WAIT_S)
            _log.warning("%s; trying again", ended.error)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, wait_s)

    def _push_once(self) -> wire.Ended | None:
        """Feed one process until the end, or until it fails: then what it says of that."""
        with Child("lfdn_video.stream.sinks.pusher") as child:
            with self._changed:
                self._child = child
            self.connections += 1
            try:
                child.send(self._request)
                header = self._audio.header
                if header is not None:
                    child.send(header)
                while (picture := self._next()) is not None:
                    self._send(child, picture)
                child.close_input()
            except BrokenPipeError:
                return self._last_words(child)
            finally:
                with self._changed:
                    self._child = None
            child.wait(ENDING_S)
        return None

    def _send(self, child: Child, picture: wire.StampedFrame) -> None:
        with self._changed:
            self._sending_since_s = time.monotonic()
        try:
            for packet in self._audio.until(picture.stamp_s):
                child.send(packet)
            child.send(picture)
        finally:
            with self._changed:
                self._sending_since_s = None

    def _last_words(self, child: Child) -> wire.Ended:
        try:
            ended: wire.Ended = child.receive()
        except EOFError:
            return wire.Ended(f"{self._name}: the process that sends it ended by itself")
        return ended

    def _next(self, *, peek: bool = False) -> wire.StampedFrame | None:
        """The oldest of the queue, waited for; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or len(self._queue) > 0)
            if not self._queue or (peek and self._closing):
                return None
            return self._queue[0] if peek else self._queue.popleft()


def _checked_kind(scheme: str) -> str:
    """What takes the same codecs, and can be tried without a server."""
    return "mpegts" if KINDS[scheme] == "rtsp" else KINDS[scheme]
