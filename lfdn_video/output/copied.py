"""Copied packets beside encoded ones: read from the source in order; decoding times for both."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from av.packet import Packet
from av.stream import Stream

from lfdn_video.copying import PacketIndex, Segment
from lfdn_video.errors import OutputError
from lfdn_video.ffmpeg import discard_other_streams, open_source
from lfdn_video.media import VideoInfo


class SourcePackets:
    """The packets of a source's video, read once from beginning to end. Close it at the end.

    Args:
        info: the source.
        index: its packets, as they were when the run was planned.
    """

    def __init__(self, info: VideoInfo, index: PacketIndex) -> None:
        self._info = info
        self._index = index
        self._packets = self._demux()
        self._next = 0

    def read(self, segment: Segment) -> Iterator[Packet[Stream]]:
        """Yield the packets of a segment, which is behind those that were read before.

        Raises:
            OutputError: the source is no longer what it was.
            FFmpegError, InputError: it cannot be read any more.
        """
        for packet in self._packets:
            number, self._next = self._next, self._next + 1
            if number < segment.first:
                continue
            if number >= len(self._index.pts) or packet.pts != self._index.pts[number]:
                break
            yield packet
            if self._next == segment.first + segment.packets:
                return
        raise OutputError(f"{self._info.path}: has changed during the run; start over")

    def close(self) -> None:
        """Close the source."""
        self._packets.close()

    def _demux(self) -> Generator[Packet[Stream]]:
        with closing(open_source(self._info.path)) as container:
            stream = container.streams[self._info.video_index]
            discard_other_streams(container, stream)
            yield from (packet for packet in container.demux(stream) if packet.size)


def assign_decoding_times(pts: Sequence[int], frame_ticks: int) -> Iterator[int]:
    """Yield a dts for each packet: increasing, and none above its packet's pts.

    Encoders start a stream before its first pts, by as many frames as they reorder. Where streams
    of different ones are joined, such times would overlap. So all get times anew: the pts in order
    of presentation, late by the largest number of frames by which any packet is early.

    Args:
        pts: of all packets, in decoding order, no two alike.
        frame_ticks: the usual duration of a frame.
    """
    shown = sorted(pts)
    delay = max(number - bisect_left(shown, each) for number, each in enumerate(pts))
    for number in range(len(shown)):
        early = delay - number
        yield shown[0] - early * frame_ticks if early > 0 else shown[number - delay]
