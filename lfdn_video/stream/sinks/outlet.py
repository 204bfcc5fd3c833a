"""One open file or stream that live frames are written into as they come, with their audio.

Frames come at a variable rate and nothing is known of those that follow: the encoder gives each
packet out at once, times are those of capture, and what is written can be read back at once. Names
of files, their rotation and what is done when one fails is the business of `recording.py` and
`pusher.py`.
"""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from lfdn_video.errors import OptionError
from lfdn_video.ffmpeg import ffmpeg_errors, ffmpeg_words
from lfdn_video.media import Frame, PixelFormat, VideoInfo
from lfdn_video.options import CONTAINER_CODECS, DEFAULT_CODEC, IMAGE_RATE, EncodeOptions
from lfdn_video.output.encoder import Encoder, find_codec
from lfdn_video.stream.wire import AudioHeader, AudioPacket

MILLISECOND = Fraction(1, 1000)
"""The clock of what is written: Matroska and FLV have no finer one."""

KEY_FRAME_S = 2.0
"""A picture that needs no other one, so often: who comes later can begin there."""

CODEC_OPTIONS: Mapping[str, Mapping[str, str]] = {
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
"""Encoders that keep up with a camera and give each frame out at once."""

PLAYABLE_FORMAT = "yuv420p"
"""What every player and browser shows."""

FLV_AUDIO = {"aac", "mp3", "mp3float"}
"""FFmpeg's muxer ends the process over some others."""

LONGEST_AUDIO_S = 30.0
"""Audio that waits for its pictures."""

_log = logging.getLogger(__name__)


class AudioQueue:
    """What is known of the audio, and the packets that wait for their pictures.

    Filled by one thread and emptied by another.
    """

    def __init__(self) -> None:
        self.header: AudioHeader | None = None
        self._packets: deque[AudioPacket] = deque()

    def add(self, message: AudioHeader | AudioPacket) -> None:
        if isinstance(message, AudioHeader):
            if message != self.header:
                self._packets.clear()
            self.header = message
            return
        self._packets.append(message)
        while message.stamp_s - self._packets[0].stamp_s > LONGEST_AUDIO_S:
            self._packets.popleft()

    def until(self, stamp_s: float) -> list[AudioPacket]:
        """Take what is to be heard before."""
        taken = []
        while self._packets and self._packets[0].stamp_s <= stamp_s:
            taken.append(self._packets.popleft())
        return taken


class Outlet:
    """An open container. Making one raises OptionError or FFmpegError; `close` it."""

    def __init__(
        self,
        name: str,
        kind: str,
        info: VideoInfo,
        encode: EncodeOptions,
        *,
        container_options: Mapping[str, str] | None = None,
        audio: AudioHeader | None = None,
        began_at: float | None = None,
    ) -> None:
        """`name`, `kind`: as FFmpeg has them. `began_at`: to be told as the time of creation."""
        self._kind = kind
        self._info = replace(info, time_base=MILLISECOND)
        self._encoder = live_encoder(self._info, encode, kind)
        for warning in self._encoder.warnings:
            _log.info("%s: %s", kind, warning)
        self._start_s: float | None = None
        self._last_ticks = self._last_audio_ticks = -1
        self._key_s = float("-inf")
        self._began_at = began_at
        self._place = (name, kind, dict(container_options or {}))
        self._audio: Stream | None = None
        try:
            self._open(audio)
        except FFmpegError as error:
            if audio is None or isinstance(error, OSError):
                raise
            self._without_audio(ffmpeg_words(error))
            self._open(None)

    def _open(self, audio: AudioHeader | None) -> None:
        """Open the container and write its header."""
        name, kind, options = self._place
        self._container = av.open(name, "w", format=kind, container_options=options)
        try:
            if self._began_at is not None:
                moment = datetime.fromtimestamp(self._began_at, UTC).isoformat()
                self._container.metadata["creation_time"] = moment.replace("+00:00", "Z")
            self._video = self._add_video(self._container)
            self._audio = self._add_audio(self._container, audio)
            with ffmpeg_errors():
                self._container.start_encoding()
        except BaseException:
            with suppress(FFmpegError, OSError):
                self._container.close()
            raise

    def write(self, frame: Frame, stamp_s: float) -> None:
        """Encode and write a frame; times count from the first one's stamp."""
        if self._start_s is None:
            self._start_s = stamp_s
        since_s = stamp_s - self._start_s
        video = self._encoder.prepare(frame)
        self._last_ticks = max(self._last_ticks + 1, round(since_s / MILLISECOND))
        video.pts, video.duration, video.time_base = self._last_ticks, 0, MILLISECOND
        if since_s - self._key_s >= KEY_FRAME_S:
            video.pict_type = PictureType.I
            self._key_s = since_s
        for packet in self._video.encode(video):
            self._container.mux(packet)

    def write_audio(self, packet: AudioPacket) -> None:
        """Copy a packet, if this takes audio and the pictures have begun."""
        if self._audio is None or self._start_s is None or packet.stamp_s < self._start_s:
            return
        base = self._audio.time_base or MILLISECOND
        ticks = round((packet.stamp_s - self._start_s) / base)
        copied: Packet[Stream] = Packet(packet.content)
        copied.stream, copied.time_base = self._audio, base
        copied.pts = copied.dts = self._last_audio_ticks = max(self._last_audio_ticks + 1, ticks)
        copied.duration = round(packet.duration_s / base)
        self._container.mux(copied)

    def close(self) -> None:
        """Write what the encoder holds, and the end. FFmpegError or OSError if that fails."""
        with closing(self._container):
            for packet in self._video.encode(None) if self._start_s is not None else ():
                self._container.mux(packet)

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
        with _reopened(header) as template:
            stream = template.streams[0]
            if self._kind == "flv" and stream.name not in FLV_AUDIO:
                self._without_audio(f"no {stream.name} in FLV")
                return None
            try:
                return container.add_stream_from_template(stream, opaque=True)
            except ValueError as error:
                self._without_audio(str(error))
                return None

    def _without_audio(self, words: str) -> None:
        _log.warning("the audio is left out: %s cannot hold it (%s)", self._kind, words)


def live_encoder(info: VideoInfo, options: EncodeOptions, kind: str) -> Encoder:
    """The encoder for a container, fast and without delay. OptionError for what cannot be."""
    codec = find_codec(options.codec or CONTAINER_CODECS.get(kind, DEFAULT_CODEC))
    usual = dict(CODEC_OPTIONS.get(codec.name, {}))
    if options.crf is not None:
        usual = {name: value for name, value in usual.items() if name not in ("crf", "cq")}
    if options.preset is not None:
        usual.pop("preset", None)
    chosen = replace(options, codec_options={**usual, **options.codec_options})
    takes = {known.name for known in codec.video_formats or ()}
    if options.pixel_format is None and PLAYABLE_FORMAT in takes and _is_even(info):
        chosen = replace(chosen, pixel_format=PLAYABLE_FORMAT)
    return Encoder(info, chosen, codec=codec.name)


def check_encoding(options: EncodeOptions, kind: str) -> None:
    """OptionError for what cannot be, whatever the pictures; before there are any."""
    some = VideoInfo(
        path=Path("live"),
        container="",
        codec="",
        width=64,
        height=64,
        format=PixelFormat.parse(PLAYABLE_FORMAT),
        source_format=PLAYABLE_FORMAT,
        time_base=MILLISECOND,
    )
    encoder = live_encoder(some, options, kind)
    try:
        with av.open(io.BytesIO(), "w", format=kind) as container:
            stream = container.add_stream(encoder.codec.name, IMAGE_RATE)
            assert isinstance(stream, VideoStream)
            encoder.configure(stream.codec_context, rate=IMAGE_RATE)
    except ValueError as error:
        raise OptionError(
            f"{kind} cannot hold {encoder.codec.name}; choose another codec, or another ending"
        ) from error


def shape(info: VideoInfo) -> tuple[object, ...]:
    """What cannot change within a file or a stream."""
    return (info.width, info.height, info.format, info.colour, info.rotation, info.flip)


def _is_even(info: VideoInfo) -> bool:
    return info.width % 2 == 0 and info.height % 2 == 0


def _reopened(header: AudioHeader) -> InputContainer:
    return av.open(io.BytesIO(header.header), "r")
