"""Forwards audio packets of a live source, undecoded and stamped on the clock of its frames."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.stream import wire

SILENCE_BYTES = 16
"""Size of the packet in a header file; its content is never heard."""

MAX_SHIFT_S = 1.0
"""A packet whose stamp differs more than this from its arrival, in seconds, resets the clock."""


class AudioForwarder:
    """Sends the packets of one audio stream as `wire.AudioPacket`.

    The first packet is stamped with its arrival; later ones keep their distance to it by their own
    timestamps, which are steadier than arrivals. If the two drift apart, the clock is reset.
    """

    def __init__(self, stream: Stream, send: Callable[[object], None]) -> None:
        self.stream = stream
        self._send = send
        self._offset_s: float | None = None
        """Stamp minus timestamp, in seconds; None before the first packet."""

    def forward(self, packet: Packet[Stream], arrival_s: float) -> None:
        """Stamp and send a packet; one without a timestamp is left out.

        Args:
            packet: a packet of `stream`, with data.
            arrival_s: the time it was read, by `time.monotonic`.
        """
        time_s = packet_time_s(packet)
        if time_s is None:
            return
        if self._offset_s is None or abs(time_s + self._offset_s - arrival_s) > MAX_SHIFT_S:
            self._offset_s = arrival_s - time_s
        duration_s = float((packet.duration or 0) * packet.time_base)
        self._send(wire.AudioPacket(bytes(packet), time_s + self._offset_s, duration_s))


def forward_audio(
    container: InputContainer, send: Callable[[object], None]
) -> AudioForwarder | None:
    """Send the header of the container's first audio stream.

    Returns:
        The forwarder for its packets; None without audio, or if it cannot be copied, which a
        `wire.Note` reports.
    """
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    try:
        header = _make_header(stream)
    except (FFmpegError, ValueError) as error:
        reason = ffmpeg_message(error) if isinstance(error, FFmpegError) else str(error)
        send(wire.Note(f"the audio ({stream.name}) cannot be copied and is left out: {reason}"))
        return None
    send(wire.AudioHeader(header))
    return AudioForwarder(stream, send)


def packet_time_s(packet: Packet[Stream]) -> float | None:
    """Return a packet's pts, or else its dts, in seconds; None if it has neither."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else float(ticks * (packet.time_base or Fraction(0)))


def _make_header(stream: Stream) -> bytes:
    """Write a NUT file with the stream's codec parameters, which PyAV cannot pass otherwise."""
    header = io.BytesIO()
    with av.open(header, "w", format="nut") as container:
        copy = container.add_stream_from_template(stream, opaque=True)
        silence: Packet[Stream] = Packet(
            bytes(SILENCE_BYTES)
        )  # a file without packets cannot be opened
        silence.stream = copy
        silence.time_base = Fraction(1)
        silence.pts = silence.dts = 0
        container.mux(silence)
    return header.getvalue()
