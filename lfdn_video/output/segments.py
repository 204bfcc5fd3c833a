"""Segments of a long run: encoded and finished one by one, and muxed together at the end.

    frames ─ a fresh encoder every SEGMENT_FRAMES ─▶ 00000.packets, 00001.packets, ... ─▶ target

Every segment begins with a keyframe, its packets carry their final times, and it is entered in the
journal once it is on the disk. So however a run ends, the next one resumes after the last entry and
produces the same frames as a run without interruption.
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
from lfdn_video.output.packets import PacketWriter, read_packets

SEGMENT_FRAMES = 250
"""x264's maximum keyframe interval, so that segments cost no compression."""


class SegmentEncoder:
    """Encodes frames into the segments of a journal: `encode`, `finish_segment`, then
    `join_packets`."""

    def __init__(self, journal: Journal, encoder: Encoder, *, rate: Fraction) -> None:
        self._journal = journal
        self._encoder = encoder
        self._rate = rate
        self._open: _OpenSegment | None = None
        self.flags = 0
        """Flags of the target's encoder; set them before the first frame. They decide whether codec
        headers go into the packets or the container."""

    def encode(self, video: VideoFrame) -> None:
        """Encode the next frame.

        Raises:
            OSError, FFmpegError: it cannot be encoded or written.
        """
        if self._open is None:
            writer = PacketWriter(self._journal.segment_path(len(self._journal.segments)))
            self._open = _OpenSegment(writer, self._new_context())
        self._open.encode(video)
        if len(self._open.pts) == SEGMENT_FRAMES:
            self.finish_segment()

    def finish_segment(self) -> None:
        """Complete the open segment, if there is one, and enter it in the journal.

        Raises:
            OSError, FFmpegError: it cannot be encoded or written.
        """
        if self._open is not None:
            segment = self._open.finish()
            self._open = None  # before the journal, so that a failing entry is not written twice
            self._journal.append_segment(segment)

    def discard(self) -> None:
        """Discard the open segment, if there is one."""
        if self._open is not None:
            self._open.writer.discard()
            self._open = None

    def join_packets(self, stream: VideoStream) -> Generator[Packet[Stream]]:
        """Read back all segments.

        Args:
            stream: the target's stream, which the packets are assigned to.

        Yields:
            All packets in decoding order. Close the generator when leaving it early.

        Raises:
            OutputError: a segment's file is corrupt.
        """
        last_dts: int | None = None
        for number in range(len(self._journal.segments)):
            path = self._journal.segment_path(number)
            with closing(read_packets(path, self._encoder.time_base)) as packets:
                for packet in packets:
                    assert packet.dts is not None
                    # An encoder extrapolates a segment's first dts backwards from its first pts.
                    # With a variable frame rate, it may fall slightly before the last dts of the
                    # previous segment.
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


class _OpenSegment:
    """The segment that is being encoded."""

    def __init__(self, writer: PacketWriter, context: VideoCodecContext) -> None:
        self.writer = writer
        self._context = context
        self.pts: list[int] = []

    def encode(self, video: VideoFrame) -> None:
        assert video.pts is not None
        for packet in self._context.encode(video):
            self.writer.write_packet(packet)
        self.pts.append(video.pts)

    def finish(self) -> Segment:
        for packet in self._context.encode(None):
            self.writer.write_packet(packet)
        return Segment(
            frames=len(self.pts),
            first_pts=self.pts[0],
            last_pts=self.pts[-1],
            sha256=self.writer.close(),
        )
