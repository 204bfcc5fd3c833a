"""Reads images: one file, a folder, or a pattern like `frame_%05d.png` or `*.jpg`.

Samples stay in the file's own pixel format. Size, format and orientation may differ from image
to image; `Frame.info` states them. `output/images.py` writes images.
"""

from collections.abc import Generator
from dataclasses import replace
from math import ceil
from pathlib import Path

from av.codec.context import CodecContext, ThreadType
from av.error import ExternalError, FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from lfdn_video import image_tags, tiff
from lfdn_video.errors import InputError, OptionError
from lfdn_video.ffmpeg import decoding_limits, ffmpeg_message
from lfdn_video.frame_io import FrameReader
from lfdn_video.image_files import (
    ENCODERS,
    FRAME_NUMBER,
    are_numbered,
    find_decoder,
    is_image_file,
    list_numbered_files,
    natural_key,
)
from lfdn_video.media import (
    IMAGES,
    MATRIX_BT601,
    RANGE_FULL,
    Colour,
    Frame,
    PixelFormat,
    Plane,
    StreamInfo,
    VideoInfo,
)
from lfdn_video.options import IMAGE_RATE, SpanOptions
from lfdn_video.planes import extract_planes, read_colour, working_format

DAMAGED = "cannot be decoded: it is damaged or cut off; get the whole file again"

UNKNOWN_TIFF = (
    "cannot be decoded: it is damaged, or of a kind of TIFF that FFmpeg does not read; get the "
    "whole file again, or save it as PNG first"
)

MOST_NAMES = 5
"""Files that a warning names one by one."""


def is_image_source(source: str | Path) -> bool:
    """Tell whether `ImageReader` reads `source`: a folder, or a name with an image's suffix."""
    path = Path(source)
    return path.is_dir() or path.suffix.lower() in ENCODERS


class ImageReader(FrameReader):
    """Reads images as the frames of a video of `IMAGE_RATE`.

    An image that cannot be decoded is left out and counted, unless it is the only one.

    Args:
        source: an image file, a folder with images, or a pattern with `%d` or wildcards.
        span: the images to read, by their times at `IMAGE_RATE`; None reads all.

    Raises:
        InputError: there is no image, or none that can be decoded.
        OptionError: the span starts behind the last image.
    """

    def __init__(self, source: str | Path, span: SpanOptions | None = None) -> None:
        super().__init__()
        self.span = span or SpanOptions()
        path = Path(source)
        self._found = _find_images(path)
        if path.is_dir() and (others := _list_others(path)):
            self.warnings.add(path, f"{_join_names(others)}: not images that can be read; left out")
        self._files = _select_span(self._found, self.span, path)
        self.consecutive = are_numbered(self._files)
        self.info = replace(
            _probe_first(self._files),
            path=path,
            frame_count=len(self._files),
            duration_s=float(len(self._files) / IMAGE_RATE),
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """Every image of the source, those outside of the span included."""
        return (self.info.path, *self._found)

    def frames(self) -> Generator[Frame]:
        """Yield the images in natural order; the pts is the file's index, from 0."""
        for pts, file in enumerate(self._files):
            try:
                info, planes = _read_image(file)
            except InputError as error:
                if len(self._files) == 1:
                    raise
                # Its pts is left out too, so that numbered targets keep the source's numbers.
                self.corrupt_packets += 1
                self.dropped_frames["cannot be decoded"] += 1
                problem = str(error).removeprefix(f"{file}: ")
                self.warnings.add(file, f"{problem}; it is left out")
                continue
            yield Frame(planes, info.format, pts, 1, file.name, info)

    def close(self) -> None:
        """Do nothing: no file is open between two images."""


def _find_images(source: Path) -> list[Path]:
    """List the files that `source` stands for, in natural order. InputError if there is none."""
    if source.is_dir():
        files = [file for file in source.iterdir() if is_image_file(file)]
        problem = "holds no images; give a folder with images, or a file"
    elif source.exists() or not _is_pattern(source.name):
        return [source]
    else:
        numbered = FRAME_NUMBER.search(source.name)
        files = list_numbered_files(source) if numbered else _list_matching(source)
        problem = "matches no file; check the pattern"
    if not files:
        raise InputError(f"{source}: {problem}")
    return sorted(files, key=natural_key)


def _list_others(folder: Path) -> list[str]:
    """List the names of visible files in a folder that are not read."""
    visible = [file for file in folder.iterdir() if not file.name.startswith(".")]
    return sorted(file.name for file in visible if file.is_file() and not is_image_file(file))


def _join_names(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _is_pattern(name: str) -> bool:
    return bool(FRAME_NUMBER.search(name)) or any(mark in name for mark in "*?[")


def _list_matching(source: Path) -> list[Path]:
    return [file for file in source.parent.glob(source.name) if is_image_file(file)]


def _select_span(files: list[Path], span: SpanOptions, source: Path) -> list[Path]:
    start, end = (
        None if time_s is None else ceil(time_s * IMAGE_RATE) for time_s in (span.start, span.end)
    )
    if files and not files[start:end]:
        raise OptionError(f"{source}: start: is after the last of {len(files)} images")
    return files[start:end]


def _probe_first(files: list[Path]) -> VideoInfo:
    """Describe the first image that can be decoded. InputError, about the first file, if none."""
    first_error: InputError | None = None
    for file in files:
        try:
            return _read_image(file)[0]
        except InputError as error:
            first_error = first_error or error
    assert first_error is not None, "a source has files"
    raise first_error


def _read_image(file: Path) -> tuple[VideoInfo, tuple[Plane, ...]]:
    content = _read_content(file)
    decoder = find_decoder(content)
    image = _decode(content, decoder, file)
    pixel_format = working_format(image.format.name)
    rotation, flip = image_tags.read_orientation(content)
    stream = StreamInfo(
        index=0,
        type="video",
        codec=decoder,
        width=image.width,
        height=image.height,
        pixel_format=image.format.name,
    )
    info = VideoInfo(
        path=file,
        container=IMAGES,
        codec=decoder,
        width=image.width,
        height=image.height,
        format=pixel_format,
        source_format=image.format.name,
        colour=_read_colour(image, decoder, pixel_format),
        time_base=1 / IMAGE_RATE,
        average_rate=IMAGE_RATE,
        duration_s=float(1 / IMAGE_RATE),
        frame_count=1,
        rotation=rotation,
        flip=flip,
        streams=(stream,),
    )
    return info, extract_planes(image, pixel_format)


def _read_colour(image: VideoFrame, decoder: str, pixel_format: PixelFormat) -> Colour:
    colour = read_colour(image)
    if decoder == "tiff" and pixel_format.family == "yuv":
        # TIFF 6.0, section 21; FFmpeg leaves it untagged, which would mean limited range.
        return replace(colour, matrix=MATRIX_BT601, range=RANGE_FULL)
    return colour


def _read_content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; check the name") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    if not content:
        raise InputError(f"{file}: the file is empty")
    return content


def _decode(content: bytes, decoder: str, file: Path) -> VideoFrame:
    """Decode an image file by `decoder`, FFmpeg's name; "" is refused."""
    if (kind := tiff.name_unreadable(content)) is not None:
        raise InputError(
            f"{file}: is {kind}, which FFmpeg does not read correctly; save it as PNG first"
        )
    if not decoder:
        kinds = ", ".join(sorted({suffix[1:] for suffix in ENCODERS}))
        raise InputError(f"{file}: not an image that can be read ({kinds})")
    if image_tags.holds_several(content):
        raise InputError(
            f"{file}: holds several pictures, of which only the first would be kept; split it into "
            "files of one each"
        )
    if image_tags.is_cut_off(content):
        raise InputError(f"{file}: {DAMAGED}")
    context = CodecContext.create(decoder, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_type = ThreadType.SLICE
    # By default FFmpeg fills what is missing of a JPEG with gray.
    strictness = {"err_detect": "explode"} if decoder == "mjpeg" else {}
    context.options = {**decoding_limits(), **strictness}
    try:
        frames = [*context.decode(Packet(content)), *context.decode(None)]
    except (InvalidDataError, ExternalError) as error:
        advice = UNKNOWN_TIFF if decoder == "tiff" else DAMAGED
        raise InputError(f"{file}: {advice}") from error
    except FFmpegError as error:
        problem = (
            UNKNOWN_TIFF if decoder == "tiff" else f"cannot be decoded: {ffmpeg_message(error)}"
        )
        raise InputError(f"{file}: {problem}") from error
    if not frames:
        raise InputError(f"{file}: cannot be decoded: there is no image in it")
    return frames[0]
