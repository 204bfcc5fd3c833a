"""Video out: restored frames encoded, with everything else of the source copied beside them.

`Writer` refuses what cannot work before the first frame, writes into a hidden file (`target.py`),
and gives it its name only when it is complete. How frames are encoded is `encoder.py`'s, what is
copied `passthrough.py`'s, pictures are written in `images.py`.

Timestamps are the source's own, in the source's time base. Containers with a time base of their
own round them, Matroska to milliseconds; MP4 takes any. Where frames are numbered instead of
timed, they are moved. Both are warned of.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from lfdn_video.encoder import Encoder, ffmpeg_errors
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.images import ImageWriter, is_image_target, means_folder
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import (
    CONTAINER_CODECS,
    DEFAULT_CODEC,
    IMAGE_RATE,
    EncodeOptions,
    SpanOptions,
)
from lfdn_video.passthrough import KEEP_BYTES, Passthrough
from lfdn_video.source import ffmpeg_words
from lfdn_video.target import check_target, discard, publish, reserve, settle

LOGGER = logging.getLogger(__name__)

CONTAINER_OPTIONS = {
    # The index goes to the front, so that a browser can play the file while it loads.
    "mp4": {"movflags": "+faststart"},
    "mov": {"movflags": "+faststart"},
    "ipod": {"movflags": "+faststart"},
    # AAC starts a little before zero; FFmpeg would move all the video instead of letting it.
    "matroska": {"avoid_negative_ts": "disabled"},
    "webm": {"avoid_negative_ts": "disabled"},
}

CONTAINERS = frozenset(
    {"3g2", "3gp", "asf", "avi", "f4v", "flv", "ipod", "matroska", "mov", "mp4", "mpeg", "mpegts"}
    | {"mxf", "nut", "ogg", "ogv", "webm"}
)
"""FFmpeg's muxers that make one file, and keep times in it. Others write playlists and many files
beside it (which would point at the hidden one), or only the bare stream."""

CONSTANT_RATE = {"asf", "avi", "mxf", "ogg", "ogv"}
"""Containers that number their frames instead of timing them, or know decoding times only."""

MAX_RATE = 240
"""Frames per second above this are a wrong guess, and more than some encoders take."""


def open_writer(
    target: str | Path,
    info: VideoInfo,
    options: EncodeOptions | None = None,
    span: SpanOptions | None = None,
) -> Writer | ImageWriter:
    """A writer for whatever `target` is: a video, a picture, a folder or a pattern of pictures.

    A video goes into a folder under its own name.
    """
    if is_image_target(target, info):
        return ImageWriter(target, info, options)
    file = Path(target) / info.path.name if means_folder(target) else Path(target)
    return Writer(file, info, options, span)


class Writer:
    """Writes one video. A context manager: entering opens the target, leaving completes it.

    If the block is left by an exception, whichever, nothing remains of the target. Raises
    OptionError and OutputError on entering, OutputError later if the disk is full or the like.
    """

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        options: EncodeOptions | None = None,
        span: SpanOptions | None = None,
    ) -> None:
        self._target, self._info = Path(target), info
        self._options, self._span = options or EncodeOptions(), span or SpanOptions()
        self.warnings: list[str] = []
        """Whatever of the source is not in the target as it was, by name."""
        self.frames_written = 0
        check_target(self._target, info.path, overwrite=self._options.overwrite)
        self._kind = _container_of(self._target)
        codec = self._options.codec or CONTAINER_CODECS.get(self._kind, DEFAULT_CODEC)
        self._encoder = Encoder(_timed(info, self._options), self._options, codec=codec)
        self._clock = self._encoder.time_base

    def __enter__(self) -> Self:
        self._stream: VideoStream
        self._origin_pts: int | None = None
        self._last_pts: int | None = None
        self._last_ticks: int | None = None
        self._hidden = reserve(self._target)
        self._passthrough: Passthrough | None = None
        self._container: OutputContainer | None = None
        try:
            self._open()
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._complete()
        finally:
            self._abandon()

    @property
    def target(self) -> Path:
        """The file that is written."""
        return self._target

    def write(self, frame: Frame) -> None:
        """Encode the next frame; its pts must be above the last one's."""
        self._check_alike(frame)
        with self._ffmpeg_errors():
            if self._origin_pts is None:
                self._begin(frame.pts)
            video = self._encoder.prepare(frame)
            video.pts = self._pts(frame.pts - (self._origin_pts or 0))
            video.duration = self._duration(frame.duration)
            self._mux(self._stream.encode(video))
        self.frames_written += 1

    def _open(self) -> None:
        with self._ffmpeg_errors():
            self._container = container = self._open_container()
            if self._info.from_images:
                self._add_video(container)
            else:
                self._passthrough = Passthrough(self._info)
                self._passthrough.add_to(container, self._add_video)
                self._passthrough.add_chapters(container, *self._span_s())
            with ffmpeg_errors():
                container.start_encoding()
        if self._passthrough is not None:
            self._warn_all(self._passthrough.take_warnings())
        self._warn_all(self._encoder.warnings)
        lost = (*self._info.hdr_metadata, *self._info.side_data)
        self._warn_all([f"{what} is left out" for what in lost])

    def _open_container(self) -> OutputContainer:
        return av.open(
            f"file:{self._hidden}",
            "w",
            format=self._kind,
            container_options=CONTAINER_OPTIONS.get(self._kind, {}),
            metadata_errors=KEEP_BYTES,
        )

    def _add_video(self, container: OutputContainer) -> Stream:
        encoder, info = self._encoder, self._info
        rate = self._options.frame_rate or info.average_rate or IMAGE_RATE
        if self._kind in CONSTANT_RATE or encoder.needs_rate:
            rate = encoder.keep_rate(rate)
        elif rate > MAX_RATE:
            rate = IMAGE_RATE
        try:
            stream = container.add_stream(encoder.codec.name, rate)
        except ValueError as error:
            raise OptionError(
                f"{self._target}: {self._kind} cannot hold {encoder.codec.name}; "
                f"choose another codec, or another ending"
            ) from error
        assert isinstance(stream, VideoStream)
        encoder.configure(stream.codec_context, rate=rate)
        stream.time_base = encoder.time_base
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        elif info.rotation or info.flip:
            stream.set_display_rotation(-info.rotation, hflip=info.flip)
        self._stream = stream
        return stream

    def _begin(self, first_pts: int) -> None:
        """Now it is known where a span really starts: time counts from its first frame."""
        self._origin_pts = 0 if self._span.whole else first_pts
        if self._passthrough is not None:
            origin_s = first_pts * self._info.time_base
            end_s = self._span_s()[1]
            self._passthrough.begin(origin_s=origin_s, end_s=end_s, cut=not self._span.whole)

    def _span_s(self) -> tuple[Fraction, Fraction | None]:
        """Start and end of the span on the source's own clock; None: it has no end."""
        if self._span.whole:
            return Fraction(0), None
        first_s = self._info.start_pts * self._info.time_base
        end_s = None if self._span.end is None else first_s + self._span.end
        return first_s + (self._span.start or 0), end_s

    def _mux(self, packets: list[Packet[Stream]]) -> None:
        """Write packets of the video, and before each what belongs before it."""
        container, others = self._container, self._passthrough
        assert container is not None
        for packet in packets:
            if others is not None:
                ticks = packet.dts if packet.dts is not None else packet.pts or 0
                for other in others.until(ticks * packet.time_base):
                    container.mux(other)
            container.mux(packet)

    def _complete(self) -> None:
        if self.frames_written == 0:
            raise OutputError(f"{self._target}: there was no frame to write")
        container, others = self._container, self._passthrough
        assert container is not None
        with self._ffmpeg_errors():
            self._mux(self._stream.encode(None))
            for packet in others.rest() if others is not None else ():
                container.mux(packet)
            container.close()
        if others is not None:
            self._warn_all(others.take_warnings())
            self._warn_of_losses(others)
        settle(self._hidden, self._target)
        publish({self._target: self._hidden}, overwrite=self._options.overwrite)

    def _warn_of_losses(self, others: Passthrough) -> None:
        """Look into the finished file. That is no reason to lose it."""
        try:
            self._warn_all(list(others.lost_in(self._hidden)))
        except FFmpegError as error:
            words = ffmpeg_words(error)
            self._warn_all([f"is complete, but what it kept could not be checked: {words}"])

    def _abandon(self) -> None:
        """Close all, and leave nothing behind that is not complete."""
        if self._passthrough is not None:
            self._passthrough.close()
        discard(self._hidden)  # first: closing may otherwise spend minutes on finishing it
        if self._container is not None:
            with suppress(FFmpegError, OSError):
                self._container.close()
        discard(self._hidden)

    def _pts(self, source_pts: int) -> int:
        """The same time on the encoder's clock; that is the source's wherever rates may vary."""
        clock, time_s = self._encoder.time_base, source_pts * self._clock
        pts = round(time_s / clock)
        if self._last_pts is not None:  # where a frame has no tick of its own, it takes the next
            pts = max(pts, self._last_pts + 1)
        if abs(pts * clock - time_s) > clock / 4:
            self._warn_of_moves()
        self._last_pts = pts
        self._check_ticks(pts * clock)
        return pts

    def _duration(self, source_duration: int) -> int:
        return round(source_duration * self._clock / self._encoder.time_base)

    def _check_ticks(self, time_s: Fraction) -> None:
        """Warn if the container's clock cannot tell this time."""
        tick_s = self._stream.time_base or self._encoder.time_base
        ticks = round(time_s / tick_s)
        if self._last_ticks is not None and ticks <= self._last_ticks:
            self._warn_once("frames follow each other closer than it can tell; use .mp4")
        elif ticks * tick_s != time_s:
            self._warn_once(
                f"timestamps are rounded to {tick_s} s by {self._kind}; .mp4 keeps them exactly"
            )
        self._last_ticks = ticks

    def _warn_of_moves(self) -> None:
        if self._kind in CONSTANT_RATE:
            self._warn_once("has a constant rate, so frames are moved; use .mp4 or .mkv")
        else:
            codec = self._encoder.codec.name
            self._warn_once(f"{codec} has a constant rate, so frames are moved; use another codec")

    def _warn_once(self, note: str) -> None:
        if f"{self._target}: {note}" not in self.warnings:
            self._warn_all([note])

    def _check_alike(self, frame: Frame) -> None:
        """Pictures may differ from each other, the frames of a video may not."""
        info = frame.info or self._info
        found = (frame.width, frame.height, frame.format, info.rotation, info.flip)
        first = self._info
        if found != (first.width, first.height, first.format, first.rotation, first.flip):
            raise OutputError(
                f"{frame.name or 'a frame'}: is {frame.width}x{frame.height} {frame.format.name} "
                f"turned by {info.rotation}, the first {first.width}x{first.height} "
                f"{first.format.name} turned by {first.rotation}; make them alike, or write to a "
                f"folder"
            )

    def _warn_all(self, notes: Iterator[str] | list[str]) -> None:
        for note in notes:
            warning = f"{self._target}: {note}"
            self.warnings.append(warning)
            LOGGER.warning("%s", warning)

    @contextmanager
    def _ffmpeg_errors(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise OutputError(
                f"{self._target}: cannot be written: {ffmpeg_words(error)}"
            ) from error


def _container_of(target: Path) -> str:
    """FFmpeg's name of the muxer for this ending; OutputError if it is none for videos."""
    try:
        kind = av.open(target.name, "w").format.name  # only now does it guess; nothing is written
    except ValueError as error:
        raise OutputError(
            f"{target}: FFmpeg writes no video of this kind; end the name in .mp4 or .mkv"
        ) from error
    if kind not in CONTAINERS:
        raise OutputError(
            f"{target}: {kind} does not make one file that plays; end the name in .mp4 or .mkv"
        )
    return kind


def _timed(info: VideoInfo, options: EncodeOptions) -> VideoInfo:
    """The source's clock; for pictures the clock that was asked for."""
    if options.frame_rate is None:
        return info
    if not info.from_images:
        raise OptionError(
            f"frame rate: {info.path} is a video and keeps its own timestamps; leave it out"
        )
    return replace(info, time_base=1 / options.frame_rate, average_rate=options.frame_rate)
