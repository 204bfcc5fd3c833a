"""Encoders for live frames: fast enough for a camera, and without delay.

A frame must leave the encoder before the next one arrives. `output/encoder.py` is the encoder; this
module chooses its codec, options and pixel format.
"""

import io
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import av
from av.video.stream import VideoStream

from lfdn_video.errors import OptionError
from lfdn_video.media import FrameFormat, PixelFormat
from lfdn_video.options import CONTAINER_CODECS, DEFAULT_CODEC, IMAGE_RATE, EncodeOptions
from lfdn_video.output.encoder import Encoder, find_codec

MILLISECOND = Fraction(1, 1000)
"""Time base of the packets: Matroska and FLV have no finer one."""

LOW_LATENCY_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {
        "tune": "zerolatency",
        "crf": "20",
        "preset": "veryfast",
        "x264-params": "sliced-threads=1:sync-lookahead=0",  # FFmpeg's threads hold frames back
    },
    "libx265": {"tune": "zerolatency", "crf": "23", "preset": "superfast"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "28"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "10"},
    "libsvtav1": {"preset": "11", "crf": "30", "svtav1-params": "pred-struct=1"},
    "h264_nvenc": {"preset": "p4", "tune": "ll", "rc": "vbr", "cq": "22", "zerolatency": "1"},
    "hevc_nvenc": {"preset": "p4", "tune": "ll", "rc": "vbr", "cq": "25", "zerolatency": "1"},
}
"""Options by encoder; those that the user chose override them."""

PLAYABLE_FORMAT = "yuv420p"
"""Pixel format that every player and browser shows."""

SAMPLE_FORMAT = FrameFormat(width=64, height=64, format=PixelFormat.parse(PLAYABLE_FORMAT))
"""Frames to try an encoder with."""


def make_live_encoder(frames: FrameFormat, options: EncodeOptions, muxer: str) -> Encoder:
    """Make an encoder whose packets have a time base of `MILLISECOND`.

    Args:
        frames: how the frames to be encoded are stored.
        options: the user's choice; the rest is chosen for low latency.
        muxer: FFmpeg's name of the container's format, which decides the default codec.

    Returns:
        The encoder; it is not open yet.

    Raises:
        OptionError: the codec or one of its options does not exist or does not fit the frames.
    """
    codec = find_codec(options.codec or CONTAINER_CODECS.get(muxer, DEFAULT_CODEC))
    defaults = dict(LOW_LATENCY_OPTIONS.get(codec.name, {}))
    # The user's CRF or preset replaces ours, which are passed under the encoder's own names.
    if options.crf is not None:
        defaults = {name: value for name, value in defaults.items() if name not in ("crf", "cq")}
    if options.preset is not None:
        defaults.pop("preset", None)
    chosen = replace(options, codec_options={**defaults, **options.codec_options})
    accepted = {known.name for known in codec.video_formats or ()}
    # 4:2:0 needs even sides; odd frames keep the format that the encoder prefers.
    is_even = frames.width % 2 == 0 and frames.height % 2 == 0
    if options.pixel_format is None and PLAYABLE_FORMAT in accepted and is_even:
        chosen = replace(chosen, pixel_format=PLAYABLE_FORMAT)
    return Encoder(frames, chosen, time_base=MILLISECOND, codec=codec.name, container=muxer)


def check_encoding(options: EncodeOptions, muxer: str) -> None:
    """Check, before the first frame, that a container accepts the encoding.

    Args:
        options: the user's choice.
        muxer: FFmpeg's name of the container's format.

    Raises:
        OptionError: the codec or an option does not exist, or the container cannot hold the codec.
    """
    encoder = make_live_encoder(SAMPLE_FORMAT, options, muxer)
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as container:
            stream = container.add_stream(encoder.codec.name, IMAGE_RATE)
            assert isinstance(stream, VideoStream)
            encoder.configure(stream.codec_context, rate=IMAGE_RATE)
    except ValueError as error:
        raise OptionError(
            f"{muxer} cannot hold {encoder.codec.name}; choose another codec, or another extension"
        ) from error
