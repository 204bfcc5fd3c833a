"""A trial file of two frames, written before the run.

Some conflicts between a container and what it is given appear only when packets are written, or at
the end of the file. They must be known before hours of work, not after them. A copied stream that
is the cause is left out and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.output.muxer import Muxer

TRIAL_FRAMES = 2


def try_out(muxer: Muxer, path: Path) -> None:
    """Write a small file as the run will, and leave the muxer closed.

    Args:
        muxer: closed; from now on it leaves out the copied streams that cannot be written.
        path: a temporary file, which is overwritten.

    Raises:
        OptionError: the container cannot hold the codec, or the encoder refuses an option.
        FFmpegError, OSError: the file cannot be written.
    """
    try:
        _write(muxer, path)
    except FFmpegError as error:
        if not _leave_out_the_cause(muxer, path, error):
            raise


def _write(muxer: Muxer, path: Path) -> None:
    try:
        muxer.open(path)
        muxer.set_first_pts(muxer.info.start_pts)
        muxer.mux_trial(_packets(muxer))
    finally:
        muxer.close()


def _packets(muxer: Muxer) -> Iterator[Packet[Stream]]:
    info, encoder = muxer.info, muxer.encoder
    first_s = info.start_pts * info.time_base
    start = round((first_s - muxer.clock.origin_s(first_s)) / encoder.time_base)
    step = max(1, round(info.frame_ticks * info.time_base / encoder.time_base))
    frames = [_blank_frame(muxer, start + number * step) for number in range(TRIAL_FRAMES)]
    for video in (*frames, None):
        for packet in muxer.stream.encode(video):
            packet.dts = packet.pts  # x265 states wrong ones for so few frames
            yield packet


def _blank_frame(muxer: Muxer, pts: int) -> VideoFrame:
    context = muxer.stream.codec_context
    video = VideoFrame(context.width, context.height, context.pix_fmt or "yuv420p")
    for plane in video.planes:
        plane.update(bytes(plane.buffer_size))
    video.colorspace, video.color_range = context.colorspace, context.color_range
    video.color_primaries, video.color_trc = context.color_primaries, context.color_trc
    video.pts, video.time_base = pts, muxer.encoder.time_base
    return video


def _leave_out_the_cause(muxer: Muxer, path: Path, error: FFmpegError) -> bool:
    """Find the copied stream without which the file can be written; False: there is none."""
    words = ffmpeg_message(error)
    for index, label in muxer.copied_streams.items():
        before = set(muxer.left_out)
        muxer.left_out.add(index)
        try:
            _write(muxer, path)
        except FFmpegError:
            muxer.left_out.clear()
            muxer.left_out.update(before)
        else:
            muxer.warn(f"{label} is left out, the file cannot be written with it: {words}")
            return True
    return False
