"""The audio of one open container of live frames: copied, or transcoded if it cannot hold it."""

from __future__ import annotations

import io
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Self

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from lfdn_video.ffmpeg import add_copy
from lfdn_video.output.audio import Transcoder, can_transcode
from lfdn_video.output.refusals import find_refusal
from lfdn_video.stream.wire import AudioHeader, AudioPacket

MAX_SILENCE_S = 1.0
"""Longest gap, in seconds, that is filled with silence; a source may be away for hours."""

DECODER_TIME_BASE = Fraction(1, 90_000)
"""Time base in which packets are given to a decoder."""

SERVER_MUXERS = frozenset({"rtsp"})
"""Muxers that open a connection for a header, so that none can be written on trial."""


class AudioRefusalError(Exception):
    """The container cannot hold the audio. It never leaves this folder."""


class LiveAudio:
    """One stream of audio in a container, and the decoder and encoder if it needs them.

    A session may last for days: what cannot be decoded is skipped, gaps stay gaps, and nothing is
    kept but the packets of a moment. Close it.
    """

    def __init__(
        self, target: OutputContainer, header: AudioHeader, *, muxer: str, transcodes: bool
    ) -> None:
        """Add the stream to a container.

        Args:
            target: an open container without a header so far.
            header: codec parameters of the audio.
            muxer: FFmpeg's name of the container's format.
            transcodes: decode and encode the packets instead of copying them.

        Raises:
            AudioRefusalError: it cannot be added in this way.
        """
        self._transcoder: Transcoder | None = None
        self._last_pts = -1
        self._resources = ExitStack()
        with ExitStack() as stack:
            source = stack.enter_context(av.open(io.BytesIO(header.header), "r"))
            self._source = source.streams[0]
            self._add(target, muxer, transcodes=transcodes)
            self._resources = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def codecs(self) -> tuple[str, str]:
        """FFmpeg's names of the codecs of the source and in the container."""
        name = self._source.name or "unknown"
        transcoder = self._transcoder
        return name, transcoder.codec.canonical_name if transcoder is not None else name

    def prepare(self, packet: AudioPacket, since_s: float) -> list[Packet[Stream]]:
        """Make the packets for the muxer.

        Args:
            packet: a packet of the source.
            since_s: its time in the container, in seconds.

        Returns:
            Packets in order; none while the encoder holds them back, or if it cannot be decoded.
        """
        # The muxer chooses the target's time base when it writes its header.
        copies = self._transcoder is None
        time_base = (copies and self._target.time_base) or DECODER_TIME_BASE
        prepared: Packet[Stream] = Packet(packet.content)
        prepared.time_base = time_base
        prepared.pts = prepared.dts = round(since_s / time_base)
        prepared.duration = round(packet.duration_s / time_base)
        if self._transcoder is None:
            return self._in_order([prepared])
        prepared.stream = self._source
        try:
            return self._in_order(self._transcoder.transcode(prepared))
        except (FFmpegError, ValueError):  # a corrupt packet
            return []

    def flush(self) -> list[Packet[Stream]]:
        """Return what the encoder holds back; call it after the last packet."""
        if self._transcoder is not None:
            with suppress(FFmpegError, ValueError):
                return self._in_order(self._transcoder.transcode(None))
        return []

    def close(self) -> None:
        """Free the decoder."""
        self._resources.close()

    def _add(self, target: OutputContainer, muxer: str, *, transcodes: bool) -> None:
        if transcodes:
            if not can_transcode(self._source, muxer):
                raise AudioRefusalError("this FFmpeg cannot convert it")
            try:
                self._transcoder = Transcoder(target, self._source, max_silence_s=MAX_SILENCE_S)
            except (FFmpegError, ValueError) as error:
                raise AudioRefusalError(str(error)) from error
            self._target: Stream = self._transcoder.target
            return
        refusal = None if muxer in SERVER_MUXERS else find_refusal(self._source, muxer)
        if refusal is not None:
            raise AudioRefusalError(refusal)
        try:
            self._target = add_copy(target, self._source)
        except ValueError as error:
            raise AudioRefusalError(str(error)) from error

    def _in_order(self, packets: list[Packet[Stream]]) -> list[Packet[Stream]]:
        """Make the times rise: muxers refuse others, and the clock of a source may be set back."""
        # What an encoder puts before time 0 is silence; muxers would delay the frames by it.
        heard = [packet for packet in packets if packet.pts is not None and packet.pts >= 0]
        for packet in heard:
            assert packet.pts is not None
            self._last_pts = max(self._last_pts + 1, packet.pts)
            packet.pts = packet.dts = self._last_pts
            packet.stream = self._target
        return heard
