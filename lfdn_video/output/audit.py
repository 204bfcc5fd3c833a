"""The audit of a finished target: is every frame in it, and is it shown at its time?

Muxers drop packets silently, for instance with times that they cannot store, and some store no
times at all. So the file is demuxed and decoded once more. `muxer.py` says what was written.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from lfdn_video.errors import OutputError
from lfdn_video.ffmpeg import KEEP_BYTES, discard_other_streams, has_decoder
from lfdn_video.timestamps import REORDER_FRAMES, BestEffortTimes

MAX_WITHOUT_TIME = 4
"""Frames at the end of a file that may be without a time: the reordering depth of encoders."""


class Written:
    """The times of the packets of the video that were muxed."""

    def __init__(self, time_base: Fraction, container_name: str) -> None:
        """Start without a packet.

        Args:
            time_base: seconds per tick of the encoder.
            container_name: for messages.
        """
        self.time_base = time_base
        self.pts = array("q")
        """In ticks of `time_base`, in the order of decoding."""
        self.coincide = False
        """True if frames have the same time after rounding to the container's ticks."""
        self.container_name = container_name
        self._recent_ticks: deque[int] = deque(maxlen=REORDER_FRAMES)

    def add_packet(self, packet: Packet[Stream], tick_s: Fraction) -> str | None:
        """Remember a packet, before it is muxed.

        Args:
            packet: the packet.
            tick_s: seconds per tick of the container's stream.

        Returns:
            A warning, without a subject, if the container cannot express its time.
        """
        time_s = (packet.pts or 0) * packet.time_base
        self.pts.append(round(time_s / self.time_base))
        ticks = round(time_s / tick_s)
        coincides = ticks in self._recent_ticks
        self._recent_ticks.append(ticks)
        if coincides:
            self.coincide = True
            return "frames are closer together than its time base can express; use .mp4"
        if ticks * tick_s != time_s:
            return (
                f"timestamps are rounded to {tick_s} s by {self.container_name}; "
                f".mp4 keeps them exactly"
            )
        return None


def check_video(path: Path, index: int, written: Written, target: Path) -> Iterator[str]:
    """Demux and decode the video of a finished file.

    Args:
        path: the file.
        index: of the video's stream.
        written: what was muxed.
        target: the name for messages.

    Yields:
        A warning, without a subject, if frames are not shown at their times.

    Raises:
        OutputError: the file does not hold every frame.
        FFmpegError: the file cannot be read.
    """
    options = {"fflags": "-genpts"}  # made-up times would be no times of the file
    with av.open(f"file:{path}", options=options, metadata_errors=KEEP_BYTES) as container:
        # MPEG-PS has no list of streams: they are in the order of their first packets.
        stream = next(each for each in _beginning_with(container, index) if each.type == "video")
        assert isinstance(stream, VideoStream)
        discard_other_streams(container, stream)
        packets, shown, times_s = _decode_times(stream)
        worst_s = _find_worst(written, times_s, stream.time_base or Fraction(0))
    if packets != len(written.pts):
        raise OutputError(
            f"{target}: only {packets} of {len(written.pts)} frames were found when it was read "
            "again; try another extension"
        )
    if (expected := len(set(written.pts))) - MAX_WITHOUT_TIME > (shown or expected):
        yield f"only {shown} of {expected} frames are shown by players; use .mp4 or .mkv"
    if worst_s and not written.coincide:
        yield (
            f"frames are up to {float(worst_s):.3f} s from their time in "
            f"{written.container_name}; use .mp4 or .mkv"
        )


def _beginning_with(container: InputContainer, index: int) -> list[Stream]:
    return sorted(container.streams, key=lambda stream: (stream.index != index, stream.index))


def _decode_times(stream: VideoStream) -> tuple[int, int | None, list[Fraction] | None]:
    """Return the number of packets, that of frames, and their times; None if unknown."""
    container = cast("InputContainer", stream.container)
    stream.thread_type = ThreadType.AUTO
    times = BestEffortTimes()
    packets = 0
    found: list[int | None] = []
    decodes = has_decoder(stream)
    try:
        for packet in container.demux(stream):
            packets += packet.size > 0
            try:
                frames = stream.decode(packet) if decodes else []
            except FFmpegError:  # of the same FFmpeg that encoded it, so its times are unknown
                decodes = False
                continue
            found += [times.choose(frame.pts, frame.dts) for frame in frames]
    finally:
        with suppress(FFmpegError):
            if decodes:
                stream.decode(None)  # FFmpeg may hang when it is closed with frames in flight
    tick_s = stream.time_base or Fraction(0)
    shown = len(found) if decodes else None
    while found and found[-1] is None:
        found.pop()  # the last ones of a file without pts; players show them after the others
    known = [each * tick_s for each in found if each is not None]
    return packets, shown, known if decodes and len(known) == len(found) else None


def _find_worst(
    written: Written, found_s: list[Fraction] | None, tick_s: Fraction
) -> Fraction | None:
    """Return the largest distance of a frame from its time, both counted from the first frame.

    It is 0 if rounding to the container's ticks explains it, and None if it cannot be told.
    """
    expected = sorted(set(written.pts))
    if not found_s or not expected or not 0 <= len(expected) - len(found_s) <= MAX_WITHOUT_TIME:
        return None
    worst_s = max(
        abs((pts - expected[0]) * written.time_base - (time_s - found_s[0]))
        for pts, time_s in zip(expected, found_s, strict=False)
    )
    return worst_s if worst_s > tick_s else Fraction(0)
