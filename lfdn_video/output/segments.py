"""Segments of a long run: encoded and finished one by one, and muxed together at the end.

    frames ─ a fresh encoder for each segment ─▶ 00000.packets, 00001.packets, ... ─▶ target

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

from lfdn_video.media import FrameFormat
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.journal import Journal, Segment
from lfdn_video.output.packets import PacketWriter, read_packets

SEGMENT_FRAMES = 250
"""Longest segment. x264's maximum keyframe interval, so that such segments cost no compression."""

MIN_SEGMENT_FRAMES = 25
"""Shortest segment. Every segment begins with a keyframe, and more of them would cost too much."""

SEGMENT_WORK_S = 30.0
"""Work, in seconds, that an interruption may cost."""

WORK_S_PER_MEGAPIXEL = 0.6
"""Seconds in which a laptop's CPU restores a megapixel (`docs/benchmarks.md`)."""


def choose_segment_frames(frames: FrameFormat) -> int:
    """Choose how many frames a segment has: about `SEGMENT_WORK_S` of work on a laptop.

    It depends on the size of the frames alone, and not on a measured speed, so that every run of a
    source has the same segments, and a resumed run the same frames as an uninterrupted one.

    Args:
        frames: how the frames are stored.

    Returns:
        A number from `MIN_SEGMENT_FRAMES` to `SEGMENT_FRAMES`.
    """
    work_s = WORK_S_PER_MEGAPIXEL * frames.width * frames.height / 1e6
    return min(SEGMENT_FRAMES, max(MIN_SEGMENT_FRAMES, round(SEGMENT_WORK_S / work_s)))


class SegmentEncoder:
    """Encodes frames into the segments of a journal: `encode`, `finish_segment`, then
    `join_packets`."""

    def __init__(
        self, journal: Journal, encoder: Encoder, *, rate: Fraction, segment_frames: int
    ) -> None:
        self._segment_frames = segment_frames
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
        if len(self._open.pts) == self._segment_frames:
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
