"""What of a video is not its pictures: sound, subtitles, attachments, chapters, tags.

They are copied, packet by packet and byte by byte, while the pictures are written, so that nothing
piles up in memory. What the target's container cannot hold is named: FFmpeg is asked for each
stream beforehand, and the finished file is compared with the source. Text subtitles are rewritten
in the container's own kind if it takes no other. Where the source's clock is set back, the reader
lets the pictures go on; what is copied goes on with them.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import cast

import av
from av.codec import Codec
from av.container import OutputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from lfdn_video.ffmpeg import (
    KEEP_BYTES,
    MICROSECONDS,
    allows_discontinuities,
    codec_name,
    demux_packets,
    ffmpeg_errors,
    ffmpeg_message,
    has_decoder,
    has_flag,
    is_cover,
    open_source,
    stream_title,
)
from lfdn_video.media import VideoInfo
from lfdn_video.timestamps import REORDER_FRAMES, DiscontinuityCounter

SUBTITLE_S = 10
"""A subtitle that began so long before a span may still be shown in it."""

MOST_WAITING = 1000
"""Packets that wait to see whether the pictures' clock is set back where their own was."""

TEXT_SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "ipod": "mov_text"}
TEXT_SUBTITLES |= {"matroska": "subrip", "webm": "webvtt"}
"""The text subtitles that a container holds if it does not hold the source's."""

# Tags that tell how a file was made, not what is in it. The target gets its own.
MAKING_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps"}
MAKING_TAGS |= {"vendor_id", "handler_name", "number_of_frames", "number_of_bytes"}
MAKING_PREFIXES = ("_statistics", "bps-", "duration-", "number_of_")


@dataclass(slots=True)
class _Copy:
    """One stream on its way."""

    source: Stream
    target: Stream
    rewrites: bool = False
    """A text subtitle in another kind than the source's."""
    strict: bool = False
    """The target refuses packets of equal dts."""
    last_dts: int | None = None
    read: int = 0
    written: int = 0
    """Packets of the span; fewer were written than read if something could not be rewritten."""

    def least_dts(self, time_base: Fraction) -> int | None:
        """The first dts, in this time base, that the target takes for the next packet."""
        if self.last_dts is None or not self.strict:
            return self.last_dts
        return self.last_dts + max(1, ceil((self.target.time_base or time_base) / time_base))


@dataclass(slots=True)
class _Track:
    """Where a copied stream is on its own clock."""

    last_s: Fraction | None = None
    part: int = 0
    length_s: Fraction = Fraction(0)
    """Of its last packet, or the distance to that from the one before it."""
    shift_s: Fraction = Fraction(0)
    """Its own, if the pictures are not watched."""


class _JoinedClock:
    """Keeps what is copied with the pictures where the clock is set back.

    The reader lets the pictures go on one frame after the last. The other streams have set-backs of
    their own, a little before or after in the file and by a little more or less; they are moved as
    far as the pictures, or they would drift apart from join to join. Where a container does not
    allow set-backs, the pictures are not watched, and sound goes on after its own last packet.
    The clock is that of the first part in which the pictures come to `origin_s`: so are spans.
    """

    def __init__(self, info: VideoInfo, *, watched: bool, origin_s: Fraction = Fraction(0)) -> None:
        self.watched = watched
        self._origin_s, self._begun = origin_s, False
        self.set_back_s: Fraction | None = None
        """When it happened first, on the target's clock."""
        self._video_index = info.video_index
        self._step_s = info.frame_ticks * info.time_base
        self._least_s = REORDER_FRAMES * self._step_s
        self._video_parts = DiscontinuityCounter(self._least_s)
        self._video_end_s = Fraction(0)
        self._shifts_s, self._last_s = [Fraction(0)], [Fraction(0)]  # of the pictures, by part
        self._tracks: dict[int, _Track] = {}

    def follow(self, packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """The packets but for the pictures', moved to the clock on which those are shown."""
        waiting: deque[tuple[Packet[Stream], _Track, int]] = deque()
        for packet in packets:
            if packet.stream.index == self._video_index:
                self._watch(packet)
            else:
                track = self._tracks.setdefault(packet.stream.index, _Track())
                waiting.append((packet, track, self._part(packet, track)))
            in_vain = len(waiting) > MOST_WAITING
            while waiting and (in_vain or waiting[0][2] < len(self._shifts_s)):
                yield self._moved(*waiting.popleft())
        for left in waiting:
            yield self._moved(*left)

    def _watch(self, packet: Packet[Stream]) -> None:
        if packet.dts is None and packet.pts is None:
            return
        dts_s = _dts_s(packet)
        pts_s = dts_s if packet.pts is None else packet.pts * packet.time_base
        if self._video_parts.observe(dts_s) == len(self._shifts_s):
            end_s = self._video_end_s + self._shifts_s[-1]
            if self._begun:
                self._note(end_s)
            self._shifts_s.append(end_s - pts_s if self._begun else Fraction(0))
            self._last_s.append(dts_s)
            self._video_end_s = pts_s
        self._begun |= pts_s >= self._origin_s
        self._last_s[-1] = dts_s
        self._video_end_s = max(self._video_end_s, pts_s + self._step_s)

    def _part(self, packet: Packet[Stream], track: _Track) -> int:
        """The part to which a packet belongs; the pictures may not have come to it yet."""
        if packet.dts is None and packet.pts is None:
            return track.part
        time_s, newest = _dts_s(packet), len(self._shifts_s) - 1
        set_back = track.last_s is not None and track.last_s - time_s >= self._least_s
        if not self.watched:
            if set_back and packet.stream.type not in ("subtitle", "data"):
                self._go_on(track, time_s)
        elif set_back:
            track.part = max(track.part + 1, newest)
        elif track.part < newest:  # a stream of few packets may go on without being set back
            was, now = self._last_s[track.part], self._last_s[newest]
            track.part = newest if abs(time_s - now) < abs(time_s - was) else track.part
        if packet.duration:
            track.length_s = packet.duration * packet.time_base
        elif track.last_s is not None and time_s > track.last_s:
            track.length_s = time_s - track.last_s
        track.last_s = time_s
        return track.part

    def _go_on(self, track: _Track, time_s: Fraction) -> None:
        assert track.last_s is not None
        end_s = track.last_s + track.length_s + track.shift_s
        self._note(end_s)
        track.shift_s = end_s - time_s

    def _moved(self, packet: Packet[Stream], track: _Track, part: int) -> Packet[Stream]:
        newest = len(self._shifts_s) - 1
        if part > newest:  # the pictures did not follow, so it was none
            part, track.part = newest, min(track.part, newest)
        shift_s = self._shifts_s[part] if self.watched else track.shift_s
        ticks = round(shift_s / packet.time_base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return packet

    def _note(self, time_s: Fraction) -> None:
        if self.set_back_s is None:
            self.set_back_s = time_s


class Passthrough:
    """Copies all but the restored stream of a source into an open target.

    In this order: `add_to` before the header, `begin` at the first frame, `until` before each
    packet of the video, `rest` after the last one, `lost_in` the finished file; `close` always.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._warnings: list[str] = []
        self._info = info
        self._container = open_source(info.path, metadata_errors=KEEP_BYTES)
        self._copies: dict[int, _Copy] = {}
        self._target_index: dict[int, int] = {}
        self._chapters = False
        self._origin_s = Fraction(0)
        self._end_s: Fraction | None = None
        self._ready: Generator[Packet[Stream]] | None = None
        self._ahead: Packet[Stream] | None = None

    def take_warnings(self) -> list[str]:
        """What does not get into the target, by name, as far as it is known since the last call."""
        taken, self._warnings = self._warnings, []
        return taken

    def close(self) -> None:
        if self._ready is not None:
            self._ready.close()
        self._container.close()

    def add_to(self, target: OutputContainer, video: Callable[[OutputContainer], Stream]) -> None:
        """Add the source's streams in their order, `video()` in place of the restored one.

        Container tags come along; chapters do with `add_chapters`.
        """
        target.metadata.update(_kept(self._container.metadata))
        for stream in self._container.streams:
            hidden = stream.discard == Discard.all  # QuickTime's text track behind the chapters
            if stream.index == self._info.video_index:
                made = video(target)
                made.metadata.update(_stream_tags(stream))
                made.disposition = stream.disposition
                self._target_index[stream.index] = made.index
            elif not hidden:
                self._add(target, stream)
            watched = stream.index == self._info.video_index and allows_discontinuities(
                self._container
            )
            if stream.index not in self._copies and not watched:
                stream.discard = Discard.all

    def add_chapters(
        self, target: OutputContainer, start_s: Fraction, end_s: Fraction | None
    ) -> None:
        """Add the chapters of a span, counted from its start. Without an end: all after that."""
        chapters = []
        for chapter in self._container.chapters():
            time_base = chapter["time_base"] or Fraction(1)
            start = floor(start_s / time_base)
            end = chapter["end"] if end_s is None else floor(end_s / time_base)
            if chapter["end"] > start and chapter["start"] < end:
                cut = (max(chapter["start"], start) - start, min(chapter["end"], end) - start)
                chapters.append({**chapter, "start": cut[0], "end": cut[1]})
        self._chapters = bool(chapters)
        target.set_chapters(cast("list[av.container.core.Chapter]", chapters))

    def begin(self, *, origin_s: Fraction, end_s: Fraction | None, cut: bool) -> None:
        """Copy what lies in [origin, end), or all if not `cut`, and count time from the origin.

        No end is the end of the file.
        """
        self._origin_s, self._end_s = origin_s, end_s
        if cut and not allows_discontinuities(self._container):  # there, times may be in no order
            with suppress(FFmpegError):  # then it is read from the start
                self._container.seek(floor((origin_s - SUBTITLE_S) * MICROSECONDS))
        self._ready = self._packets(cut=cut)

    def until(self, time_s: Fraction | None) -> Iterator[Packet[Stream]]:
        """The packets to be written before this time in the target (decoding time). None: all."""
        assert self._ready is not None, "begin comes first"
        while True:
            if self._ahead is None:
                self._ahead = next(self._ready, None)
            if self._ahead is None or (time_s is not None and _dts_s(self._ahead) > time_s):
                return
            packet, self._ahead = self._ahead, None
            yield packet

    def rest(self) -> Iterator[Packet[Stream]]:
        """All that is left."""
        return self.until(None)

    def refused(self, packet: Packet[Stream]) -> None:
        """The muxer did not take it; `lost_in` will say so."""
        copies = self._copies.values()
        next(copy for copy in copies if copy.target.index == packet.stream.index).written -= 1

    def lost_in(self, path: Path) -> Iterator[str]:
        """What a finished file lacks of the source, a sentence each."""
        with av.open(f"file:{path}", metadata_errors=KEEP_BYTES) as target:
            yield from lost_tags("", self._container.metadata, target.metadata, set())
            if self._chapters and not target.chapters():
                yield "the chapters are lost"
            for source_index, target_index in self._target_index.items():
                before = self._container.streams[source_index]
                if target_index >= len(target.streams):
                    yield f"{_label(before)} is lost"
                    continue
                after = target.streams[target_index]
                yield from _lost_of_stream(before, after, set(target.metadata.values()))
                if (copy := self._copies.get(source_index)) is not None:
                    counts = "mp4" in target.format.name  # others may count in units of their own
                    yield from _lost_packets(copy, after.frames if counts else 0)

    def _add(self, target: OutputContainer, stream: Stream) -> None:
        kind = target.format.name
        if is_cover(stream) and kind == "matroska":
            self._target_index[stream.index] = self._add_cover(target, stream).index
            return
        if (refusal := _refusal(stream, kind)) is None:
            copy = _Copy(stream, _added(target, stream))
        elif _is_text(stream) and kind in TEXT_SUBTITLES:
            copy = _Copy(stream, _rewritten(target, stream, TEXT_SUBTITLES[kind]), rewrites=True)
            self._warnings.append(f"{_label(stream)} becomes {TEXT_SUBTITLES[kind]} in {kind}")
        else:
            self._warnings.append(f"{_label(stream)} is left out, {kind} cannot hold it: {refusal}")
            return
        if stream.type == "video" and not is_cover(stream):
            self._warnings.append(f"{_label(stream)} is copied as it is, only one is restored")
        copy.target.metadata.update(_stream_tags(stream))
        copy.target.disposition = stream.disposition
        lenient = has_flag(target, Flags.ts_nonstrict)
        copy.strict = not lenient and stream.type not in ("subtitle", "data")
        self._copies[stream.index] = copy
        self._target_index[stream.index] = copy.target.index

    def _add_cover(self, target: OutputContainer, stream: Stream) -> Stream:
        """Matroska keeps covers as attachments."""
        with closing(open_source(self._info.path)) as source:
            content = bytes(next(source.demux(source.streams[stream.index])))
        kind = "jpeg" if codec_name(stream) == "mjpeg" else codec_name(stream)
        name = stream.metadata.get("filename") or f"cover.{kind.replace('jpeg', 'jpg')}"
        return target.add_attachment(name, f"image/{kind}", content)

    def _packets(self, *, cut: bool) -> Generator[Packet[Stream]]:
        """The packets as they go into the target."""
        for packet in self._demuxed():
            copy = self._copies[packet.stream.index]
            if not cut:
                _move(packet, floor(self._origin_s / packet.time_base))
            elif not self._cut(packet):
                continue
            copy.read += 1
            if copy.rewrites:
                try:
                    rewritten = _encoded(packet, copy)
                except FFmpegError:
                    continue
                if rewritten is None:
                    copy.read -= 1  # there was no text in it
                    continue
                packet = rewritten
            _order(packet, copy)
            copy.written += 1
            packet.stream = copy.target
            yield packet

    def _demuxed(self) -> Generator[Packet[Stream]]:
        def damaged(words: str) -> None:
            note = f"what is not video is damaged: {words}; it is copied as far as it goes"
            if note not in self._warnings:
                self._warnings.append(note)

        if not self._copies:
            return
        streams = [copy.source for copy in self._copies.values()]
        watched = allows_discontinuities(self._container)
        clock = _JoinedClock(self._info, watched=watched, origin_s=self._origin_s)
        if clock.watched:
            streams.append(self._container.streams[self._info.video_index])
        for packet in clock.follow(demux_packets(self._container, streams, damaged)):
            if self._end_s is not None and _dts_s(packet) >= self._end_s + SUBTITLE_S:
                break
            yield packet
        if clock.set_back_s is not None:
            self._warnings.append(
                f"the source's clock is set back after {float(clock.set_back_s):.1f} s, as where "
                f"recordings were joined; what is copied goes on with the pictures"
            )

    def _cut(self, packet: Packet[Stream]) -> bool:
        """Whether it lies in the span; moves it to its place in the target if so."""
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None:
            return False
        origin = floor(self._origin_s / packet.time_base)
        end = None if self._end_s is None else floor(self._end_s / packet.time_base)
        if packet.stream.disposition & Disposition.attached_pic:
            packet.pts = packet.dts = 0
            return True
        if pts < origin and packet.stream.type == "subtitle" and packet.duration:
            packet.duration -= origin - pts  # it is on the screen when the span begins
            packet.pts = packet.dts = pts = origin
        if pts < origin or (end is not None and pts >= end):
            return False
        if packet.duration is not None and packet.duration < 0:
            return False
        _move(packet, origin)
        return True


def _move(packet: Packet[Stream], origin: int) -> None:
    """Count its time from there."""
    pts = packet.pts if packet.pts is not None else packet.dts
    packet.pts = None if pts is None else pts - origin
    packet.dts = None if packet.dts is None else packet.dts - origin


def _dts_s(packet: Packet[Stream]) -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def _order(packet: Packet[Stream], copy: _Copy) -> None:
    """Muxers refuse packets that go back in time, which broken files have."""
    if packet.dts is None:
        packet.dts = packet.pts
    if packet.dts is None:
        return
    least = copy.least_dts(packet.time_base)
    if least is not None and packet.dts < least:
        packet.dts = least
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
    copy.last_dts = packet.dts


def _refusal(stream: Stream, container: str) -> str | None:
    """Why a container cannot hold a stream, in FFmpeg's words: tried in memory. None: it can."""
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        with ffmpeg_errors():
            _added(trial, stream).metadata.update(stream.metadata)
            trial.start_encoding()
    except FFmpegError as error:
        return ffmpeg_message(error)
    except ValueError as error:  # PyAV's own check
        return str(error)
    finally:
        with suppress(FFmpegError):  # a file without packets; what becomes of it does not matter
            trial.close()
    return None


def _added(target: OutputContainer, stream: Stream) -> Stream:
    # "Opaque": from the decoder's parameters; there need not be an encoder.
    return target.add_stream_from_template(stream, opaque=True)


def _is_text(stream: Stream) -> bool:
    return isinstance(stream, SubtitleStream) and has_decoder(stream) and stream.codec.text_sub


def _rewritten(target: OutputContainer, stream: Stream, kind: str) -> Stream:
    decoder = cast("SubtitleCodecContext", stream.codec_context)
    decoder.open(strict=False)
    made = target.add_stream(Codec(kind, "w").name)
    encoder = cast("SubtitleCodecContext", made.codec_context)
    encoder.subtitle_header = decoder.subtitle_header
    made.time_base = encoder.time_base = stream.time_base or Fraction(1, MICROSECONDS)
    return made


def _encoded(packet: Packet[Stream], copy: _Copy) -> Packet[Stream] | None:
    """The same text in the target's kind; None if there is none to show."""
    decoder = cast("SubtitleCodecContext", copy.source.codec_context)
    encoder = cast("SubtitleCodecContext", copy.target.codec_context)
    texts = decoder.decode2(packet)
    if texts is None:
        return None
    rewritten = encoder.encode_subtitle(texts)
    rewritten.time_base = packet.time_base
    rewritten.pts = rewritten.dts = packet.pts
    rewritten.duration = packet.duration
    return rewritten


def _label(stream: Stream) -> str:
    """`subtitle stream 3 (ass, eng, Signs)`."""
    tags = (stream.language, stream_title(stream), stream.metadata.get("filename"))
    details = ", ".join([codec_name(stream), *(tag for tag in tags if tag)])
    return f"{stream.type} stream {stream.index} ({details})"


def _is_making(tag: str) -> bool:
    return tag.lower() in MAKING_TAGS or tag.lower().startswith(MAKING_PREFIXES)


def _kept(tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: value for tag, value in tags.items() if not _is_making(tag)}


def _stream_tags(stream: Stream) -> dict[str, str]:
    """A stream's tags as a muxer wants them."""
    tags = _kept(stream.metadata)
    if title := stream_title(stream):
        tags["title"] = title
    tags.pop("name", None)
    return tags


def _lost_of_stream(before: Stream, after: Stream, elsewhere: set[str]) -> Iterator[str]:
    label = _label(before)
    if before.type != after.type:
        yield f"{label} is kept as {after.type} only"
        return
    yield from lost_tags(f"{label}: ", _stream_tags(before), after.metadata, elsewhere)
    lost = before.disposition & ~after.disposition
    if before.index == min(s.index for s in before.container.streams if s.type == before.type):
        lost &= ~Disposition.default  # the first of its kind is taken anyway
    for mark in lost:
        yield f"{label}: the mark {mark.name} is lost"
    if isinstance(before, VideoStream) and isinstance(after, VideoStream):
        shapes = [stream.sample_aspect_ratio or Fraction(1) for stream in (before, after)]
        if shapes[0] != shapes[1]:
            yield f"{label}: the shape of its pixels ({shapes[0]}) is lost; players show it at 1"


def _lost_packets(copy: _Copy, counted: int) -> Iterator[str]:
    """What was read and is not there, where the target counted; 0 is silence."""
    held = min(copy.written, counted) if counted else copy.written
    if held < copy.read:
        yield f"{_label(copy.source)}: {copy.read - held} of {copy.read} packets are lost"


def lost_tags(
    where: str, before: Mapping[str, str], after: Mapping[str, str], elsewhere: set[str]
) -> Iterator[str]:
    """Tags of which neither name nor value is there, nor the value elsewhere in the file."""
    names, values = {tag.lower() for tag in after}, elsewhere | set(after.values())
    for tag, value in _kept(before).items():
        unsaid = tag == "language" and value == "und"
        if tag.lower() not in names and value not in values and not unsaid:
            yield f"{where}the tag {tag} is lost"
