"""Values that describe video: pixel format, colour, a file and its streams, one frame.

All are frozen and free of FFmpeg: `input/` makes them from files, `output/` makes files from them.
Colour tags and time bases are FFmpeg's own numbers, so that they pass through unchanged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lfdn_video.options import SpanOptions

Plane: TypeAlias = np.ndarray[tuple[int, int], np.dtype[Any]]
"""Samples of one plane: `[h, w]`, C-contiguous, uint8 or uint16 in native byte order."""

Image: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
"""`[H, W, 3]`, RGB, full range, upright."""

Family: TypeAlias = Literal["yuv", "gray", "rgb"]

IMAGES = "images"
"""`VideoInfo.container` where the source is images: one file, a folder or a pattern."""

HD_WIDTH_PX, SD_HEIGHT_PX = 1280, 576
"""An untagged stream at least this wide, or higher than this, is treated as BT.709, others as
BT.601. Players check the width too, because wide-screen films have few lines."""

FALLBACK_RATE = Fraction(25)
"""Frames per second of a source that does not state its rate."""

RANGE_UNTAGGED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2  # AVCOL_RANGE_*
MATRIX_RGB, MATRIX_BT709, MATRIX_UNTAGGED, MATRIX_BT601 = 0, 1, 2, 6  # AVCOL_SPC_*
PRIMARIES_UNTAGGED = TRANSFER_UNTAGGED = 2  # AVCOL_PRI_*, AVCOL_TRC_*

_KR_KB: Mapping[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470 B/G, the same as BT.601
    6: (0.299, 0.114),  # SMPTE 170M, the same as BT.601
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020 non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, approximately
}
UNSUPPORTED_MATRICES: Mapping[int, str] = {
    8: "YCgCo",
    11: "YDzDx",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
"""Matrices (AVCOL_SPC) whose chroma planes are not Cb and Cr, by name; such video is refused."""

# Standards define primaries and matrix together, so the one hints at the other.
_MATRIX_OF_PRIMARIES = {1: 1, 4: 4, 5: 5, 6: 6, 7: 7, 9: 9}

_CHROMA_SHIFTS = {
    "444": (0, 0),
    "422": (1, 0),
    "420": (1, 1),
    "440": (0, 1),
    "411": (2, 0),
    "410": (2, 2),
}
_NAME = re.compile(
    r"(?:yuv(?P<kind>[aj]?)(?P<chroma>4[0-4]{2})p|(?P<gray>gray)|gbr(?P<rgb_alpha>a?)p|(?P<ya>ya))"
    r"(?P<depth>8|9|10|12|14|16)?(?:le)?"
)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A planar pixel format in native byte order: the only kind the pipeline handles.

    Planes are Y, Cb, Cr for `yuv`, Y for `gray`, and G, B, R for `rgb`; with `alpha`, A of full
    size follows. FFmpeg's `ya8` and `ya16le` are packed; here they stand for two planes, Y and A.
    Make one with `parse`.
    """

    name: str
    """FFmpeg's name, such as `yuv420p10le`, `gray` or `gbrp`."""
    family: Family
    """Colour model: `yuv`, `gray` or `rgb`."""
    depth: int
    """Significant bits of a sample, 8…16; above 8 the planes are uint16."""
    chroma_shift: tuple[int, int] = (0, 0)
    """log2 of the horizontal and the vertical chroma subsampling; (0, 0) for gray and rgb."""
    alpha: bool = False
    """The last plane is alpha."""
    full_range_name: bool = False
    """The name itself (`yuvj…`) says full range."""

    @classmethod
    def parse(cls, name: str) -> "PixelFormat":
        """Parse FFmpeg's name of a pixel format.

        Args:
            name: a planar YUV, gray or RGB format of 8 to 16 bits, in native byte order.

        Raises:
            ValueError: `name` is no such format; `planes.working_format` maps the others to one.
        """
        match = _NAME.fullmatch(name)
        if match is None or (match["chroma"] and match["chroma"] not in _CHROMA_SHIFTS):
            raise ValueError(f"{name}: not a planar working format")
        depth = int(match["depth"] or 8)
        if match["gray"] or match["ya"]:
            return cls(name, "gray", depth, alpha=bool(match["ya"]))
        if match["chroma"] is None:
            return cls(name, "rgb", depth, alpha=bool(match["rgb_alpha"]))
        return cls(
            name,
            "yuv",
            depth,
            _CHROMA_SHIFTS[match["chroma"]],
            alpha=match["kind"] == "a",
            full_range_name=match["kind"] == "j",
        )

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """NumPy's type of a sample."""
        return np.uint8 if self.depth <= 8 else np.uint16

    @property
    def peak(self) -> int:
        """The largest sample value, 255 for 8 bits."""
        return (1 << self.depth) - 1

    def plane_shapes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Compute the shape of each plane.

        Args:
            height: height of the frame in px.
            width: width of the frame in px.

        Returns:
            `(h, w)` of each plane in order; subsampled sizes round up, as in FFmpeg.
        """
        full = (height, width)
        if self.family == "gray":
            shapes = [full]
        else:
            across, down = self.chroma_shift
            small = (-(-height >> down), -(-width >> across))
            shapes = [full, small, small]
        return tuple(shapes + [full] * self.alpha)


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour tags of a stream, unchanged, in FFmpeg's and H.273's numbers.

    Untagged stays untagged here; `resolve` applies the usual defaults.
    """

    matrix: int = MATRIX_UNTAGGED
    """AVCOL_SPC: 1 is BT.709, 6 BT.601, 9 BT.2020, 0 RGB, 2 untagged."""
    range: int = RANGE_UNTAGGED
    """AVCOL_RANGE: 1 is limited, 2 full, 0 untagged."""
    primaries: int = PRIMARIES_UNTAGGED
    """AVCOL_PRI; 2 is untagged."""
    transfer: int = TRANSFER_UNTAGGED
    """AVCOL_TRC; 2 is untagged."""

    def resolved_matrix(self, height: int, width: int = 0) -> int:
        """Determine the YUV matrix that applies.

        Args:
            height: height of the frame in px, as stored.
            width: width of the frame in px, as stored; 0 to ignore it.

        Returns:
            An AVCOL_SPC with known coefficients: the tag; if untagged, the matrix of the primaries;
            if these are untagged too, BT.709 for HD and BT.601 for SD.
        """
        if self.matrix in _KR_KB:
            return self.matrix
        high = width >= HD_WIDTH_PX or height > SD_HEIGHT_PX
        by_size = MATRIX_BT709 if high else MATRIX_BT601
        return _MATRIX_OF_PRIMARIES.get(self.primaries, by_size)

    def is_full_range(self, pixel_format: PixelFormat) -> bool:
        """Tell whether samples use the full range, 0…peak.

        RGB and `yuvj…` always do, gray does unless tagged limited (FFmpeg's rule), and other YUV
        does only if tagged full.
        """
        if pixel_format.family == "rgb" or pixel_format.full_range_name:
            return True
        if pixel_format.family == "gray":
            return self.range != RANGE_LIMITED
        return self.range == RANGE_FULL

    def resolved(
        self, height: int, pixel_format: PixelFormat, *, width: int = 0
    ) -> tuple[tuple[float, float], bool]:
        """Resolve the tags to coefficients and range, with the usual defaults where untagged.

        Args:
            height: height of the frame in px, as stored.
            pixel_format: format of the frame.
            width: width of the frame in px, as stored; 0 to ignore it.

        Returns:
            `(kr, kb), full_range`, where luma is Y = kr·R + (1 - kr - kb)·G + kb·B of the coded
            (gamma-corrected) R, G and B.
        """
        return _KR_KB[self.resolved_matrix(height, width)], self.is_full_range(pixel_format)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One stream of a file, as `probe` shows it. None: it does not apply, or is not stated."""

    index: int
    """Position among the file's streams, from 0."""
    type: str
    """video, audio, subtitle, data, attachment, or unknown."""
    codec: str
    """FFmpeg's name, or an attachment's MIME type."""
    profile: str | None = None
    """The codec's profile, such as `High`."""
    language: str | None = None
    """Language tag, usually three letters of ISO 639-2."""
    title: str | None = None
    """Title tag."""
    bit_rate: int | None = None
    """Bits per second."""
    default: bool = False
    """Players select this stream by default."""
    width: int | None = None
    """Video: width in px, as stored."""
    height: int | None = None
    """Video: height in px, as stored."""
    pixel_format: str | None = None
    """Video: FFmpeg's name of the pixel format."""
    frame_rate: Fraction | None = None
    """Video: average frames per second."""
    sample_rate: int | None = None
    """Audio: samples per second."""
    channels: int | None = None
    """Audio: number of channels."""
    layout: str | None = None
    """Audio: FFmpeg's name of the channel layout, such as `stereo`."""
    file_name: str | None = None
    """Attachment: its file name."""
    cover: bool = False
    """A video stream that is only the file's cover image or a thumbnail."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of a file, in seconds of the file's timestamps."""

    start_s: Fraction
    """Start in seconds."""
    end_s: Fraction
    """End in seconds, exclusive."""
    title: str | None
    """Title tag; None if untitled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """The format of a stream's frames: all that conversion, display and encoding depend on."""

    width: int
    """Width in px, as stored, before `rotation`."""
    height: int
    """Height in px, as stored, before `rotation`."""
    format: PixelFormat
    """Pixel format of the frames that the reader yields."""
    colour: Colour = Colour()
    """Colour tags, as the source has them."""
    rotation: Literal[0, 90, 180, 270] = 0
    """Clockwise rotation, in degrees, that makes the stored frame upright."""
    flip: bool = False
    """Mirror the frame left to right after the rotation."""
    display_matrix: tuple[int, ...] | None = None
    """The nine numbers that `rotation` and `flip` were read from, to be written back unchanged."""
    sample_aspect_ratio: Fraction = Fraction(1)
    """Width of a pixel over its height, as stored."""
    average_rate: Fraction | None = None
    """Frames per second; None if unknown. The rate may still vary from frame to frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo(FrameFormat):
    """The description of a source: its frames' format, its timestamps, and its other content."""

    path: Path
    """The file; for images, the file, the folder or the pattern."""
    container: str
    """FFmpeg's name of the demuxer, or `IMAGES`."""
    codec: str
    """FFmpeg's name of the video codec."""
    source_format: str
    """FFmpeg's name of the pixel format in the file, such as `nv12`, `rgb24` or `pal8`."""
    time_base: Fraction
    """Seconds per tick of a pts."""
    start_pts: int = 0
    """Pts of the first frame, in ticks. Spans count from here."""
    duration_s: float | None = None
    """Length of the video stream in seconds; None if unknown."""
    frame_count: int | None = None
    """An estimate, for progress bars; None if unknown."""
    interlaced: bool = False
    """The first frame is marked as interlaced."""
    deinterlaced: bool = False
    """The reader deinterlaces the frames it yields."""
    streams: tuple[StreamInfo, ...] = ()
    """All streams of the file, in its order."""
    video_index: int = 0
    """Index in `streams` of the stream to restore; the others are copied."""
    chapters: tuple[Chapter, ...] = ()
    """Chapters of the file, in its order; copied to the target."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Tags of the file as a whole."""
    hdr_metadata: tuple[str, ...] = ()
    """Names of the frames' HDR metadata, which a target loses."""
    side_data: tuple[str, ...] = ()
    """Names of the frames' other side data, which a target loses too."""

    @property
    def from_images(self) -> bool:
        """True if the source is an image, a folder or a pattern of images."""
        return self.container == IMAGES

    @property
    def frame_ticks(self) -> int:
        """Usual duration of a frame, in ticks of `time_base`, at least 1."""
        return max(1, round(1 / ((self.average_rate or FALLBACK_RATE) * self.time_base)))

    def expected_frames(self, span: SpanOptions) -> int | None:
        """Estimate the number of frames in `span`.

        Args:
            span: the part of the source to count.

        Returns:
            The number of frames by the source's own figures; None if it does not state them.
        """
        if span.whole or self.from_images:  # the count of images is that of the span
            return self.frame_count
        if not self.average_rate or self.duration_s is None:
            return None
        last = self.frame_count or round(self.duration_s * self.average_rate)
        # As the readers count: a frame is in the span if it begins there.
        first = min(last, ceil((span.start or 0) * self.average_rate))
        end = last if span.end is None else min(last, ceil(span.end * self.average_rate))
        return max(0, end - first)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame as its stream stores it: not rotated, not converted, not scaled.

    Raises:
        ValueError: on construction, if a plane's shape or dtype does not fit `format`.
    """

    planes: tuple[Plane, ...]
    """Samples, in the order of `format`; the receiver owns them."""
    format: PixelFormat
    """Pixel format of `planes`."""
    pts: int
    """Presentation timestamp in ticks of `VideoInfo.time_base`; strictly increasing."""
    duration: int = 0
    """Duration in ticks of `VideoInfo.time_base`; 0 if unknown."""
    name: str | None = None
    """File name, if the frame is an image of its own."""
    info: FrameFormat | None = None
    """The frame's own format, overriding the reader's `info`, where formats may differ from frame
    to frame: a `VideoInfo` for images, a `FrameFormat` for live frames, None for video files."""

    def __post_init__(self) -> None:
        shapes = self.format.plane_shapes(self.height, self.width)
        for plane, shape in zip(self.planes, shapes, strict=True):
            if plane.shape != shape or plane.dtype != self.format.dtype:
                raise ValueError(
                    f"{self.format.name}: a plane is {plane.dtype} {plane.shape}, "
                    f"not {self.format.dtype.__name__} {shape}"
                )

    @property
    def height(self) -> int:
        """Height in px, as stored."""
        return self.planes[0].shape[0]

    @property
    def width(self) -> int:
        """Width in px, as stored."""
        return self.planes[0].shape[1]
