"""Pictures in, pictures out: one file, a folder, or a pattern like `frame_%05d.png` or `*.jpg`.

The same promises as for videos: samples stay in the file's own format (a JPEG's planes become a
JPEG's planes again), what cannot be kept is named, and nothing unfinished is left behind. Each
picture may have a size, format and orientation of its own: `Frame.info` says which. EXIF and the
like are carried by `image_tags.py` if source and target are of one kind; otherwise the picture
is turned upright.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from lfdn_video import image_tags as image_tags
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.image_files import (
    ENCODERS,
    FRAME_NUMBER,
    find_decoder,
    is_image_file,
    list_numbered_files,
)
from lfdn_video.media import Frame, FrameFormat, PixelFormat, Plane, VideoInfo
from lfdn_video.options import IMAGE_RATE, EncodeOptions
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.target import check_target, discard, publish, reserve, settle

LOGGER = logging.getLogger(__name__)

SAME_ENCODERS = {name.removeprefix("lib"): name for name in ENCODERS.values()}
"""By the decoder's name."""
MADE_BY = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time"}
"""Tags that nearly every video has and nobody gave it."""

FOLDER_ENDS = tuple({"/", os.sep})

TURNED_CHROMA = {"422": "440", "440": "422"}
"""What a format's subsampling becomes when the picture is turned by a quarter."""


def is_image_target(target: str | Path, info: VideoInfo) -> bool:
    """Whether it is for `ImageWriter`: a picture's name, or for pictures a folder, maybe new."""
    if means_folder(target):
        return info.from_images
    suffix = Path(target).suffix.lower()
    return suffix in ENCODERS or (info.from_images and not suffix)


def means_folder(target: str | Path) -> bool:
    """Whether it is a folder, or ends in a slash as only a folder's name does."""
    return str(target).endswith(FOLDER_ENDS) or Path(target).is_dir()


class ImageWriter:
    """Writes a picture for each frame. A context manager, like `Writer`.

    Into a folder, pictures go under their own names; into a pattern, frames of a video too, by
    number from 1, where a picture that is left out leaves its number out. All of them get their
    names at the end.
    """

    def __init__(
        self, target: str | Path, info: VideoInfo, options: EncodeOptions | None = None
    ) -> None:
        self._target, self._info, self._options = Path(target), info, options or EncodeOptions()
        self.warnings: list[str] = []
        """Whatever of the source is not in the target as it was."""
        self.frames_written = 0
        self._hidden: dict[Path, Path] = {}
        self._noted: set[str] = set()
        self._made_folder = False
        self._into_folder = means_folder(target) or self._target.suffix.lower() not in ENCODERS
        self._check()

    @property
    def target(self) -> Path:
        """The file, the folder, or the pattern that is written."""
        return self._target

    def __enter__(self) -> Self:
        self._try_options()
        self._warn_of_losses()
        if self._into_folder and not self._target.is_dir():
            try:
                self._target.mkdir()
            except OSError as error:
                raise OutputError(
                    f"{self._target}: cannot be made: {error.strerror}; choose another folder"
                ) from error
            self._made_folder = True
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
            for hidden in self._hidden.values():
                discard(hidden)
            if self._made_folder and not any(self._target.iterdir()):
                self._target.rmdir()

    def start(self, network: Mapping[str, str]) -> int:  # noqa: ARG002
        """Pictures are not resumed: 0."""
        return 0

    def write(self, frame: Frame) -> None:
        """Encode the next picture."""
        file = self._file_of(frame)
        if file in self._hidden:
            raise OutputError(f"{file}: two pictures would have this name; use a pattern")
        info = frame.info if isinstance(frame.info, VideoInfo) else self._info
        source = info.path
        check_target(file, source, overwrite=self._options.overwrite)
        self._spare_sources(file, source)
        content = self._encoded(frame, file)
        self._hidden[file] = hidden = reserve(file)
        try:
            hidden.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {error.strerror}") from error
        settle(hidden, file)
        self.frames_written += 1

    def _check(self) -> None:
        target, info = self._target, self._info
        if self._into_folder and not info.from_images:
            raise OptionError(
                f"{target}: frames of a video have no names; give a pattern like frame_%05d.png"
            )
        if self._into_folder and target.is_dir():
            if info.path.is_dir() and target.samefile(info.path):
                raise OutputError(f"{target}: is the source itself; choose another folder")
            self._refuse_standing([file for file in target.iterdir() if is_image_file(file)])
        elif self._into_folder:
            check_target(target, info.path, overwrite=False)
        elif FRAME_NUMBER.search(target.name):
            check_target(target, info.path, overwrite=True)
            self._refuse_standing(list_numbered_files(target))
        else:
            check_target(target, info.path, overwrite=self._options.overwrite)
            if not (info.from_images and info.frame_count == 1):
                ways = "a folder, or a pattern" if info.from_images else "a pattern"
                raise OptionError(
                    f"{target}: is one picture, but there are more frames; "
                    f"give {ways} like frame_%05d{target.suffix}"
                )

    def _refuse_standing(self, files: list[Path]) -> None:
        if files and not self._options.overwrite:
            raise OutputError(
                f"{min(files)}: exists already; choose another target or allow to overwrite it"
            )

    def _spare_sources(self, file: Path, source: Path) -> None:
        """By another number, a picture would take the place of another source."""
        several = self._info.from_images and self._info.frame_count != 1
        if several and file.exists() and file.parent.samefile(source.parent):
            raise OutputError(f"{file}: is in the source's folder; choose another folder")

    def _file_of(self, frame: Frame) -> Path:
        if self._into_folder:
            assert frame.name is not None, "a picture has a name"
            return self._target / frame.name
        number = 1 + (frame.pts if self._info.from_images else self.frames_written)
        name = FRAME_NUMBER.sub(lambda match: f"{number:{match[1] or 1}d}", self._target.name)
        return self._target.with_name(name)

    def _encoded(self, frame: Frame, file: Path) -> bytes:
        info: FrameFormat = frame.info or self._info
        codec = ENCODERS[file.suffix.lower()]
        source = frame.info.path.read_bytes() if isinstance(frame.info, VideoInfo) else b""
        keeps_tags = bool(source) and find_decoder(source) == codec and codec in ("png", "mjpeg")
        if not keeps_tags:
            if source and image_tags.has_tags(source):
                self._warn("EXIF, texts and colour profile are left out", file)
            frame, info = _upright(frame, info)
        encoder = Encoder(info, self._picture_options(codec, info), codec=codec)
        for note in encoder.warnings:
            self._warn(note, file)
        try:
            content = _encode(encoder, frame)
        except FFmpegError as error:
            raise OutputError(f"{file}: cannot be encoded: {ffmpeg_message(error)}") from error
        return image_tags.copy_tags(source, content) if keeps_tags else content

    def _picture_options(self, codec: str, info: FrameFormat) -> EncodeOptions:
        options = self._options
        if codec == "libwebp" and info.format.family != "yuv":
            options = replace(options, codec_options={"lossless": "1", **options.codec_options})
        return options

    def _complete(self) -> None:
        if not self._hidden:
            raise OutputError(f"{self._target}: there was no picture to write")
        publish(self._hidden, overwrite=self._options.overwrite)

    def _try_options(self) -> None:
        """OptionError now if the encoder does not take them: no frame is on its way yet."""
        info, suffix = self._info, self._target.suffix.lower()
        codec = SAME_ENCODERS[info.codec] if self._into_folder else ENCODERS[suffix]
        encoder = Encoder(info, self._picture_options(codec, info), codec=codec)
        encoder.configure(_context(encoder), rate=IMAGE_RATE)

    def _warn_of_losses(self) -> None:
        info = self._info
        if info.from_images:
            return
        self._warn(f"{_listed([*_beside(info), 'timestamps'])} are not kept in pictures")
        for what in (*info.hdr_metadata, *info.side_data):
            self._warn(f"{what} is left out")

    def _warn(self, note: str, file: Path | None = None) -> None:
        """Once: a folder may hold thousands that are alike."""
        if note not in self._noted:
            self._noted.add(note)
            self.warnings.append(f"{file or self._target}: {note}")
            LOGGER.warning("%s", self.warnings[-1])


def _beside(info: VideoInfo) -> Iterator[str]:
    """What a video has beside its frames, by name."""
    others = (stream.type for stream in info.streams if stream.index != info.video_index)
    for kind, count in Counter(others).items():
        yield f"{count} {kind} stream{'s' if count > 1 else ''}"
    if info.chapters:
        yield "chapters"
    if {tag.lower() for tag in info.metadata} - MADE_BY:
        yield "tags"


def _listed(words: list[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _context(encoder: Encoder) -> VideoCodecContext:
    context = CodecContext.create(encoder.codec, "w")
    assert isinstance(context, VideoCodecContext)
    return context


def _encode(encoder: Encoder, frame: Frame) -> bytes:
    context = _context(encoder)
    encoder.configure(context, rate=IMAGE_RATE, frames_in_flight=True)
    packets = [*context.encode(encoder.prepare(frame)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def _upright(frame: Frame, info: FrameFormat) -> tuple[Frame, FrameFormat]:
    """The picture turned as it is to be seen, where no tag can say so."""
    if info.rotation == 0 and not info.flip:
        return frame, info
    quarters = info.rotation // 90
    turned = _turned_format(frame.format) if quarters % 2 else frame.format
    planes = tuple(_turn(plane, quarters, flip=info.flip) for plane in frame.planes)
    upright = replace(frame, planes=planes, format=turned)
    return upright, replace(
        info,
        width=upright.width,
        height=upright.height,
        format=turned,
        rotation=0,
        flip=False,
        display_matrix=None,
        sample_aspect_ratio=(
            1 / info.sample_aspect_ratio if quarters % 2 else info.sample_aspect_ratio
        ),
    )


def _turn(plane: Plane, quarters: int, *, flip: bool) -> Plane:
    turned = np.rot90(plane, -quarters)
    return np.ascontiguousarray(turned[:, ::-1] if flip else turned)


def _turned_format(pixel_format: PixelFormat) -> PixelFormat:
    if pixel_format.chroma_shift[0] == pixel_format.chroma_shift[1]:
        return pixel_format
    for before, after in TURNED_CHROMA.items():
        if before in pixel_format.name:
            return PixelFormat.parse(pixel_format.name.replace(before, after))
    raise OutputError(f"{pixel_format.name}: such a picture cannot be turned; convert it first")
