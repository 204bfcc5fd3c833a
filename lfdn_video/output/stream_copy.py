"""Copies one stream from a source into a target, if the target's container can hold it.

Text subtitles are re-encoded if the container needs another text format (`subtitles.py`), and audio
if it needs another codec (`audio.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

from av.container import OutputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition, Stream

from lfdn_video.ffmpeg import codec_name, has_flag, is_cover, open_source
from lfdn_video.output.audio import Transcoder, can_transcode
from lfdn_video.output.joined_clock import SPARSE_TYPES
from lfdn_video.output.refusals import add_template, find_refusal
from lfdn_video.output.signalling import APPLE_CONTAINERS
from lfdn_video.output.subtitles import (
    TEXT_SUBTITLES,
    add_reencoded_subtitle,
    is_text_subtitle,
    reencode_subtitle,
)
from lfdn_video.output.tags import collect_stream_tags, describe_stream
from lfdn_video.output.target_clock import COMMON_START_CONTAINERS

PRIMING_S = Fraction(1, 40)
"""Audio before time zero that a decoder may need to start up; more of it is cut off by edit lists.
"""

MAX_LATE_S = Fraction(1, 20)
"""Accepted offset of audio in containers whose streams start together."""

NEGATIVE_START_CONTAINERS = APPLE_CONTAINERS | {"3gp", "3g2", "f4v", "matroska", "webm"}
"""Containers whose players do not play what is before time zero."""


@dataclass(slots=True)
class StreamCopy:
    """A stream of the source and its copy in the target."""

    source: Stream
    """Stream of the source."""
    target: Stream
    """Its copy in the target."""
    reencodes: bool = False
    """True for text subtitles in another format than the source's."""
    transcoder: Transcoder | None = None
    """For audio in another codec than the source's."""
    strict: bool = False
    """True if the muxer refuses packets of equal dts."""
    last_dts: int | None = None
    """Dts of the last packet, in ticks of the source's stream; None before the first."""
    packets_read: int = 0
    """Packets of the source, without those whose text is empty."""
    packets_written: int = 0
    """Fewer than were read if some could not be re-encoded or muxed."""

    def prepare_packets(self, packet: Packet[Stream]) -> list[Packet[Stream]]:
        """Convert a packet of the source to the form that the muxer takes.

        Args:
            packet: a packet of `source`, with the target's times. It is modified.

        Returns:
            Packets of `target`; none if it cannot be re-encoded, has no text, or is still held
            back by the encoder.
        """
        if self.transcoder is not None:
            return self._transcode(packet)
        prepared = self._prepare_packet(packet)
        return [prepared] if prepared is not None else []

    def flush(self) -> list[Packet[Stream]]:
        """Return the packets that an encoder has held back; call it after the last packet."""
        return self._transcode(None) if self.transcoder is not None else []

    def _transcode(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        assert self.transcoder is not None
        self.packets_read += packet is not None
        try:
            encoded = self.transcoder.transcode(packet)
        except FFmpegError:
            return []
        self.packets_written += packet is not None
        for each in encoded:
            self._keep_order(each)
            each.stream = self.target
        return encoded

    def _prepare_packet(self, packet: Packet[Stream]) -> Packet[Stream] | None:
        self.packets_read += 1
        if self.reencodes:
            try:
                reencoded = reencode_subtitle(packet, self.source, self.target)
            except FFmpegError:
                return None
            if reencoded is None:
                self.packets_read -= 1  # without text there is nothing to lose
                return None
            packet = reencoded
        self._keep_order(packet)
        self.packets_written += 1
        packet.stream = self.target
        return packet

    def find_lost_packets(self, counted: int) -> Iterator[str]:
        """Yield a sentence if the target has fewer packets than were read.

        Args:
            counted: packets in the finished target; 0 if unknown.
        """
        is_counted = counted and self.transcoder is None
        kept = min(self.packets_written, counted) if is_counted else self.packets_written
        if kept < self.packets_read:
            lost = f"{self.packets_read - kept} of {self.packets_read}"
            yield f"{describe_stream(self.source)}: {lost} packets are lost"

    def _keep_order(self, packet: Packet[Stream]) -> None:
        """Raise the packet's dts to the smallest one that the muxer takes.

        Muxers refuse timestamps that go back, as in broken files and in audio that overlaps where
        recordings were joined.
        """
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            return
        min_dts = self._min_dts(packet.time_base)
        if min_dts is not None and packet.dts < min_dts:
            packet.dts = min_dts
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self.last_dts = packet.dts

    def _min_dts(self, time_base: Fraction) -> int | None:
        """Return the smallest dts that the muxer takes next, in ticks of `time_base`."""
        if self.last_dts is None or not self.strict:
            return self.last_dts
        # At least one tick of the target's time base too, which may be coarser.
        return self.last_dts + max(1, ceil((self.target.time_base or time_base) / time_base))


def add_stream_copy(
    target: OutputContainer, stream: Stream, warnings: list[str], late_s: Fraction = Fraction(0)
) -> StreamCopy | None:
    """Add a stream to a target in a form that its container can hold.

    Args:
        target: an open container without a header so far.
        stream: a stream of the source.
        warnings: receives a sentence if the stream is left out or re-encoded.
        late_s: how long after the video audio begins.

    Returns:
        The stream and its copy; None if the container cannot hold it.
    """
    container = target.format.name
    label = describe_stream(stream)
    refusal = find_refusal(stream, container)
    if refusal is None and late_s > MAX_LATE_S and container in COMMON_START_CONTAINERS:
        refusal = "it begins after the video, which only silence can say there"
    if refusal is None:
        copy = StreamCopy(stream, add_template(target, stream))
    elif is_text_subtitle(stream) and container in TEXT_SUBTITLES:
        codec = TEXT_SUBTITLES[container]
        reencoded = add_reencoded_subtitle(target, stream, codec)
        copy = StreamCopy(stream, reencoded, reencodes=True)
        warnings.append(f"{label} becomes {codec} in {container}")
    elif (transcoder := _make_transcoder(target, stream)) is not None:
        copy = StreamCopy(stream, transcoder.target, transcoder=transcoder)
        codec = transcoder.codec.canonical_name
        warnings.append(f"{label} becomes {codec}, {container} cannot hold it: {refusal}")
    else:
        warnings.append(f"{label} is left out, {container} cannot hold it: {refusal}")
        return None
    if stream.type == "video" and not is_cover(stream):
        warnings.append(f"{label} is copied as it is, only one video stream is restored")
    copy.target.metadata.update(collect_stream_tags(stream))
    copy.target.disposition = stream.disposition
    copy.strict = not has_flag(target, Flags.ts_nonstrict) and stream.type not in SPARSE_TYPES
    return copy


def attach_cover(target: OutputContainer, stream: Stream, source: Path) -> Stream:
    """Add a cover as an attachment, as Matroska stores it.

    Args:
        target: an open container without a header so far.
        stream: the cover, a stream of one image.
        source: the source file, which is opened again to read the image.

    Returns:
        The attachment's stream.
    """
    with closing(open_source(source)) as container:
        content = bytes(next(container.demux(container.streams[stream.index])))
    codec = "jpeg" if codec_name(stream) == "mjpeg" else codec_name(stream)
    name = stream.metadata.get("filename") or f"cover.{codec.replace('jpeg', 'jpg')}"
    return target.add_attachment(name, f"image/{codec}", content)


def trim_packet(packet: Packet[Stream], origin_s: Fraction, end_s: Fraction | None) -> bool:
    """Move a packet to its time in the target of a span.

    Args:
        packet: a packet of a copied stream, on the source's clock. It is modified.
        origin_s: time zero of the target, on the source's clock.
        end_s: end of the span on the same clock; None: the end of the source.

    Returns:
        False if the packet is outside the span and must be left out.
    """
    pts = packet.pts if packet.pts is not None else packet.dts
    if pts is None:
        return False
    if packet.stream.disposition & Disposition.attached_pic:
        packet.pts = packet.dts = 0
        return True
    origin = floor(origin_s / packet.time_base)
    end = None if end_s is None else floor(end_s / packet.time_base)
    if pts < origin and packet.stream.type == "subtitle" and packet.duration:
        packet.duration -= origin - pts  # it is shown already when the span begins
        packet.pts = packet.dts = pts = origin
    if pts < origin or (end is not None and pts >= end):
        return False
    if packet.duration is not None and packet.duration < 0:
        return False
    set_origin(packet, origin)
    return True


def is_heard(packet: Packet[Stream], container: str) -> bool:
    """Tell whether players of the source play a packet, and those of the target may.

    What an encoder starts up with is kept: decoders need it.

    Args:
        packet: with the target's times.
        container: FFmpeg's name of the target's muxer.
    """
    pts = packet.pts if packet.pts is not None else packet.dts
    if pts is None or packet.stream.type != "audio":
        return True
    is_early = (pts + (packet.duration or 0)) * packet.time_base < -PRIMING_S
    if packet.is_discard:  # an edit list cuts it off; only these containers can say so
        return pts < 0 and not (is_early and container not in NEGATIVE_START_CONTAINERS)
    return not (is_early and container in COMMON_START_CONTAINERS)


def set_origin(packet: Packet[Stream], origin: int) -> None:
    """Make a packet's times relative to `origin`, in ticks of its time base."""
    pts = packet.pts if packet.pts is not None else packet.dts
    packet.pts = None if pts is None else pts - origin
    packet.dts = None if packet.dts is None else packet.dts - origin


def _make_transcoder(target: OutputContainer, stream: Stream) -> Transcoder | None:
    if not can_transcode(stream, target.format.name):
        return None
    try:
        return Transcoder(target, stream)
    except (FFmpegError, ValueError):
        return None
