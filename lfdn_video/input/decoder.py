"""FFmpeg's decoder of one video stream, which keeps track of the packets it cannot decode."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeAlias, cast

from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video.timestamps import DiscontinuityCounter

Position: TypeAlias = tuple[int, int]
"""Number of discontinuities before a frame, and its pts. Sorts frames by presentation even where
recordings were joined and pts repeat."""


class CorruptionError(Exception):
    """The fast pass met a corrupt packet or lost frames. It never leaves `reader.py`."""


class Decoder:
    """Decodes packets to frames and remembers which frames were lost.

    Args:
        stream: the stream to decode; its container stays the caller's.
        careful: count packets that cannot be decoded instead of raising CorruptionError. The counts
            are exact only if the stream does not decode several frames at once.
        min_jump: smallest jump back of timestamps, in ticks, that is a discontinuity.
    """

    def __init__(self, stream: VideoStream, *, careful: bool, min_jump: int) -> None:
        self._stream = stream
        self._careful = careful
        self._lost: list[Position] = []
        # Counted on both sides of the decoder, since frames leave it some packets later.
        self._sent = DiscontinuityCounter(min_jump)
        self._shown = DiscontinuityCounter(min_jump)
        self._newest_sent: Position | None = None
        self._newest_shown: Position | None = None
        self.corrupt_packets = 0
        self.corrupt_without_pts = 0
        """Corrupt packets without a pts; no frame can be repeated in their place."""

    @property
    def met_discontinuity(self) -> bool:
        """True if the packets sent so far contain a discontinuity."""
        return self._sent.count > 0

    def decode(self, packet: Packet[Stream] | None) -> list[VideoFrame]:
        """Send a packet to the decoder; None flushes it.

        Returns:
            The frames that are ready, in order of presentation.

        Raises:
            CorruptionError: the packet cannot be decoded, and the decoder is not careful.
        """
        position = self._record_sent(packet) if packet is not None else None
        try:
            return self._stream.decode(cast("Packet[VideoStream] | None", packet))
        except FFmpegError as error:
            # With frames in flight, the error may be about any of them: only the careful pass can
            # tell which packet is corrupt.
            if not self._careful:
                raise CorruptionError from error
        self.corrupt_packets += 1
        if position is not None:
            self._lost.append(position)
        elif packet is not None and packet.pts is None:
            self.corrupt_without_pts += 1
        return []

    def pop_lost(self, before_pts: int | None) -> list[Position]:
        """Remove and return the lost frames to be shown before a decoded one, in order.

        Args:
            before_pts: pts of the frame that was decoded next, in ticks; None returns all.
        """
        before: Position | None = None
        if before_pts is not None:
            before = (self._shown.observe(before_pts), before_pts)
            self._newest_shown = max(before, self._newest_shown or before)
        popped = sorted(position for position in self._lost if before is None or position < before)
        self._lost = [position for position in self._lost if position not in popped]
        return popped

    def check_complete(self) -> None:
        """Raise CorruptionError if a decoder that is not careful withheld the last frames.

        PyAV hides the errors of frames that are in flight at the end of a stream.
        """
        sent, shown = self._newest_sent, self._newest_shown
        missing = sent is not None and (shown is None or shown < sent)
        if missing and not self._careful:
            raise CorruptionError

    def drain(self) -> None:
        """Discard the frames in flight.

        Call it before the container is closed: FFmpeg can hang when it tears down decoding threads
        that still have frames in flight.
        """
        with suppress(FFmpegError):
            self._stream.decode(None)

    def _record_sent(self, packet: Packet[Stream]) -> Position | None:
        """Return the position of the packet's frame; None if it has no pts or is not shown."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is not None:
            self._sent.observe(ticks)  # dts, since pts are out of order between B-frames
        if packet.pts is None or packet.is_discard:
            return None
        position = (self._sent.count, packet.pts)
        self._newest_sent = max(position, self._newest_sent or position)
        return position
