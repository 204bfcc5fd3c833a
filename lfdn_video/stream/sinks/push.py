"""Pushes the restored stream to a server: RTSP, RTMP, SRT, or MPEG-TS over TCP or UDP.

It never falls behind: frames wait in a short queue that drops the oldest. If the server fails or
hangs, it reconnects, and nothing else waits for it meanwhile. A process of its own encodes and
sends (`pusher.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Self

from lfdn_video.background import WAKE_S
from lfdn_video.child import Child
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import mask_secrets, scheme_of
from lfdn_video.stream.sinks.audio_queue import AudioQueue
from lfdn_video.stream.sinks.live_encoder import check_encoding
from lfdn_video.stream.sinks.pusher import MUXER_BY_SCHEME

QUEUE_FRAMES = 4
FIRST_RETRY_S = 1.0
"""Wait before the first retry; it doubles with each failure."""
MAX_RETRY_S = 5.0
STUCK_S = 10.0
"""Time to send one frame, in seconds, after which the server counts as hanging."""
ENDING_S = 3.0
"""Time at the end, in seconds, to send the frames in flight."""

logger = logging.getLogger(__name__)


class Push:
    """A sink that pushes to a server. A context manager; leaving it ends the stream."""

    def __init__(self, target: str, *, encode: EncodeOptions | None = None) -> None:
        """Check target and options; entering the context starts to push.

        Args:
            target: the server's address; it may contain a password.
            encode: the user's encoding options; None: the defaults.

        Raises:
            OptionError: the address cannot be pushed to, or the encoding cannot be used.
        """
        self._name = mask_secrets(target)
        if scheme_of(target) not in MUXER_BY_SCHEME:
            known = ", ".join(f"{scheme}://" for scheme in MUXER_BY_SCHEME)
            raise OptionError(f"out: {self._name} is not an address to push to; use one of {known}")
        self._request = wire.PushRequest(target=target, encode=encode or EncodeOptions())
        check_encoding(self._request.encode, _muxer_for_check(scheme_of(target)))
        self._audio = AudioQueue()
        self._changed = threading.Condition()
        """Guards the attributes below, which two threads use."""
        self._queue: deque[wire.StampedFrame] = deque(maxlen=QUEUE_FRAMES)
        self._closing = False
        self._child: Child | None = None
        self._sending_since_s: float | None = None
        self._final_error: str | None = None
        """An error that no retry can fix."""
        self._thread = threading.Thread(target=self._run, name="push", daemon=True)
        self.connections = 0
        """Number of connections, including failed tries."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(ENDING_S)
        self._kill_child()  # a server that hangs must not delay the end
        while self._thread.is_alive():
            self._thread.join(WAKE_S)
            self._kill_child()

    def add_audio(self, message: wire.AudioHeader | wire.AudioPacket) -> None:
        """Queue audio, from any thread; it is sent with the frames of its time."""
        self._audio.add_message(message)

    def write_frame(self, frame: Frame, stamp_s: float, captured_at: float) -> None:  # noqa: ARG002
        """Queue a frame. Never waits.

        Args:
            frame: a restored frame; its `info` is set.
            stamp_s: its time of capture by `time.monotonic`.
            captured_at: the same in seconds since the epoch; not used.

        Raises:
            OutputError: pushing failed for good.
        """
        if self._final_error is not None:
            raise OutputError(self._final_error)
        with self._changed:
            self._queue.append(wire.StampedFrame(frame, stamp_s, 0.0))
            self._changed.notify_all()
            since_s = self._sending_since_s
        # Checked here, since the pushing thread itself is stuck in `send` while a server hangs.
        if since_s is not None and time.monotonic() - since_s > STUCK_S:
            logger.warning("%s: accepts no more data; reconnecting", self._name)
            self._kill_child()

    def _kill_child(self) -> None:
        with self._changed:
            if self._child is not None:
                self._child.kill()

    def _run(self) -> None:
        """Connect, and reconnect after failures, until the end."""
        wait_s = 0.0
        while self._wait_for_frame():
            ended = self._push_until_failure()
            if ended is None:
                wait_s = 0.0
                continue
            if ended.final:
                self._final_error = ended.error
                return
            wait_s = min(2 * wait_s or FIRST_RETRY_S, MAX_RETRY_S)
            logger.warning("%s; trying again", ended.error)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, wait_s)

    def _push_until_failure(self) -> wire.Ended | None:
        """Feed one pusher process; return how it failed, or None at the end."""
        with Child("lfdn_video.stream.sinks.pusher") as child:
            with self._changed:
                self._child = child
            self.connections += 1
            try:
                child.send(self._request)
                # Before the first frame: the muxer's header lists the streams.
                header = self._audio.header
                if header is not None:
                    child.send(header)
                while (stamped := self._pop_frame()) is not None:
                    self._send(child, stamped)
                child.close_input()
            except BrokenPipeError:
                # The process exited; its last message has the reason.
                return self._receive_failure(child)
            finally:
                with self._changed:
                    self._child = None
            child.wait(ENDING_S)
        return None

    def _send(self, child: Child, stamped: wire.StampedFrame) -> None:
        with self._changed:
            self._sending_since_s = time.monotonic()
        try:
            for packet in self._audio.pop_until(stamped.stamp_s):
                child.send(packet)
            child.send(stamped)
        finally:
            with self._changed:
                self._sending_since_s = None

    def _receive_failure(self, child: Child) -> wire.Ended:
        try:
            ended: wire.Ended = child.receive()
        except EOFError:
            return wire.Ended(f"{self._name}: the process that sends it exited unexpectedly")
        return ended

    def _wait_for_frame(self) -> bool:
        """Wait until a frame is queued; return False at the end instead."""
        with self._changed:
            self._changed.wait_for(self._has_frame_or_closes)
            return len(self._queue) > 0 and not self._closing

    def _pop_frame(self) -> wire.StampedFrame | None:
        """Wait for the oldest frame and remove it; return None at the end, after the last."""
        with self._changed:
            self._changed.wait_for(self._has_frame_or_closes)
            return self._queue.popleft() if self._queue else None

    def _has_frame_or_closes(self) -> bool:
        return self._closing or len(self._queue) > 0


def _muxer_for_check(scheme: str) -> str:
    """Return a muxer that takes the same codecs and can be tried without a server."""
    return "mpegts" if MUXER_BY_SCHEME[scheme] == "rtsp" else MUXER_BY_SCHEME[scheme]
