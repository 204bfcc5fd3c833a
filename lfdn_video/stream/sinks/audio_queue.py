"""A queue of audio packets that wait for the frames of their time to be restored."""

from collections import deque

from lfdn_video.stream.wire import AudioHeader, AudioPacket

MAX_DELAY_S = 30.0
"""Longest span of the queued packets, in seconds; older ones are dropped."""


class AudioQueue:
    """Audio of one source, filled by the capture thread and emptied by the session's."""

    def __init__(self) -> None:
        """Start without audio."""
        self.header: AudioHeader | None = None
        """The codec parameters of the packets; None while there is no audio."""
        self._packets: deque[AudioPacket] = deque()

    def add_message(self, message: AudioHeader | AudioPacket) -> None:
        """Append a packet; the header of another stream clears the queue."""
        if isinstance(message, AudioHeader):
            if message != self.header:
                self._packets.clear()
            self.header = message
            return
        self._packets.append(message)
        while message.stamp_s - self._packets[0].stamp_s > MAX_DELAY_S:
            self._packets.popleft()

    def pop_until(self, stamp_s: float) -> list[AudioPacket]:
        """Remove and return the packets up to a time of the session's clock, in order."""
        due = []
        while self._packets and self._packets[0].stamp_s <= stamp_s:
            due.append(self._packets.popleft())
        return due
