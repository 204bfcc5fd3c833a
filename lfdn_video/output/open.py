"""`open_writer`: chooses between the writer of videos and the one of images."""

from __future__ import annotations

from pathlib import Path

from lfdn_video.copying import PacketIndex
from lfdn_video.files import Inputs
from lfdn_video.frame_io import FrameWriter
from lfdn_video.image_files import ENCODERS
from lfdn_video.media import VideoInfo
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.output.images import ImageWriter, is_folder_target
from lfdn_video.output.writer import Writer
from lfdn_video.parts import Part


def open_writer(
    target: str | Path,
    info: VideoInfo,
    options: EncodeOptions | None = None,
    span: SpanOptions | None = None,
    inputs: Inputs | None = None,
    index: PacketIndex | None = None,
    part: Part | None = None,
) -> FrameWriter:
    """Choose a writer by the target's name: for a video, or for images.

    Args:
        target: a video file, an image file, a pattern such as `frame_%05d.png`, or a folder, in
            which images and videos keep their names.
        info: the source: `open_reader(...).info`.
        options: how to encode; None: the defaults.
        span: the part of the source that the frames are from; None: all of it.
        inputs: the files that must not be replaced; None: the source.
        index: the source's packets, if segments may be copied; None: everything is encoded.
        part: the part of the source that the frames are from, if it is divided: segments are left
            beside the target for `Writer.adopt`, and no target; None: all of the span.

    Returns:
        A writer that has checked the request but created no file. Enter it as a context manager to
        open the target, `write` the frames in order, and leave it to complete the target.

    Raises:
        OutputError: the target cannot be created, or exists and may not be overwritten.
        OptionError: the encoder does not accept the options.
    """
    if _is_image_target(target, info):
        images = ImageWriter(target, info, options, span=span, inputs=inputs)
        if index is not None:
            images.copy_problem = "images are encoded one by one"
        return images
    file = Path(target) / info.path.name if is_folder_target(target) else Path(target)
    return Writer(file, info, options, span, inputs=inputs, index=index, part=part)


def _is_image_target(target: str | Path, info: VideoInfo) -> bool:
    """Return True for an image's name or, if the source is images, for a folder's."""
    if is_folder_target(target):
        return info.from_images
    suffix = Path(target).suffix.lower()
    return suffix in ENCODERS or (info.from_images and not suffix)
