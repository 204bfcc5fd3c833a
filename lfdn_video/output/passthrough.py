"""Passthrough: audio, subtitles, attachments, chapters and tags, copied beside the restored video.

They are copied packet by packet, unchanged, while the video is written, so that nothing piles up in
memory. `stream_copy.py` copies one stream, or names it if the target's container cannot hold it.
The finished file is compared with the source, as containers drop tags silently (`tags.py`). Where
the source's timestamps jump back, the copied streams follow the video (`joined_clock.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from fractions import Fraction
from functools import partial
from math import floor
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from lfdn_video.ffmpeg import (
    KEEP_BYTES,
    MICROSECONDS,
    allows_discontinuities,
    demux_packets,
    is_cover,
    open_source,
    seek_or_rewind,
)
from lfdn_video.media import VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.output.joined_clock import JoinedClock, decoding_time_s
from lfdn_video.output.refusals import VIDEO_FIRST_CONTAINERS
from lfdn_video.output.stream_copy import (
    StreamCopy,
    add_stream_copy,
    attach_cover,
    is_heard,
    set_origin,
    trim_packet,
)
from lfdn_video.output.tags import (
    collect_stream_tags,
    describe_stream,
    find_lost_tags,
    find_stream_losses,
    select_content_tags,
)
from lfdn_video.output.timecode import TAG as TIMECODE
from lfdn_video.output.timecode import find_timecode, is_timecode_track, with_timecode

SUBTITLE_S = 10
"""Seconds before a span at which a subtitle that is still shown in it may have begun."""

EARLY_AUDIO = "all streams start together there: audio before the first frame is left out"
JUMPS = (
    "the source's timestamps jump back after {:.1f} s, as where recordings were joined; "
    "the copied streams follow the video"
)
CORRUPT = "a stream beside the video is corrupt: {}; it is copied as far as it can be"


class Passthrough:
    """Copies everything but the restored stream from a source into an open target.

    Call `add_streams` before the header is written, `set_span` at the first frame, `packets_before`
    ahead of each packet of the video, `remaining_packets` after the last one, `find_losses` on the
    finished file; `close` always.
    """

    def __init__(self, info: VideoInfo, span: SpanOptions) -> None:
        """Open the source once more, beside the reader.

        Args:
            info: the source.
            span: the part of it that the target holds.

        Raises:
            InputError: it cannot be read any more.
        """
        self.warnings: list[str] = []
        """Messages about everything that is known not to reach the target unchanged."""
        self._info = info
        self._span = span
        self.source = open_source(info.path, metadata_errors=KEEP_BYTES)
        """The open source."""
        self.copies: dict[int, StreamCopy] = {}
        """Copied streams by their index in the source."""
        self._target_index: dict[int, int] = {}
        """Index of each stream in the target, covers and video included, by that in the source."""
        self._has_chapters = False
        self._origin_s = Fraction(0)
        self._end_s: Fraction | None = None
        self._packets: Generator[Packet[Stream]] | None = None
        self._next: Packet[Stream] | None = None

    def close(self) -> None:
        """Close the source."""
        if self._packets is not None:
            self._packets.close()
        self.source.close()

    def add_streams(
        self,
        target: OutputContainer,
        add_video: Callable[[OutputContainer], Stream],
        left_out: Collection[int] = (),
    ) -> None:
        """Add the source's streams in their order, and the container's tags.

        Args:
            target: an open container without a header so far.
            add_video: adds the restored stream, in the place of the source's.
            left_out: indices of streams that are not copied.
        """
        start_s, rate = self._span.start or Fraction(0), self._info.average_rate
        tags = select_content_tags(self.source.metadata)
        target.metadata.update(with_timecode(tags, None, start_s, rate))
        follows_video = allows_discontinuities(self.source)
        for stream in _in_order_of(target, self.source, self._info.video_index):
            is_restored = stream.index == self._info.video_index
            # QuickTime keeps chapters in a text track as well, which FFmpeg marks like this.
            is_chapter_track = stream.discard == Discard.all
            if is_restored:
                video = add_video(target)
                timecode = find_timecode(self.source.streams, stream)
                tags = with_timecode(collect_stream_tags(stream), timecode, start_s, rate)
                video.metadata.update(tags)
                video.disposition = stream.disposition
                self._target_index[stream.index] = video.index
            elif not (is_chapter_track or is_timecode_track(stream) or stream.index in left_out):
                self._add_copy(target, stream)
            # The demuxer skips what is not copied; the video's times are needed for `JoinedClock`.
            if stream.index not in self.copies and not (is_restored and follows_video):
                stream.discard = Discard.all

    def add_chapters(
        self, target: OutputContainer, start_s: Fraction, end_s: Fraction | None
    ) -> None:
        """Add the chapters of a span, trimmed to it and relative to its start.

        Args:
            target: an open container without a header so far.
            start_s: start of the span on the source's clock.
            end_s: its end; None: the end of the source.
        """
        chapters = _trim_chapters(self.source, start_s, end_s)
        self._has_chapters = bool(chapters)
        target.set_chapters(chapters)

    def set_span(self, *, origin_s: Fraction, end_s: Fraction | None, trim: bool) -> None:
        """Set the span to copy and the target's time zero. Call it before `packets_before`.

        Args:
            origin_s: time zero of the target, on the source's clock.
            end_s: end of the span; None: the end of the source.
            trim: copy only packets in [origin_s, end_s), instead of all.
        """
        self._origin_s = origin_s
        self._end_s = end_s
        # Where recordings may be joined, times are not ordered, so seeking may find a wrong place.
        if trim and not allows_discontinuities(self.source):
            _seek_before(self.source, self._info, origin_s - SUBTITLE_S)
        self._packets = self._convert_packets(trim=trim)

    def packets_before(self, time_s: Fraction | None) -> Iterator[Packet[Stream]]:
        """Yield the next packets, up to a decoding time.

        Args:
            time_s: on the target's clock, in seconds; None: to the end.

        Yields:
            Packets of the target's streams, ready to be muxed.
        """
        assert self._packets is not None, "set_span comes first"
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None:
                return
            if time_s is not None and decoding_time_s(self._next) > time_s:
                return
            packet = self._next
            self._next = None
            yield packet

    def remaining_packets(self) -> Iterator[Packet[Stream]]:
        """Yield all remaining packets; see `packets_before`."""
        return self.packets_before(None)

    def count_refused(self, packet: Packet[Stream]) -> None:
        """Count a packet that the muxer refused; `find_losses` reports it."""
        # The packet has its target's stream by now, so the copy is found by that.
        for copy in self.copies.values():
            if copy.target.index == packet.stream.index:
                copy.packets_written -= 1

    def find_losses(self, path: Path) -> Iterator[str]:
        """Compare a finished target with the source.

        Yields:
            One sentence for each loss.

        Raises:
            FFmpegError: the target cannot be read.
        """
        with av.open(f"file:{path}", metadata_errors=KEEP_BYTES) as target:
            # Muxers of MOV and MP4 move the timecode to the streams.
            tags = {**(target.streams[0].metadata if target.streams else {}), **target.metadata}
            yield from find_lost_tags("", self.source.metadata, tags, set())
            if self._has_chapters and not target.chapters():
                yield "the chapters are lost"
            for source_index, target_index in self._target_index.items():
                before, copy = self.source.streams[source_index], self.copies.get(source_index)
                yield from _find_losses_of(before, target_index, target, copy)

    def _add_copy(self, target: OutputContainer, stream: Stream) -> None:
        if is_cover(stream) and target.format.name == "matroska":
            self._target_index[stream.index] = attach_cover(target, stream, self._info.path).index
            return
        late_s = _find_late_s(stream, self._info, self._span)
        copy = add_stream_copy(target, stream, self.warnings, late_s)
        if copy is not None:
            self.copies[stream.index] = copy
            self._target_index[stream.index] = copy.target.index

    def _convert_packets(self, *, trim: bool) -> Generator[Packet[Stream]]:
        """Yield the packets with the target's times, in the form that the muxer takes."""
        for packet in self._demux_on_one_clock():
            copy = self.copies[packet.stream.index]
            if not trim:
                set_origin(packet, floor(self._origin_s / packet.time_base))
                if not is_heard(packet, copy.target.container.format.name):
                    if not packet.is_discard:
                        _add_once(self.warnings, EARLY_AUDIO)
                    continue
            elif not trim_packet(packet, self._origin_s, self._end_s):
                continue
            yield from copy.prepare_packets(packet)
        for copy in self.copies.values():
            yield from copy.flush()

    def _demux_on_one_clock(self) -> Generator[Packet[Stream]]:
        """Demux the copied streams and yield their packets on one clock."""
        if not self.copies:
            return
        streams = [copy.source for copy in self.copies.values()]
        follow_video = allows_discontinuities(self.source)
        clock = JoinedClock(self._info, follow_video=follow_video, origin_s=self._origin_s)
        if follow_video:
            streams.append(self.source.streams[self._info.video_index])
        warn = partial(_warn_of_corruption, self.warnings)
        demuxed = demux_packets(self.source, streams, warn)
        for packet in clock.shift_packets(demuxed):
            # Packets are interleaved loosely: another stream's last ones may come a little later.
            if self._end_s is not None and decoding_time_s(packet) >= self._end_s + SUBTITLE_S:
                break
            yield packet
        if clock.first_discontinuity_s is not None:
            self.warnings.append(JUMPS.format(float(clock.first_discontinuity_s)))


def _add_once(warnings: list[str], note: str) -> None:
    if note not in warnings:
        warnings.append(note)


def _warn_of_corruption(warnings: list[str], message: str) -> None:
    _add_once(warnings, CORRUPT.format(message))


def _find_late_s(stream: Stream, info: VideoInfo, span: SpanOptions) -> Fraction:
    """Return how long after the video audio begins, in seconds; 0 for other streams."""
    if stream.type != "audio" or stream.start_time is None or not stream.time_base:
        return Fraction(0)
    start_s = info.start_pts * info.time_base + (span.start or 0)
    return stream.start_time * stream.time_base - start_s


def _seek_before(source: InputContainer, info: VideoInfo, time_s: Fraction) -> None:
    """Go to a time, unless it is before the first frame."""
    if time_s > info.start_pts * info.time_base:
        seek_or_rewind(source, floor(time_s * MICROSECONDS))


def _in_order_of(target: OutputContainer, source: InputContainer, video_index: int) -> list[Stream]:
    """Return the source's streams in their order, the video first if the target demands that."""
    streams: list[Stream] = list(source.streams)
    if target.format.name in VIDEO_FIRST_CONTAINERS:
        streams.sort(key=lambda stream: stream.index != video_index)
    return streams


def _find_losses_of(
    before: Stream, target_index: int, target: InputContainer, copy: StreamCopy | None
) -> Iterator[str]:
    if target_index >= len(target.streams):
        yield f"{describe_stream(before)} is lost"
        return
    after = target.streams[target_index]
    if target.format.name == "mpeg" and after.type != before.type:  # in the order of first packets
        after = next((each for each in target.streams if each.type == before.type), after)
    elsewhere = set(target.metadata.values())
    if TIMECODE in target.metadata:
        elsewhere.add(before.metadata.get(TIMECODE, ""))  # the start of a span has another one
    yield from find_stream_losses(before, after, elsewhere)
    if copy is not None:
        # MP4 counts packets; other containers may count in units of their own.
        counted = after.frames if "mp4" in target.format.name else 0
        yield from copy.find_lost_packets(counted)


def _trim_chapters(
    source: InputContainer, start_s: Fraction, end_s: Fraction | None
) -> list[av.container.core.Chapter]:
    chapters: list[av.container.core.Chapter] = []
    for chapter in source.chapters():
        time_base = chapter["time_base"] or Fraction(1)
        start = floor(start_s / time_base)
        end = chapter["end"] if end_s is None else floor(end_s / time_base)
        if chapter["end"] > start and chapter["start"] < end:
            trimmed = chapter.copy()
            trimmed["start"] = max(chapter["start"], start) - start
            trimmed["end"] = min(chapter["end"], end) - start
            chapters.append(trimmed)
    return chapters
