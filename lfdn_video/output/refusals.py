"""Tells whether a container can hold a stream, before anything is written to it.

FFmpeg decides only when it writes a header, so one is written in memory.
"""

from __future__ import annotations

import io
from contextlib import closing, suppress
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from lfdn_video.ffmpeg import add_copy, ffmpeg_errors, ffmpeg_message, open_source

VIDEO_FIRST_CONTAINERS = {"mxf"}
"""Containers whose first stream must be the video."""

FLV_AUDIO = {"aac", "mp3", "mp3float"}
"""Decoders of the audio codecs that FLV's players know. FFmpeg writes further ones in a newer form
of it (Enhanced RTMP)."""

MPEGTS_AUDIO = {"aac", "aac_latm", "ac3", "dca", "eac3", "mp1", "mp2", "mp3", "mp3float", "opus"}
MPEGTS_AUDIO |= {"libopus", "s302m", "truehd"}
"""Decoders of the audio codecs that have a type in MPEG-TS, by FFmpeg's names."""

AVI_AUDIO = {"aac", "ac3", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "wmav1"}
AVI_AUDIO |= {"wmav2", "gsm_ms", "truespeech"}
"""Decoders of the audio codecs, beside PCM and ADPCM, whose packets FFmpeg's muxer of AVI times
rightly. It times others by a bit rate, which is made up if their length varies."""


def find_refusal(stream: Stream, container: str) -> str | None:
    """Find the reason why a container cannot hold a stream of a source.

    Args:
        stream: the stream.
        container: FFmpeg's name of the muxer.

    Returns:
        FFmpeg's reason, or ours where FFmpeg writes what players do not know; None if it can.
    """
    if stream.type == "audio" and container == "mpegts" and stream.name not in MPEGTS_AUDIO:
        return "it would be data without a meaning"
    if stream.type == "audio" and container == "flv" and stream.name not in FLV_AUDIO:
        return "players know no such audio in it"
    if stream.type == "audio" and container == "avi" and not _has_rate_in_avi(stream.name or ""):
        return "its clock would be wrong there"
    refusal = _try_header(stream, container, after_video=False)
    if refusal is not None and container in VIDEO_FIRST_CONTAINERS:
        return _try_header(stream, container, after_video=True)
    return refusal


def _has_rate_in_avi(decoder: str) -> bool:
    return decoder in AVI_AUDIO or decoder.startswith(("pcm_", "adpcm_"))


def _try_header(stream: Stream, container: str, *, after_video: bool) -> str | None:
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        with ffmpeg_errors():
            if after_video:
                video = trial.add_stream("mpeg2video", 25)
                assert isinstance(video, VideoStream)
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            add_template(trial, stream).metadata.update(stream.metadata)
            trial.start_encoding()
    except FFmpegError as error:
        return ffmpeg_message(error)
    except ValueError as error:  # PyAV's own check
        return str(error)
    finally:
        with suppress(FFmpegError):  # closing may fail without packets, which does not matter
            trial.close()
    return None


def add_template(target: OutputContainer, stream: Stream) -> Stream:
    """Add a stream for the unchanged packets of another one, as its container needs it.

    Args:
        target: an open container without a header so far.
        stream: a stream of a source.

    Returns:
        The new stream.

    Raises:
        ValueError: the container cannot hold such a stream.
    """
    copy = add_copy(target, stream)
    if target.format.name == "avi" and (stream.name or "").startswith("adpcm"):
        copy.codec_context.bit_rate = _measure_bit_rate(stream)
    return copy


def _measure_bit_rate(stream: Stream) -> int:
    """Return the bit rate of blocks of a constant length. FFmpeg's AVI muxer times them by it."""
    with closing(open_source(Path(stream.container.name.removeprefix("file:")))) as container:
        packet = next(container.demux(container.streams[stream.index]))
        length_s = (packet.duration or 0) * packet.time_base
        rate = packet.size * 8 / length_s if length_s else stream.codec_context.bit_rate
        return round(rate or 0)
