"""Transcodes audio for containers that cannot hold the source's codec."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from typing import cast

from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.codec import Codec
from av.codec.context import CodecContext
from av.container import OutputContainer
from av.error import BlockingIOError as FFmpegAgain
from av.error import EOFError as FFmpegEnd
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream

from lfdn_video.ffmpeg import has_decoder

AUDIO_CODECS = {
    **dict.fromkeys(("mp4", "mov", "ipod", "3gp", "3g2", "f4v", "flv", "mpegts", "rtsp"), "aac"),
    "webm": "libopus",
    **dict.fromkeys(("matroska", "nut", "ogg", "ogv"), "flac"),
    "avi": "libmp3lame",
    "mpeg": "mp2",
    "asf": "libmp3lame",
    "mxf": "pcm_s16le",
}
"""Encoder for each container, by FFmpeg's names: one that its players know."""

LATE_START_CONTAINERS = frozenset({"avi", "mxf", "ogg", "ogv"})
"""Containers that cannot say that audio begins late; silence before it says the same."""

CONTAINER_RATES = {"mxf": 48_000}
"""The only sample rate of a container, in Hz."""

CHANNEL_BITS_PER_S = 96_000
USUAL_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Channel layouts by the number of channels, from 1."""

FALLBACK_LAYOUT = "stereo"
"""For encoders without the source's channel layout."""


class Transcoder:
    """Decodes one stream of audio, and encodes it for a target.

    Gaps in the source's timestamps become silence, so that the clock stays right.
    """

    def __init__(
        self, target: OutputContainer, source: Stream, *, max_silence_s: float | None = None
    ) -> None:
        """Add a stream to a target.

        Args:
            target: an open container without a header so far, one of `AUDIO_CODECS`.
            source: the source's stream of audio.
            max_silence_s: a longer gap stays a gap, for containers with timestamps; None: none
                does. FFmpeg makes all silence of a gap at once, so that of hours needs gigabytes.

        Raises:
            FFmpegError, ValueError: there is no such decoder, or no encoder takes its samples.
        """
        self._source = cast("AudioStream", source)
        self._graph: Graph | None = None
        self._form: tuple[object, ...] = ()
        """Rate, sample format and layout that the graph takes."""
        self._end_s: float | None = None
        """Where the last frame ended."""
        self._max_silence_s = max_silence_s
        self._fills_start = target.format.name in LATE_START_CONTAINERS
        self.codec = Codec(AUDIO_CODECS[target.format.name], "w")
        self.target = _add_stream(target, self.codec.name, self._source)

    def transcode(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Transcode a packet.

        Args:
            packet: a packet of the source with the target's times; None flushes both codecs.

        Returns:
            The packets of the target that are ready.

        Raises:
            FFmpegError: the packet is corrupt.
        """
        context = self._source.codec_context
        frames = context.decode(cast("Packet[AudioStream] | None", packet))
        encoded: list[Packet[Stream]] = []
        for frame in [*frames, None] if packet is None else frames:
            for samples in self._resample(frame):
                encoded += self.target.encode(samples)
        if packet is None:
            with suppress(FFmpegEnd):
                encoded += self.target.encode(None)
        return [each for each in encoded if each.size]

    def _resample(self, frame: AudioFrame | None) -> list[AudioFrame]:
        if frame is not None and self._breaks_off(frame):
            # What the old graph holds, less than a frame of the encoder, is lost.
            self._graph = self._make_graph(frame)
        if self._graph is None:
            return []
        self._graph.push(frame)
        found: list[AudioFrame] = []
        with suppress(FFmpegAgain, FFmpegEnd):
            while True:
                found.append(cast("AudioFrame", self._graph.pull()))
        return found

    def _breaks_off(self, frame: AudioFrame) -> bool:
        """Tell whether a frame is the first one of its form, as broadcasts change it between
        programmes, or follows a gap that stays one."""
        end_s = self._end_s
        start_s = end_s if frame.time is None else frame.time
        if start_s is not None:
            self._end_s = start_s + frame.samples / frame.sample_rate
        if self._graph is None or _form(frame) != self._form:
            return True
        if end_s is None or start_s is None or self._max_silence_s is None:
            return False
        return abs(start_s - end_s) > self._max_silence_s

    def _make_graph(self, frame: AudioFrame) -> Graph:
        encoder = self.target.codec_context
        self._form = _form(frame)
        layout = frame.layout.name
        start = ":first_pts=0" if self._fills_start else ""
        graph = Graph()
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=_usual_layout(frame.layout) if "channels" in layout else layout,
            time_base=frame.time_base,
        )
        wanted = f"sample_fmts={encoder.format.name}:sample_rates={encoder.sample_rate}"
        nodes = (
            source,
            graph.add("aresample", f"async=1{start}"),
            graph.add("aformat", f"{wanted}:channel_layouts={encoder.layout.name}"),
            graph.add("abuffersink"),
        )
        graph.link_nodes(*nodes).configure()
        if encoder.frame_size:
            graph.set_audio_frame_size(encoder.frame_size)
        return graph


def _form(frame: AudioFrame) -> tuple[object, ...]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def can_transcode(stream: Stream, container: str) -> bool:
    """Tell whether there are a decoder for a stream of audio and an encoder for a container."""
    return stream.type == "audio" and container in AUDIO_CODECS and has_decoder(stream)


def _add_stream(target: OutputContainer, codec: str, source: AudioStream) -> AudioStream:
    """Add a stream with an open encoder, in the source's layout if the encoder takes it."""
    rate = CONTAINER_RATES.get(target.format.name) or _choose_rate(codec, source.rate)
    usual = _usual_layout(source.layout)
    for layout in (source.layout.name, usual):
        probe = cast("AudioCodecContext", CodecContext.create(codec, "w"))
        with suppress(FFmpegError, ValueError):
            _configure(probe, rate, layout)
            break
    else:
        layout = FALLBACK_LAYOUT
    stream = cast("AudioStream", target.add_stream(codec, rate))
    _configure(stream.codec_context, rate, layout)
    return stream


def _choose_rate(codec: str, rate: int) -> int:
    """Choose the encoder's nearest sample rate, if possible a higher one, which loses nothing."""
    possible = Codec(codec, "w").audio_rates or [rate]
    return min(possible, key=lambda known: (known < rate, abs(known - rate)))


def _usual_layout(layout: AudioLayout) -> str:
    """Return the name of the usual layout of as many channels: many files name none."""
    count = layout.nb_channels
    return USUAL_LAYOUTS[count - 1] if count <= len(USUAL_LAYOUTS) else layout.name


def _configure(context: AudioCodecContext, rate: int, layout: str) -> None:
    formats = context.codec.audio_formats or []
    context.sample_rate = rate
    context.format = formats[0].name if formats else "s16"
    context.layout = layout
    context.time_base = Fraction(1, rate)
    context.bit_rate = CHANNEL_BITS_PER_S * context.layout.nb_channels
    context.open()
