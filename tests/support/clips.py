"""Makes and changes the small clips that tests read, with PyAV alone.

Nothing of `lfdn_video` is used, so that the clips can prove something about it. Frames are seeded
noise: every sample matters, nothing compresses away.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

WIDTH_PX, HEIGHT_PX = 64, 48
SAMPLE_RATE = 48_000
TS_PACKET_BYTES = 188

ASS_HEADER = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour
Style: Default,Arial,16,&Hffffff

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The properties of a clip; `make` writes it."""

    codec: str = "ffv1"
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)
    pts: Sequence[int] = tuple(range(10))
    time_base: Fraction = Fraction(1, 25)
    options: Mapping[str, str] = field(default_factory=dict)
    colour: tuple[int, int, int, int] | None = None
    """matrix, range, primaries, transfer."""
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0
    """Counter-clockwise degrees of the display matrix."""
    flip: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    audio: str | None = None
    """Codec of two audio streams, German and English; None: no audio."""
    audio_s: float | None = None
    """Length of the audio in seconds; None: that of the video."""
    subtitles: bool = False
    chapters: bool = False
    attachment: bool = False

    def make(self, path: Path) -> Path:
        """Write the clip to `path`, whose suffix chooses the container, and return `path`."""
        with av.open(str(path), "w") as container:
            container.metadata.update(self.metadata)
            if self.chapters:
                container.set_chapters([_chapter(0, "Start"), _chapter(1, "Ende")])
            video = self._add_video(container)
            audios = [self._add_audio(container, name) for name in self._languages()]
            texts = _add_subtitles(container) if self.subtitles else None
            if self.attachment:
                container.add_attachment("font.ttf", "font/ttf", b"not really a font" * 9)
            for number, pts in enumerate(self.pts):
                container.mux(video.encode(self._frame(number, pts)))
            container.mux(video.encode(None))
            for number, audio in enumerate(audios):
                _encode_tone(container, audio, number, self.audio_s or self.length_s)
            if texts is not None:
                container.mux(_subtitle(texts, 100, 200, "Rain"))
                container.mux(_subtitle(texts, 300, 50, "{\\i1}more rain"))
        return path

    @property
    def length_s(self) -> float:
        return float((self.pts[-1] + 1) * self.time_base)

    def _languages(self) -> list[str]:
        return ["deu", "eng"] if self.audio else []

    def _add_video(self, container: OutputContainer) -> VideoStream:
        stream = container.add_stream(self.codec, 25, options=dict(self.options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self.size
        stream.pix_fmt = self.pixel_format
        context = stream.codec_context
        stream.time_base = context.time_base = self.time_base
        context.sample_aspect_ratio = self.sample_aspect_ratio
        if self.colour is not None:
            context.colorspace, context.color_range = self.colour[:2]
            context.color_primaries, context.color_trc = self.colour[2:]
        if self.rotation or self.flip:
            stream.set_display_rotation(self.rotation, hflip=self.flip)
        return stream

    def _add_audio(self, container: OutputContainer, language: str) -> AudioStream:
        stream = container.add_stream(self.audio or "", SAMPLE_RATE)
        assert isinstance(stream, AudioStream)
        stream.metadata.update({"language": language, "title": f"Ton {language}"})
        stream.disposition = (
            Disposition.default if language == "deu" else Disposition.hearing_impaired
        )
        return stream

    def _frame(self, number: int, pts: int) -> VideoFrame:
        frame = noise(number, self.pixel_format, self.size)
        frame.pts, frame.time_base = pts, self.time_base
        following = [other for other in self.pts if other > pts]
        frame.duration = min(following) - pts if following else 1
        return frame


def noise(seed: int, pixel_format: str, size: tuple[int, int]) -> VideoFrame:
    """Make a frame with noise in every plane, within the depth of the pixel format."""
    frame = VideoFrame(*size, pixel_format)
    random = np.random.default_rng(seed)
    bits = frame.format.components[0].bits
    kind = np.uint8 if bits <= 8 else np.uint16
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
        lines[:] = random.integers(0, 1 << bits, lines.shape, dtype=kind)
    return frame


def planes(path: Path) -> list[list[bytes]]:
    """Decode a file with FFmpeg; return each frame's planes, without line padding."""
    decoded = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            deep = 2 if frame.format.components[0].bits > 8 else 1
            packed = len(frame.format.components) > 1 and not frame.format.is_planar
            decoded.append(
                [
                    np.frombuffer(memoryview(plane), np.uint8)
                    .reshape(plane.height, -1)[:, : plane.width * deep * (4 if packed else 1)]
                    .tobytes()
                    for plane in frame.planes
                ]
            )
    return decoded


def times(path: Path) -> list[Fraction]:
    """Decode a file with FFmpeg; return each frame's presentation time in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        return [(frame.pts or 0) * stream.time_base for frame in container.decode(stream)]


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Demux the streams of type `kind`; return each one's packets as times and bytes."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size:
                time = (packet.pts or 0) * packet.time_base
                found[packet.stream.index].append((time, bytes(packet)))
    return list(found.values())


def changing_size(
    path: Path,
    first: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
    then: tuple[int, int] = (32, 64),
) -> Path:
    """Write ten frames in one stream; from the sixth on, they are of the size `then`."""
    with av.open(str(path), "w") as container:
        clip = Clip(codec="libx264", size=first, options={"bf": "0"})
        stream = clip._add_video(container)
        for number in range(5):
            container.mux(stream.encode(clip._frame(number, number)))
        container.mux(stream.encode(None))
        other = av.CodecContext.create("libx264", "w")
        assert isinstance(other, VideoCodecContext)
        other.width, other.height, other.pix_fmt = *then, "yuv420p"
        other.time_base, other.options = clip.time_base, {"bf": "0"}
        for number in range(5, 10):
            frame = noise(number, "yuv420p", then)
            frame.pts, frame.time_base = number, clip.time_base
            for packet in other.encode(frame):
                _mux_as(container, stream, packet, clip.time_base)
        for packet in other.encode(None):
            _mux_as(container, stream, packet, clip.time_base)
    return path


def with_cover(path: Path, target: Path) -> Path:
    """Copy a file's first stream, video or audio, and add a red image as the cover."""
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), (255, 0, 0)).save(picture, "JPEG")
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        main = container.add_stream_from_template(source.streams[0], opaque=True)
        cover = container.add_stream("mjpeg", 25)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.start_encoding()
        packet: Packet[Stream] = Packet(picture.getvalue())
        packet.stream, packet.time_base = cover, Fraction(1, 25)
        packet.pts = packet.dts = 0
        container.mux(packet)
        for original in source.demux(source.streams[0]):
            if original.size:
                original.stream = main
                container.mux(original)
    return target


def audio_only(path: Path) -> Path:
    """Write half a second of AAC, without video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", SAMPLE_RATE)
        assert isinstance(stream, AudioStream)
        _encode_tone(container, stream, 0, 0.5)
    return path


def wall_clock(path: Path, target: Path, start_s: int) -> Path:
    """Copy video and audio, with timestamps `start_s` later, as cameras with a wall clock do."""
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        kept = [stream for stream in source.streams if stream.type in ("video", "audio")]
        made = {
            stream.index: container.add_stream_from_template(stream, opaque=True) for stream in kept
        }
        container.start_encoding()
        for packet in source.demux(kept):
            if packet.size:
                later = int(start_s / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + later
                packet.dts = None if packet.dts is None else packet.dts + later
                packet.stream = made[packet.stream.index]
                container.mux(packet)
    return target


def bt709(path: Path, pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> Path:
    """Write two frames of the same RGB pixels as HD video: BT.709, 4:2:0, limited range."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 25)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = 1, 1
        context.color_primaries = context.color_trc = 1
        frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="itu709", src_color_range=2, dst_color_range=1
        )
        for pts in range(2):
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Concatenate files bytewise, as `cat` does; the timestamps start again in each."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def delayed(path: Path, target: Path, by_s: int) -> Path:
    """Copy all streams, with timestamps `by_s` later."""
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        copies = {
            stream.index: container.add_stream_from_template(stream, opaque=True)
            for stream in source.streams
        }
        for packet in source.demux():
            if packet.size:
                ticks = round(by_s / packet.time_base)
                packet.pts = (packet.pts or 0) + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    return target


def truncate(path: Path, share: float) -> Path:
    """Keep only the first `share` of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def corrupt_packet(path: Path, number: int) -> Path:
    """Overwrite the video packet of this number with zeros."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        start = content.index(bytes(packet))
        content[start : start + packet.size] = bytes(packet.size)
    path.write_bytes(content)
    return path


def corrupt_ts_packet(path: Path, number: int) -> Path:
    """Keep only the start of the first slice of a packet: H.264 in MPEG-TS."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    begun = sorted(start for start in starts if start is not None)
    first, after = begun[number], [*begun, len(content)][begun.index(begun[number]) + 1]
    video = _ts_stream(content, first)
    for start in range(first, after, TS_PACKET_BYTES):
        if _ts_stream(content, start) == video:
            extra = content[start + 4] + 1 if content[start + 3] & 0x20 else 0
            kept = start + 4 + extra
            if start == first:
                kept += 9 + content[kept + 8] + 11  # timestamps, delimiter, 2 bytes of the slice
            content[kept : start + TS_PACKET_BYTES] = bytes(start + TS_PACKET_BYTES - kept)
    path.write_bytes(content)
    return path


def _ts_stream(content: bytearray, start: int) -> int:
    return int.from_bytes(content[start + 1 : start + 3]) & 0x1FFF


def _mux_as(
    container: OutputContainer, stream: Stream, packet: Packet[VideoStream], time_base: Fraction
) -> None:
    moved = cast("Packet[Stream]", packet)
    moved.stream, moved.time_base = stream, time_base
    container.mux(moved)


def _chapter(second: int, title: str) -> av.container.core.Chapter:
    start, end = second * 200, second * 200 + 200
    return {
        "id": second + 1,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def _encode_tone(
    container: OutputContainer, stream: AudioStream, number: int, length_s: float
) -> None:
    context = stream.codec_context
    context.open(strict=False)
    size = context.frame_size or 1024
    for start in range(0, int(length_s * SAMPLE_RATE), size):
        wave = np.sin((np.arange(size) + start) / (20 + number)) * 0.3
        frame = av.AudioFrame(format=context.format.name, layout=context.layout, samples=size)
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        frame.time_base = Fraction(1, SAMPLE_RATE)
        kind = {"flt": np.float32, "s16": np.int16, "s32": np.int32}[context.format.name[:3]]
        full = {"flt": 1, "s16": 2**15 - 1, "s32": 2**31 - 1}[context.format.name[:3]]
        scaled = (wave * full).astype(kind)
        per_plane = 1 if context.format.is_planar else context.layout.nb_channels
        for plane in frame.planes:
            plane.update(np.repeat(scaled, per_plane).tobytes())
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_subtitles(container: OutputContainer) -> Stream:
    stream = container.add_stream("ass")
    context = stream.codec_context
    assert isinstance(context, SubtitleCodecContext)
    context.subtitle_header = ASS_HEADER.encode()
    stream.time_base = context.time_base = Fraction(1, 1000)
    stream.metadata.update({"language": "deu", "title": "Untertitel"})
    stream.disposition = Disposition.forced
    return stream


def _subtitle(stream: Stream, start_ms: int, length_ms: int, text: str) -> Packet[Stream]:
    packet: Packet[Stream] = Packet(f"0,0,Default,,0,0,0,,{text}".encode())
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = start_ms
    packet.duration = length_ms
    return packet
