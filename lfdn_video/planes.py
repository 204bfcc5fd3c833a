"""FFmpeg's frames to planes of numpy and back; every change of a pixel format, in one place.

Whatever a decoder gives is brought to the planar working format that holds the same samples, so
packed, semi-planar, big-endian and palette formats end here, without loss. A change that is no
mere rearrangement, say RGB to YUV, states the matrix and the range on both sides: left to itself
FFmpeg guesses them. Knows nothing of files; `reader.py`, `writer.py` and `images.py` use it.
"""

import re
from dataclasses import dataclass

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from lfdn_video.media import (
    MATRIX_BT601,
    MATRIX_RGB,
    RANGE_FULL,
    RANGE_LIMITED,
    Colour,
    Frame,
    PixelFormat,
    Plane,
)

MEASURE_PX = 64
"""Side of an imaginary picture whose chroma planes tell a format's subsampling."""

EXACT_SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""Without these flags swscale takes short cuts that cost a level or two."""

_FLOAT = re.compile("f(16|32)")
_DEPTHS = (8, 9, 10, 12, 14, 16)
_CHROMA_NAMES = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}
_SWS_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # AVCOL_SPC to SWS_CS


def working_format(name: str) -> PixelFormat:
    """The planar format that holds every sample of FFmpeg's format `name`.

    Floating-point samples are the exception: they are kept to 16 bits.
    """
    try:
        return PixelFormat.parse(name)
    except ValueError:
        return _planar_equivalent(VideoFormat(name, MEASURE_PX, MEASURE_PX))


def is_lossless(name: str) -> bool:
    """Whether the working format of `name` holds all of it: not for floats, raw sensors, XYZ."""
    return not (_FLOAT.search(name) or name.startswith("xyz") or VideoFormat(name).is_bayer)


def extract_planes(video: VideoFrame, pixel_format: PixelFormat) -> tuple[Plane, ...]:
    """Copies of a decoded frame's samples, in its working format, without line padding."""
    if video.format.name != pixel_format.name:
        video = _rearranged(video, pixel_format.name)
    if pixel_format.name.startswith("ya"):
        pairs = _samples(video, 0, pixel_format)
        return pairs[:, 0::2].copy(), pairs[:, 1::2].copy()
    return tuple(_samples(video, index, pixel_format).copy() for index in range(len(video.planes)))


def build_video_frame(frame: Frame) -> VideoFrame:
    """FFmpeg's frame with the same samples; pts and time base are left to the caller."""
    video = VideoFrame(frame.width, frame.height, frame.format.name)
    if frame.format.name.startswith("ya"):
        pairs = _samples(video, 0, frame.format)
        pairs[:, 0::2], pairs[:, 1::2] = frame.planes
    else:
        for index, plane in enumerate(frame.planes):
            _samples(video, index, frame.format)[:] = plane
    return video


@dataclass(frozen=True, slots=True)
class PixelEncoding:
    """What it takes to read a frame's samples: its format, YUV matrix (AVCOL_SPC) and range."""

    name: str
    matrix: int
    full_range: bool

    @classmethod
    def of(
        cls, pixel_format: PixelFormat, colour: Colour, height: int, width: int = 0
    ) -> "PixelEncoding":
        matrix = colour.resolved_matrix(height, width)
        return cls(pixel_format.name, matrix, colour.is_full_range(pixel_format))

    def tagged(self, colour: Colour) -> Colour:
        """`colour` with matrix and range as they are here, for a stream coded this way."""
        matrix = MATRIX_RGB if VideoFormat(self.name).is_rgb else self.matrix
        level = RANGE_FULL if self.full_range else RANGE_LIMITED
        return Colour(matrix, level, colour.primaries, colour.transfer)


class Converter:
    """Brings frames from one coding to another; keeps FFmpeg's scaler between frames."""

    def __init__(self, source: PixelEncoding, target: PixelEncoding) -> None:
        self._source, self._target = source, target
        self._reformatter = VideoReformatter()

    def convert_frame(
        self, video: VideoFrame, *, width: int | None = None, height: int | None = None
    ) -> VideoFrame:
        source, target = self._source, self._target
        ranges = (source.full_range, target.full_range)
        if source.full_range == target.full_range:
            # No scaling of levels. swscale takes gray for full range whatever it is told.
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


def _rearranged(video: VideoFrame, name: str) -> VideoFrame:
    # The same is said of both sides, whatever the tags, so that no level is scaled. It is limited
    # range, for which swscale copies; for full range it computes, and clips what exceeds the depth.
    matrix = _SWS_MATRICES[MATRIX_BT601]
    return video.reformat(
        format=name,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=RANGE_LIMITED,
        dst_color_range=RANGE_LIMITED,
    )


def _planar_equivalent(packed: VideoFormat) -> PixelFormat:
    parts = packed.components
    alpha = packed.has_palette or any(part.is_alpha for part in parts)
    bits = max(part.bits for part in parts)
    depth = next((depth for depth in _DEPTHS if depth >= bits), _DEPTHS[-1])
    suffix = "" if depth == _DEPTHS[0] else f"{depth}le"
    if packed.is_rgb or packed.has_palette or packed.name.startswith("xyz"):
        return PixelFormat.parse(f"gbr{'a' if alpha else ''}p{suffix}")
    if len(parts) - alpha == 1:
        return PixelFormat.parse(f"{'ya' if alpha else 'gray'}{suffix}")
    steps = (MEASURE_PX // packed.chroma_width(), MEASURE_PX // packed.chroma_height())
    return PixelFormat.parse(f"yuv{'a' if alpha else ''}{_CHROMA_NAMES[steps]}p{suffix}")


def _samples(video: VideoFrame, index: int, pixel_format: PixelFormat) -> Plane:
    """A plane as FFmpeg holds it, not copied: valid while `video` is."""
    plane = video.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:
        rows = rows[::-1]
    width = plane.width * (2 if pixel_format.name.startswith("ya") else 1)
    # FFmpeg pads lines to multiples of 16 bytes and more, so uint16 always fits.
    samples: Plane = rows.view(pixel_format.dtype)
    return samples[:, :width]
