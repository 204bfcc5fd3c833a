"""Encodes and muxes live frames and their audio into an open file or stream.

Frames arrive at a variable rate; their timestamps are those of capture. Packets leave the encoder
immediately, so a file can be read while it is written. `recording.py` writes files, `pusher.py`
sends to an address; they also handle failures.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from lfdn_video.ffmpeg import add_copy, ffmpeg_errors, ffmpeg_message
from lfdn_video.media import Frame, FrameFormat
from lfdn_video.options import IMAGE_RATE, EncodeOptions
from lfdn_video.stream.sinks.live_encoder import MILLISECOND, make_live_encoder
from lfdn_video.stream.wire import AudioHeader, AudioPacket

KEYFRAME_INTERVAL_S = 2.0
"""Keyframe interval, for late joiners."""

FLV_AUDIO = {"aac", "mp3", "mp3float"}
"""Audio codecs to mux into FLV. On some others, FFmpeg's muxer aborts the process."""

logger = logging.getLogger(__name__)


class LiveWriter:
    """An open container with one video and perhaps one audio stream. Close it."""

    def __init__(
        self,
        url: str,
        muxer: str,
        info: FrameFormat,
        encode: EncodeOptions,
        *,
        container_options: Mapping[str, str] | None = None,
        audio: AudioHeader | None = None,
        creation_time: float | None = None,
    ) -> None:
        """Open the container and write its header.

        Audio that the container cannot hold is left out with a warning.

        Args:
            url: file or address, for FFmpeg.
            muxer: FFmpeg's name of the container's format.
            info: the format and rate of the frames.
            encode: the user's encoding options.
            container_options: options of the muxer and the protocol.
            audio: codec parameters of the audio; None: no audio.
            creation_time: tag of the container, in seconds since the epoch; None: no tag.

        Raises:
            OptionError: the encoding cannot be used.
            FFmpegError: the container cannot be opened.
        """
        self._url = url
        self._muxer = muxer
        self._info = info
        self._container_options = dict(container_options or {})
        self._creation_time = creation_time
        self._encoder = make_live_encoder(info, encode, muxer)
        for warning in self._encoder.warnings:
            logger.info("%s: %s", muxer, warning)
        self._start_s: float | None = None
        self._keyframe_s = float("-inf")
        self._last_pts = -1
        self._last_audio_pts = -1
        self._audio: Stream | None = None
        try:
            self._open(audio)
        except FFmpegError as error:
            if audio is None or isinstance(error, OSError):  # not the audio's fault
                raise
            self._warn_of_missing_audio(ffmpeg_message(error))
            self._open(None)

    def write_frame(self, frame: Frame, stamp_s: float) -> None:
        """Encode and mux a frame.

        Args:
            frame: a frame of the format in `info`.
            stamp_s: its time of capture; the first frame's is time 0 of the container.

        Raises:
            FFmpegError: encoding or writing failed.
        """
        if self._start_s is None:
            self._start_s = stamp_s
        since_s = stamp_s - self._start_s
        video = self._encoder.prepare(frame)
        # Two captures may fall into one millisecond; muxers refuse equal timestamps.
        self._last_pts = max(self._last_pts + 1, round(since_s / MILLISECOND))
        video.pts = self._last_pts
        video.duration = 0
        video.time_base = MILLISECOND
        if since_s - self._keyframe_s >= KEYFRAME_INTERVAL_S:
            video.pict_type = PictureType.I
            self._keyframe_s = since_s
        for packet in self._video.encode(video):
            self._container.mux(packet)

    def write_audio(self, packet: AudioPacket) -> None:
        """Mux an audio packet unchanged.

        It is ignored if the container has no audio stream, or if it precedes the first frame.

        Raises:
            FFmpegError: writing failed.
        """
        if self._audio is None or self._start_s is None or packet.stamp_s < self._start_s:
            return
        time_base = self._audio.time_base or MILLISECOND
        pts = round((packet.stamp_s - self._start_s) / time_base)
        self._last_audio_pts = max(self._last_audio_pts + 1, pts)
        copied: Packet[Stream] = Packet(packet.content)
        copied.stream = self._audio
        copied.time_base = time_base
        copied.pts = copied.dts = self._last_audio_pts
        copied.duration = round(packet.duration_s / time_base)
        self._container.mux(copied)

    def close(self) -> None:
        """Flush the encoder and write the trailer.

        Raises:
            FFmpegError: writing failed; the container is closed anyway.
            OSError: likewise.
        """
        with closing(self._container):
            for packet in self._video.encode(None) if self._start_s is not None else ():
                self._container.mux(packet)

    def _open(self, audio: AudioHeader | None) -> None:
        self._container = av.open(
            self._url, "w", format=self._muxer, container_options=self._container_options
        )
        try:
            if self._creation_time is not None:
                moment = datetime.fromtimestamp(self._creation_time, UTC).isoformat()
                self._container.metadata["creation_time"] = moment.replace("+00:00", "Z")
            self._video = self._add_video(self._container)
            self._audio = self._add_audio(self._container, audio)
            with ffmpeg_errors():
                self._container.start_encoding()
        except BaseException:
            with suppress(FFmpegError, OSError):
                self._container.close()
            raise

    def _add_video(self, container: OutputContainer) -> VideoStream:
        rate = self._info.average_rate or IMAGE_RATE
        stream = container.add_stream(self._encoder.codec.name, rate)
        assert isinstance(stream, VideoStream)
        self._encoder.configure(stream.codec_context, rate=rate)
        stream.time_base = MILLISECOND
        if self._info.rotation or self._info.flip:
            stream.set_display_rotation(-self._info.rotation, hflip=self._info.flip)
        return stream

    def _add_audio(self, container: OutputContainer, header: AudioHeader | None) -> Stream | None:
        if header is None:
            return None
        with _open_header(header) as template:
            stream = template.streams[0]
            if self._muxer == "flv" and stream.name not in FLV_AUDIO:
                self._warn_of_missing_audio(f"no {stream.name} in FLV")
                return None
            try:
                return add_copy(container, stream)
            except ValueError as error:
                self._warn_of_missing_audio(str(error))
                return None

    def _warn_of_missing_audio(self, reason: str) -> None:
        logger.warning("the audio is left out: %s cannot hold it (%s)", self._muxer, reason)


def format_key(info: FrameFormat) -> tuple[object, ...]:
    """Return the part of a format that must not change within a file, for comparison."""
    return (info.width, info.height, info.format, info.colour, info.rotation, info.flip)


def _open_header(header: AudioHeader) -> InputContainer:
    return av.open(io.BytesIO(header.header), "r")
