"""What a video is: its pixel format, colour, streams, and one frame of it.

Values only: frozen, without behaviour beyond arithmetic, and without FFmpeg (`planes.py` and
`reader.py` make them from a file, `writer.py` turns them into one). Numbers for colour, stream
dispositions and time bases are FFmpeg's own, so that they pass through unchanged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lfdn_video.options import SpanOptions

Plane: TypeAlias = np.ndarray[tuple[int, int], np.dtype[Any]]
"""`[h, w]`, C-contiguous, uint8 or uint16 (native byte order)."""

Image: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
"""`[H, W, 3]`, RGB, full range, upright."""

Family: TypeAlias = Literal["yuv", "gray", "rgb"]

IMAGES = "images"
"""`VideoInfo.container` of pictures that are no video file: one picture, a folder, a pattern."""

HD_WIDTH_PX, SD_HEIGHT_PX = 1280, 576
"""From this width on, or above this height, an untagged stream is taken for BT.709; else for
BT.601. Players do the same: wide films have few lines."""

FALLBACK_RATE = Fraction(25)
"""Frames per second where a file does not say."""

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
"""What a chroma plane means here has not the form of a Cb or a Cr."""

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
    """A planar format in native byte order: the only kind that travels through the pipeline.

    Planes come as Y, U, V | Y | G, B, R, and a last one, A, of full size if `alpha`.
    Two names, `ya8` and `ya16le`, are packed in FFmpeg; here they mean two planes, Y and A.
    """

    name: str
    """FFmpeg's name, e.g. `yuv420p10le`, `gray`, `gbrp`."""
    family: Family
    depth: int
    """Significant bits of a sample, 8…16; above 8 the planes are uint16."""
    chroma_shift: tuple[int, int] = (0, 0)
    """log2 of the horizontal and the vertical subsampling; (0, 0) for gray and rgb."""
    alpha: bool = False
    full_range_name: bool = False
    """`yuvj…`: the name itself says full range."""

    @classmethod
    def parse(cls, name: str) -> "PixelFormat":
        """From FFmpeg's name; ValueError if it is not one of the planar working formats."""
        match = _NAME.fullmatch(name)
        if match is None or (match["chroma"] and match["chroma"] not in _CHROMA_SHIFTS):
            raise ValueError(f"{name}: not a planar working format")
        depth = int(match["depth"] or 8)
        if match["gray"] or match["ya"]:
            return cls(name, "gray", depth, alpha=bool(match["ya"]))
        if match["chroma"] is None:
            return cls(name, "rgb", depth, alpha=bool(match["rgb_alpha"]))
        kind, shift = match["kind"], _CHROMA_SHIFTS[match["chroma"]]
        return cls(name, "yuv", depth, shift, alpha=kind == "a", full_range_name=kind == "j")

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.depth <= 8 else np.uint16

    @property
    def peak(self) -> int:
        """The largest sample value."""
        return (1 << self.depth) - 1

    def plane_shapes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """(h, w) of each plane of a picture; odd sizes round up, as in FFmpeg."""
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
    """Colour tags as in the stream, FFmpeg's integers (AVCOL_SPC/RANGE/PRI/TRC); never guessed."""

    matrix: int = MATRIX_UNTAGGED
    range: int = RANGE_UNTAGGED
    primaries: int = PRIMARIES_UNTAGGED
    transfer: int = TRANSFER_UNTAGGED

    def resolved_matrix(self, height: int, width: int = 0) -> int:
        """The YUV matrix (AVCOL_SPC), by the primaries and then by the size where untagged."""
        if self.matrix in _KR_KB:
            return self.matrix
        high = width >= HD_WIDTH_PX or height > SD_HEIGHT_PX
        by_size = MATRIX_BT709 if high else MATRIX_BT601
        return _MATRIX_OF_PRIMARIES.get(self.primaries, by_size)

    def is_full_range(self, pixel_format: PixelFormat) -> bool:
        """RGB and yuvj always, gray unless tagged limited (FFmpeg's rule), YUV only if tagged."""
        if pixel_format.family == "rgb" or pixel_format.full_range_name:
            return True
        if pixel_format.family == "gray":
            return self.range != RANGE_LIMITED
        return self.range == RANGE_FULL

    def resolved(
        self, height: int, pixel_format: PixelFormat, *, width: int = 0
    ) -> tuple[tuple[float, float], bool]:
        """(kr, kb) and whether the range is full, with the usual defaults where untagged.

        Luma is Y = kr·R + (1 - kr - kb)·G + kb·B of the coded (gamma-corrected) R, G and B.
        """
        return _KR_KB[self.resolved_matrix(height, width)], self.is_full_range(pixel_format)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One stream of a file, as `probe` shows it. None: does not apply, or the file is silent."""

    index: int
    type: str
    """video, audio, subtitle, data, attachment, or unknown."""
    codec: str
    profile: str | None = None
    language: str | None = None
    title: str | None = None
    bit_rate: int | None = None
    """Bits per second."""
    default: bool = False
    """Marked as the one to play if nobody chooses."""
    width: int | None = None
    height: int | None = None
    pixel_format: str | None = None
    frame_rate: Fraction | None = None
    sample_rate: int | None = None
    channels: int | None = None
    layout: str | None = None
    file_name: str | None = None
    """Of an attachment."""
    cover: bool = False
    """A still picture that is shown as the file's cover."""


@dataclass(frozen=True, slots=True)
class Chapter:
    start_s: Fraction
    end_s: Fraction
    title: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """How the frames of a stream are stored and shown: all that converting and encoding need."""

    width: int
    height: int
    """As stored, before `rotation`."""
    format: PixelFormat
    """Of the frames that the reader gives."""
    colour: Colour = Colour()
    rotation: Literal[0, 90, 180, 270] = 0
    """The clockwise turn, in degrees, that makes the stored picture upright."""
    flip: bool = False
    """Mirrored left to right, after the turn."""
    display_matrix: tuple[int, ...] | None = None
    """The nine numbers behind `rotation` and `flip`, to be written back unchanged."""
    sample_aspect_ratio: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo(FrameFormat):
    """What a source is: the format of its frames, their clock, and what else is in the file."""

    path: Path
    container: str
    """FFmpeg's name of the demuxer, or `IMAGES`."""
    codec: str
    source_format: str
    """FFmpeg's name of the format stored in the file, e.g. `nv12`, `rgb24`, `pal8`."""
    time_base: Fraction
    """Seconds per unit of pts."""
    start_pts: int = 0
    """Of the first frame. Spans count from here."""
    average_rate: Fraction | None = None
    """Frames per second; None if unknown. Frames may still come at a variable rate."""
    duration_s: float | None = None
    frame_count: int | None = None
    """An estimate for progress bars, never trusted."""
    interlaced: bool = False
    deinterlaced: bool = False
    """Its frames are read as whole ones, whatever they are in the file."""
    streams: tuple[StreamInfo, ...] = ()
    video_index: int = 0
    """Which of `streams` is restored; the others are copied."""
    chapters: tuple[Chapter, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    hdr_metadata: tuple[str, ...] = ()
    """What frames say about their mastering, by name; a target lacks it."""
    side_data: tuple[str, ...] = ()
    """What else frames carry beside their samples, by name; a target lacks it too."""

    @property
    def from_images(self) -> bool:
        return self.container == IMAGES

    @property
    def frame_ticks(self) -> int:
        """A frame's usual duration, in the time base."""
        return max(1, round(1 / ((self.average_rate or FALLBACK_RATE) * self.time_base)))

    def expected_frames(self, span: SpanOptions) -> int | None:
        """How many frames `span` has, as far as the source says; an estimate."""
        if span.whole:
            return self.frame_count
        if not self.average_rate or self.duration_s is None:
            return None
        start_s = span.start_s or 0.0
        end_s = self.duration_s if span.end_s is None else min(span.end_s, self.duration_s)
        return max(0, round((end_s - start_s) * self.average_rate))


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as its stream stores it: not rotated, not converted, not rescaled."""

    planes: tuple[Plane, ...]
    """In the order of `format`; the receiver owns them."""
    format: PixelFormat
    pts: int
    """In `VideoInfo.time_base`; strictly increasing from frame to frame."""
    duration: int = 0
    """In `VideoInfo.time_base`; 0 if unknown."""
    name: str | None = None
    """The file's name, if the frame was a picture of its own."""
    info: VideoInfo | None = None
    """Set on pictures only: in a folder each has its own size, format, colour and rotation, and
    this replaces the reader's `info` for this frame."""

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
        return self.planes[0].shape[0]

    @property
    def width(self) -> int:
        return self.planes[0].shape[1]
