"""Forwards audio packets of a live source, undecoded and stamped on the clock of its frames."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.stream import wire
from lfdn_video.stream.capture.pacing import MAX_SHIFT_S, SourceClock

SILENCE_BYTES = 16
"""Size of the packet in a header file; its content is never heard."""

HEADER_FORMATS = ("nut", "matroska", "mov", "wav")
"""Containers of the header; the first that holds the codec is taken."""

ADTS_SYNC = 0xFFF
ADTS_NO_CHANNELS = 0
"""The number of channels is in the packet itself, which no container's header can repeat."""


class AudioForwarder:
    """Sends the packets of one audio stream as `wire.AudioPacket`.

    AAC that carries its parameters in each packet (ADTS), as in MPEG-TS, is sent without them, with
    the parameters in the header: MP4, Matroska and FLV want it so, and MPEG-TS takes it too.

    Packets are stamped by their timestamps, on the clock of the frames: what arrives together does
    not belong together, because FFmpeg keeps what it read while it probed, and senders send video
    ahead of audio.
    """

    def __init__(self, stream: Stream, send: Callable[[object], None], clock: SourceClock) -> None:
        self.stream = stream
        self._send = send
        self._clock = clock
        self._header_sent = False
        self._filter: BitStreamFilterContext | None = None
        self._sent_until_s = float("-inf")
        """Stamp at the end of the last packet that was sent."""

    def forward(self, packet: Packet[Stream], arrival_s: float) -> None:
        """Stamp and send a packet, unless it has no timestamp, or others of its time were sent.

        Args:
            packet: a packet of `stream`, with data.
            arrival_s: the time it was read, by `time.monotonic`.
        """
        time_s = packet_time_s(packet)
        if time_s is None or not self._send_header(packet):
            return
        stamp_s = self._clock.stamp(time_s, arrival_s)
        duration_s = float((packet.duration or 0) * packet.time_base)
        overlap_s = self._sent_until_s - stamp_s
        if duration_s / 2 < overlap_s < MAX_SHIFT_S:  # the clock was set back
            return
        self._sent_until_s = stamp_s + duration_s
        for content in self._filtered(packet):
            self._send(wire.AudioPacket(content, stamp_s, duration_s))

    def send_header(self, config: bytes | None = None) -> None:
        """Send the header.

        Args:
            config: parameters of the decoder, where the stream has none.

        Raises:
            FFmpegError, ValueError: it cannot be made.
        """
        self._send(wire.AudioHeader(_make_header(self.stream, config)))
        self._header_sent = True

    def _send_header(self, packet: Packet[Stream]) -> bool:
        """Send the header of ADTS with its first packet; False if there is none so far."""
        if not self._header_sent and (config := read_adts_config(bytes(packet))) is not None:
            self._filter = BitStreamFilterContext("aac_adtstoasc", self.stream)
            self.send_header(config)
        return self._header_sent

    def _filtered(self, packet: Packet[Stream]) -> list[bytes]:
        if self._filter is None:
            return [bytes(packet)]
        try:
            return [bytes(each) for each in self._filter.filter(packet)]
        except FFmpegError:  # a corrupt packet
            self._filter.flush()
            return []


def forward_audio(
    container: InputContainer, send: Callable[[object], None], clock: SourceClock
) -> AudioForwarder | None:
    """Send the header of the container's first audio stream.

    Args:
        container: an open source.
        send: sends a message of `wire.py`.
        clock: the clock of its frames.

    Returns:
        The forwarder for its packets; None without audio, or if it cannot be copied, which a
        `wire.Note` reports.
    """
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    forwarder = AudioForwarder(stream, send, clock)
    if stream.name == "aac" and not stream.codec_context.extradata:
        return forwarder  # ADTS: its first packet tells the parameters
    try:
        forwarder.send_header()
    except (FFmpegError, ValueError) as error:
        reason = ffmpeg_message(error) if isinstance(error, FFmpegError) else str(error)
        send(wire.Note(f"the audio ({stream.name}) cannot be copied and is left out: {reason}"))
        return None
    return forwarder


def read_adts_config(content: bytes) -> bytes | None:
    """Read the parameters of AAC from a packet's ADTS header.

    Args:
        content: the packet.

    Returns:
        MPEG-4's AudioSpecificConfig of two bytes; None if there is no such header, or if it leaves
        the number of channels open.
    """
    if len(content) < 7 or int.from_bytes(content[:2]) >> 4 != ADTS_SYNC:
        return None
    head = int.from_bytes(content[2:4])
    profile, rate, channels = head >> 14, head >> 10 & 0xF, head >> 6 & 0x7
    if channels == ADTS_NO_CHANNELS:
        return None
    return ((profile + 1) << 11 | rate << 7 | channels << 3).to_bytes(2)


def packet_time_s(packet: Packet[Stream]) -> float | None:
    """Return a packet's pts, or else its dts, in seconds; None if it has neither."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else float(ticks * (packet.time_base or Fraction(0)))


def _make_header(stream: Stream, config: bytes | None) -> bytes:
    """Write a file with the stream's codec parameters, which PyAV cannot pass otherwise.

    Raises:
        FFmpegError, ValueError: none of `HEADER_FORMATS` holds such a stream.
    """
    problems: list[FFmpegError | ValueError] = []
    for muxer in HEADER_FORMATS:
        try:
            header = _write_header(stream, config, muxer)
            with av.open(io.BytesIO(header)) as written:
                # NUT makes E-AC-3 AC-3, for example, and loses the channels of ADPCM.
                if _is_same_audio(written.streams[0], stream):
                    return header
        except (FFmpegError, ValueError) as error:
            problems.append(error)
    raise problems[0] if problems else ValueError(f"{', '.join(HEADER_FORMATS)} change it")


def _is_same_audio(written: Stream, source: Stream) -> bool:
    """Tell whether a header tells the codec, and the number of channels if the source does.

    The numbers may differ: that of AAC may double when its first packet is decoded.
    """
    contexts = (written.codec_context, source.codec_context)
    if not all(isinstance(each, AudioCodecContext) for each in contexts):
        return written.codec_context is source.codec_context  # neither has a decoder
    told, known = (cast("AudioCodecContext", each) for each in contexts)
    tells_channels = bool(told.layout.nb_channels) or not known.layout.nb_channels
    return told.name == known.name and tells_channels


def _write_header(stream: Stream, config: bytes | None, muxer: str) -> bytes:
    header = io.BytesIO()
    # Exact, since a header that differs means other audio: Matroska would have random numbers.
    options = {"fflags": "+bitexact"}
    with av.open(header, "w", format=muxer, options=options) as container:
        copy = container.add_stream_from_template(stream, opaque=True)
        if config is not None:
            copy.codec_context.extradata = config
        # A file without packets cannot be opened.
        silence: Packet[Stream] = Packet(bytes(SILENCE_BYTES))
        silence.stream = copy
        silence.time_base = Fraction(1)
        silence.pts = silence.dts = 0
        silence.duration = 1
        container.mux(silence)
    return header.getvalue()
