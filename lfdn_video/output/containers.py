"""Target containers: which there are, what they can order, and what players of them show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av

from lfdn_video.errors import OutputError
from lfdn_video.media import VideoInfo
from lfdn_video.options import EncodeOptions
from lfdn_video.output.signalling import APPLE_CONTAINERS

CONTAINERS = frozenset(
    {"3g2", "3gp", "asf", "avi", "f4v", "flv", "ipod", "matroska", "mov", "mp4", "mpeg", "mpegts"}
    | {"mxf", "nut", "ogg", "ogv", "webm"}
)
"""FFmpeg's muxers that write a single file with timestamps. Others write a playlist with files
beside it (and would list the temporary names), or a bare stream."""

CONSTANT_RATE_CONTAINERS = frozenset({"avi", "mxf", "ogg", "ogv"})
"""Containers with a constant rate, or with decoding times only."""

DECODING_ORDER_CONTAINERS = frozenset({"asf", "avi", "mpeg", "mxf"})
"""Containers that store decoding times, or no times, for each frame of some codecs."""

PLAYABLE_FORMAT = "yuv420p"
PLAYABLE_CODECS = frozenset({"libx264", "libx265", "libvpx", "libvpx-vp9"})
PLAYABLE_CONTAINERS = APPLE_CONTAINERS | {"webm"}
"""Pixel format that all players of MP4 and WebM show, and the encoders that would choose another
for RGB. libvpx refuses RGB with transparency."""


def find_container(target: Path) -> str:
    """Return FFmpeg's name of the muxer for a target's extension.

    Raises:
        OutputError: there is none.
    """
    try:
        # Without a stream or header, FFmpeg only guesses the format; nothing is written.
        container = av.open(target.name, "w").format.name
    except ValueError as error:
        raise OutputError(
            f"{target}: FFmpeg has no video format for this extension; end the name in .mp4 or .mkv"
        ) from error
    if container not in CONTAINERS:
        raise OutputError(
            f"{target}: {container} cannot hold a video with its times and audio; "
            f"end the name in .mp4 or .mkv"
        )
    return container


def adapt_options(
    options: EncodeOptions, container: str, codec: str, info: VideoInfo
) -> EncodeOptions:
    """Adapt options to the container: what it cannot order, and what players of MP4 cannot show.

    B-frames are disabled where the container does not store the order of presentation. Players show
    images and GIFs in H.264, HEVC and VP9 as 8-bit 4:2:0 alone; the encoder warns of the change.
    """
    is_drawn = info.from_images or info.codec == "gif"
    # x264 and x265 encode gray as gray, which players show; libvpx would make RGB of it.
    is_rgb = info.format.family == "rgb" or (info.format.family == "gray" and "vpx" in codec)
    is_even = (info.width % 2 == 0 and info.height % 2 == 0) or "vpx" in codec
    if (
        container in PLAYABLE_CONTAINERS
        and codec in PLAYABLE_CODECS
        and is_drawn
        and is_rgb
        and is_even
    ):
        return replace(options, pixel_format=options.pixel_format or PLAYABLE_FORMAT)
    if container not in DECODING_ORDER_CONTAINERS:
        return options
    return replace(options, codec_options={"bf": "0", **options.codec_options})
