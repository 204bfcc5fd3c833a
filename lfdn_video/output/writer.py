"""Video out: restored frames encoded, with everything else of the source copied beside them.

`Writer` refuses what cannot work before the first frame, writes into a hidden file (`target.py`),
and gives it its name only when it is complete. How frames are encoded is `encoder.py`'s, what else
is in the file `muxer.py`'s, pictures are written in `images.py`.

Timestamps are the source's own, in the source's time base. Containers with a time base of their
own round them, Matroska to milliseconds; MP4 takes any. Where frames are numbered instead of
timed, they are moved. Both are warned of.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import av
from av.error import FFmpegError

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import (
    CONTAINER_CODECS,
    DEFAULT_CODEC,
    IMAGE_RATE,
    EncodeOptions,
    SpanOptions,
)
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.images import ImageWriter, is_image_target, means_folder
from lfdn_video.output.journal import Journal, fingerprint
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.segments import SEGMENT_FRAMES, Segments
from lfdn_video.output.target import check_target, discard, hold, publish, reserve, settle, sweep

LOGGER = logging.getLogger(__name__)

CONTAINERS = frozenset(
    {"3g2", "3gp", "asf", "avi", "f4v", "flv", "ipod", "matroska", "mov", "mp4", "mpeg", "mpegts"}
    | {"mxf", "nut", "ogg", "ogv", "webm"}
)
"""FFmpeg's muxers that make one file, and keep times in it. Others write playlists and many files
beside it (which would point at the hidden one), or only the bare stream."""

CONSTANT_RATE = {"asf", "avi", "mxf", "ogg", "ogv"}
"""Containers that number their frames instead of timing them, or know decoding times only."""

LONG_FRAMES = 2 * SEGMENT_FRAMES
"""What has more is written in segments."""

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
        self._encoder = Encoder(
            _timed(info, self._options), _fitting(self._options, self._kind), codec=codec
        )
        self._clock = self._encoder.time_base
        rate = self._rate()
        self._muxer = Muxer(
            self._target,
            self._kind,
            info,
            self._encoder,
            rate=rate,
            span=self._span,
            warn=self._warn,
        )
        self._journal = Journal(self._target)
        self._held: IO[bytes] | None = None
        self._segments: Segments | None = None
        if self._is_long() or self._journal.folder.is_dir():
            self._segments = Segments(self._journal, self._encoder, rate=rate)

    def __enter__(self) -> Self:
        self._first_pts: int | None = None
        self._last_pts: int | None = None
        self._open()
        for warning in self._encoder.warnings:
            self._warn(warning)
        for what in (*self._info.hdr_metadata, *self._info.side_data):
            self._warn(f"{what} is left out")
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
        except BaseException as late:
            error = late
            raise
        finally:
            self._abandon()
            if error is not None and self._segments is not None and self._journal.frames:
                error.add_note(f"{self._journal.frames} frames are kept; go on by resuming")

    @property
    def target(self) -> Path:
        """The file that is written."""
        return self._target

    def start(self, network: Mapping[str, str]) -> int:
        """How many frames an interrupted run has left; the first ones are not to come again.

        `network`: what the restored frames depend on. OutputError if those were by another one.
        """
        if self._segments is None:
            return 0
        with self._errors():
            self._journal.agree({"network": dict(network)})
        if self._journal.segments:
            self._first_pts = self._journal.told["first_pts"]
            self._last_pts = self._journal.segments[-1].last_pts
        self.frames_written = self._journal.frames
        return self.frames_written

    def write(self, frame: Frame) -> None:
        """Encode the next frame; its pts must be above the last one's."""
        self._check_alike(frame)
        with self._errors():
            if self._first_pts is None:
                self._begin(frame.pts)
            video = self._encoder.prepare(frame)
            video.pts = self._pts(frame.pts - self._origin_pts)
            video.duration = self._duration(frame.duration)
            if self._segments is not None:
                self._segments.encode(video)
            else:
                self._muxer.mux(self._muxer.stream.encode(video))
        self.frames_written += 1

    def _open(self) -> None:
        """Find out whether all of this can be written, before the first frame is made."""
        if self._segments is None:
            sweep(self._target)
            self._hidden = reserve(self._target)
            self._held = hold(self._hidden)
        else:
            told = _told(self._info, self._options, self._span)
            options = self._options
            self._journal.open(told, resume=options.resume, overwrite=options.overwrite)
            self._hidden = self._journal.folder / f"joined{self._target.suffix}"
        try:
            with self._errors():
                self._muxer.open(self._hidden)
            if self._segments is not None:  # the target is made of the segments at the end
                self._segments.flags = self._muxer.stream.codec_context.flags
                self._muxer.close()
                discard(self._hidden)
        except BaseException:
            self._abandon()
            raise

    def _begin(self, first_pts: int) -> None:
        self._first_pts = first_pts
        if self._segments is None:
            self._muxer.begin(first_pts)
        else:
            self._journal.agree({"first_pts": first_pts})

    @property
    def _origin_pts(self) -> int:
        """What is time zero of the target."""
        return self._first_pts or 0 if self._muxer.from_first_frame else 0

    def _complete(self) -> None:
        if self.frames_written == 0:
            raise OutputError(f"{self._target}: there was no frame to write")
        with self._errors():
            if self._segments is None:
                self._muxer.mux(self._muxer.stream.encode(None))
            else:
                self._join(self._segments)
            self._muxer.finish()
        settle(self._hidden, self._target)
        publish({self._target: self._hidden}, overwrite=self._options.overwrite)
        if self._segments is not None:
            self._journal.remove()

    def _join(self, segments: Segments) -> None:
        segments.finish()
        assert self._first_pts is not None
        self._muxer.open(self._hidden)
        self._muxer.begin(self._first_pts)
        with closing(segments.packets(self._muxer.stream)) as packets:
            self._muxer.mux(packets)

    def _abandon(self) -> None:
        """Close all, and leave nothing behind but finished segments."""
        discard(self._hidden)  # first: closing may otherwise spend minutes on finishing it
        self._muxer.close()
        discard(self._hidden)
        if self._held is not None:
            self._held.close()
        if self._segments is not None:
            self._segments.abandon()
            self._journal.close()

    def _is_long(self) -> bool:
        """Whether it pays to be able to go on after an interruption."""
        expected = self._info.expected_frames(self._span)
        return expected is None or expected > LONG_FRAMES

    def _rate(self) -> Fraction:
        """The stream's, for what wants to know one."""
        rate = self._options.frame_rate or self._info.average_rate or IMAGE_RATE
        if self._kind in CONSTANT_RATE or self._encoder.needs_rate:
            return self._encoder.keep_rate(rate)
        return IMAGE_RATE if rate > MAX_RATE else rate

    def _pts(self, source_pts: int) -> int:
        """The same time on the encoder's clock; that is the source's wherever rates may vary."""
        clock, time_s = self._encoder.time_base, source_pts * self._clock
        pts = round(time_s / clock)
        if self._last_pts is not None:  # where a frame has no tick of its own, it takes the next
            pts = max(pts, self._last_pts + 1)
        if abs(pts * clock - time_s) > clock / 4:
            self._warn_of_moves()
        self._last_pts = pts
        return pts

    def _duration(self, source_duration: int) -> int:
        return round(source_duration * self._clock / self._encoder.time_base)

    def _warn_of_moves(self) -> None:
        if self._kind in CONSTANT_RATE:
            self._warn("has a constant rate, so frames are moved; use .mp4 or .mkv")
        else:
            codec = self._encoder.codec.name
            self._warn(f"{codec} has a constant rate, so frames are moved; use another codec")

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

    def _warn(self, note: str) -> None:
        """Each once."""
        warning = f"{self._target}: {note}"
        if warning not in self.warnings:
            self.warnings.append(warning)
            LOGGER.warning("%s", warning)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise OutputError(
                f"{self._target}: cannot be written: {ffmpeg_message(error)}"
            ) from error
        except OSError as error:
            raise OutputError(f"{self._target}: cannot be written: {error.strerror}") from error


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


def _fitting(options: EncodeOptions, kind: str) -> EncodeOptions:
    """AVI keeps neither times nor the order in which frames are shown, so there are no B-frames."""
    if kind != "avi":
        return options
    return replace(options, codec_options={"bf": "0", **options.codec_options})


def _told(info: VideoInfo, options: EncodeOptions, span: SpanOptions) -> dict[str, Any]:
    """What a run on this source is, as JSON has it."""
    encode = {name: str(value) for name, value in asdict(options).items() if value is not None}
    for name in ("overwrite", "resume"):
        encode.pop(name)
    source: Any = {"pictures": info.frame_count}
    if info.path.is_file():
        source = fingerprint(info.path)
    if info.deinterlaced:
        source["deinterlaced"] = True
    return {"source": source, "encoding": encode, "span": asdict(span)}


def _timed(info: VideoInfo, options: EncodeOptions) -> VideoInfo:
    """The source's clock; for pictures the clock that was asked for."""
    if options.frame_rate is None:
        return info
    if not info.from_images:
        raise OptionError(
            f"frame rate: {info.path} is a video and keeps its own timestamps; leave it out"
        )
    return replace(info, time_base=1 / options.frame_rate, average_rate=options.frame_rate)
