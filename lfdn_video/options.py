"""The options of a run and their defaults, for the Python API and the command line alike.

    EncodeOptions       how the target is encoded           output/
    InferenceOptions    where and how the network runs      inference/
    SpanOptions         which part of the source            input/, output/
    LiveOptions         how a live source is read           stream/

Values only. Values that can never work raise OptionError here; limits of a particular encoder or
device are checked by the code that knows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from lfdn_video.errors import OptionError

ResolvedPrecision: TypeAlias = Literal["float32", "bfloat16", "float16", "int8"]
Precision: TypeAlias = Literal["auto", ResolvedPrecision]
"""Precision of the network as a user asks for it; `auto` leaves the choice to the device."""

Task: TypeAlias = Literal["derain", "deblur"]
"""What is restored; chooses the weights that ship with the package."""

Temporal: TypeAlias = Literal["auto", "off"]
"""Whether `derain` removes rain that only neighbouring frames reveal; `auto`: in sequences."""

Delay: TypeAlias = Literal[0, 1]
"""Number of later frames that a live frame waits for."""

Prefer: TypeAlias = Literal["latency", "quality"]
"""What a live session gives up when it is too slow: rain that is removed, or the latency bound."""

Network: TypeAlias = Literal["auto", "full", "lite"]
"""Which network runs: `full`, or `lite`, 2.5 to 3 times as fast and less thorough."""

Layout: TypeAlias = Literal["split", "side", "wipe", "diff"]
"""How a comparison video shows source and result; see `review/video.py`."""

IMAGE_RATE = Fraction(25)
"""Frames per second of a video made from images."""

NANOSECONDS = 10**9

NO_BLUR = (
    "only when needed: is for derain; how much deblur changes a frame does not tell whether it is "
    "sharp; leave it out"
)
"""The refusal of a dry gate for `deblur`."""

MIN_SCALE = 0.25
"""Smallest factor by which the sides of a live frame are scaled for the network."""

TILE_CORE_PX = 64
"""Smallest distance between the overlaps of a tile; with less, most of the work would be spent on
overlaps."""

CODEC_DEFAULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # The encoder must not undo the restoration: fine texture returns where rain is removed,
        # and a rate control gives up fine texture first. In x264, 18 is the usual value for
        # "visually lossless"; 16 adds a margin, at about a quarter more file size. The other
        # encoders are set to about the same quality.
        "libx264": {"crf": "16", "preset": "medium"},
        "libx264rgb": {"crf": "16", "preset": "medium"},
        # x265 writes its progress to stderr whatever FFmpeg's log level is.
        "libx265": {"crf": "18", "preset": "medium", "x265-params": "log-level=error"},
        "libsvtav1": {"crf": "20", "preset": "6"},
        "libvpx-vp9": {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"},
        "libvpx": {"crf": "6", "b": "20M", "deadline": "good", "cpu-used": "3"},
        "h264_nvenc": {"cq": "17", "rc": "vbr", "preset": "p5"},
        "hevc_nvenc": {"cq": "19", "rc": "vbr", "preset": "p5"},
        "av1_nvenc": {"cq": "23", "rc": "vbr", "preset": "p5"},
        # Version 3 has slices, which use several cores, and a checksum for each.
        "ffv1": {"level": "3", "slicecrc": "1", "g": "1"},
        "prores_ks": {"vendor": "apl0"},
        # A fixed quantiser: 2 is the finest (of 1…31) that these encoders keep to.
        "mjpeg": {"flags": "+qscale", "global_quality": "236"},
        "mpeg4": {"flags": "+qscale", "global_quality": "236"},
        "mpeg2video": {"flags": "+qscale", "global_quality": "236"},
        # Images.
        "libwebp": {"quality": "95"},
        "png": {"pred": "mixed"},
        "tiff": {"compression_algo": "deflate"},
    }
)
"""FFmpeg options for each encoder whose own defaults do not suit a restored video."""

DEFAULT_CODEC = "libx264"
CONTAINER_CODECS: Mapping[str, str] = MappingProxyType(
    {"avi": "mpeg4", "webm": "libvpx-vp9", "ogg": "libvpx", "ogv": "libvpx"}
    | {"mpeg": "mpeg2video", "mxf": "mpeg2video"}
)
"""Encoders for containers that cannot hold what `DEFAULT_CODEC` makes, by FFmpeg's names.

Others can, but AVI stores no timestamps, and those that FFmpeg derives for H.264 are a frame late;
from MPEG-PS and MXF, few programs read H.264.
"""


def min_tile_px(overlap_px: int) -> int:
    """Return the smallest side of a tile: an overlap at both ends, and `TILE_CORE_PX` between.

    Args:
        overlap_px: overlap of neighbouring tiles in px, 0 or more.

    Returns:
        The side in px.
    """
    return 2 * overlap_px + TILE_CORE_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How the target is encoded, and what may happen to an existing one.

    Raises:
        OptionError: `frame_rate` is not above 0. Whether an encoder exists and takes its options
            is checked when the target is opened.
    """

    codec: str | None = None
    """Video encoder, by its FFmpeg name; None: `DEFAULT_CODEC`, or what the container needs.

    Ignored for image files, whose extension decides.
    """
    crf: float | None = None
    """Constant quality on the encoder's own scale, lower is better; None: `CODEC_DEFAULTS`."""
    preset: str | None = None
    """Encoder preset, trading speed for file size; None: `CODEC_DEFAULTS`."""
    pixel_format: str | None = None
    """Pixel format, by its FFmpeg name; None: the source's, or the closest the encoder takes."""
    codec_options: Mapping[str, str] = field(default_factory=dict)
    """Any other options of the encoder, by their FFmpeg names; they override all of the above."""
    overwrite: bool = False
    """Replace an existing target, atomically and when the new one is complete."""
    resume: bool = False
    """Continue an interrupted run with the same target, if there is one."""
    frame_rate: Fraction | None = None
    """Frames per second, above 0, of a video made from images; None: `IMAGE_RATE`.

    A video made from a video keeps its timestamps.
    """

    def __post_init__(self) -> None:
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise OptionError(f"frame rate: must be above 0, got {self.frame_rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceOptions:
    """Where and how the network runs.

    Raises:
        OptionError: a value is outside its range. Whether a device exists and computes in the
            precision asked for is checked when the network is loaded.
    """

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`; `auto`: a GPU if there is one."""
    precision: Precision = "auto"
    """With the `openvino` extra `bfloat16` takes half to two thirds of the time on a CPU that
    computes in it, and `int8`, slightly less exact, two thirds on others."""
    network: Network = "auto"
    """`auto`: that of the weights file; without one `full`, or in `live` the one that keeps up."""
    tile: Literal["auto", "off"] | int = "auto"
    """Side of a tile in px, at least `min_tile_px(overlap_px)`; `off`: whole frames."""
    overlap_px: int = 32
    """Overlap of neighbouring tiles, in px, 0 or more."""
    batch: Literal["auto"] | int = "auto"
    """Tiles per pass of the network, 1 or more."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            choices = ", ".join(get_args(Precision))
            raise OptionError(f"precision: {self.precision!r} is none of {choices}")
        if self.network not in get_args(Network):
            choices = ", ".join(get_args(Network))
            raise OptionError(f"network: {self.network!r} is none of {choices}")
        if isinstance(self.tile, int):
            smallest = min_tile_px(self.overlap_px)
            if self.tile < smallest:
                raise OptionError(
                    f"tile: must be at least {smallest} px where tiles overlap by "
                    f"{self.overlap_px} px, got {self.tile}"
                )
        elif self.tile not in ("auto", "off"):
            raise OptionError(f"tile: {self.tile!r} is neither auto, off nor a size in px")
        if self.overlap_px < 0:
            raise OptionError(f"overlap: must not be negative, got {self.overlap_px}")
        if isinstance(self.batch, int):
            if self.batch < 1:
                raise OptionError(f"batch: must be at least 1, got {self.batch}")
        elif self.batch != "auto":
            raise OptionError(f"batch: {self.batch!r} is neither auto nor a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a live source is read, and how the network keeps up with it.

    Raises:
        OptionError: a value is outside its range.
    """

    max_latency_s: float = 1.0
    """Longest time from a frame's capture to its display, above 0; kept by a smaller `scale`."""
    scale: Literal["auto"] | float = "auto"
    """Factor for the sides of a frame in the network, 0.25…1; the output has full size."""
    prefer: Prefer = "latency"
    """What `scale` `auto` keeps on a slow device: `max_latency_s`, or for `derain` a scale that
    still removes rain."""
    temporal: Temporal = "auto"
    """`auto`: also removes rain that only neighbouring frames reveal, while that keeps
    `max_latency_s`; for `derain` only."""
    delay: Delay = 0
    """Later frames, 0 or 1, that each frame waits for, which then tell about its rain too."""
    stall_timeout_s: float = 10.0
    """Time without a frame, 1 or more, after which the source is reopened."""
    retries: int | None = None
    """Failed retries in a row, 0 or more, before giving up.

    None: never give up on an address, nor on a camera that has been live.
    """
    loop: bool = False
    """Start a file again when it ends."""
    duration_s: float | None = None
    """Time after which to stop, above 0; None: when the source ends."""
    input_options: Mapping[str, str] = field(default_factory=dict)
    """FFmpeg options for opening the source, by name; they override this package's."""

    def __post_init__(self) -> None:
        if self.max_latency_s <= 0:
            raise OptionError(f"max latency: must be above 0 s, got {self.max_latency_s:g}")
        if not isinstance(self.scale, str) and not MIN_SCALE <= self.scale <= 1:
            raise OptionError(f"scale: must be from {MIN_SCALE} to 1, got {self.scale:g}")
        if isinstance(self.scale, str) and self.scale != "auto":
            raise OptionError(f"scale: {self.scale!r} is neither auto nor a number")
        if self.prefer not in get_args(Prefer):
            raise OptionError(f"prefer: {self.prefer!r} is neither latency nor quality")
        if self.temporal not in get_args(Temporal):
            raise OptionError(f"temporal: {self.temporal!r} is neither auto nor off")
        if self.delay not in get_args(Delay):
            raise OptionError(f"delay: must be 0 or 1 frames, got {self.delay!r}")
        if self.stall_timeout_s < 1:
            raise OptionError(f"stall timeout: must be at least 1 s, got {self.stall_timeout_s:g}")
        if self.retries is not None and self.retries < 0:
            raise OptionError(f"retries: must not be negative, got {self.retries}")
        if self.duration_s is not None and self.duration_s <= 0:
            raise OptionError(f"duration: must be above 0 s, got {self.duration_s:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanOptions:
    """Part of the source to restore: [start, end) in seconds from its first frame.

    Raises:
        OptionError: the start is negative, or the end is not after the start.
    """

    start_s: float | None = None
    """Start of the span, 0 or more; None: the beginning of the source."""
    end_s: float | None = None
    """End of the span, exclusive, above `start_s`; None: the end of the source."""

    def __post_init__(self) -> None:
        start = self.start_s or 0.0
        end = self.end_s
        if start < 0:
            raise OptionError(f"start: must not be negative, got {start:g} s")
        if end is not None and end <= start:
            raise OptionError(f"end: must be after the start ({start:g} s), got {end:g} s")

    @property
    def start(self) -> Fraction | None:
        """`start_s` as an exact decimal: 0.1 is 1/10, not the nearest float."""
        return None if self.start_s is None else _to_exact_fraction(self.start_s)

    @property
    def end(self) -> Fraction | None:
        """`end_s` as an exact decimal."""
        return None if self.end_s is None else _to_exact_fraction(self.end_s)

    @property
    def whole(self) -> bool:
        """True if nothing is trimmed."""
        return not self.start_s and self.end_s is None


def _to_exact_fraction(seconds: float) -> Fraction:
    # Compared with pts, the nearest float of 0.1 would fall just behind the frame at 1/10 s.
    return Fraction(seconds).limit_denominator(NANOSECONDS)
