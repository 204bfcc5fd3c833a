"""FFmpeg's video encoders: set up for a run's frames, which are converted to a format they accept.

A request that cannot work is refused before the first frame, in FFmpeg's words if FFmpeg refuses
it. A frame keeps its format if the encoder takes it; otherwise it is converted to the closest one,
with explicit matrix and range, and a warning names the change. `encoder_options.py` resolves the
options. `writer.py` uses this for videos, `images.py` for images, and live streams for what they
record and send.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import cast

import av
from av.codec import Codec
from av.codec.codec import PixFmtLoss, UnknownCodecError, find_best_pix_fmt_of_list
from av.codec.context import CodecContext, Flags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from lfdn_video.errors import OptionError
from lfdn_video.ffmpeg import ffmpeg_errors, ffmpeg_message, ordinary_scheduling
from lfdn_video.media import MATRIX_RGB, Colour, Frame, FrameFormat, PixelFormat
from lfdn_video.options import DEFAULT_CODEC, IMAGE_RATE, EncodeOptions
from lfdn_video.output.encoder_options import resolve_options, suggest_name
from lfdn_video.output.signalling import (
    MATRIX_NAMES,
    can_say_full_range,
    choose_encoding,
    choose_tag,
)
from lfdn_video.planes import Converter, PixelEncoding, build_video_frame, working_format

# The values that the standards define. FFmpeg itself fails on the reserved ones in between.
VALID_MATRICES = frozenset({0, 1, 2, *range(4, 15)})
VALID_RANGES = frozenset({0, 1, 2})
VALID_PRIMARIES = frozenset({1, 2, *range(4, 13), 22})
VALID_TRANSFERS = frozenset({1, 2, *range(4, 19)})

RATE_TOLERANCE = Fraction(999, 1000)
"""Rates are often measured, and then fall slightly below the nominal one, such as 30000/1001."""

INTERNAL_ENCODERS = frozenset({"vnull", "wrapped_avframe"})
"""FFmpeg's encoders that write nothing that can be stored."""

SAMPLE_SIZES_PX = ((256, 256), (352, 288), (720, 576), (1920, 1080))
"""Width and height of the frames that an encoder is tried with: hardware refuses small ones, and
some codecs have a few sizes only."""

MPEG4_TICKS = 65_535
"""Largest number of ticks per second in MPEG-4 part 2, which stores it in 16 bits."""

LOSSES = {
    PixFmtLoss.ALPHA: "transparency",
    PixFmtLoss.DEPTH: "bit depth",
    PixFmtLoss.RESOLUTION: "chroma resolution",
    PixFmtLoss.COLORSPACE: "RGB",
    PixFmtLoss.CHROMA: "colour",
}


class Encoder:
    """An encoder with its options, and the pixel format in which it receives a run's frames.

    `configure` sets up FFmpeg's context, `prepare` converts a frame for that context.
    """

    def __init__(
        self,
        frames: FrameFormat,
        options: EncodeOptions,
        *,
        time_base: Fraction,
        codec: str | None = None,
        container: str | None = None,
    ) -> None:
        """Choose codec and pixel format, and resolve the options.

        Args:
            frames: how the frames to be encoded are stored.
            options: what the user chose.
            time_base: seconds per tick of the frames' pts.
            codec: FFmpeg's name of the encoder; None: `options.codec`, or the default.
            container: FFmpeg's name of the muxer, for what it can say of the frames; None: there is
                none that could say less than the codec, as for images.

        Raises:
            OptionError: there is no such encoder, or it refuses an option or pixel format.
        """
        self.codec = find_codec(codec or options.codec or DEFAULT_CODEC)
        self.options = resolve_options(self.codec, options)
        self.warnings: list[str] = []
        """Losses of the encoding, as messages without a subject."""
        self.time_base = time_base
        """Seconds per tick of the encoder's pts; `keep_rate` changes it."""
        self._frames = frames
        self._source = PixelEncoding.from_format(frames)
        self._container = container
        self._target = self._choose_pixel_encoding(options.pixel_format)
        changed = self._target != self._source
        self._converter = Converter(self._source, self._target) if changed else None
        self._colour = _choose_tags(frames, self._source, self._target)

    @property
    def needs_rate(self) -> bool:
        """True if the encoder supports only a constant rate, not the source's timestamps."""
        too_fine = self.codec.name == "mpeg4" and self.time_base.denominator > MPEG4_TICKS
        return bool(self.codec.frame_rates) or too_fine

    @property
    def converts(self) -> bool:
        """True if the encoder gets frames in another pixel format, matrix or range."""
        return self._converter is not None

    def keep_rate(self, rate: Fraction) -> Fraction:
        """Switch to a constant rate: one tick of the encoder becomes one frame.

        Args:
            rate: frames per second.

        Returns:
            The closest rate that the encoder supports; `time_base` is now its inverse.
        """
        possible = [
            Fraction(known.num, known.den) for known in self.codec.frame_rates or () if known
        ]
        if possible:  # not a lower one if avoidable: frames would be moved later and later
            rate = min(
                possible, key=lambda known: (known < rate * RATE_TOLERANCE, abs(known - rate))
            )
        self.time_base = (1 / rate).limit_denominator(MPEG4_TICKS)
        return 1 / self.time_base

    def configure(
        self, context: VideoCodecContext, *, rate: Fraction, frames_in_flight: bool = False
    ) -> None:
        """Set up FFmpeg's encoder and open it.

        Args:
            context: a new context of `codec`.
            rate: frames per second; a hint to the encoder's rate control.
            frames_in_flight: another codec has frames in its threads, so FFmpeg's log cannot be
                captured (see `ffmpeg_errors`), and errors are terse.

        Raises:
            OptionError: the encoder does not accept an option.
        """
        frames = self._frames
        context.width = frames.width
        context.height = frames.height
        context.pix_fmt = self._target.name
        context.time_base = self.time_base
        context.framerate = rate
        context.sample_aspect_ratio = frames.sample_aspect_ratio
        context.colorspace = self._colour.matrix
        context.color_range = self._colour.range
        context.color_primaries = self._colour.primaries
        context.color_trc = self._colour.transfer
        context.flags |= Flags.frame_duration
        # With slice threading, x264 splits frames into slices, which costs quality.
        is_x264 = self.codec.name.startswith("libx264")
        context.thread_type = ThreadType.FRAME if is_x264 else ThreadType.AUTO
        context.options = dict(self.options)
        try:
            errors = nullcontext() if frames_in_flight else ffmpeg_errors()
            with ordinary_scheduling(), errors:
                context.open()
        except FFmpegError as error:
            raise OptionError(
                f"{self.codec.name}: cannot be used like this: {ffmpeg_message(error)}; "
                f"change its options, or the codec"
            ) from error
        if (tag := choose_tag(self.codec.canonical_name, self._container)) is not None:
            context.codec_tag = tag
        if context.options:  # FFmpeg leaves the options it did not recognize
            raise OptionError(f"{self.codec.name}: no such option: {', '.join(context.options)}")

    def prepare(self, frame: Frame) -> VideoFrame:
        """Convert a frame to FFmpeg's type and the encoder's pixel format.

        Returns:
            A new frame. Its pts and duration are copied from `frame`, in ticks of the source's time
            base: after `keep_rate` the caller has to convert them.
        """
        video = build_video_frame(frame)
        if self._converter is not None:
            video = self._converter.convert_frame(video)
        video.pts = frame.pts
        video.duration = frame.duration
        video.time_base = self.time_base
        video.colorspace = self._colour.matrix
        video.color_range = self._colour.range
        video.color_primaries = self._colour.primaries
        video.color_trc = self._colour.transfer
        return video

    def _choose_pixel_encoding(self, wanted: str | None) -> PixelEncoding:
        source = self._frames.format
        loss = PixFmtLoss.NONE
        accepted = self._list_accepted_formats()
        if wanted is not None:
            _check_format(wanted, accepted, self.codec.name)
            name = wanted
            _, loss = find_best_pix_fmt_of_list([wanted], source.name, source.alpha)
        else:
            same = _find_same_samples(source, accepted, full_range=self._source.full_range)
            best, loss = find_best_pix_fmt_of_list(accepted, source.name, source.alpha)
            name = same or (best.name if best is not None else accepted[0])
        coding = choose_encoding(self._frames, name, self.codec.canonical_name, self._container)
        self._warn_of_change(coding, loss)
        return coding

    def _list_accepted_formats(self) -> list[str]:
        """List the pixel formats that the encoder may be given, by FFmpeg's names."""
        # A format without components is a handle of a GPU's memory, such as `cuda` or `qsv`.
        names = [known.name for known in self.codec.video_formats or () if known.components]
        if (
            self.codec.canonical_name == "mjpeg"
        ):  # JPEG is full range; FFmpeg's other formats are not standard
            names = [name for name in names if name.startswith("yuvj")]
        if self.codec.canonical_name == "vp9":  # libvpx lists more than it takes with alpha
            names = [name for name in names if not working_format(name).alpha]
        if self.codec.canonical_name == "tiff":  # few programs read a TIFF of YUV correctly
            names = [name for name in names if not name.startswith("yuv")]
        if self.codec.canonical_name in ("h264", "hevc"):  # they crop by whole chroma samples
            names = [
                name
                for name in names
                if _has_whole_chroma_samples(self._frames, working_format(name))
            ]
        own = self._frames.format.name
        says_range = can_say_full_range(self.codec.canonical_name, self._container)
        return names or [own if says_range else own.replace("yuvj", "yuv")]

    def _warn_of_change(self, coding: PixelEncoding, loss: PixFmtLoss) -> None:
        before = self._source
        after = working_format(coding.name)
        opaque_added = _planes_name(after.name) == before.name.replace("gbrp", "gbrap")
        if _planes_name(after.name) != _planes_name(before.name) and not opaque_added:
            # FFmpeg counts every change of the colour model or the range as a loss of RGB.
            if after.family == "rgb" or self._frames.format.family != "rgb":
                loss &= ~PixFmtLoss.COLORSPACE
            losing = " and ".join(name for flag, name in LOSSES.items() if loss & flag)
            note = f", losing {losing}" if losing else ""
            if before.full_range and not coding.full_range and self._frames.format.family != "rgb":
                note = f" of limited range{note}"
            self.warnings.append(
                f"frames are converted from {before.name} to {coding.name} for {self.codec.name}"
                f"{note}"
            )
        elif coding.full_range != before.full_range:
            range_name = "full" if coding.full_range else "limited"
            self.warnings.append(
                f"frames are converted to {coding.name} of {range_name} range for {self.codec.name}"
            )
        if coding.matrix != before.matrix and self._frames.format.family == after.family == "yuv":
            self.warnings.append(
                f"frames are converted to the {MATRIX_NAMES.get(coding.matrix, 'usual')} matrix in "
                f"{coding.name} for {self.codec.name}"
            )


def find_codec(name: str) -> Codec:
    """Find a video encoder.

    Args:
        name: FFmpeg's name of it.

    Returns:
        The encoder's codec.

    Raises:
        OptionError: this FFmpeg has no such encoder.
    """
    try:
        codec = Codec(name, "w")
    except UnknownCodecError as error:
        hint = suggest_name(name, list_encoders())
        raise OptionError(f"codec: {name!r} is no encoder of this FFmpeg{hint}") from error
    if codec.type != "video":
        raise OptionError(f"codec: {name!r} encodes {codec.type}, not video")
    return codec


def list_encoders() -> list[str]:
    """List the video encoders of this FFmpeg, those of hardware that is not here included.

    Returns:
        FFmpeg's names, sorted.
    """
    return sorted(name for name in av.codecs_available if _encodes_video(name))


def try_encoder(name: str) -> str | None:
    """Open an encoder as a run would.

    Args:
        name: FFmpeg's name of it.

    Returns:
        None if it opens; else why not, in FFmpeg's or the driver's words.
    """
    problem: str | None = None
    for width, height in SAMPLE_SIZES_PX:
        sample = FrameFormat(width=width, height=height, format=PixelFormat.parse("yuv420p"))
        try:
            encoder = Encoder(sample, EncodeOptions(), time_base=1 / IMAGE_RATE, codec=name)
            rate = encoder.keep_rate(IMAGE_RATE) if encoder.needs_rate else IMAGE_RATE
            context = cast("VideoCodecContext", CodecContext.create(encoder.codec, "w"))
            encoder.configure(context, rate=rate)
        except OptionError as error:
            problem = problem or str(error)
        else:
            return None
    return problem


def _encodes_video(name: str) -> bool:
    if name in INTERNAL_ENCODERS:
        return False
    try:
        return Codec(name, "w").type == "video"
    except UnknownCodecError:  # it is a decoder alone
        return False


def _check_format(name: str, accepted: Sequence[str], codec: str) -> None:
    try:
        VideoFormat(name)
    except ValueError as error:
        hint = suggest_name(name, accepted)
        raise OptionError(f"pixel format: FFmpeg knows no {name!r}{hint}") from error
    if name not in accepted:
        raise OptionError(
            f"pixel format: {codec} does not support {name}, only {', '.join(accepted)}"
        )


def _has_whole_chroma_samples(frames: FrameFormat, pixel_format: PixelFormat) -> bool:
    across, down = (1 << shift for shift in pixel_format.chroma_shift)
    return frames.width % across == 0 and frames.height % down == 0


def _find_same_samples(
    source: PixelFormat, accepted: Sequence[str], *, full_range: bool
) -> str | None:
    """Find an accepted format that holds the source's samples unchanged, in any order."""
    if source.name in accepted:
        return source.name
    for name in accepted:
        working = working_format(name)
        packed = VideoFormat(name)
        as_deep = all(part.bits == source.depth for part in packed.components)
        fits = as_deep and not packed.has_palette and (full_range or not working.full_range_name)
        if fits and _planes_name(working.name) == _planes_name(source.name):
            return name
    return None


def _planes_name(name: str) -> str:
    """Drop the range from a format's name: `yuvj420p` has the planes of `yuv420p`."""
    return name.replace("yuvj", "yuv")


def _choose_tags(frames: FrameFormat, source: PixelEncoding, target: PixelEncoding) -> Colour:
    """Choose the colour tags of the encoded stream: the source's, where still correct."""
    colour = frames.colour
    if target == source:
        return _valid_tags(colour)
    # Converted samples are tagged explicitly: what a player guesses for the source's untagged ones
    # may differ from the encoding that was converted to.
    explicit = target.retag_colour(colour)
    matrix_kept = target.matrix == source.matrix and colour.matrix != MATRIX_RGB
    is_rgb = VideoFormat(target.name).is_rgb
    if matrix_kept and is_rgb == (frames.format.family == "rgb"):
        return _valid_tags(replace(explicit, matrix=colour.matrix))
    return _valid_tags(explicit)


def _valid_tags(colour: Colour) -> Colour:
    """Replace reserved values by "untagged"."""
    untagged = Colour()
    return Colour(
        colour.matrix if colour.matrix in VALID_MATRICES else untagged.matrix,
        colour.range if colour.range in VALID_RANGES else untagged.range,
        colour.primaries if colour.primaries in VALID_PRIMARIES else untagged.primaries,
        colour.transfer if colour.transfer in VALID_TRANSFERS else untagged.transfer,
    )
