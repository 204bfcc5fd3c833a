"""Reads a video: its frames in order, each with its planes and pts.

`Reader` decodes to the last frame whatever happens on the way. It counts corrupt packets and
repeats the last good frame in their place, so that audio and video stay in sync. `probe.py`
describes the file, `decoder.py` decodes packets, `lfdn_video/timestamps.py` repairs timestamps,
`images.py` reads images.

There are two passes. The fast one has several frames in flight in FFmpeg's threads. After a corrupt
packet it cannot tell which packet was the bad one, and it may lose the frames in flight. So at the
first sign of corruption the reader goes back to the keyframe before the first missing frame and
continues with the careful pass, which decodes one packet after the other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path

from av.codec.context import ThreadType
from av.container import InputContainer
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
    pyav_errors,
    seek_or_rewind,
)
from lfdn_video.frame_io import FrameReader
from lfdn_video.input.decoder import CorruptionError, Decoder, Position
from lfdn_video.input.deinterlace import Deinterlacer
from lfdn_video.input.probe import probe_video
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.planes import FormatUnifier, extract_planes, is_lossless
from lfdn_video.timestamps import REORDER_FRAMES, BestEffortTimes, PtsRepairer

MAX_HELD_PACKETS = 1000
"""Packets to hold while looking for a keyframe; without one, decoding starts at the first of them.
"""

LENGTH_TOLERANCE_S = 0.25
LENGTH_TOLERANCE_SHARE = 0.02
"""A file is truncated if its frames end earlier than its stated length by more than both."""

INTERLACED = "is interlaced but restored as if it were progressive; deinterlace it first"
NONE_BEFORE = "cannot be decoded, and none before it to repeat"
NO_PTS = "cannot be decoded, and does not say when it is shown"


class Reader(FrameReader):
    """Reads one video; `frames` may be called again for another pass.

    Args:
        source: a video file.
        span: the part to read, in seconds from the first frame; None reads all.
        deinterlace: deinterlace the frames. If the file marks interlaced frames, only these.

    Raises:
        InputError: the source is not a video that can be decoded.
        OptionError: the span starts after the source's end.
    """

    def __init__(
        self, source: str | Path, span: SpanOptions | None = None, *, deinterlace: bool = False
    ) -> None:
        super().__init__()
        self._path = Path(source)
        self.span = span or SpanOptions()
        self.info: VideoInfo = replace(probe_video(self._path), deinterlaced=deinterlace)
        self._check_span()
        if self.info.interlaced and not deinterlace:
            self.warn(INTERLACED)
        if not is_lossless(self.info.source_format):
            self.warn(f"its {self.info.source_format} is reduced to {self.info.format.name}")

    def frames(self) -> Generator[Frame]:
        """Yield the frames of the span, pts strictly increasing.

        Close the generator when leaving it early: it holds the file and FFmpeg's threads.

        Raises:
            InputError: no frame of the span can be decoded.
        """
        with pyav_errors(self._path), closing(_SpanReader(self).read_frames()) as frames:
            yield from frames

    def close(self) -> None:
        """Do nothing: `frames` closes the file that it opens."""

    def warn(self, note: str) -> None:
        """Add a warning about this file, once."""
        self.warnings.add(self._path, note)

    def _check_span(self) -> None:
        start_s = self.span.start_s or 0.0
        length_s = self.info.duration_s
        if length_s is not None and start_s >= length_s > 0:
            raise OptionError(
                f"{self._path}: start: {start_s:g} s is after its end ({length_s:g} s)"
            )


class _SpanReader:
    """Reads the span once, by the fast pass and, after corruption, by the careful one.

    Its state outlives the fast pass, so that the careful pass continues without a gap or a repeat.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._info = reader.info
        self._start_pts, self._end_pts = _span_pts(reader.info, reader.span)
        self._timing = PtsRepairer(reader.info)
        self._unifier = FormatUnifier(reader.info, reader.warnings)
        self._deinterlacer: Deinterlacer[tuple[int, int]] | None = None
        if reader.info.deinterlaced:
            self._deinterlacer = Deinterlacer(
                reader.info.time_base, only_marked=reader.info.interlaced
            )
        self._best_effort = BestEffortTimes()
        self._last: Frame | None = None
        self._last_raw_pts: int | None = None
        self._ambiguous_pts = False
        """True if one pts may belong to several frames, as in joined recordings."""
        self._in_span = False
        self._frames_done = 0
        """Decoded frames of the span that were handled so far."""
        self._frames_to_skip = 0
        """Frames of the careful pass that the fast one handled already."""

    def read_frames(self) -> Generator[Frame]:
        try:
            yield from self._decode_pass(careful=False)
        except CorruptionError:
            # The deinterlacer is one frame behind. That frame was decoded well, and the careful
            # pass starts after it, so it has to be yielded now.
            yield from self._flush_deinterlacer()
            self._resume_after_last()
            yield from self._decode_pass(careful=True)
        yield from self._flush_deinterlacer()
        self._check_length()

    def _resume_after_last(self) -> None:
        """Let the careful pass start at the first frame that the fast one did not yield.

        Its pts identifies it, and seeking goes to the keyframe before it. Where timestamps restart
        inside a file, a pts is ambiguous: there the careful pass starts over and skips as many
        frames as were done.
        """
        if self._ambiguous_pts or self._last_raw_pts is None:
            self._frames_to_skip = self._frames_done
        else:
            # The file's pts, not the repaired one: seeking and decoding know only the file's.
            self._start_pts = self._last_raw_pts + 1

    def _decode_pass(self, *, careful: bool) -> Generator[Frame]:
        with closing(open_source(self._info.path)) as container:
            stream = _prepare_stream(container, self._info, careful=careful)
            self._seek(container, stream)
            self._in_span = self._start_pts is None
            min_jump = REORDER_FRAMES * self._timing.frame_ticks
            # A new decoder, since the fast one lost the frames it had in flight when it failed.
            decoder = Decoder(stream, careful=careful, min_jump=min_jump)
            self._best_effort = BestEffortTimes()
            try:
                for packet in self._demux_packets(container, stream):
                    for video in decoder.decode(packet):
                        yield from self._handle_decoded(video, decoder)
                        if self._is_past_end():
                            return
                # Errors at the very end raise nothing; only missing frames reveal them.
                decoder.check_complete()
                yield from self._repeat_for_lost(decoder.pop_lost(None))
            finally:
                # Before the careful pass starts, which has to know how to find its first frame.
                self._ambiguous_pts |= decoder.met_discontinuity or self._best_effort.pts_went_back
                # On every way out, also when the caller leaves early: FFmpeg's threads may hang
                # when the container is closed while they have frames in flight.
                decoder.drain()
                self._reader.corrupt_packets += decoder.corrupt_packets
                if decoder.corrupt_without_pts:
                    self._reader.dropped_frames[NO_PTS] += decoder.corrupt_without_pts

    def _seek(self, container: InputContainer, stream: VideoStream) -> None:
        """Go to a keyframe from which the span can be decoded, or stay at the start."""
        seek_pts = self._find_seek_pts()
        if allows_discontinuities(container):
            self._ambiguous_pts = True  # FFmpeg seeks by bisection, as if pts were in order
        elif seek_pts is not None:
            seek_or_rewind(container, seek_pts, stream)

    def _find_seek_pts(self) -> int | None:
        """Return a pts behind the keyframe to start decoding at; None: the start of the file."""
        if self._start_pts is None:
            return None
        # Many demuxers seek by dts, which lag behind the pts by the reordering depth.
        seek_pts = self._start_pts - REORDER_FRAMES * self._timing.frame_ticks
        return seek_pts if seek_pts > self._info.start_pts else None

    def _demux_packets(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[Packet[Stream] | None]:
        """Yield the packets to decode, then None, which flushes the decoder."""

        def warn_unreadable(message: str) -> None:
            self._reader.warn(f"is corrupt: {message}; it is read as far as possible")

        packets = demux_packets(container, [stream], warn_unreadable)
        seek_pts = self._find_seek_pts()
        if seek_pts is not None and allows_discontinuities(container):
            yield from _skip_to_keyframe(packets, seek_pts)
        yield from packets
        yield None

    def _handle_decoded(self, video: VideoFrame, decoder: Decoder) -> Iterator[Frame]:
        """Yield a decoded frame if it is in the span, after repeats for those lost before it."""
        raw_pts = self._best_effort.choose(video.pts, video.dts)
        own_pts = video.pts if video.pts is not None else video.dts
        lost = decoder.pop_lost(own_pts) if own_pts is not None else []
        if not self._has_reached_span(raw_pts):
            return
        if self._frames_to_skip:
            # The fast pass handled this frame, and whatever came before it.
            self._frames_to_skip -= 1
            return
        yield from self._repeat_for_lost(lost)
        self._frames_done += 1
        self._last_raw_pts = raw_pts
        # Repaired even behind the end: `_is_past_end` asks for the last repaired pts.
        pts = self._timing.repair(raw_pts, video.duration)
        if self._end_pts is None or pts < self._end_pts:
            yield from self._deinterlace(self._unifier.unify(video), pts, video.duration)

    def _has_reached_span(self, raw_pts: int | None) -> bool:
        # Once reached, never left by this test: after a discontinuity, pts are small again.
        if raw_pts is None or self._start_pts is None or raw_pts >= self._start_pts:
            self._in_span = True
        return self._in_span

    def _deinterlace(self, video: VideoFrame, pts: int, duration: int) -> Iterator[Frame]:
        """Yield the frame itself, or those that the deinterlacer has ready after it."""
        if self._deinterlacer is not None:
            ready = self._deinterlacer.push(video, (pts, duration))
            yield from self._make_frames(ready)
            return
        if video.interlaced_frame:
            self._reader.warn(INTERLACED)
        yield from self._make_frames([(video, (pts, duration))])

    def _flush_deinterlacer(self) -> Iterator[Frame]:
        if self._deinterlacer is not None:
            yield from self._make_frames(self._deinterlacer.flush())

    def _make_frames(self, videos: list[tuple[VideoFrame, tuple[int, int]]]) -> Iterator[Frame]:
        for video, (pts, duration) in videos:
            planes = extract_planes(video, self._info.format)
            self._last = Frame(planes, self._info.format, pts, duration)
            yield self._last

    def _repeat_for_lost(self, lost: list[Position]) -> Iterator[Frame]:
        """Yield the last good frame once for each lost one, at its pts."""
        if lost:
            # The deinterlacer must not take the frames on both sides of a gap for neighbours.
            yield from self._flush_deinterlacer()
        for discontinuities, raw_pts in lost:
            # After a discontinuity a small pts is not before the span, it is just small again.
            before_span = self._start_pts is not None and raw_pts < self._start_pts
            if before_span and discontinuities == 0:
                continue
            if self._last is None:
                self._reader.dropped_frames[NONE_BEFORE] += 1
                continue
            pts = self._timing.repair(raw_pts, 0)
            if self._end_pts is not None and pts >= self._end_pts:
                return
            self._reader.warn("has corrupt packets; the last good frame is repeated for each")
            self._reader.repeated_frames += 1
            # A copy, since the receiver owns a frame's planes and may write to them.
            planes = tuple(plane.copy() for plane in self._last.planes)
            yield Frame(planes, self._info.format, pts, self._last.duration)

    def _is_past_end(self) -> bool:
        return self._end_pts is not None and (self._timing.last_pts or 0) >= self._end_pts

    def _check_length(self) -> None:
        """Warn if the frames end well before the file's stated length."""
        info = self._info
        last_pts = self._timing.last_pts
        if last_pts is None or self._last is None:
            raise InputError(f"{info.path}: no frame can be decoded in this span; choose another")
        if info.duration_s is None or self._is_past_end():
            return
        end_pts = last_pts + self._timing.frame_ticks
        found_s = float((end_pts - info.start_pts) * info.time_base)
        if info.duration_s - found_s > max(
            LENGTH_TOLERANCE_S, LENGTH_TOLERANCE_SHARE * info.duration_s
        ):
            self._reader.warn(
                f"its frames end at {found_s:.1f} s, not at {info.duration_s:.1f} s; "
                "is it truncated?"
            )


def _prepare_stream(container: InputContainer, info: VideoInfo, *, careful: bool) -> VideoStream:
    videos = container.streams.video
    stream = next(each for each in videos if each.index == info.video_index)
    # Slice threads work on one frame at a time, so an error belongs to the packet just sent.
    stream.thread_type = ThreadType.SLICE if careful else ThreadType.AUTO
    stream.codec_context.options = decoding_limits()
    discard_other_streams(container, stream)
    return stream


def _skip_to_keyframe(packets: Iterator[Packet[Stream]], pts: int) -> list[Packet[Stream]]:
    """Consume packets up to the first of this pts; return those from the last keyframe before it.

    This replaces seeking where timestamps may restart. Only when the pts is reached is it known
    which keyframe was the last one, so the packets since the latest keyframe are held.
    """
    held: list[Packet[Stream]] = []
    for packet in packets:
        ticks = packet.pts if packet.pts is not None else packet.dts
        reached = ticks is not None and ticks >= pts
        if packet.is_keyframe and not reached:
            held.clear()
        held.append(packet)
        if reached or len(held) > MAX_HELD_PACKETS:
            break
    return held


def _span_pts(info: VideoInfo, span: SpanOptions) -> tuple[int | None, int | None]:
    """Return the first pts of the span and the first pts after it; None for an open end."""

    def to_pts(time_s: Fraction | None) -> int | None:
        return None if time_s is None else info.start_pts + ceil(time_s / info.time_base)

    return to_pts(span.start or None), to_pts(span.end)
