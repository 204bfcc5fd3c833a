"""Encodes and muxes live frames and their audio into an open file or stream.

Frames arrive at a variable rate; their timestamps are those of capture. Packets leave the encoder
immediately, so a file can be read while it is written. `recording.py` writes files, `pusher.py`
sends to an address; they also handle failures.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import PictureType
from av.video.stream import VideoStream

from lfdn_video.ffmpeg import ffmpeg_errors, ffmpeg_message
from lfdn_video.media import Frame, FrameFormat
from lfdn_video.options import IMAGE_RATE, EncodeOptions
from lfdn_video.stream.sinks.live_audio import AudioRefusalError, LiveAudio
from lfdn_video.stream.sinks.live_encoder import MILLISECOND, make_live_encoder
from lfdn_video.stream.wire import AudioHeader, AudioPacket

KEYFRAME_INTERVAL_S = 2.0
"""Keyframe interval, for late joiners."""

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

        Audio that the container cannot hold is transcoded, or else left out, with a warning.

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
        self._audio: LiveAudio | None = None
        self._open_with_audio(audio)

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
        """Mux an audio packet, transcoded if the container requires it.

        It is ignored if the container has no audio stream, or if it precedes the first frame.

        Raises:
            FFmpegError: writing failed.
        """
        if self._audio is None or self._start_s is None or packet.stamp_s < self._start_s:
            return
        for ready in self._audio.prepare(packet, packet.stamp_s - self._start_s):
            self._container.mux(ready)

    def close(self) -> None:
        """Flush the encoder and write the trailer.

        Raises:
            FFmpegError: writing failed; the container is closed anyway.
            OSError: likewise.
        """
        with ExitStack() as stack:
            if self._audio is not None:
                stack.callback(self._audio.close)
            stack.callback(self._container.close)
            if self._start_s is None:
                return
            for packet in self._video.encode(None):
                self._container.mux(packet)
            for packet in self._audio.flush() if self._audio is not None else ():
                self._container.mux(packet)

    def _open_with_audio(self, header: AudioHeader | None) -> None:
        """Open the container with the audio copied, or else transcoded, or else without it."""
        if header is None:
            self._open(None)
            return
        refusal = self._try_audio(header, transcodes=False)
        if refusal is None:
            return
        problem = f"{self._muxer} cannot hold it ({refusal})"
        if (failure := self._try_audio(header, transcodes=True)) is not None:
            logger.warning("the audio is left out: %s, and %s; record to .mkv", problem, failure)
            self._open(None)
        elif self._audio is not None:
            logger.warning("the audio (%s) becomes %s: %s", *self._audio.codecs, problem)

    def _try_audio(self, header: AudioHeader, *, transcodes: bool) -> str | None:
        """Open the container with audio; return the reason if that cannot be."""
        try:
            self._open(header, transcodes=transcodes)
        except AudioRefusalError as error:
            return str(error)
        except FFmpegError as error:
            if isinstance(error, OSError):  # not the audio's fault
                raise
            return ffmpeg_message(error)
        return None

    def _open(self, header: AudioHeader | None, *, transcodes: bool = False) -> None:
        self._audio = None
        self._container = av.open(
            self._url, "w", format=self._muxer, container_options=self._container_options
        )
        try:
            if self._creation_time is not None:
                moment = datetime.fromtimestamp(self._creation_time, UTC).isoformat()
                self._container.metadata["creation_time"] = moment.replace("+00:00", "Z")
            self._video = self._add_video(self._container)
            if header is not None:
                self._audio = LiveAudio(
                    self._container, header, muxer=self._muxer, transcodes=transcodes
                )
            with ffmpeg_errors():
                self._container.start_encoding()
        except BaseException:
            if self._audio is not None:
                self._audio.close()
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


def format_key(info: FrameFormat) -> tuple[object, ...]:
    """Return the part of a format that must not change within a file, for comparison."""
    return (info.width, info.height, info.format, info.colour, info.rotation, info.flip)
