"""Frames of FFmpeg to NumPy planes and back; every change of a pixel format happens here.

The reader converts what a decoder yields to the planar working format with the same samples, so
packed, semi-planar, big-endian and palette formats end here without loss. A real conversion, such
as RGB to YUV, states matrix and range on both sides; otherwise FFmpeg guesses them. To support
another pixel format, start at `working_format`.
"""

import re
from dataclasses import dataclass

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from lfdn_video.frame_io import Warnings
from lfdn_video.media import (
    MATRIX_BT601,
    MATRIX_RGB,
    MATRIX_UNTAGGED,
    RANGE_FULL,
    RANGE_LIMITED,
    Colour,
    Frame,
    FrameFormat,
    PixelFormat,
    Plane,
    VideoInfo,
)

PROBE_SIDE_PX = 64
"""Side of an imaginary frame whose chroma planes tell a format's subsampling."""

EXACT_SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""swscale's exact paths; without these flags it takes shortcuts that are off by one or two."""

_FLOAT = re.compile("f(16|32)")
_DEPTHS = (8, 9, 10, 12, 14, 16)
_CHROMA_NAMES = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}
_SWS_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # AVCOL_SPC to SWS_CS


def working_format(name: str) -> PixelFormat:
    """Return the planar format that holds every sample of a pixel format.

    Args:
        name: any of FFmpeg's software pixel formats.

    Returns:
        The format itself if it is planar and in native byte order, else its planar equivalent.
        Floating-point samples are reduced to 16 bits.
    """
    try:
        return PixelFormat.parse(name)
    except ValueError:
        return _planar_equivalent(VideoFormat(name, PROBE_SIDE_PX, PROBE_SIDE_PX))


def is_lossless(name: str) -> bool:
    """Tell whether the working format holds every sample exactly: all but floats, Bayer and XYZ."""
    return not (_FLOAT.search(name) or name.startswith("xyz") or VideoFormat(name).is_bayer)


def find_matrix(pixel_format: VideoFormat, matrix: int) -> int:
    """Return a matrix tag; untagged if it says RGB of gray samples, as FFmpeg says of PNG."""
    is_gray = not pixel_format.is_rgb and len(pixel_format.components) < 3
    return MATRIX_UNTAGGED if is_gray and matrix == MATRIX_RGB else matrix


def read_colour(video: VideoFrame) -> Colour:
    """Read the colour tags of a decoded frame."""
    matrix = find_matrix(video.format, video.colorspace)
    return Colour(matrix, video.color_range, video.color_primaries, video.color_trc)


def extract_planes(video: VideoFrame, pixel_format: PixelFormat) -> tuple[Plane, ...]:
    """Copy the samples out of a decoded frame.

    Args:
        video: a frame of FFmpeg's, of any pixel format.
        pixel_format: the working format of `video`.

    Returns:
        The planes in the order of `pixel_format`, without line padding; the caller owns them.
    """
    if video.format.name != pixel_format.name:
        video = _rearrange(video, pixel_format.name)
    if pixel_format.name.startswith("ya"):
        pairs = _view_samples(video, 0, pixel_format)
        return pairs[:, 0::2].copy(), pairs[:, 1::2].copy()
    return tuple(
        _view_samples(video, index, pixel_format).copy() for index in range(len(video.planes))
    )


def build_video_frame(frame: Frame) -> VideoFrame:
    """Make a frame of FFmpeg's with the same samples; the caller sets pts and time base."""
    video = VideoFrame(frame.width, frame.height, frame.format.name)
    if frame.format.name.startswith("ya"):
        pairs = _view_samples(video, 0, frame.format)
        pairs[:, 0::2], pairs[:, 1::2] = frame.planes
    else:
        for index, plane in enumerate(frame.planes):
            _view_samples(video, index, frame.format)[:] = plane
    return video


@dataclass(frozen=True, slots=True)
class PixelEncoding:
    """The meaning of a frame's samples: one side of a conversion by swscale."""

    name: str
    """FFmpeg's name of the pixel format."""
    matrix: int
    """YUV matrix (AVCOL_SPC), one with known coefficients; ignored for RGB."""
    full_range: bool
    """True: 0…peak; False: limited range."""

    @classmethod
    def from_format(cls, frame_format: FrameFormat) -> "PixelEncoding":
        """Return the encoding of a stream's frames, with the usual defaults where untagged."""
        colour = frame_format.colour
        pixel_format = frame_format.format
        matrix = colour.resolved_matrix(frame_format.height, frame_format.width)
        return cls(pixel_format.name, matrix, colour.is_full_range(pixel_format))

    def retag_colour(self, colour: Colour) -> Colour:
        """Return `colour` with the matrix and range of this encoding, to tag a stream with."""
        matrix = MATRIX_RGB if VideoFormat(self.name).is_rgb else self.matrix
        range_tag = RANGE_FULL if self.full_range else RANGE_LIMITED
        return Colour(matrix, range_tag, colour.primaries, colour.transfer)


class Converter:
    """Converts frames between two encodings; keeps FFmpeg's scaler from frame to frame."""

    def __init__(self, source: PixelEncoding, target: PixelEncoding) -> None:
        self._source = source
        self._target = target
        self._reformatter = VideoReformatter()

    def convert_frame(
        self, video: VideoFrame, *, width: int | None = None, height: int | None = None
    ) -> VideoFrame:
        """Convert a frame, and scale it if a size is given.

        Args:
            video: a frame in the source encoding; its own tags are ignored.
            width: width of the result in px; None keeps it.
            height: height of the result in px; None keeps it.

        Returns:
            A frame in the target encoding.
        """
        source, target = self._source, self._target
        ranges = (source.full_range, target.full_range)
        if source.full_range == target.full_range:
            # No range conversion is wanted. swscale treats gray as full range whatever it is
            # passed, so only "full" on both sides keeps the samples.
            ranges = (True, True)
        src_range, dst_range = (RANGE_FULL if full else RANGE_LIMITED for full in ranges)
        return self._reformatter.reformat(
            video,
            width,
            height,
            target.name,
            src_colorspace=_SWS_MATRICES[source.matrix],
            dst_colorspace=_SWS_MATRICES[target.matrix],
            src_color_range=src_range,
            dst_color_range=dst_range,
            interpolation=EXACT_SCALING,
        )


class FormatUnifier:
    """Converts the frames of a stream that differ from its first frame.

    Args:
        info: the stream, described by its first frame.
        warnings: receives one warning when frames differ.
    """

    def __init__(self, info: VideoInfo, warnings: Warnings) -> None:
        self._info = info
        self._warnings = warnings
        self._converters: dict[tuple[str, Colour], Converter] = {}

    def unify(self, video: VideoFrame) -> VideoFrame:
        """Return `video` itself if it is like the first frame, else a converted and scaled copy."""
        info = self._info
        size_and_format = (video.width, video.height, video.format.name)
        if size_and_format == (info.width, info.height, info.source_format):
            return video
        self._warnings.add(
            info.path,
            f"changes to {video.width}x{video.height} {video.format.name} on the way; such frames "
            f"are converted to {info.width}x{info.height} {info.format.name} like the first",
        )
        return self._converter(video).convert_frame(video, width=info.width, height=info.height)

    def _converter(self, video: VideoFrame) -> Converter:
        colour = read_colour(video)
        key = (video.format.name, colour)
        if key not in self._converters:
            video_format = FrameFormat(
                width=video.width,
                height=video.height,
                format=working_format(video.format.name),
                colour=colour,
            )
            self._converters[key] = Converter(
                PixelEncoding.from_format(video_format), PixelEncoding.from_format(self._info)
            )
        return self._converters[key]


def _rearrange(video: VideoFrame, name: str) -> VideoFrame:
    # Both sides get the same matrix and range, whatever the tags, so no sample is scaled. Limited
    # range makes swscale copy; for full range it computes, and clips samples above the depth.
    matrix = _SWS_MATRICES[MATRIX_BT601]
    return video.reformat(
        format=name,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=RANGE_LIMITED,
        dst_color_range=RANGE_LIMITED,
    )


def _planar_equivalent(packed: VideoFormat) -> PixelFormat:
    components = packed.components
    # FFmpeg expands palettes to RGBA, so a palette counts as RGB with alpha.
    alpha = packed.has_palette or any(component.is_alpha for component in components)
    bits = max(component.bits for component in components)
    depth = next((depth for depth in _DEPTHS if depth >= bits), _DEPTHS[-1])
    suffix = "" if depth == _DEPTHS[0] else f"{depth}le"
    if packed.is_rgb or packed.has_palette or packed.name.startswith("xyz"):
        return PixelFormat.parse(f"gbr{'a' if alpha else ''}p{suffix}")
    if len(components) - alpha == 1:
        return PixelFormat.parse(f"{'ya' if alpha else 'gray'}{suffix}")
    steps = (PROBE_SIDE_PX // packed.chroma_width(), PROBE_SIDE_PX // packed.chroma_height())
    return PixelFormat.parse(f"yuv{'a' if alpha else ''}{_CHROMA_NAMES[steps]}p{suffix}")


def _view_samples(video: VideoFrame, index: int, pixel_format: PixelFormat) -> Plane:
    """View a plane of FFmpeg's without copying it; valid while `video` lives."""
    plane = video.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:  # stored bottom-up
        rows = rows[::-1]
    width = plane.width * (2 if pixel_format.name.startswith("ya") else 1)
    # FFmpeg pads lines to multiples of at least 16 bytes, so viewing them as uint16 works.
    samples: Plane = rows.view(pixel_format.dtype)
    return samples[:, :width]
