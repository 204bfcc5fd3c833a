"""Video in: the frames of a file, in order, each with its own planes and pts.

`Reader` decodes to the last frame whatever happens on the way: damaged packets are counted and the
last good frame is repeated in their place, so sound and picture stay together. What is in a file
is found out in `source.py`, pictures are read in `images.py`; nothing here knows the network.

Two ways of decoding. The fast one has several frames in flight in FFmpeg's threads; after damage
it cannot tell which packet was the bad one, and may lose what was in flight. So at the first sign
of damage the reader goes back to the last key frame and continues the careful way, one packet
after the other. Where the clock may start again inside a file, as where recordings were joined, a
time does not tell where that was: there it goes back to the start, and counts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, cast

from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video.errors import InputError, OptionError
from lfdn_video.ffmpeg import (
    allows_discontinuities,
    decoding_limits,
    demux_packets,
    discard_other_streams,
    open_source,
)
from lfdn_video.input.deinterlace import Deinterlacer
from lfdn_video.input.images import ImageReader, is_image_source
from lfdn_video.input.probe import probe_video
from lfdn_video.media import Colour, Frame, VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.planes import Converter, PixelEncoding, extract_planes, is_lossless, working_format
from lfdn_video.timestamps import REORDER_FRAMES, DiscontinuityCounter

LOGGER = logging.getLogger(__name__)

Place: TypeAlias = tuple[int, int]
"""A frame's part of a joined recording and its pts there: the order in which frames are shown."""

MOST_HELD = 1000
"""Packets kept to wait for a key frame; streams that have none are decoded from where this ends."""

SHORT_S, SHORT_SHARE = 0.25, 0.02
"""A file that ends so much before its own account of its length was cut short."""

INTERLACED = "is interlaced and treated as if it were not; ask for it to be deinterlaced"
NONE_BEFORE = "cannot be decoded, and none before it to repeat"
NO_TIME = "cannot be decoded, and does not say when it is shown"


def open_reader(
    source: str | Path, span: SpanOptions | None = None, *, deinterlace: bool = False
) -> Reader | ImageReader:
    """A reader for whatever `source` is: a video, a picture, a folder or a pattern of pictures."""
    if is_image_source(source):
        return ImageReader(source, span)
    return Reader(source, span, deinterlace=deinterlace)


class Reader:
    """Reads one video. A context manager; `frames` may be called again for another pass.

    Making one raises InputError if it is no video, OptionError if the span lies behind its end.
    """

    def __init__(
        self, source: str | Path, span: SpanOptions | None = None, *, deinterlace: bool = False
    ) -> None:
        self._path = Path(source)
        self.span = span or SpanOptions()
        self.info: VideoInfo = replace(probe_video(self._path), deinterlaced=deinterlace)
        self.warnings: list[str] = []
        """What a user should know about the source, in the order it was noticed."""
        self.corrupt_packets = 0
        """Packets met so far that could not be decoded; a repeated frame stands for each."""
        self.repeated_frames = 0
        """Of the frames given: the one before once more, for one that could not be decoded."""
        self.dropped_frames: Counter[str] = Counter()
        """Frames that are not given, by the reason."""
        self._check_span()
        if self.info.interlaced and not deinterlace:
            self.warn(INTERLACED)
        if not is_lossless(self.info.source_format):
            self.warn(f"its {self.info.source_format} is reduced to {self.info.format.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open outside `frames`, and that closes what it opens."""

    def frames(self) -> Generator[Frame]:
        """The frames of the span, pts strictly increasing. Close it if it is left early."""
        with closing(_Pass(self).frames()) as frames:
            yield from frames

    def warn(self, text: str) -> None:
        """Remember and log `text` about this file, once."""
        warning = f"{self._path}: {text}"
        if warning not in self.warnings:
            self.warnings.append(warning)
            LOGGER.warning("%s", warning)

    def _check_span(self) -> None:
        start_s, length_s = self.span.start_s or 0.0, self.info.duration_s
        if length_s is not None and start_s >= length_s > 0:
            raise OptionError(
                f"{self._path}: start: {start_s:g} s lies behind its end ({length_s:g} s)"
            )


class _DamageError(Exception):
    """The fast way met damage. Never leaves `_Pass`."""


class _Pass:
    """One pass over the span, and what it has to remember between frames."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._info = reader, reader.info
        self._from_pts, self._end_pts = _span_pts(reader.info, reader.span)
        self._clock = _Clock(reader.info)
        self._uniform = _Uniform(reader)
        self._deinterlacer: Deinterlacer[tuple[int, int]] | None = None
        if reader.info.deinterlaced:
            self._deinterlacer = Deinterlacer(reader.info)
        self._last: Frame | None = None
        self._last_raw_pts: int | None = None
        self._joined = False
        """Whether one time may stand for several frames."""
        self._in_span = False
        self._done, self._to_skip = 0, 0
        """Decoded frames that were dealt with, and how many of them are still to come again."""

    def frames(self) -> Generator[Frame]:
        try:
            yield from self._decoded(careful=False)
        except _DamageError:
            yield from self._held()
            yield from self._continued()
        yield from self._held()
        self._check_length()

    def _continued(self) -> Generator[Frame]:
        """The careful way, from the first frame that is still missing."""
        if self._joined or self._last_raw_pts is None:
            self._to_skip = self._done
        else:
            self._from_pts = self._last_raw_pts + 1
        yield from self._decoded(careful=True)

    def _decoded(self, *, careful: bool) -> Generator[Frame]:
        with closing(open_source(self._info.path)) as container:
            stream = container.streams.video[self._video_number(container)]
            stream.thread_type = ThreadType.SLICE if careful else ThreadType.AUTO
            stream.codec_context.options = decoding_limits()
            discard_other_streams(container, stream)
            self._seek(container, stream)
            self._in_span = self._from_pts is None
            set_back = REORDER_FRAMES * self._clock.step
            decoder = _Decoder(stream, careful=careful, set_back=set_back)
            try:
                for packet in self._packets(container, stream):
                    for video in decoder.decode(packet):
                        yield from self._shown(video, decoder)
                        if self._at_end():
                            return
                decoder.check_flushed()
                yield from self._repeated(decoder.take_lost(None))
            finally:
                self._joined |= decoder.parts > 1
                # Leaving FFmpeg's threads with frames in flight may hang when they are torn down.
                decoder.drain()
                self._reader.corrupt_packets += decoder.corrupt
                if decoder.without_time:
                    self._reader.dropped_frames[NO_TIME] += decoder.without_time

    def _video_number(self, container: InputContainer) -> int:
        return [stream.index for stream in container.streams.video].index(self._info.video_index)

    def _seek(self, container: InputContainer, stream: VideoStream) -> None:
        """To a key frame from which what is wanted can be decoded, or stay at the start."""
        early_enough = self._early_enough()
        if allows_discontinuities(container):
            self._joined = True  # FFmpeg seeks by halves, as if times were in order
        elif early_enough is not None:
            with suppress(FFmpegError):  # not every format can; then all before is decoded
                container.seek(early_enough, stream=stream)

    def _early_enough(self) -> int | None:
        """Decoding has to begin at a key frame before this pts; None: at the start."""
        if self._from_pts is None:
            return None
        early_enough = self._from_pts - REORDER_FRAMES * self._clock.step
        return early_enough if early_enough > self._info.start_pts else None

    def _packets(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[Packet[Stream] | None]:
        """All that can be read, then None, which flushes the decoder."""

        def damaged(words: str) -> None:
            self._reader.warn(f"is damaged: {words}; it is read as far as it goes")

        packets, early_enough = demux_packets(container, [stream], damaged), self._early_enough()
        if early_enough is not None and allows_discontinuities(container):
            yield from _before(packets, early_enough)
        yield from packets
        yield None

    def _shown(self, video: VideoFrame, decoder: _Decoder) -> Iterator[Frame]:
        """The frame, if it is wanted; before it, a repeated one for each that was lost."""
        raw_pts = video.pts if video.pts is not None else video.dts
        lost = decoder.take_lost(raw_pts) if raw_pts is not None else []
        if not self._reached(raw_pts):
            return
        if self._to_skip:
            self._to_skip -= 1
            return
        yield from self._repeated(lost)
        self._done, self._last_raw_pts = self._done + 1, raw_pts
        pts = self._clock.stamp(raw_pts, video.duration)
        if self._end_pts is None or pts < self._end_pts:
            yield from self._given(self._uniform.bring(video), pts, video.duration)

    def _given(self, video: VideoFrame, pts: int, duration: int) -> Iterator[Frame]:
        if self._deinterlacer is not None:
            for whole, (its_pts, its_duration) in self._deinterlacer.push(video, (pts, duration)):
                yield self._frame(whole, its_pts, its_duration)
            return
        if video.interlaced_frame:
            self._reader.warn(INTERLACED)
        yield self._frame(video, pts, duration)

    def _held(self) -> Iterator[Frame]:
        """What the deinterlacer still has; nothing of it depends on what comes next."""
        for video, (pts, duration) in self._deinterlacer.flush() if self._deinterlacer else ():
            yield self._frame(video, pts, duration)

    def _frame(self, video: VideoFrame, pts: int, duration: int) -> Frame:
        planes = extract_planes(video, self._info.format)
        self._last = Frame(planes, self._info.format, pts, duration)
        return self._last

    def _reached(self, raw_pts: int | None) -> bool:
        """Whether the span has begun. After that its clock may well be set back."""
        if raw_pts is None or self._from_pts is None or raw_pts >= self._from_pts:
            self._in_span = True
        return self._in_span

    def _repeated(self, lost: list[Place]) -> Iterator[Frame]:
        if lost:
            yield from self._held()
        for part, raw_pts in lost:
            before = part == 0 and self._from_pts is not None and raw_pts < self._from_pts
            if before:
                continue
            if self._last is None:
                self._reader.dropped_frames[NONE_BEFORE] += 1
                continue
            pts = self._clock.stamp(raw_pts, 0)
            if self._end_pts is not None and pts >= self._end_pts:
                return
            self._reader.warn("is damaged: the last good frame is repeated for every lost one")
            self._reader.repeated_frames += 1
            planes = tuple(plane.copy() for plane in self._last.planes)
            yield Frame(planes, self._info.format, pts, self._last.duration)

    def _at_end(self) -> bool:
        return self._end_pts is not None and (self._clock.last or 0) >= self._end_pts

    def _check_length(self) -> None:
        last, expected_s, path = self._clock.last, self._info.duration_s, self._info.path
        if last is None or self._last is None:
            raise InputError(f"{path}: no frame can be decoded in this span; choose another")
        if expected_s is None or self._at_end():
            return
        found_s = float((last + self._clock.step - self._info.start_pts) * self._info.time_base)
        if expected_s - found_s > max(SHORT_S, SHORT_SHARE * expected_s):
            self._reader.warn(
                f"its frames end at {found_s:.1f} s, not at {expected_s:.1f} s; was it cut short?"
            )


class _Decoder:
    """FFmpeg's decoder, with an account of the packets that it could not decode."""

    def __init__(self, stream: VideoStream, *, careful: bool, set_back: int) -> None:
        self._stream, self._careful = stream, careful
        self._lost: list[Place] = []
        self._sent_parts, self._shown_parts = (
            DiscontinuityCounter(set_back),
            DiscontinuityCounter(set_back),
        )
        self._newest_sent: Place | None = None
        self._newest_shown: Place | None = None
        self.corrupt = 0
        self.without_time = 0
        """Of the corrupt ones: those that nothing can be repeated for."""

    @property
    def parts(self) -> int:
        """Of a joined recording, as far as it was read; 1 if the clock was never set back."""
        return self._sent_parts.count + 1

    def decode(self, packet: Packet[Stream] | None) -> list[VideoFrame]:
        """The frames that are ready. _DamageError on the fast way if one could not be decoded."""
        place = self._place(packet) if packet is not None else None
        try:
            return self._stream.decode(cast("Packet[VideoStream] | None", packet))
        except FFmpegError as error:
            if not self._careful:
                raise _DamageError from error
        self.corrupt += 1
        if place is not None:
            self._lost.append(place)
        elif packet is not None and packet.pts is None:
            self.without_time += 1
        return []

    def take_lost(self, before_pts: int | None) -> list[Place]:
        """The lost frames, in order, to be shown before the decoded one of this pts (None: all)."""
        before = None
        if before_pts is not None:
            before = self._newest_shown = self._shown_parts.observe(before_pts), before_pts
        taken = sorted(place for place in self._lost if before is None or place < before)
        self._lost = [place for place in self._lost if place not in taken]
        return taken

    def check_flushed(self) -> None:
        """_DamageError if the fast way ended without the last frames: PyAV hides that."""
        sent, shown = self._newest_sent, self._newest_shown
        missing = sent is not None and (shown is None or shown < sent)
        if missing and not self._careful:
            raise _DamageError

    def _place(self, packet: Packet[Stream]) -> Place | None:
        """Where the packet's frame is to be shown; None if it is not, or does not say."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is not None:
            self._sent_parts.observe(ticks)
        if packet.pts is None or packet.is_discard:
            return None
        place = self._sent_parts.count, packet.pts
        self._newest_sent = max(place, self._newest_sent or place)
        return place

    def drain(self) -> None:
        with suppress(FFmpegError):
            self._stream.decode(None)


class _Clock:
    """Keeps pts strictly increasing, inventing only what is missing or impossible."""

    def __init__(self, info: VideoInfo) -> None:
        self.step = info.frame_ticks
        self.last: int | None = None
        self._start, self._shift = info.start_pts, 0

    def stamp(self, raw_pts: int | None, duration: int) -> int:
        """The pts for a frame whose own is `raw_pts`."""
        if self.last is None:
            pts = self._start if raw_pts is None else raw_pts
        elif raw_pts is None:
            pts = self.last + (duration or self.step)
        else:
            pts = self._after_last(raw_pts, self.last)
        self.last = pts
        return pts

    def _after_last(self, raw_pts: int, last: int) -> int:
        pts = raw_pts + self._shift
        if pts > last:
            return pts
        if last - pts < REORDER_FRAMES * self.step:
            return last + 1  # a doubled or disordered one: the next will be right again
        self._shift += last + self.step - pts  # the clock was set back: it goes on from here
        return last + self.step


class _Uniform:
    """Brings frames whose size or format changed in the middle to those of the first one."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._info = reader, reader.info
        self._converters: dict[tuple[str, Colour], Converter] = {}

    def bring(self, video: VideoFrame) -> VideoFrame:
        info = self._info
        found = (video.width, video.height, video.format.name)
        if found == (info.width, info.height, info.source_format):
            return video
        self._reader.warn(
            f"changes to {found[0]}x{found[1]} {found[2]} on the way; such frames are brought to "
            f"{info.width}x{info.height} {info.format.name} like the first"
        )
        return self._converter(video).convert_frame(video, width=info.width, height=info.height)

    def _converter(self, video: VideoFrame) -> Converter:
        colour = Colour(video.colorspace, video.color_range, video.color_primaries, video.color_trc)
        key = (video.format.name, colour)
        if key not in self._converters:
            here = PixelEncoding.of(
                working_format(video.format.name), colour, video.height, video.width
            )
            there = PixelEncoding.of(
                self._info.format, self._info.colour, self._info.height, self._info.width
            )
            self._converters[key] = Converter(here, there)
        return self._converters[key]


def _before(packets: Iterator[Packet[Stream]], pts: int) -> list[Packet[Stream]]:
    """Skip packets up to the first of this pts; gives those from the last key frame before it."""
    held: list[Packet[Stream]] = []
    for packet in packets:
        ticks = packet.pts if packet.pts is not None else packet.dts
        reached = ticks is not None and ticks >= pts
        if packet.is_keyframe and not reached:
            held.clear()
        held.append(packet)
        if reached or len(held) > MOST_HELD:
            break
    return held


def _span_pts(info: VideoInfo, span: SpanOptions) -> tuple[int | None, int | None]:
    """First pts wanted and first not wanted any more."""

    def pts(time_s: Fraction | None) -> int | None:
        return None if time_s is None else info.start_pts + ceil(time_s / info.time_base)

    return pts(span.start or None), pts(span.end)
