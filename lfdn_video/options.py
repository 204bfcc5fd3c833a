"""Every option of a run and its default, once. Values only: what they do is done elsewhere.

The command line and the Python API both fill these in. A value that can never work is refused
here; one that this encoder or this device cannot do is refused where that is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from lfdn_video.errors import OptionError

ResolvedPrecision: TypeAlias = Literal["float32", "bfloat16", "float16", "int8"]
Precision: TypeAlias = Literal["auto", ResolvedPrecision]

IMAGE_RATE = Fraction(25)
"""Frames per second of a video made of pictures."""

NANOSECONDS = 10**9

SMALLEST_SCALE = 0.25
"""Of a live picture's sides in the network."""

TILE_CORE_PX = 64
"""What a tile has at least to itself; less would be spent on overlaps."""

CODEC_DEFAULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # The encoder must not undo the restoration: rain that was taken out leaves fine texture
        # behind it, the first thing a rate control gives up. 18 is the usual figure for "visually
        # lossless" in x264; 16 keeps a margin, for a file about a quarter larger. The others are
        # set to about the same.
        "libx264": {"crf": "16", "preset": "medium"},
        "libx264rgb": {"crf": "16", "preset": "medium"},
        # x265 writes its progress to stderr by itself, whatever FFmpeg's log level.
        "libx265": {"crf": "18", "preset": "medium", "x265-params": "log-level=error"},
        "libsvtav1": {"crf": "20", "preset": "6"},
        "libvpx-vp9": {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"},
        "libvpx": {"crf": "6", "b": "20M", "deadline": "good", "cpu-used": "3"},
        "h264_nvenc": {"cq": "17", "rc": "vbr", "preset": "p5"},
        "hevc_nvenc": {"cq": "19", "rc": "vbr", "preset": "p5"},
        "av1_nvenc": {"cq": "23", "rc": "vbr", "preset": "p5"},
        # Version 3 has slices (so several cores) and a checksum in each of them.
        "ffv1": {"level": "3", "slicecrc": "1", "g": "1"},
        "prores_ks": {"vendor": "apl0"},
        # A fixed quantiser, 2 being the finest that these keep to (1 … 31).
        "mjpeg": {"flags": "+qscale", "global_quality": "236"},
        "mpeg4": {"flags": "+qscale", "global_quality": "236"},
        "mpeg2video": {"flags": "+qscale", "global_quality": "236"},
        # Pictures.
        "libwebp": {"quality": "95"},
        "png": {"pred": "mixed"},
        "tiff": {"compression_algo": "deflate"},
    }
)
"""FFmpeg's options for each encoder where its own defaults are not what a restored video needs."""

DEFAULT_CODEC = "libx264"
CONTAINER_CODECS: Mapping[str, str] = MappingProxyType(
    {"avi": "mpeg4", "webm": "libvpx-vp9", "ogg": "libvpx", "ogv": "libvpx"}
)
"""The encoder for containers that do not hold `DEFAULT_CODEC`'s video, by FFmpeg's names. AVI
would, but it has no times, and those that FFmpeg finds for H.264 in it are a frame late."""


def smallest_tile_px(overlap_px: int) -> int:
    """The smallest side of a tile: an overlap at both ends, and something between."""
    return 2 * overlap_px + TILE_CORE_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How the target is encoded."""

    codec: str | None = None
    """FFmpeg's name of a video encoder; None: `DEFAULT_CODEC`, or what the container needs.

    Not used for picture files: their name decides.
    """
    crf: float | None = None
    """Constant quality on the encoder's own scale, smaller is better; None: `CODEC_DEFAULTS`."""
    preset: str | None = None
    """The encoder's trade of speed for size; None: `CODEC_DEFAULTS`."""
    pixel_format: str | None = None
    """FFmpeg's name; None: the source's if the encoder takes it, else the closest it takes."""
    codec_options: Mapping[str, str] = field(default_factory=dict)
    """Any option of the encoder, by FFmpeg's name; wins over all the others."""
    overwrite: bool = False
    """Replace the target if it exists, at the end and in one step."""
    resume: bool = False
    """Go on where an interrupted run on the same target was, if there is one."""
    frame_rate: Fraction | None = None
    """For pictures made into a video only (None: `IMAGE_RATE`); a video keeps its timestamps."""

    def __post_init__(self) -> None:
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise OptionError(f"frame rate: must be above 0, got {self.frame_rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceOptions:
    """Where and how the network runs."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    precision: Precision = "auto"
    """`int8` is the fastest on a CPU, a little less exact, and needs the extra `openvino`."""
    tile: Literal["auto", "off"] | int = "auto"
    """The side of a tile in px; `auto` chooses, `off` takes frames whole."""
    overlap_px: int = 32
    """How far neighbouring tiles reach into each other."""
    batch: Literal["auto"] | int = "auto"
    """Tiles that go through the network at once."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            choices = ", ".join(get_args(Precision))
            raise OptionError(f"precision: {self.precision!r} is none of {choices}")
        if isinstance(self.tile, int):
            smallest = smallest_tile_px(self.overlap_px)
            if self.tile < smallest:
                raise OptionError(
                    f"tile: at least {smallest} px are needed where tiles overlap by "
                    f"{self.overlap_px} px, got {self.tile}"
                )
        elif self.tile not in ("auto", "off"):
            raise OptionError(f"tile: {self.tile!r} is none of auto, off, or a size in px")
        if self.overlap_px < 0:
            raise OptionError(f"overlap: must not be negative, got {self.overlap_px}")
        if isinstance(self.batch, int):
            if self.batch < 1:
                raise OptionError(f"batch: at least 1 is needed, got {self.batch}")
        elif self.batch != "auto":
            raise OptionError(f"batch: {self.batch!r} is neither auto nor a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a live source is read, and what is given up to keep up with it."""

    max_latency_s: float = 1.0
    """From a frame's capture until it is shown; kept by making `scale` smaller."""
    scale: Literal["auto"] | float = "auto"
    """Of the picture's sides in the network, 0.25…1; what is shown has its full size."""
    stall_timeout_s: float = 10.0
    """Without a frame for so long, the source is opened again."""
    retries: int | None = None
    """So many failed tries in a row are accepted. None: no end of them for addresses, and for a
    camera that had been live."""
    loop: bool = False
    """A file begins again at its end."""
    duration_s: float | None = None
    """End after so long."""
    input_options: Mapping[str, str] = field(default_factory=dict)
    """FFmpeg's options for opening the source, by name; they win over ours."""

    def __post_init__(self) -> None:
        if self.max_latency_s <= 0:
            raise OptionError(f"max latency: must be above 0 s, got {self.max_latency_s:g}")
        if not isinstance(self.scale, str) and not SMALLEST_SCALE <= self.scale <= 1:
            raise OptionError(f"scale: must be from {SMALLEST_SCALE} to 1, got {self.scale:g}")
        if isinstance(self.scale, str) and self.scale != "auto":
            raise OptionError(f"scale: {self.scale!r} is neither auto nor a number")
        if self.stall_timeout_s < 1:
            raise OptionError(f"stall timeout: must be 1 s at least, got {self.stall_timeout_s:g}")
        if self.retries is not None and self.retries < 0:
            raise OptionError(f"retries: must not be negative, got {self.retries}")
        if self.duration_s is not None and self.duration_s <= 0:
            raise OptionError(f"duration: must be above 0 s, got {self.duration_s:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanOptions:
    """Which part of the source: [start, end) in seconds from its first frame."""

    start_s: float | None = None
    end_s: float | None = None

    def __post_init__(self) -> None:
        start, end = self.start_s or 0.0, self.end_s
        if start < 0:
            raise OptionError(f"start: must not be negative, got {start:g} s")
        if end is not None and end <= start:
            raise OptionError(f"end: must lie after the start ({start:g} s), got {end:g} s")

    @property
    def start(self) -> Fraction | None:
        """`start_s` as it was meant: 0.1 is 1/10, not the float next to it."""
        return None if self.start_s is None else _exact(self.start_s)

    @property
    def end(self) -> Fraction | None:
        """`end_s` as it was meant."""
        return None if self.end_s is None else _exact(self.end_s)

    @property
    def whole(self) -> bool:
        """Whether nothing is cut."""
        return not self.start_s and self.end_s is None


def _exact(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(NANOSECONDS)
