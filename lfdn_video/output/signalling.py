"""What codecs and containers can say of the samples: range, matrix and place of the chroma.

What cannot be said is converted to what a player assumes, and never relabelled; a place of the
chroma that changes is named.
"""

from __future__ import annotations

from lfdn_video.media import Colour, FrameFormat
from lfdn_video.planes import PixelEncoding, working_format

BT601_CODECS = frozenset({"mjpeg", "webp"})
BT601_MATRICES = (5, 6)
"""AVCOL_SPC of BT.601, the only matrix of these codecs: no tag in their files can name another."""

FULL_RANGE_CODECS = frozenset({"av1", "h264", "hevc", "ljpeg", "mjpeg", "vp9"})
"""Codecs whose bitstream says whether samples are full range, by FFmpeg's names."""

FULL_RANGE_CONTAINERS = frozenset({"matroska", "webm"})
"""Containers that say it for codecs that do not."""

LIMITED_RANGE_CODECS = frozenset({"mpeg1video", "mpeg2video", "prores", "theora", "vp8"})
"""Codecs that are limited range by definition, whatever the container says."""

MATRIX_CODECS = frozenset({"av1", "h264", "hevc", "mpeg2video", "prores", "vp9"})
"""Codecs whose bitstream names the matrix."""

MATRIX_CONTAINERS = FULL_RANGE_CONTAINERS | {"ipod", "mov", "mp4", "mxf"}
"""Containers that name it for codecs that do not."""

UNTAGGED_CODECS = frozenset({"theora", "vp8"})
"""Codecs whose decoders disregard what the container names."""

APPLE_CONTAINERS = frozenset({"mp4", "mov", "ipod"})

CHROMA_PLACES = {
    **dict.fromkeys(("mjpeg", "mpeg1video"), "in the middle of its pixels"),
    "dvvideo": "at the upper left of its pixels",
    **dict.fromkeys(("h264", "hevc", "mpeg2video", "mpeg4"), "at the left of its pixels"),
}
"""Where decoders take subsampled chroma to be, by codec, unless a stream says otherwise."""

MATRIX_NAMES = {1: "BT.709", 5: "BT.601", 6: "BT.601"}


def choose_encoding(
    frames: FrameFormat, name: str, codec: str, container: str | None
) -> PixelEncoding:
    """Choose matrix and range for encoding frames.

    Args:
        frames: how the frames are stored.
        name: the pixel format that the encoder gets.
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the muxer; None: there is none that could say less than the
            codec, as for images.

    Returns:
        The meaning of the samples that the encoder gets.
    """
    source = PixelEncoding.from_format(frames)
    target = working_format(name)
    if target.family == "rgb" or target.full_range_name:
        full_range = True
    elif codec == "webp" or frames.format.family == "rgb":
        full_range = False  # WebP by definition, video made of RGB by custom
    else:
        keeps = can_say_full_range(codec, container) or target.family == "gray"
        full_range = source.full_range and keeps
    matrix = source.matrix
    if codec in BT601_CODECS and matrix not in BT601_MATRICES:
        matrix = BT601_MATRICES[0]
    elif target.family == "yuv" and not can_say_matrix(codec, container):
        # Players take an untagged video for what is usual at its size.
        usual = Colour().resolved_matrix(frames.height, frames.width)
        same = matrix == usual or {matrix, usual} <= set(BT601_MATRICES)
        matrix = matrix if same else usual
    return PixelEncoding(name, matrix, full_range)


def can_say_full_range(codec: str, container: str | None) -> bool:
    """Tell whether a player can know that samples of this codec in this container are full range.

    Args:
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the muxer; None: none.
    """
    if container is None or codec in FULL_RANGE_CODECS:
        return True
    return container in FULL_RANGE_CONTAINERS and codec not in LIMITED_RANGE_CODECS


def can_say_matrix(codec: str, container: str | None) -> bool:
    """Tell whether a player can know the matrix; see `can_say_full_range`."""
    if container is None or codec in MATRIX_CODECS:
        return True
    # FFmpeg's muxers of MP4 and MOV name it in vain: the decoder of MPEG-4 part 2 disregards it.
    containers = FULL_RANGE_CONTAINERS if codec == "mpeg4" else MATRIX_CONTAINERS
    return container in containers and codec not in UNTAGGED_CODECS


def choose_tag(codec: str, container: str | None) -> str | None:
    """Choose the tag by which players find the decoder, where FFmpeg's own choice is not known.

    Args:
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the muxer; None: none.

    Returns:
        `hvc1` for HEVC in MP4 and MOV, where FFmpeg's `hev1` is unknown to Apple's players; None:
        FFmpeg's choice.
    """
    return "hvc1" if codec == "hevc" and container in APPLE_CONTAINERS else None


def describe_chroma_move(before: str, after: str, chroma_shift: tuple[int, int]) -> str | None:
    """Describe how re-encoding moves the chroma, whose samples are kept but understood otherwise.

    Args:
        before: FFmpeg's name of the source's codec.
        after: FFmpeg's name of the target's codec.
        chroma_shift: how much smaller the chroma planes are, as powers of two, across and down.

    Returns:
        A note without a subject; None if nothing moves.
    """
    places = CHROMA_PLACES.get(before), CHROMA_PLACES.get(after)
    moves_across = "middle" in f"{places[0]}{places[1]}"
    if None in places or places[0] == places[1] or not chroma_shift[0 if moves_across else 1]:
        return None
    return (
        f"colours move by up to half a pixel: {before} has chroma {places[0]}, {after} {places[1]}"
    )
