"""Compares a copied stream with its source: for `verify.py`, which reads the video itself.

Packets are compared byte for byte and time by time. Where a container stores them in another form,
audio is decoded and its samples are compared, and text subtitles by their text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from lfdn_video.ffmpeg import (
    demux_packets,
    discard_other_streams,
    has_decoder,
    open_source,
    pyav_errors,
)
from lfdn_video.media import VideoInfo

AV_OFFSET_TOLERANCE_S = Fraction(1, 20)
"""Accepted change of a stream's offset from the video: containers differ in how they store the
samples with which an audio encoder starts up."""

TRANSCODED_TOLERANCE_S = 0.1
"""The same in another codec, whose first packets may hold nothing that is heard."""

AUDIO_LENGTH_TOLERANCE_S = 0.1
"""Accepted change of the length of decoded audio, for the samples with which encoders start and
end."""

MAX_JUMP_BACK_S = 1
"""Times that jump back further are those of joined recordings, which the target has on one clock.
"""

TEXT_CODECS = frozenset({"ass", "mov_text", "srt", "ssa", "subrip", "webvtt"})
"""Subtitles of text, by the names of FFmpeg's decoders."""

EMPTY_SUBTITLE = b"\0\0"
"""The packet with which MP4 clears a subtitle from the screen; other containers have none."""


@dataclass(slots=True)
class StreamContent:
    """The packets of a stream."""

    tick_s: Fraction
    codec: str
    times_s: list[Fraction] = field(default_factory=list)
    """Presentation times; a packet without one is left out."""
    packets: int = 0
    cut: int = 0
    """Packets at the start that an edit list cuts off."""
    sizes: list[int] = field(default_factory=list)
    """Of the packets, in bytes."""
    sha256: Any = field(default_factory=hashlib.sha256)
    texts: list[str] = field(default_factory=list)
    """Plain text of a subtitle stream."""

    def add_packet(self, packet: Packet[Stream]) -> None:
        """Take the next packet."""
        payload = bytes(packet)
        self.packets += 1
        self.sha256.update(payload)
        self.sizes.append(len(payload))
        self.cut += packet.is_discard and self.cut == len(self.times_s)
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None:
            self.times_s.append(ticks * packet.time_base)
        if packet.stream.type == "subtitle":
            self.texts.append(_plain_text(payload, self.codec))

    @property
    def jumps_back(self) -> bool:
        """True for joined recordings."""
        return any(one - other > MAX_JUMP_BACK_S for one, other in pairwise(self.times_s))


def read_contents(path: Path, video_index: int) -> dict[int, StreamContent]:
    """Read all streams of a file but one.

    Args:
        path: the file.
        video_index: the stream to leave out.

    Returns:
        The contents by index of the stream.

    Raises:
        InputError: the file cannot be read.
    """
    with pyav_errors(path), closing(open_source(path)) as container:
        others = [stream for stream in container.streams if stream.index != video_index]
        contents = {
            each.index: StreamContent(each.time_base or Fraction(0), each.name or "")
            for each in others
        }
        # The reader warns of read errors already, when it decodes the frames.
        for packet in demux_packets(container, others, lambda _: None) if others else ():
            if packet.stream.type == "subtitle" and bytes(packet) == EMPTY_SUBTITLE:
                continue  # counting it would report a lost packet in any other container
            contents[packet.stream.index].add_packet(packet)
        return contents


def find_time_difference(
    before: StreamContent, after: StreamContent, shift_s: Fraction
) -> str | None:
    """Compare when packets are presented.

    Args:
        before: the stream in the source.
        after: the stream in the target.
        shift_s: by how much the target's clock is ahead of the source's.

    Returns:
        What differs, in a few words; None: nothing does.
    """
    if not before.times_s or not after.times_s:
        return None
    is_as_long = len(before.times_s) == len(after.times_s)
    # Other containers hold nothing, or less, of what an edit list cuts off.
    one, other = (
        content.times_s[0 if is_as_long else content.cut :] for content in (before, after)
    )
    offset_s = (other or after.times_s)[0] - (one or before.times_s)[0] - shift_s
    transcoded = before.codec != after.codec
    if abs(offset_s) > (TRANSCODED_TOLERANCE_S if transcoded else AV_OFFSET_TOLERANCE_S):
        return f"{float(offset_s):+.3f} s out of sync with the video"
    if before.jumps_back or not is_as_long:
        return None
    if before.sizes != after.sizes and before.codec.startswith("pcm_"):
        return None  # cut into packets elsewhere, if into as many
    if transcoded and not before.texts:
        return None  # packets of audio have other lengths then, even if there are as many
    # Both clocks round each time, and the first one.
    tolerance_s = before.tick_s + after.tick_s
    worst_s = max(
        abs((new - after.times_s[0]) - (old - before.times_s[0]))
        for old, new in zip(before.times_s, after.times_s, strict=True)
    )
    if worst_s > tolerance_s:
        return f"packets are up to {float(worst_s):.3f} s from their time"
    return None


def find_silence(before: StreamContent, after: StreamContent, shift_s: Fraction) -> Fraction:
    """Return minus the seconds by which encoded audio begins earlier, or 0.

    That is silence, where a container's streams start together; `find_audio_difference` checks it.

    Args:
        before: the stream in the source.
        after: the stream in the target.
        shift_s: by how much the target's clock is ahead of the source's.
    """
    is_copied = before.codec == after.codec and len(before.times_s) == len(after.times_s)
    if is_copied or before.texts or not (before.times_s and after.times_s):
        return Fraction(0)
    early_s = after.times_s[0] - before.times_s[0] - shift_s
    return early_s if early_s < -AV_OFFSET_TOLERANCE_S else Fraction(0)


def find_audio_difference(
    source: Path,
    source_index: int,
    target: Path,
    target_index: int,
    silence_s: Fraction = Fraction(0),
) -> str | None:
    """Decode two streams of audio, and compare their lengths and what is heard.

    Args:
        source: the source.
        source_index: of its stream.
        target: the target.
        target_index: of its stream.
        silence_s: length of the silence before the source's audio that the target should have.

    Returns:
        What differs, in a few words; None: nothing does.

    Raises:
        InputError: a file cannot be read.
    """
    before, after = _Loudness.decode(source, source_index), _Loudness.decode(target, target_index)
    if before is None or after is None or before.sha256.digest() == after.sha256.digest():
        return None
    before.begin_late(silence_s)
    difference_s = after.length_s - before.length_s
    if abs(difference_s) > AUDIO_LENGTH_TOLERANCE_S:
        return f"lasts {after.length_s:.3f} s, not {before.length_s:.3f} s"
    if not before.sounds_like(after):
        return "sounds different"
    return None


@dataclass(slots=True)
class _Loudness:
    """Decoded audio: its hash, its length, and a coarse picture of what is heard."""

    BLOCK = 400
    """Samples of a block, 50 ms."""
    RATE = 8000

    sha256: Any = field(default_factory=hashlib.sha256)
    length_s: float = 0.0
    samples: list[bytes] = field(default_factory=list)

    @classmethod
    def decode(cls, path: Path, index: int) -> _Loudness | None:
        """Decode a stream; None: there is no decoder for it."""
        content = cls()
        with pyav_errors(path), closing(open_source(path)) as container:
            stream = container.streams[index]
            if not has_decoder(stream) or not isinstance(stream, AudioStream):
                return None
            resampler = AudioResampler(format="s16", layout="mono", rate=cls.RATE)
            for frame in _decode(container, stream):
                for plane in frame.planes:
                    content.sha256.update(bytes(plane))
                content.length_s += frame.samples / frame.sample_rate
                frame.pts = None
                content._add(resampler.resample(frame))
            content._add(resampler.resample(None))
        return content

    def begin_late(self, silence_s: Fraction) -> None:
        """Put silence before everything."""
        self.samples.insert(0, bytes(2 * round(silence_s * self.RATE)))
        self.length_s += float(silence_s)

    def _add(self, frames: list[AudioFrame]) -> None:
        self.samples += [frame.to_ndarray().tobytes() for frame in frames]

    def _blocks(self) -> Any:
        heard = np.frombuffer(b"".join(self.samples), np.int16).astype(np.float32) / 2**15
        whole = heard[: len(heard) // self.BLOCK * self.BLOCK].reshape(-1, self.BLOCK)
        loud = np.sqrt((whole**2).mean(1))
        crossings = (np.diff(np.signbit(whole), axis=1)).mean(1)
        return np.stack([loud, crossings])

    def sounds_like(self, other: _Loudness) -> bool:
        """Compare loudness and pitch block by block, a block earlier or later allowed."""
        mine, theirs = self._blocks(), other._blocks()
        count = min(mine.shape[1], theirs.shape[1])
        if count < 3:
            return True
        best = min(
            np.abs(mine[:, 1 + shift : count - 1 + shift] - theirs[:, 1 : count - 1]).mean(1).max()
            for shift in (-1, 0, 1)
        )
        return bool(best < 0.02)


def _decode(container: Any, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in demux_packets(container, [stream], lambda _: None):
        try:
            yield from stream.decode(cast("Packet[AudioStream]", packet))
        except FFmpegError:
            continue  # the same on both sides
    try:
        yield from stream.decode(None)
    except FFmpegError:
        return


def _plain_text(payload: bytes, codec: str) -> str:
    """Return a subtitle's text without the form in which its codec stores it."""
    if codec == "mov_text":
        payload = payload[2 : 2 + int.from_bytes(payload[:2])]
    text = payload.decode(errors="replace").replace("\r", "")
    if codec in ("ass", "ssa"):
        text = text.split(",", 8)[-1]
    text = re.sub(r"\{[^}]*\}|<[^>]*>", "", text.replace("\\N", "\n").replace("\\h", " "))
    return " ".join(text.split())


def count_copied_packets(source: VideoInfo, target: VideoInfo) -> tuple[int, int]:
    """Count the packets of a target's video that are the source's.

    Args:
        source: the source.
        target: the target.

    Returns:
        Those in groups that start with a keyframe of the source, and all.
    """
    known = {hashlib.sha256(bytes(packet)).digest() for packet in _read_video(source)}
    copied = count = 0
    is_copied = False
    for packet in _read_video(target):
        is_same = hashlib.sha256(bytes(packet)).digest() in known
        # Encoders make equal packets of a still picture: what follows no such keyframe is theirs.
        is_copied = is_same and (is_copied or packet.is_keyframe)
        copied += is_copied
        count += 1
    return copied, count


def _read_video(info: VideoInfo) -> Iterator[Packet[Stream]]:
    with closing(open_source(info.path)) as container:
        stream = container.streams[info.video_index]
        discard_other_streams(container, stream)
        yield from demux_packets(container, [stream], lambda _: None)
