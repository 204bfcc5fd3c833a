"""Describes a video file: its streams, and the format of its frames by the first one decoded.

Whatever is not a video becomes an InputError of one line. `reader.py` decodes the frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields, replace
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
    pyav_errors,
    stream_title,
)
from lfdn_video.media import (
    UNSUPPORTED_MATRICES,
    Chapter,
    Colour,
    FrameFormat,
    StreamInfo,
    VideoInfo,
)
from lfdn_video.planes import find_matrix, read_colour, working_format

MAX_RATE = 240
"""An average above this many frames per second is doubted."""

MAX_PROBE_ERRORS = 100
"""Packets that may fail to decode before the search for the first frame is given up."""

PICTURE_DEMUXERS = "_pipe"
"""End of the names of FFmpeg's demuxers of pictures, which state neither number nor duration."""

# Side data that frames may carry and that PyAV cannot pass to an encoder, by FFmpeg's names.
HDR_METADATA = {
    "MASTERING_DISPLAY_METADATA": "HDR mastering display",
    "CONTENT_LIGHT_LEVEL": "HDR light level",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DOVI_METADATA": "Dolby Vision",
}
SIDE_DATA = {
    "A53_CC": "closed captions inside the frames",
    "SPHERICAL": "360 degrees projection",
    "STEREO3D": "3D arrangement",
}


def find_main_stream(container: InputContainer, path: Path) -> VideoStream:
    """Choose the video stream to restore: FFmpeg's best one, cover images aside.

    Args:
        container: an open file.
        path: its name, for messages.

    Returns:
        A stream of `container` with a decoder.

    Raises:
        InputError: there is no video stream, or no decoder for it.
    """
    videos = [video for video in container.streams.video if not is_cover(video)]
    if not videos:
        kinds = sorted({stream.type for stream in container.streams if not is_cover(stream)})
        found = f"only {' and '.join(kinds)}" if kinds else "nothing"
        raise InputError(f"{path}: there is no video in it, {found}; give a file with video")
    best = container.streams.best("video")
    stream = best if best in videos and isinstance(best, VideoStream) else videos[0]
    if not has_decoder(stream):
        raise InputError(f"{path}: this FFmpeg has no decoder for its video; convert it first")
    return stream


def probe_video(path: Path) -> VideoInfo:
    """Describe a video file; decodes its first frame.

    Args:
        path: a local file.

    Returns:
        The description; `frame_count` and `duration_s` are as the file states them.

    Raises:
        InputError: the file cannot be read, holds no video, or its first frame cannot be decoded.
    """
    with pyav_errors(path), closing(open_source(path)) as container:
        stream = find_main_stream(container, path)
        streams = tuple(_stream_info(stream) for stream in container.streams)
        chapters = tuple(_chapters(container))
        first = _first_frame(container, stream, path)
        time_base = stream.time_base or Fraction(1, MICROSECONDS)
        frame_format = probe_frame(first, stream, path)
        duration_s = _duration_s(container, stream, time_base)
        rate = frame_format.average_rate
        count = stream.frames or (round(duration_s * rate) if duration_s and rate else None)
        if count is None and _is_of_pictures(container):
            count = _count_packets(path, stream.index)
        return VideoInfo(
            **{each.name: getattr(frame_format, each.name) for each in fields(frame_format)},
            path=path,
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            source_format=first.format.name,
            time_base=time_base,
            start_pts=_first_not_none(first.pts, first.dts, stream.start_time, 0),
            duration_s=duration_s,
            frame_count=count,
            interlaced=first.interlaced_frame,
            streams=streams,
            video_index=stream.index,
            chapters=chapters,
            metadata=dict(container.metadata),
            hdr_metadata=_name_side_data(first, HDR_METADATA),
            side_data=(*_name_side_data(first, SIDE_DATA), *_find_ignored_alpha(stream, first)),
        )


def probe_frame(frame: VideoFrame, stream: VideoStream | None, path: Path) -> FrameFormat:
    """Determine the format of a stream's frames from a decoded one.

    Args:
        frame: a decoded frame.
        stream: the stream it comes from, which supplies the tags that the frame lacks; None for
            frames that FFmpeg did not decode.
        path: the source's name, for messages.

    Returns:
        The format; `average_rate` is the stream's.

    Raises:
        InputError: the frame's colour matrix is not supported.
    """
    rotation, flip, matrix = _orientation(frame)
    colour = _merge_colour_tags(frame, stream)
    _check_colour(colour, frame, path)
    rate = _frame_rate(stream) if stream is not None else None
    return FrameFormat(
        width=frame.width,
        height=frame.height,
        format=working_format(frame.format.name),
        colour=colour,
        rotation=rotation,
        flip=flip,
        display_matrix=matrix,
        sample_aspect_ratio=(stream and stream.sample_aspect_ratio) or Fraction(1),
        average_rate=rate or None,
    )


def _is_of_pictures(container: InputContainer) -> bool:
    """Tell whether FFmpeg reads pictures one after another, such as PPM or JPEG 2000."""
    return container.format.name.endswith(PICTURE_DEMUXERS)


def _count_packets(path: Path, index: int) -> int | None:
    """Count the packets of a stream; None if some cannot be read."""
    try:
        with closing(open_source(path)) as container:
            return sum(1 for packet in container.demux(container.streams[index]) if packet.size)
    except FFmpegError:
        return None


def _frame_rate(stream: VideoStream) -> Fraction | None:
    """Return the stream's average rate; where that is no rate of frames, FFmpeg's guess."""
    average, guessed = stream.average_rate, stream.guessed_rate
    # Raw DV, for example, states its ticks per second.
    if average and guessed and average > MAX_RATE >= guessed:
        return guessed
    return average or guessed or None


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError(
            f"{path}: its frames are {stream.width}x{stream.height}, more than the "
            f"{MAX_PIXELS / 1e6:g} million pixels that are decoded; scale it down first"
        )
    stream.thread_count = 1  # with more, the container could be closed with frames in flight
    stream.codec_context.options = decoding_limits()
    discard_other_streams(container, stream)
    failures = 0
    message = "it has no frames"
    packets = container.demux(stream)
    while failures < MAX_PROBE_ERRORS:
        try:
            packet = next(packets)
            frames = stream.decode(packet)
        except StopIteration:
            break
        except FFmpegError as error:
            failures += 1
            message = ffmpeg_message(error)
            packets = container.demux(stream)  # an error ends PyAV's iterator, not the file
            continue
        if frames:
            return frames[0]
    raise InputError(
        f"{path}: no frame can be decoded: {message}; it may be corrupt, truncated, or of more "
        f"than {MAX_PIXELS / 1e6:g} million pixels"
    )


def _first_not_none(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _duration_s(
    container: InputContainer, stream: VideoStream, time_base: Fraction
) -> float | None:
    # The stream's own length comes first: the container's includes longer audio.
    if stream.duration:
        return float(stream.duration * time_base)
    length_s = _parse_duration_s(stream.metadata.get("DURATION", ""))
    if length_s is None and container.duration:
        length_s = container.duration / MICROSECONDS
    if length_s is not None and "matroska" in container.format.name:
        length_s -= float(
            (stream.start_time or 0) * time_base
        )  # Matroska counts it from 0, not from the start
    return length_s


def _parse_duration_s(text: str) -> float | None:
    """Parse Matroska's DURATION tag, `hh:mm:ss.nnnnnnnnn`; None if it is not valid."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _merge_colour_tags(frame: VideoFrame, stream: VideoStream | None) -> Colour:
    """Return the frame's tags; the stream's where the decoder left one untagged."""
    colour = read_colour(frame)
    if stream is None:
        return colour
    untagged = Colour()
    context = stream.codec_context  # FFmpeg puts the container's tags there
    return Colour(
        find_matrix(frame.format, context.colorspace)
        if colour.matrix == untagged.matrix
        else colour.matrix,
        colour.range or context.color_range,
        colour.primaries if colour.primaries != untagged.primaries else context.color_primaries,
        colour.transfer if colour.transfer != untagged.transfer else context.color_trc,
    )


def _check_colour(colour: Colour, frame: VideoFrame, path: Path) -> None:
    kind = UNSUPPORTED_MATRICES.get(colour.matrix)
    if kind is not None and working_format(frame.format.name).family == "yuv":
        raise InputError(f"{path}: is coded in {kind}, which is not supported; convert it first")


def _side_data(frame: VideoFrame) -> dict[str, bytes]:
    try:
        entries = cast("SideDataContainer", frame.side_data)  # the stubs call it a TypedDict
        return {entry.type.name: bytes(entry) for entry in entries}
    except ValueError:
        return {}  # PyAV refuses all of it if one kind is newer than it knows


def _name_side_data(frame: VideoFrame, kinds: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(kinds[kind] for kind in _side_data(frame) if kind in kinds)


def _find_ignored_alpha(stream: VideoStream, first: VideoFrame) -> tuple[str, ...]:
    """Name the alpha that VP8 and VP9 store beside the frames: FFmpeg's decoders ignore it."""
    marked = stream.metadata.get("alpha_mode") == "1"
    return ("transparency",) if marked and not working_format(first.format.name).alpha else ()


def _orientation(
    frame: VideoFrame,
) -> tuple[Literal[0, 90, 180, 270], bool, tuple[int, ...] | None]:
    """Return clockwise rotation, flip after it, and the display matrix they come from."""
    raw = _side_data(frame).get("DISPLAYMATRIX")
    if raw is None:
        return _nearest_quarter(-frame.rotation), False, None  # PyAV counts counter-clockwise
    matrix = tuple(int(value) for value in np.frombuffer(raw, "<i4"))
    # The stored frame's step to the right maps to (across, down). A negative determinant mirrors.
    across, down = matrix[:2]
    flip = across * matrix[4] - down * matrix[3] < 0
    degrees = math.degrees(math.atan2(down, -across if flip else across))
    return _nearest_quarter(degrees), flip, matrix


def _nearest_quarter(degrees: float) -> Literal[0, 90, 180, 270]:
    quarters: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return quarters[round(degrees / 90) % len(quarters)]


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
            frame_rate=_frame_rate(stream),
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
