"""Pictures in: one file, a folder, or a pattern like `frame_%05d.png` or `*.jpg`.

Samples stay in the file's own format. Each picture may have a size, format and orientation of its
own: `Frame.info` says which. Pictures are written in `output/images.py`.
"""

import logging
import re
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Self

from av.codec.context import CodecContext, ThreadType
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from lfdn_video import image_tags
from lfdn_video.errors import InputError, OptionError
from lfdn_video.ffmpeg import decoding_limits, ffmpeg_message
from lfdn_video.image_files import (
    ENCODERS,
    FRAME_NUMBER,
    find_decoder,
    is_image_file,
    list_numbered_files,
)
from lfdn_video.media import IMAGES, Colour, Frame, Plane, StreamInfo, VideoInfo
from lfdn_video.options import IMAGE_RATE, SpanOptions
from lfdn_video.planes import extract_planes, working_format

LOGGER = logging.getLogger(__name__)

_DIGITS = re.compile(r"(\d+)")


def is_image_source(source: str | Path) -> bool:
    """Whether it is for `ImageReader`: by its name, or because it is a folder."""
    path = Path(source)
    return path.is_dir() or path.suffix.lower() in ENCODERS


class ImageReader:
    """Reads pictures as the frames of a video of `IMAGE_RATE`. A context manager, like `Reader`."""

    def __init__(self, source: str | Path, span: SpanOptions | None = None) -> None:
        self.span = span or SpanOptions()
        self.warnings: list[str] = []
        """What a user should know about the source, in the order it was noticed."""
        self.corrupt_packets = 0
        """Pictures met so far that could not be decoded; they are left out."""
        self.repeated_frames = 0
        self.dropped_frames: Counter[str] = Counter()
        """Pictures that are not given, by the reason."""
        self._path = Path(source)
        self._files = _in_span(_found(self._path), self.span, self._path)
        self.info = replace(
            _first_readable(self._files),
            path=self._path,
            frame_count=len(self._files),
            duration_s=float(len(self._files) / IMAGE_RATE),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing stays open between pictures."""

    def frames(self) -> Generator[Frame]:
        """The pictures in the order of their numbers; pts count from 0."""
        for pts, file in enumerate(self._files):
            try:
                info, planes = _read(file)
            except InputError as error:
                if len(self._files) == 1:
                    raise
                self.corrupt_packets += 1
                self.dropped_frames["cannot be decoded"] += 1
                self.warnings.append(f"{error}; it is left out")
                LOGGER.warning("%s", self.warnings[-1])
                continue
            yield Frame(planes, info.format, pts, 1, file.name, info)


def _found(source: Path) -> list[Path]:
    """The picture files that a source means, in order. InputError if there is none."""
    if source.is_dir():
        files = [file for file in source.iterdir() if is_image_file(file)]
        none = "holds no pictures; give a folder with pictures, or a file"
    elif source.exists() or not _is_pattern(source.name):
        return [source]
    else:
        files = (
            list_numbered_files(source) if FRAME_NUMBER.search(source.name) else _matching(source)
        )
        none = "matches no file; check the pattern"
    if not files:
        raise InputError(f"{source}: {none}")
    return sorted(files, key=_natural)


def _first_readable(files: list[Path]) -> VideoInfo:
    """Of the first picture that is not damaged. InputError, about the first one, if all are."""
    first_error: InputError | None = None
    for file in files:
        try:
            return _read(file)[0]
        except InputError as error:
            first_error = first_error or error
    assert first_error is not None, "a source has files"
    raise first_error


def _is_pattern(name: str) -> bool:
    return bool(FRAME_NUMBER.search(name)) or any(mark in name for mark in "*?[")


def _matching(source: Path) -> list[Path]:
    return [file for file in source.parent.glob(source.name) if is_image_file(file)]


def _natural(file: Path) -> list[tuple[int, str]]:
    """`2.png` before `10.png`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part.lower())
        for part in _DIGITS.split(file.name)
    ]


def _in_span(files: list[Path], span: SpanOptions, source: Path) -> list[Path]:
    start, end = (
        None if time_s is None else ceil(time_s * IMAGE_RATE) for time_s in (span.start, span.end)
    )
    if files and not files[start:end]:
        raise OptionError(f"{source}: start: lies behind the last of {len(files)} pictures")
    return files[start:end]


def _read(file: Path) -> tuple[VideoInfo, tuple[Plane, ...]]:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; check the name") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    if not content:
        raise InputError(f"{file}: the file is empty")
    picture, codec = _decoded(content, file), find_decoder(content)
    pixel_format = working_format(picture.format.name)
    rotation, flip = image_tags.read_orientation(content)
    colour = Colour(
        picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc
    )
    stream = StreamInfo(
        index=0,
        type="video",
        codec=codec,
        width=picture.width,
        height=picture.height,
        pixel_format=picture.format.name,
    )
    info = VideoInfo(
        path=file,
        container=IMAGES,
        codec=codec,
        width=picture.width,
        height=picture.height,
        format=pixel_format,
        source_format=picture.format.name,
        colour=colour,
        time_base=1 / IMAGE_RATE,
        average_rate=IMAGE_RATE,
        duration_s=float(1 / IMAGE_RATE),
        frame_count=1,
        rotation=rotation,
        flip=flip,
        streams=(stream,),
    )
    return info, extract_planes(picture, pixel_format)


def _decoded(content: bytes, file: Path) -> VideoFrame:
    name = find_decoder(content)
    if not name:
        kinds = ", ".join(sorted({suffix[1:] for suffix in ENCODERS}))
        raise InputError(f"{file}: not a picture that can be read ({kinds})")
    context = CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_type = ThreadType.SLICE
    context.options = decoding_limits()
    try:
        frames = [*context.decode(Packet(content)), *context.decode(None)]
    except FFmpegError as error:
        raise InputError(f"{file}: cannot be decoded: {ffmpeg_message(error)}") from error
    if not frames:
        raise InputError(f"{file}: cannot be decoded: there is no picture in it")
    return frames[0]
