"""Re-encodes text subtitles for containers that need another text format."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

from av.codec import Codec
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

from lfdn_video.ffmpeg import MICROSECONDS, has_decoder

TEXT_SUBTITLES = {
    "mp4": "mov_text",
    "mov": "mov_text",
    "ipod": "mov_text",
    "matroska": "subrip",
    "webm": "webvtt",
}
"""Text subtitle codec of each container, by FFmpeg's names of codec and muxer."""


def is_text_subtitle(stream: Stream) -> bool:
    """Return True for subtitles that are text, not bitmaps."""
    return isinstance(stream, SubtitleStream) and has_decoder(stream) and stream.codec.text_sub


def add_reencoded_subtitle(target: OutputContainer, source: Stream, codec: str) -> Stream:
    """Add a stream to `target` for the re-encoded packets of a text subtitle stream.

    Args:
        target: an open container without a header so far.
        source: the source's stream; its decoder is opened.
        codec: FFmpeg's name of the encoder, one of `TEXT_SUBTITLES`.

    Returns:
        The target's stream.
    """
    decoder = cast("SubtitleCodecContext", source.codec_context)
    decoder.open(strict=False)
    stream = target.add_stream(Codec(codec, "w").name)
    encoder = cast("SubtitleCodecContext", stream.codec_context)
    encoder.subtitle_header = decoder.subtitle_header
    stream.time_base = encoder.time_base = source.time_base or Fraction(1, MICROSECONDS)
    return stream


def reencode_subtitle(
    packet: Packet[Stream], source: Stream, target: Stream
) -> Packet[Stream] | None:
    """Re-encode a packet of text.

    Args:
        packet: a packet of `source`.
        source: the source's stream.
        target: the stream that `add_reencoded_subtitle` made for it.

    Returns:
        A packet with the same text and time, without a stream; None if it has no text.

    Raises:
        FFmpegError: the text is corrupt.
    """
    decoder = cast("SubtitleCodecContext", source.codec_context)
    encoder = cast("SubtitleCodecContext", target.codec_context)
    texts = decoder.decode2(packet)
    if texts is None:
        return None
    reencoded = encoder.encode_subtitle(texts)
    reencoded.time_base = packet.time_base
    reencoded.pts = reencoded.dts = packet.pts
    reencoded.duration = packet.duration
    return reencoded
