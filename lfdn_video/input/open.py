"""`open_reader`: chooses between the reader of videos and the one of images."""

from pathlib import Path

from lfdn_video.frame_io import FrameReader
from lfdn_video.input.images import ImageReader, is_image_source
from lfdn_video.input.reader import Reader
from lfdn_video.options import SpanOptions


def open_reader(
    source: str | Path, span: SpanOptions | None = None, *, deinterlace: bool = False
) -> FrameReader:
    """Open a video, an image, or a folder or pattern of images for reading.

    Args:
        source: a video file, an image file, a folder with images, or a pattern such as
            `frame_%05d.png` or `*.jpg`. An image's suffix decides; anything else is a video.
        span: the part of the source to read, in seconds from its first frame; None reads all.
        deinterlace: deinterlace the frames of a video; images are read as they are.

    Returns:
        A reader, to be used as a context manager.

    Raises:
        InputError: the source does not exist or cannot be decoded.
        OptionError: the span starts behind the source's end.
    """
    if is_image_source(source):
        return ImageReader(source, span)
    return Reader(source, span, deinterlace=deinterlace)
