"""Long runs in pieces: frames encoded into segments that are finished one by one, and joined.

    frames ─ a fresh encoder every SEGMENT_FRAMES ─▶ 00000.packets, 00001.packets, ... ─▶ target

Every segment begins with a key frame, its packets carry their final times, and it is entered in the
journal when it is on the disk. So whatever ends a run, the next one goes on after the last entry,
and gives the frames that a run without interruption gives.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from typing import cast

from av.codec.context import CodecContext
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video.output.encoder import Encoder
from lfdn_video.output.journal import Journal, Segment
from lfdn_video.output.packets import PacketFile, read_packets

SEGMENT_FRAMES = 250
"""As many as x264 has at most between two key frames, so that segments cost nothing."""


class Segments:
    """Encodes frames into the segments of a journal. `encode`, `finish`, then `packets`."""

    def __init__(self, journal: Journal, encoder: Encoder, *, rate: Fraction) -> None:
        self._journal, self._encoder, self._rate = journal, encoder, rate
        self._open: _Open | None = None
        self.flags = 0
        """Of the target's encoder: whether headers go into the packets or before them."""

    def encode(self, video: VideoFrame) -> None:
        """The next frame. OSError or FFmpegError if it cannot be written."""
        if self._open is None:
            file = PacketFile(self._journal.file(len(self._journal.segments)))
            self._open = _Open(file, self._new_context())
        self._open.encode(video)
        if len(self._open.pts) == SEGMENT_FRAMES:
            self.finish()

    def finish(self) -> None:
        """Close the segment that is open, and enter it in the journal."""
        if self._open is not None:
            segment = self._open.finish()
            self._open = None
            self._journal.add(segment)

    def abandon(self) -> None:
        """Give up the segment that is open."""
        if self._open is not None:
            self._open.file.__exit__(None, None, None)
            self._open = None

    def packets(self, stream: VideoStream) -> Generator[Packet[Stream]]:
        """All that was encoded, for this stream of a target, in decoding order. Close it."""
        last_dts: int | None = None
        for number in range(len(self._journal.segments)):
            file = self._journal.file(number)
            with closing(read_packets(file, self._encoder.time_base)) as packets:
                for packet in packets:
                    assert packet.dts is not None
                    # Where frames come faster after a border than before it, an encoder that
                    # counts back from its first frame begins a little before the last one's end.
                    if last_dts is not None:
                        packet.dts = max(packet.dts, last_dts + 1)
                    last_dts = packet.dts
                    packet.stream = stream
                    yield packet

    def _new_context(self) -> VideoCodecContext:
        context = cast("VideoCodecContext", CodecContext.create(self._encoder.codec, "w"))
        context.flags = self.flags
        self._encoder.configure(context, rate=self._rate, frames_in_flight=True)
        return context


class _Open:
    """The segment that is being encoded."""

    def __init__(self, file: PacketFile, context: VideoCodecContext) -> None:
        self.file, self._context = file, context
        self.pts: list[int] = []

    def encode(self, video: VideoFrame) -> None:
        assert video.pts is not None
        for packet in self._context.encode(video):
            self.file.write(packet)
        self.pts.append(video.pts)

    def finish(self) -> Segment:
        for packet in self._context.encode(None):
            self.file.write(packet)
        return Segment(
            frames=len(self.pts),
            first_pts=self.pts[0],
            last_pts=self.pts[-1],
            sha256=self.file.close(),
        )
