"""Decodes a few consecutive frames from anywhere in a video, strictly: in doubt, none.

`reader.py` reads to the end whatever happens on the way; what is decided from a burst must rest on
frames that are as the source has them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path

from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video.copying import PacketIndex
from lfdn_video.ffmpeg import decoding_limits, discard_other_streams, open_source, pyav_errors
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.planes import extract_planes


def read_burst(info: VideoInfo, index: PacketIndex, pts: int, frames: int) -> list[Frame]:
    """Decode consecutive frames.

    Args:
        info: the source.
        index: its packets.
        pts: time of the first frame, in ticks; it is in a group of `index`.
        frames: how many.

    Returns:
        The frames in order, fewer where the video ends; none if one cannot be decoded or is not
        like the first of the video.

    Raises:
        InputError: the file cannot be opened any more.
    """
    first = next(at for at, each in enumerate(index.groups) if each.start_pts <= pts < each.end_pts)
    wanted: list[int] = []
    last = first
    while len(wanted) < frames and last < len(index.groups):
        group = index.groups[last]
        wanted += sorted(each for each in index.pts[group.first : group.last] if each >= pts)
        last += 1
    wanted = wanted[:frames]
    packets = sum(group.packets for group in index.groups[first:last])
    found: dict[int, VideoFrame] = {}
    with (
        pyav_errors(info.path),
        closing(_decode(info, index.groups[first].start_pts, packets)) as decoded,
    ):
        try:
            for video in decoded:
                if video.pts in wanted and _is_like_first(video, info):
                    found[video.pts] = video
                if len(found) == len(wanted):
                    break
        except FFmpegError:
            return []
    if len(found) < len(wanted):
        return []
    return [
        Frame(extract_planes(found[each], info.format), info.format, each, found[each].duration)
        for each in wanted
    ]


def _decode(info: VideoInfo, start_pts: int, packets: int) -> Generator[VideoFrame]:
    with closing(open_source(Path(info.path))) as container:
        stream = container.streams[info.video_index]
        assert isinstance(stream, VideoStream)
        stream.thread_type = ThreadType.AUTO
        stream.codec_context.options = decoding_limits()
        discard_other_streams(container, stream)
        try:
            for packet in _group_packets(container, stream, start_pts, packets):
                yield from stream.decode(packet)
            yield from stream.decode(None)
        finally:
            with suppress(FFmpegError):  # FFmpeg may hang when it is closed with frames in flight
                stream.decode(None)


def _group_packets(
    container: InputContainer, stream: VideoStream, start_pts: int, packets: int
) -> Iterator[Packet[VideoStream]]:
    """Yield packets from the start of a group; none if seeking does not lead there."""
    container.seek(start_pts, stream=stream)
    left = packets
    for packet in container.demux(stream):
        if left < packets or packet.pts == start_pts:
            left -= 1
            yield packet
        if not left:
            return


def _is_like_first(video: VideoFrame, info: VideoInfo) -> bool:
    return (video.width, video.height, video.format.name) == (
        info.width,
        info.height,
        info.source_format,
    )
