"""FFmpeg's encoders: which there are, what options they take, and in what format frames go in.

Everything that can be wrong with a request is found before the first frame, and said in FFmpeg's
words where they are FFmpeg's. A frame keeps its format if the encoder takes it; else it goes in
the closest one, converted with explicit matrix and range, and a warning names the change.
`writer.py` uses this for videos, `images.py` for pictures.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from difflib import get_close_matches
from fractions import Fraction
from functools import cache

import av
import cv2
from av.codec import Codec
from av.codec.codec import PixFmtLoss, UnknownCodecError, find_best_pix_fmt_of_list
from av.codec.context import CodecOption, Flags, OptionFlags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from lfdn_video.errors import OptionError
from lfdn_video.ffmpeg import ffmpeg_errors, ffmpeg_message
from lfdn_video.media import MATRIX_RGB, Colour, Frame, FrameFormat, PixelFormat, VideoInfo
from lfdn_video.options import CODEC_DEFAULTS, DEFAULT_CODEC, EncodeOptions
from lfdn_video.planes import Converter, PixelEncoding, build_video_frame, working_format

# What the standards define; FFmpeg itself fails on the reserved values in between.
VALID_MATRICES = frozenset({0, 1, 2, *range(4, 15)})
VALID_PRIMARIES = frozenset({1, 2, *range(4, 13), 22})
VALID_TRANSFERS = frozenset({1, 2, *range(4, 19)})

QUALITY_OPTIONS = frozenset({"crf", "cq", "qp", "b", "rc", "global_quality", "lossless", "quality"})
"""If one of these is given by name, our default for quality steps back."""

PRINTING_CODECS = frozenset({"libx264", "libx264rgb", "libx265"})
"""They write to stderr by themselves what they think of a preset, so it is checked before."""
PRESETS: tuple[str, ...] = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
)
PRESETS += ("veryslow", "placebo")

WORST_CRF = {"libx264": 51, "libx264rgb": 51, "libx265": 51, "h264_nvenc": 51, "hevc_nvenc": 51}
WORST_CRF_ELSEWHERE = 63  # VP8, VP9, AV1
"""FFmpeg passes on more, and the encoders make of it what they like."""

BT601_CODECS = {"mjpeg", "webp"}
BT601_MATRICES = (5, 6)
"""AVCOL_SPC of BT.601, the only matrix of these, which no tag in them could change."""

RATE_TOLERANCE = Fraction(999, 1000)
"""A rate is often measured, and then 30000/1001 is not quite met."""

MPEG4_TICKS = 65_535
"""MPEG-4 part 2 writes units of time per second in 16 bits."""

LOSSES = {
    PixFmtLoss.ALPHA: "transparency",
    PixFmtLoss.DEPTH: "bit depth",
    PixFmtLoss.RESOLUTION: "colour resolution",
    PixFmtLoss.COLORSPACE: "RGB",
    PixFmtLoss.CHROMA: "colour",
}

X264_REPEATABLE = {"x264-params": "asm=avx2"}
"""x264's AVX-512 code for `mbtree` reads memory that nothing was written to, in small pictures at
least: now and then the same frames give another file, and so a resumed run another than one that
went through. Up to AVX2 it gives the same each time, no slower (`benchmarks/repeatable.py`)."""

CPU_AVX_512F = 13  # OpenCV's number of it (`CpuFeatures`), which its Python module does not name

# SVT-AV1 writes to stderr by itself, whatever FFmpeg's log level; 1 is "errors only".
os.environ.setdefault("SVT_LOG", "1")


class Encoder:
    """What a run's frames are encoded with. Making one raises OptionError for what cannot be.

    `configure` sets up FFmpeg's context, `prepare` brings a frame to what that takes.
    """

    def __init__(
        self,
        info: FrameFormat,
        options: EncodeOptions,
        *,
        codec: str | None = None,
        time_base: Fraction | None = None,
    ) -> None:
        """`time_base`: of the frames; needed unless `info` is a `VideoInfo`, which has one."""
        self.codec = find_codec(codec or options.codec or DEFAULT_CODEC)
        self.options = resolve_options(self.codec, options)
        self.warnings: list[str] = []
        """What the encoding cannot keep of the frames."""
        if isinstance(info, VideoInfo):
            time_base = time_base or info.time_base
        assert time_base is not None
        self.time_base = time_base
        self._info = info
        self._source = PixelEncoding.of(info)
        self._target = self._choose_coding(options.pixel_format)
        changed = self._target != self._source
        self._converter = Converter(self._source, self._target) if changed else None
        self._colour = self._tags()

    def keep_rate(self, rate: Fraction) -> Fraction:
        """Number frames at about `rate` instead of timing them; gives the rate that it is then."""
        possible = [Fraction(one.num, one.den) for one in self.codec.frame_rates or () if one]
        if possible:  # one that is not too low, unless all are: frames must not queue up
            rate = min(possible, key=lambda one: (one < rate * RATE_TOLERANCE, abs(one - rate)))
        self.time_base = (1 / rate).limit_denominator(MPEG4_TICKS)
        return 1 / self.time_base

    @property
    def needs_rate(self) -> bool:
        """Whether the encoder cannot tell the source's times."""
        too_fine = self.codec.name == "mpeg4" and self.time_base.denominator > MPEG4_TICKS
        return bool(self.codec.frame_rates) or too_fine

    def configure(
        self, context: VideoCodecContext, *, rate: Fraction, frames_in_flight: bool = False
    ) -> None:
        """Set up and open FFmpeg's encoder. OptionError if it does not like what it was given.

        With `frames_in_flight` elsewhere the error is terse: see `ffmpeg_errors`.
        """
        info = self._info
        context.width, context.height = info.width, info.height
        context.pix_fmt = self._target.name
        context.time_base, context.framerate = self.time_base, rate
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace, context.color_range = self._colour.matrix, self._colour.range
        context.color_primaries = self._colour.primaries
        context.color_trc = self._colour.transfer
        context.flags |= Flags.frame_duration
        # x264 understands "slices" as cutting each frame into pieces, which costs quality.
        sliced = not self.codec.name.startswith("libx264")
        context.thread_type = ThreadType.AUTO if sliced else ThreadType.FRAME
        context.options = dict(self.options)
        try:
            with nullcontext() if frames_in_flight else ffmpeg_errors():
                context.open()
        except FFmpegError as error:
            raise OptionError(
                f"{self.codec.name}: cannot be used like this: {ffmpeg_message(error)}; "
                f"change its options, or the codec"
            ) from error
        if context.options:  # FFmpeg leaves what it did not understand
            raise OptionError(f"{self.codec.name}: no such option: {', '.join(context.options)}")

    def prepare(self, frame: Frame) -> VideoFrame:
        """FFmpeg's frame in the encoder's format; its pts and duration are as in the source."""
        video = build_video_frame(frame)
        if self._converter is not None:
            video = self._converter.convert_frame(video)
        video.pts, video.duration, video.time_base = frame.pts, frame.duration, self.time_base
        video.colorspace, video.color_range = self._colour.matrix, self._colour.range
        video.color_primaries, video.color_trc = self._colour.primaries, self._colour.transfer
        return video

    def _choose_coding(self, wanted: str | None) -> PixelEncoding:
        source, loss = self._info.format, PixFmtLoss.NONE
        takes = self._formats()
        if wanted is not None:
            name = _checked_format(wanted, takes, self.codec.name)
        else:
            same = _same_samples(source, takes, full_range=self._source.full_range)
            best, loss = find_best_pix_fmt_of_list(takes, source.name, source.alpha)
            name = same or (best.name if best is not None else takes[0])
        coding = self._coding(working_format(name), name)
        self._warn_of_change(coding, loss)
        return coding

    def _formats(self) -> list[str]:
        names = [known.name for known in self.codec.video_formats or ()]
        if self.codec.canonical_name == "mjpeg":  # JPEG is full range; the others are a hack
            names = [name for name in names if name.startswith("yuvj")]
        if self.codec.canonical_name == "tiff":  # few programs read a TIFF of YUV as it was meant
            names = [name for name in names if not name.startswith("yuv")]
        if self.codec.canonical_name in ("h264", "hevc"):  # they crop by whole chroma samples
            names = [name for name in names if self._divides(working_format(name))]
        return names or [self._info.format.name]

    def _divides(self, pixel_format: PixelFormat) -> bool:
        """Whether the picture's sides are whole chroma samples."""
        across, down = (1 << shift for shift in pixel_format.chroma_shift)
        return self._info.width % across == 0 and self._info.height % down == 0

    def _coding(self, target: PixelFormat, name: str) -> PixelEncoding:
        if target.family == "rgb" or target.full_range_name:
            full = True
        elif self.codec.canonical_name == "webp" or self._info.format.family == "rgb":
            full = False  # WebP by definition, video made of RGB by custom
        else:
            full = self._source.full_range
        matrix = self._source.matrix
        if self.codec.canonical_name in BT601_CODECS and matrix not in BT601_MATRICES:
            matrix = BT601_MATRICES[0]
        return PixelEncoding(name, matrix, full)

    def _warn_of_change(self, coding: PixelEncoding, loss: PixFmtLoss) -> None:
        before, after = self._source, working_format(coding.name)
        opaque_added = _stem(after.name) == before.name.replace("gbrp", "gbrap")
        if _stem(after.name) != _stem(before.name) and not opaque_added:
            if after.family == "rgb":  # FFmpeg counts every change of the colour model as a loss
                loss &= ~PixFmtLoss.COLORSPACE
            losing = " and ".join(name for flag, name in LOSSES.items() if loss & flag)
            note = f", losing {losing}" if losing else ""
            self.warnings.append(
                f"{self.codec.name} gets {coding.name} made from {before.name}{note}"
            )
        elif coding.full_range != before.full_range:
            levels = "full" if coding.full_range else "limited"
            self.warnings.append(f"{self.codec.name} gets {coding.name}, levels made {levels}")
        if coding.matrix != before.matrix and self._info.format.family == after.family == "yuv":
            self.warnings.append(f"{self.codec.name} gets {coding.name}, colours coded as BT.601")

    def _tags(self) -> Colour:
        colour, target = self._info.colour, VideoFormat(self._target.name)
        if self._converter is None:
            return _valid(colour)
        explicit = self._target.tagged(colour)
        kept = self._target.matrix == self._source.matrix and colour.matrix != MATRIX_RGB
        if kept and target.is_rgb == (self._info.format.family == "rgb"):
            return _valid(replace(explicit, matrix=colour.matrix))
        return _valid(explicit)


def find_codec(name: str) -> Codec:
    """FFmpeg's video encoder of this name; OptionError if there is none."""
    try:
        codec = Codec(name, "w")
    except UnknownCodecError as error:
        close = _suggestion(name, sorted(av.codecs_available))
        raise OptionError(f"codec: {name!r} is no encoder of this FFmpeg{close}") from error
    if codec.type != "video":
        raise OptionError(f"codec: {name!r} encodes {codec.type}, not video")
    return codec


def resolve_options(codec: Codec, options: EncodeOptions) -> dict[str, str]:
    """The encoder's options by FFmpeg's names, each of which it knows; OptionError otherwise."""
    supported = codec.create("video").supported_options
    private = {option.name: option for option in supported.private}
    generic = {option.name: option for option in supported.generic if _for_video_encoders(option)}
    resolved = {**CODEC_DEFAULTS.get(codec.name, {}), **_repeatable(codec)}
    if QUALITY_OPTIONS & options.codec_options.keys() and options.crf is None:
        resolved = {key: resolved[key] for key in resolved if key not in QUALITY_OPTIONS}
        resolved.pop("flags", None)
    if options.crf is not None:
        name = _quality_option(codec, private)
        worst = WORST_CRF.get(codec.name, WORST_CRF_ELSEWHERE)
        if not 0 <= options.crf <= worst:
            raise OptionError(f"crf: {codec.name} takes 0 (best) to {worst}, not {options.crf:g}")
        resolved[name] = f"{options.crf:g}"
    if options.preset is not None:
        if "preset" not in private:
            raise OptionError(f"preset: {codec.name} has no presets; leave it out")
        if codec.name in PRINTING_CODECS and options.preset not in PRESETS:
            raise OptionError(f"preset: {options.preset!r} is none of {', '.join(PRESETS)}")
        resolved["preset"] = options.preset
    for name, value in options.codec_options.items():
        if name not in private and name not in generic:
            close = _suggestion(name, [*private, *generic])
            raise OptionError(f"{codec.name}: no such option: {name!r}{close}")
        joins = name.endswith("-params") and name in resolved
        resolved[name] = f"{resolved[name]}:{value}" if joins else value
    return resolved


def _repeatable(codec: Codec) -> dict[str, str]:
    return X264_REPEATABLE if codec.name.startswith("libx264") and _has_avx512() else {}


@cache
def _has_avx512() -> bool:
    return cv2.checkHardwareSupport(CPU_AVX_512F)


def _for_video_encoders(option: CodecOption) -> bool:
    needed = OptionFlags.ENCODING_PARAM | OptionFlags.VIDEO_PARAM
    return option.flags & needed == needed


def _quality_option(codec: Codec, private: Mapping[str, CodecOption]) -> str:
    for name in ("crf", "cq"):
        if name in private:
            return name
    raise OptionError(f"crf: {codec.name} has no constant-quality mode; leave it out")


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _checked_format(name: str, takes: Sequence[str], codec: str) -> str:
    try:
        VideoFormat(name)
    except ValueError as error:
        close = _suggestion(name, takes)
        raise OptionError(f"pixel format: FFmpeg knows no {name!r}{close}") from error
    if name not in takes:
        raise OptionError(f"pixel format: {codec} does not take {name}, only {', '.join(takes)}")
    return name


def _same_samples(source: PixelFormat, takes: Sequence[str], *, full_range: bool) -> str | None:
    """The format among these that holds the same samples, however arranged."""
    if source.name in takes:
        return source.name
    for name in takes:
        working, packed = working_format(name), VideoFormat(name)
        as_deep = all(part.bits == source.depth for part in packed.components)
        fits = as_deep and not packed.has_palette and (full_range or not working.full_range_name)
        if fits and _stem(working.name) == _stem(source.name):
            return name
    return None


def _stem(name: str) -> str:
    """The name of the planes: `yuvj420p` are the planes of `yuv420p`."""
    return name.replace("yuvj", "yuv")


def _valid(colour: Colour) -> Colour:
    untagged = Colour()
    return Colour(
        colour.matrix if colour.matrix in VALID_MATRICES else untagged.matrix,
        colour.range if colour.range in (0, 1, 2) else untagged.range,
        colour.primaries if colour.primaries in VALID_PRIMARIES else untagged.primaries,
        colour.transfer if colour.transfer in VALID_TRANSFERS else untagged.transfer,
    )
