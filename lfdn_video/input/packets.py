"""The packets of a video stream, divided where they can be cut: reads all, decodes none."""

from __future__ import annotations

from array import array
from contextlib import closing
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from lfdn_video.copying import Finding, PacketGroup, PacketIndex
from lfdn_video.ffmpeg import (
    allows_discontinuities,
    discard_other_streams,
    ffmpeg_message,
    open_source,
)
from lfdn_video.media import VideoInfo
from lfdn_video.nal import (
    H264_IDR,
    H264_PPS,
    H264_SPS,
    HEVC_IRAP,
    HEVC_PARAMETER_SETS,
    AvcConfiguration,
    MalformedError,
    h264_type,
    hevc_type,
    split_units,
)

NEW_HEADER: Final = "new_extradata"
"""FFmpeg's side data of a packet from which on another decoder configuration applies."""


def index_packets(info: VideoInfo) -> PacketIndex:
    """Index the packets of the stream to restore.

    Args:
        info: the source, a video file.

    Returns:
        The index; its `problem` says why nothing can be copied, if so.

    Raises:
        InputError: the file cannot be opened any more.
    """
    if info.from_images:
        return PacketIndex(problem="it is images")
    if info.interlaced or info.deinterlaced:
        return PacketIndex(problem="it is interlaced")
    with closing(open_source(info.path)) as container:
        if allows_discontinuities(container):
            name = container.format.name
            return PacketIndex(problem=f"timestamps may jump back in {name}; remux it to .mp4")
        try:
            return _index(container, info)
        except MalformedError as error:
            return PacketIndex(problem=str(error))
        except FFmpegError as error:
            return PacketIndex(problem=f"it is corrupt: {ffmpeg_message(error)}")


@dataclass(slots=True)
class _Packets:
    """What is remembered of the packets, in decoding order."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    starts: list[int] = field(default_factory=list)
    """Numbers of the packets at which a decoder may start."""
    obstacles: dict[int, Finding] = field(default_factory=dict)
    """Why single packets must not be copied, by their numbers."""
    last_duration: int = 0


def _index(container: InputContainer, info: VideoInfo) -> PacketIndex:
    stream = container.streams[info.video_index]
    assert isinstance(stream, VideoStream)
    discard_other_streams(container, stream)
    header = stream.codec_context.extradata or b""
    inspector = _Inspector(info.codec, header)
    found = _Packets()
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.pts is None:
            return PacketIndex(problem="its packets have no presentation times")
        if packet.has_sidedata(NEW_HEADER):
            return PacketIndex(problem="its parameters change on the way")
        number = len(found.pts)
        found.pts.append(packet.pts)
        found.last_duration = packet.duration or info.frame_ticks
        if packet.is_corrupt:
            found.obstacles[number] = "cannot be decoded"
        elif packet.is_discard:
            found.obstacles[number] = "trimmed by the container"
        if inspector.is_start(packet):
            found.starts.append(number)
    if len(set(found.pts)) < len(found.pts):
        return PacketIndex(problem="several frames have one time")
    return PacketIndex(
        groups=_divide(found),
        pts=found.pts,
        header=header,
        reorders=any(a > b for a, b in zip(found.pts, found.pts[1:], strict=False)),
        sets_in_band=inspector.sets_in_band,
    )


def _divide(found: _Packets) -> tuple[PacketGroup, ...]:
    """Divide packets where all before are shown before all after, and a decoder may start."""
    pts = found.pts
    highest = list(accumulate(pts, max))
    lowest = list(accumulate(reversed(pts), min))[::-1]
    starts = [
        number
        for number in found.starts
        if lowest[number] == pts[number] and (number == 0 or highest[number - 1] < pts[number])
    ]
    if pts and starts[:1] != [0]:
        starts.insert(0, 0)
        found.obstacles.setdefault(0, "cannot be decoded")  # it starts with no keyframe
    groups = []
    for first, after in zip(starts, [*starts[1:], len(pts)], strict=True):
        is_last = after == len(pts)
        obstacles = (found.obstacles.get(number) for number in range(first, after))
        groups.append(
            PacketGroup(
                first=first,
                packets=after - first,
                start_pts=lowest[first],
                end_pts=highest[-1] + found.last_duration if is_last else pts[after],
                obstacle=next((each for each in obstacles if each), None),
            )
        )
    return tuple(groups)


class _Inspector:
    """Looks into packets: at keyframes that are flagged as such, a decoder may not start yet.

    Args:
        codec: FFmpeg's name of the codec.
        header: the decoder's configuration.

    Raises:
        MalformedError: packets are stored in a way that is not copied.
    """

    def __init__(self, codec: str, header: bytes) -> None:
        self._codec = codec
        self._known = AvcConfiguration.parse(header).sets if codec == "h264" else frozenset()
        if codec == "hevc" and header[:1] != b"\x01":
            raise MalformedError("its parameter sets are not in the container's header")
        self.sets_in_band = codec == "hevc"

    def is_start(self, packet: Packet[Any]) -> bool:
        """Tell whether a decoder may start at a packet.

        Raises:
            MalformedError: its units cannot be told apart, or bring other parameter sets.
        """
        if self._codec == "h264":
            return self._is_idr(bytes(packet))
        if self._codec == "hevc" and packet.is_keyframe:
            types = {hevc_type(unit) for unit in split_units(bytes(packet))}
            self.sets_in_band &= types >= HEVC_PARAMETER_SETS
            return bool(types & set(HEVC_IRAP))
        return packet.is_keyframe

    def _is_idr(self, content: bytes) -> bool:
        is_idr = False
        for unit in split_units(content):
            kind = h264_type(unit)
            if kind in (H264_SPS, H264_PPS) and unit not in self._known:
                raise MalformedError("its parameter sets change on the way")
            is_idr |= kind == H264_IDR
        return is_idr
