"""Opens a video file for reading, safely, and says what is in it.

A file is data: it may not make FFmpeg open other files or the network, as a playlist that calls
itself `.mp4` would. Every way of not being a video becomes an InputError of one line. Frames are
decoded in `reader.py`; packets of the other streams are copied in `passthrough.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video.errors import InputError
from lfdn_video.ffmpeg import (
    MAX_PIXELS,
    MICROSECONDS,
    codec_name,
    decoding_limits,
    discard_other_streams,
    ffmpeg_message,
    has_decoder,
    is_cover,
    open_source,
    stream_title,
)
from lfdn_video.media import UNSUPPORTED_MATRICES, Chapter, Colour, StreamInfo, VideoInfo
from lfdn_video.planes import working_format

PROBE_ERRORS = 100
"""Packets that may fail before the first frame is given up on."""

# What frames may carry beside their samples. PyAV cannot hand it to an encoder.
HDR_METADATA = {
    "MASTERING_DISPLAY_METADATA": "HDR mastering display",
    "CONTENT_LIGHT_LEVEL": "HDR light level",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DOVI_METADATA": "Dolby Vision",
}
SIDE_DATA = {
    "A53_CC": "closed captions inside the pictures",
    "SPHERICAL": "360 degrees projection",
    "STEREO3D": "3D arrangement",
}

QUARTER_DEG = 90


def main_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream to restore: FFmpeg's choice of the best, covers left aside."""
    videos = [video for video in container.streams.video if not is_cover(video)]
    if not videos:
        kinds = sorted({stream.type for stream in container.streams if not is_cover(stream)})
        found = f"only {' and '.join(kinds)}" if kinds else "nothing"
        raise InputError(f"{path}: there is no video in it, {found}; give a file with pictures")
    best = container.streams.best("video")
    stream = best if best in videos and isinstance(best, VideoStream) else videos[0]
    if not has_decoder(stream):
        raise InputError(f"{path}: this FFmpeg has no decoder for its video; convert it first")
    return stream


def probe_video(path: Path) -> VideoInfo:
    """Read what there is to know of a video, down to its first frame."""
    with closing(open_source(path)) as container:
        stream = main_stream(container, path)
        streams = tuple(_stream_info(stream) for stream in container.streams)
        chapters = tuple(_chapters(container))
        first = _first_frame(container, stream, path)
        time_base = stream.time_base or Fraction(1, MICROSECONDS)
        duration_s = _duration_s(container, stream, time_base)
        rate = stream.average_rate or stream.guessed_rate or None
        count = stream.frames or (round(duration_s * rate) if duration_s and rate else None)
        return replace(
            probe_frame(first, stream, path),
            container=container.format.name,
            time_base=time_base,
            start_pts=_first_not_none(first.pts, first.dts, stream.start_time, 0),
            average_rate=rate,
            duration_s=duration_s,
            frame_count=count,
            streams=streams,
            video_index=stream.index,
            chapters=chapters,
            metadata=dict(container.metadata),
            side_data=(*_named(first, SIDE_DATA), *_transparency(stream, first)),
        )


def probe_frame(first: VideoFrame, stream: VideoStream | None, path: Path) -> VideoInfo:
    """What a decoded frame alone says of its stream; InputError if that is not supported.

    Without a `stream` the frames do not come from a decoder of FFmpeg's.
    """
    rotation, flip, matrix = _orientation(first)
    colour = _colour(first, stream)
    _check_colour(colour, first, path)
    return VideoInfo(
        path=path,
        container="",
        codec=stream.codec_context.codec.canonical_name if stream is not None else "rawvideo",
        width=first.width,
        height=first.height,
        format=working_format(first.format.name),
        source_format=first.format.name,
        colour=colour,
        time_base=Fraction(1, MICROSECONDS),
        rotation=rotation,
        flip=flip,
        display_matrix=matrix,
        sample_aspect_ratio=(stream and stream.sample_aspect_ratio) or Fraction(1),
        interlaced=first.interlaced_frame,
        hdr_metadata=_named(first, HDR_METADATA),
        side_data=_named(first, SIDE_DATA),
    )


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError(
            f"{path}: its pictures are {stream.width}x{stream.height}, more than the "
            f"{MAX_PIXELS / 1e6:g} million pixels that are decoded; scale it down first"
        )
    stream.thread_count = 1  # no frame is left behind in a thread
    stream.codec_context.options = decoding_limits()
    discard_other_streams(container, stream)
    failures, words = 0, "it has no frames"
    packets = container.demux(stream)
    while failures < PROBE_ERRORS:
        try:
            packet = next(packets)
            frames = stream.decode(packet)
        except StopIteration:
            break
        except FFmpegError as error:
            failures, words = failures + 1, ffmpeg_message(error)
            packets = container.demux(stream)
            continue
        if frames:
            return frames[0]
    raise InputError(
        f"{path}: no frame can be decoded: {words}; it may be damaged, cut short, or of more than "
        f"{MAX_PIXELS / 1e6:g} million pixels"
    )


def _first_not_none(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _duration_s(
    container: InputContainer, stream: VideoStream, time_base: Fraction
) -> float | None:
    if stream.duration:
        return float(stream.duration * time_base)
    length_s = _clock_s(stream.metadata.get("DURATION", ""))
    if length_s is None and container.duration:
        length_s = container.duration / MICROSECONDS
    if length_s is not None and "matroska" in container.format.name:
        length_s -= float((stream.start_time or 0) * time_base)  # it counts from zero there
    return length_s


def _clock_s(text: str) -> float | None:
    """Matroska's DURATION tag, `hh:mm:ss.nnnnnnnnn`, in seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _colour(first: VideoFrame, stream: VideoStream | None) -> Colour:
    """The frame's tags; the stream's where the decoder left one untagged."""
    untagged = Colour()
    if stream is None:
        return Colour(first.colorspace, first.color_range, first.color_primaries, first.color_trc)
    context = stream.codec_context
    return Colour(
        first.colorspace if first.colorspace != untagged.matrix else context.colorspace,
        first.color_range or context.color_range,
        first.color_primaries
        if first.color_primaries != untagged.primaries
        else context.color_primaries,
        first.color_trc if first.color_trc != untagged.transfer else context.color_trc,
    )


def _check_colour(colour: Colour, first: VideoFrame, path: Path) -> None:
    kind = UNSUPPORTED_MATRICES.get(colour.matrix)
    if kind is not None and working_format(first.format.name).family == "yuv":
        raise InputError(f"{path}: is coded in {kind}, which is not supported; convert it first")


def _side_data(frame: VideoFrame) -> dict[str, bytes]:
    try:
        entries = cast("SideDataContainer", frame.side_data)  # the stubs call it a TypedDict
        return {entry.type.name: bytes(entry) for entry in entries}
    except ValueError:
        return {}  # PyAV refuses all of it if one kind is newer than it knows


def _named(frame: VideoFrame, kinds: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(kinds[kind] for kind in _side_data(frame) if kind in kinds)


def _transparency(stream: VideoStream, first: VideoFrame) -> tuple[str, ...]:
    """VP8 and VP9 have it beside the pictures, where FFmpeg's own decoders do not look."""
    marked = stream.metadata.get("alpha_mode") == "1"
    return ("transparency",) if marked and not working_format(first.format.name).alpha else ()


def _orientation(
    frame: VideoFrame,
) -> tuple[Literal[0, 90, 180, 270], bool, tuple[int, ...] | None]:
    """Clockwise turn, mirror after it, and the display matrix behind them."""
    raw = _side_data(frame).get("DISPLAYMATRIX")
    if raw is None:
        return _quarter(-frame.rotation), False, None  # PyAV counts counter-clockwise
    matrix = tuple(int(value) for value in np.frombuffer(raw, "<i4"))
    across, down = matrix[0], matrix[1]  # where one step to the right of the stored picture leads
    flip = across * matrix[4] - down * matrix[3] < 0
    turn = math.degrees(math.atan2(down, -across if flip else across))
    return _quarter(turn), flip, matrix


def _quarter(degrees: float) -> Literal[0, 90, 180, 270]:
    turns: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return turns[round(degrees / QUARTER_DEG) % len(turns)]


def _chapters(container: InputContainer) -> list[Chapter]:
    return [
        Chapter(
            entry["start"] * (entry["time_base"] or Fraction(1)),
            entry["end"] * (entry["time_base"] or Fraction(1)),
            entry["metadata"].get("title"),
        )
        for entry in container.chapters()
    ]


def _stream_info(stream: Stream) -> StreamInfo:
    info = StreamInfo(
        index=stream.index,
        type=stream.type,
        codec=codec_name(stream),
        language=stream.language,
        title=stream_title(stream),
        file_name=stream.metadata.get("filename"),
        default=bool(stream.disposition & Disposition.default),
        cover=is_cover(stream),
    )
    if not has_decoder(stream):
        return info
    if isinstance(stream, VideoStream):
        return replace(
            info,
            profile=stream.profile,
            bit_rate=stream.bit_rate or None,
            width=stream.width,
            height=stream.height,
            pixel_format=stream.pix_fmt,
            frame_rate=stream.average_rate or None,
        )
    if isinstance(stream, AudioStream):
        return replace(
            info,
            profile=stream.profile,
            bit_rate=stream.bit_rate or None,
            sample_rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            layout=stream.codec_context.layout.name,
        )
    return info
