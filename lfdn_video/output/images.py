"""Writes images: one file, a folder, or a pattern like `frame_%05d.png`.

As for videos, samples keep their format (a JPEG's planes are encoded as a JPEG's planes), losses
are named, and nothing unfinished is left behind. Size, format and orientation may differ from image
to image; `Frame.info` states them. `image_tags.py` copies EXIF and other tags if source and target
have the same format; otherwise the image is rotated upright.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from lfdn_video import image_tags
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.files import Inputs, check_target, follow_link, refuse_input
from lfdn_video.frame_io import FrameWriter
from lfdn_video.image_density import Density, read_density, set_density
from lfdn_video.image_files import (
    ENCODERS,
    FRAME_NUMBER,
    find_decoder,
    is_image_file,
    list_numbered_files,
)
from lfdn_video.media import Frame, FrameFormat, PixelFormat, Plane, VideoInfo
from lfdn_video.options import IMAGE_RATE, EncodeOptions, SpanOptions
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.target import (
    create_temporary,
    output_errors,
    refuse_existing,
    remove_temporary,
    rename_into_place,
    sync_to_disk,
)

TAGGED_ENCODERS = frozenset({"png", "mjpeg"})
"""Encoders of the image formats whose tags `image_tags.py` copies."""

ENCODER_OF_DECODER = {name.removeprefix("lib"): name for name in ENCODERS.values()}

AUTOMATIC_TAGS = frozenset(
    {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time"}
)
"""Tags that nearly every video has, written by muxers rather than by a user."""

MORE_IS_LEFT_OUT = "further pictures, gain map or video in the file are left out"
PROFILE_IS_LEFT_OUT = "the colour profile is left out, as it is not one of RGB"

MAX_TIFF_DPI = 65536
"""Largest density that FFmpeg's TIFF encoder takes."""

FOLDER_SUFFIXES = tuple({"/", os.sep})

ROTATED_CHROMA = {"422": "440", "440": "422"}
"""Chroma subsampling after a rotation by 90 degrees, by that before it."""


def is_folder_target(target: str | Path) -> bool:
    """Return True for an existing folder, or a name with a trailing slash."""
    return str(target).endswith(FOLDER_SUFFIXES) or Path(target).is_dir()


class ImageWriter(FrameWriter):
    """Writes an image for each frame; all are renamed into place at the end.

    In a folder, images keep their names. In a pattern, frames are numbered from 1, and the number
    of an image that could not be read is skipped. Runs are not resumed.
    """

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        options: EncodeOptions | None = None,
        *,
        span: SpanOptions | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        """Check the request; no file is created yet.

        Args:
            target: an image file, a folder, or a pattern.
            info: the source.
            options: how to encode; None: the defaults. The target's extension chooses the codec.
            span: the part of the source that the frames are from; None: all of it.
            inputs: the files that are read; None: the source.

        Raises:
            OutputError: the target cannot be created, or exists and may not be overwritten.
            OptionError: the frames do not fit the target: a video in a folder, many in one image.
        """
        super().__init__()
        self._target = Path(target)
        self._info = info
        self._options = options or EncodeOptions()
        self._single = _is_single(info, span or SpanOptions())
        self._inputs = inputs or Inputs([info.path])
        self._temporaries: dict[Path, Path] = {}
        """Temporary file of each encoded image, by its final name."""
        self._made_folder = False
        self._into_folder = is_folder_target(target) or self._target.suffix.lower() not in ENCODERS
        if self._into_folder:
            self._check_folder()
        else:
            self._check_file()

    @property
    def target(self) -> Path:
        """The file, folder or pattern to write."""
        return self._target

    def open(self) -> None:
        """Try the encoder, and create the folder.

        Raises:
            OptionError: the encoder refuses its options.
            OutputError: the folder cannot be created.
        """
        self._try_encoder()
        for note in _list_losses(self._info, single=self._single):
            self.warnings.add(self._target, note, once=True)
        if self._into_folder and not self._target.is_dir():
            try:
                self._target.mkdir()
            except OSError as error:
                raise OutputError(
                    f"{self._target}: cannot be created: {error.strerror}; choose another folder"
                ) from error
            self._made_folder = True

    def write(self, frame: Frame) -> None:
        """Encode the next image into a temporary file.

        Args:
            frame: may have its own size and format (`Frame.info`) if it comes from an image.

        Raises:
            OutputError: its name is taken, or it cannot be encoded or written.
        """
        file = self._choose_file(frame)
        replaced = follow_link(file)
        if replaced in self._temporaries:
            raise OutputError(f"{file}: two images would have this name; use a pattern")
        source = frame.info.path if isinstance(frame.info, VideoInfo) else self._info.path
        self._inputs.add(source)
        check_target(file, self._inputs, overwrite=self._options.overwrite)
        self._refuse_other_sources(file, source)
        content = self._encode(frame, file)
        if replaced != file:
            self.warnings.add(file, f"is a link, and stays one; {replaced} is written")
        temporary = create_temporary(replaced)
        self._temporaries[replaced] = temporary
        with output_errors(file):
            temporary.write_bytes(content)
        sync_to_disk(temporary, file)
        self.frames_written += 1

    def complete(self) -> None:
        """Rename all images into place.

        Raises:
            OutputError: there are none, or one of them cannot be renamed.
        """
        if not self._temporaries:
            raise OutputError(f"{self._target}: there was no image to write")
        rename_into_place(self._temporaries, overwrite=self._options.overwrite)

    def clean_up(self) -> None:
        """Remove temporary files, and the folder if this run created it and it is empty."""
        for temporary in self._temporaries.values():
            remove_temporary(temporary)
        if self._made_folder and not any(self._target.iterdir()):
            self._target.rmdir()

    def _check_folder(self) -> None:
        target = self._target
        if not self._info.from_images:
            raise OptionError(
                f"{target}: frames of a video have no names; give a pattern like frame_%05d.png"
            )
        if not target.is_dir():
            check_target(target, self._inputs, overwrite=False)
            return
        refuse_input(target, self._inputs)
        self._refuse_existing([file for file in target.iterdir() if is_image_file(file)])

    def _check_file(self) -> None:
        target = self._target
        info = self._info
        if FRAME_NUMBER.search(target.name):
            check_target(target, self._inputs, overwrite=True)
            self._refuse_existing(list_numbered_files(target))
            return
        check_target(target, self._inputs, overwrite=self._options.overwrite)
        if not self._single:
            ways = "a folder, or a pattern" if info.from_images else "a pattern"
            raise OptionError(
                f"{target}: is one image, but there are more frames; "
                f"give {ways} like frame_%05d{target.suffix}"
            )

    def _refuse_existing(self, files: list[Path]) -> None:
        if files and not self._options.overwrite:
            refuse_existing(min(files), "another target")

    def _refuse_other_sources(self, file: Path, source: Path) -> None:
        """Refuse to overwrite another image of the source, which may not be read yet."""
        has_others = self._info.from_images and self._info.frame_count != 1
        if has_others and file.exists() and file.parent.samefile(source.parent):
            raise OutputError(f"{file}: is in the source's folder; choose another folder")

    def _choose_file(self, frame: Frame) -> Path:
        if self._into_folder:
            assert frame.name is not None, "an image has a name"
            return self._target / frame.name
        # For images, pts count the source's files, so a corrupt one leaves a gap in the numbers.
        number = 1 + (frame.pts if self._info.from_images else self.frames_written)
        name = FRAME_NUMBER.sub(lambda match: f"{number:{match[1] or 1}d}", self._target.name)
        return self._target.with_name(name)

    def _encode(self, frame: Frame, file: Path) -> bytes:
        """Encode a frame as an image file, with its source's tags if the format is the same."""
        frame_format: FrameFormat = frame.info or self._info
        codec = ENCODERS[file.suffix.lower()]
        source = frame.info.path.read_bytes() if isinstance(frame.info, VideoInfo) else b""
        keeps_tags = bool(source) and find_decoder(source) == codec and codec in TAGGED_ENCODERS
        if not keeps_tags:
            if source and image_tags.has_tags(source):
                self.warnings.add(file, "EXIF, texts and colour profile are left out", once=True)
            frame, frame_format = _rotate_upright(frame, frame_format)
        density = read_density(source)
        encoder = self._make_encoder(frame_format, codec, density)
        for note in (*_list_left_out(source, keeps_tags=keeps_tags), *encoder.warnings):
            self.warnings.add(file, note, once=True)
        try:
            content = _encode_frame(encoder, frame)
        except FFmpegError as error:
            raise OutputError(f"{file}: cannot be encoded: {ffmpeg_message(error)}") from error
        if keeps_tags:
            return image_tags.copy_tags(source, content)
        return content if density is None else set_density(content, density)

    def _make_encoder(
        self, frame_format: FrameFormat, codec: str, density: Density | None = None
    ) -> Encoder:
        options = self._options
        if codec == "tiff" and density is not None:
            own = {"dpi": str(min(MAX_TIFF_DPI, max(1, round(density[0]))))}
            options = replace(options, codec_options={**own, **options.codec_options})
        if codec == "libwebp" and frame_format.format.family != "yuv":
            # Lossy WebP is YUV 4:2:0. RGB sources had no such loss yet, so it is not added here.
            options = replace(options, codec_options={"lossless": "1", **options.codec_options})
        return Encoder(frame_format, options, time_base=self._info.time_base, codec=codec)

    def _try_encoder(self) -> None:
        """Open an encoder once, as long as FFmpeg's errors can still be captured in full."""
        suffix = self._target.suffix.lower()
        codec = ENCODER_OF_DECODER[self._info.codec] if self._into_folder else ENCODERS[suffix]
        encoder = self._make_encoder(self._info, codec)
        encoder.configure(_new_context(encoder), rate=IMAGE_RATE)


def _is_single(info: VideoInfo, span: SpanOptions) -> bool:
    """Tell whether there is one frame to write; a span shorter than a frame has one, too."""
    expected = info.expected_frames(span)
    return expected is not None and expected <= 1


def _list_left_out(source: bytes, *, keeps_tags: bool) -> Iterator[str]:
    """Name what an image file holds beside its samples and cannot be kept in another."""
    if image_tags.holds_more(source):
        yield MORE_IS_LEFT_OUT
    if keeps_tags and image_tags.has_foreign_profile(source):
        yield PROFILE_IS_LEFT_OUT


def _list_losses(info: VideoInfo, *, single: bool) -> Iterator[str]:
    """Name everything in a video that images cannot hold; one image has no timestamps to lose."""
    if info.from_images:
        return
    lost = [*_list_contents(info), *([] if single else ["timestamps"])]
    if lost:
        yield f"{_join_words(lost)} are not kept in images"
    for metadata in (*info.hdr_metadata, *info.side_data):
        yield f"{metadata} is left out"


def _list_contents(info: VideoInfo) -> Iterator[str]:
    """Name the contents of a video other than its frames."""
    others = (stream.type for stream in info.streams if stream.index != info.video_index)
    for kind, count in Counter(others).items():
        yield f"{count} {kind} stream{'s' if count > 1 else ''}"
    if info.chapters:
        yield "chapters"
    if {tag.lower() for tag in info.metadata} - AUTOMATIC_TAGS:
        yield "tags"


def _join_words(words: list[str]) -> str:
    """Join words like `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _new_context(encoder: Encoder) -> VideoCodecContext:
    context = CodecContext.create(encoder.codec, "w")
    assert isinstance(context, VideoCodecContext)
    return context


def _encode_frame(encoder: Encoder, frame: Frame) -> bytes:
    context = _new_context(encoder)
    encoder.configure(context, rate=IMAGE_RATE, frames_in_flight=True)
    packets = [*context.encode(encoder.prepare(frame)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def _rotate_upright(frame: Frame, shown: FrameFormat) -> tuple[Frame, FrameFormat]:
    """Rotate and flip the samples, for targets without an orientation tag."""
    if shown.rotation == 0 and not shown.flip:
        return frame, shown
    quarters = shown.rotation // 90
    is_sideways = quarters % 2 == 1
    pixel_format = _rotate_format(frame.format) if is_sideways else frame.format
    planes = tuple(_rotate_plane(plane, quarters, flip=shown.flip) for plane in frame.planes)
    upright = replace(frame, planes=planes, format=pixel_format)
    ratio = shown.sample_aspect_ratio
    return upright, replace(
        shown,
        width=upright.width,
        height=upright.height,
        format=pixel_format,
        rotation=0,
        flip=False,
        display_matrix=None,
        sample_aspect_ratio=1 / ratio if is_sideways else ratio,
    )


def _rotate_plane(plane: Plane, quarters: int, *, flip: bool) -> Plane:
    rotated = np.rot90(plane, -quarters)  # clockwise
    return np.ascontiguousarray(rotated[:, ::-1] if flip else rotated)


def _rotate_format(pixel_format: PixelFormat) -> PixelFormat:
    """Find the format of planes rotated by 90 degrees: chroma subsampling is rotated too."""
    if pixel_format.chroma_shift[0] == pixel_format.chroma_shift[1]:
        return pixel_format
    for before, after in ROTATED_CHROMA.items():
        if before in pixel_format.name:
            return PixelFormat.parse(pixel_format.name.replace(before, after))
    raise OutputError(f"{pixel_format.name}: such an image cannot be rotated; convert it first")
