"""Compares a target with its source: `lfdn-video verify SOURCE TARGET`.

Reads both from beginning to end with the reader that `restore` uses: decodes every frame, and
counts and compares every packet of the other streams. The samples of the frames are not compared,
because restoring changes them. `cli/tables.py` prints the checks.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from lfdn_video.checks import Check
from lfdn_video.errors import InputError
from lfdn_video.ffmpeg import demux_packets, open_source, pyav_errors
from lfdn_video.frame_io import FrameReader
from lfdn_video.input.open import open_reader
from lfdn_video.media import RANGE_FULL, RANGE_LIMITED, StreamInfo, VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.output.tags import find_lost_tags

CHAPTER_TOLERANCE_S = Fraction(1, 1000)
"""A tick of Matroska, the coarsest of the containers that store chapters."""

AV_OFFSET_TOLERANCE_S = Fraction(1, 20)
"""Accepted change of a stream's offset from the video: containers differ in how they store the
samples with which an audio encoder starts up."""

EMPTY_SUBTITLE = b"\0\0"
"""The packet with which MP4 clears a subtitle from the screen; other containers have none."""

COLOUR_TAGS = ("matrix", "primaries", "transfer")


def verify(
    source: str | Path, target: str | Path, span: SpanOptions | None = None
) -> Generator[Check]:
    """Check that a target has everything of its source.

    Args:
        source: the video or images that were restored.
        target: the restored file or images.
        span: the part of the source that was restored; None is all of it.

    Yields:
        One check each for the frames, the picture, each copied stream, the chapters and the tags,
        and one for each warning of the reader. Images have only the first two.

    Raises:
        InputError: one of the two cannot be read.
    """
    span = span or SpanOptions()
    with open_reader(source, span) as source_reader, open_reader(target) as target_reader:
        source_times = _FrameTimes.read(source_reader)
        target_times = _FrameTimes.read(target_reader)
        before = source_reader.info
        after = target_reader.info
        for warning in (*source_reader.warnings, *target_reader.warnings):
            yield Check("damage", "warning", warning)
        yield _check_frames(source_times, target_times)
        yield _check_picture(before, after)
        if before.from_images or after.from_images:
            return
        shift_s = target_times.times_s[0] - source_times.times_s[0]
        yield from _check_streams(before, after, span, shift_s)
        yield _check_chapters(before, after, span, shift_s)
        yield _check_tags(before, after)


@dataclass(slots=True)
class _FrameTimes:
    """The presentation times of a file's frames, and their resolution, in seconds."""

    times_s: list[Fraction]
    tick_s: Fraction

    @classmethod
    def read(cls, reader: FrameReader) -> _FrameTimes:
        tick_s = reader.info.time_base
        with closing(reader.frames()) as frames:
            times_s = [frame.pts * tick_s for frame in frames]
        if not times_s:
            raise InputError(f"{reader.info.path}: has no frames")
        return cls(times_s, tick_s)


def _check_frames(source: _FrameTimes, target: _FrameTimes) -> Check:
    """Compare the number of frames, and their times from the first one."""
    # Rounding to the target's ticks moves a frame by half a tick at most; so did the source's.
    tolerance_s = (source.tick_s + target.tick_s) / 2
    expected = [time - source.times_s[0] for time in source.times_s]
    found = [time - target.times_s[0] for time in target.times_s]
    counts = f"{len(found)} of {len(expected)} frames"
    if len(found) == len(expected):
        worst_s = max(abs(a - b) for a, b in zip(expected, found, strict=True))
        if worst_s <= tolerance_s:
            return Check("frames", "ok", f"{counts}, each at its time")
        return Check("frames", "failed", f"{counts}, but up to {float(worst_s):.3f} s off")
    first_difference_s = next(
        (min(a, b) for a, b in zip(expected, found, strict=False) if abs(a - b) > tolerance_s),
        min(expected[-1], found[-1]),
    )
    text = f"{counts}; the first difference is at {float(first_difference_s):.3f} s"
    return Check("frames", "failed", text)


def _check_picture(before: VideoInfo, after: VideoInfo) -> Check:
    """Compare size, orientation, sample aspect ratio, pixel format, colour and HDR metadata."""
    pairs = [
        ("size", f"{before.width}×{before.height}", f"{after.width}×{after.height}"),
        ("rotation and flip", (before.rotation, before.flip), (after.rotation, after.flip)),
        (
            "sample aspect ratio",
            before.sample_aspect_ratio or 1,
            after.sample_aspect_ratio or 1,
        ),
        ("pixel format", _format(before), _format(after)),
        ("range", _range(before), _range(after)),
    ]
    pairs += [
        (name, getattr(before.colour, name), getattr(after.colour, name)) for name in COLOUR_TAGS
    ]
    changed = [f"{name} {one} became {other}" for name, one, other in pairs if one != other]
    changed += [f"{name} is lost" for name in before.hdr_metadata if name not in after.hdr_metadata]
    if changed:
        return Check("picture", "failed", "; ".join(changed))
    text = f"{after.width}×{after.height} {after.format.name}, same tags"
    return Check("picture", "ok", text)


def _format(info: VideoInfo) -> str:
    """Return the pixel format; `yuvj420p` is another name of `yuv420p` with full range."""
    return info.format.name.replace("yuvj", "yuv")


def _range(info: VideoInfo) -> int:
    """Return the range that applies; every program treats untagged YUV as limited."""
    if "yuvj" in info.format.name or info.format.family != "yuv":
        return RANGE_FULL
    return info.colour.range or RANGE_LIMITED


@dataclass(slots=True)
class _StreamContent:
    """The packets of a copied stream: their number, first time in seconds, and hash."""

    packets: int = 0
    first_s: Fraction | None = None
    sha256: Any = field(default_factory=hashlib.sha256)

    def add_packet(self, payload: bytes, time_s: Fraction | None) -> None:
        self.packets += 1
        self.sha256.update(payload)
        if self.first_s is None:
            self.first_s = time_s


def _check_streams(
    before: VideoInfo, after: VideoInfo, span: SpanOptions, shift_s: Fraction
) -> Iterator[Check]:
    """Compare each copied stream of the source with the next one of its type in the target."""
    source = _read_contents(before)
    target = _read_contents(after)
    unmatched = [stream for stream in after.streams if stream.index != after.video_index]
    for stream in before.streams:
        if stream.index == before.video_index:
            continue
        match = next((each for each in unmatched if _is_same_kind(stream, each)), None)
        label = _label(stream)
        if match is None:
            yield Check("stream", "failed", f"{label}: is missing")
            continue
        unmatched.remove(match)
        yield _check_stream(label, source[stream.index], target[match.index], span, shift_s)


def _check_stream(
    label: str, before: _StreamContent, after: _StreamContent, span: SpanOptions, shift_s: Fraction
) -> Check:
    if not span.whole:
        return Check("stream", "ok", f"{label}: {after.packets} packets of the span")
    if before.packets != after.packets:
        text = f"{label}: {after.packets} of {before.packets} packets"
        return Check("stream", "failed", text)
    if before.first_s is not None and after.first_s is not None:
        offset_s = after.first_s - before.first_s - shift_s
        if abs(offset_s) > AV_OFFSET_TOLERANCE_S:
            text = f"{label}: {float(offset_s):+.3f} s out of sync with the video"
            return Check("stream", "failed", text)
    identical = before.sha256.digest() == after.sha256.digest()
    how = "byte for byte" if identical else "repackaged for this container"
    return Check("stream", "ok", f"{label}: {after.packets} packets, {how}")


def _read_contents(info: VideoInfo) -> dict[int, _StreamContent]:
    """Read the copied streams of a file, by index."""
    contents: dict[int, _StreamContent] = defaultdict(_StreamContent)
    with pyav_errors(info.path), closing(open_source(info.path)) as container:
        others = [stream for stream in container.streams if stream.index != info.video_index]
        # The reader warns of read errors already, when it decodes the frames.
        for packet in demux_packets(container, others, lambda _: None) if others else ():
            if packet.stream.type == "subtitle" and bytes(packet) == EMPTY_SUBTITLE:
                continue  # counting it would report a lost packet in any other container
            time = packet.pts if packet.pts is not None else packet.dts
            time_s = None if time is None else time * packet.time_base
            contents[packet.stream.index].add_packet(bytes(packet), time_s)
    return contents


def _is_same_kind(one: StreamInfo, other: StreamInfo) -> bool:
    """Tell whether type and language agree; a cover may have become an attachment."""
    kinds = {one.type, other.type}
    cover = (one.cover or other.cover) and kinds <= {"video", "attachment"}
    if not cover and one.type != other.type:
        return False
    return one.language == other.language or not (one.language and other.language)


def _label(stream: StreamInfo) -> str:
    details = (stream.codec, stream.language, stream.title, stream.file_name)
    return f"{stream.type} stream {stream.index} ({', '.join(d for d in details if d)})"


def _check_chapters(
    before: VideoInfo, after: VideoInfo, span: SpanOptions, shift_s: Fraction
) -> Check:
    expected = len(before.chapters)
    found = len(after.chapters)
    if not span.whole:
        return Check("chapters", "ok", f"{found} in the span")
    if expected != found:
        return Check("chapters", "failed", f"{found} of {expected}")
    for one, other in zip(before.chapters, after.chapters, strict=True):
        differences_s = (
            abs(one.start_s + shift_s - other.start_s),
            abs(one.end_s + shift_s - other.end_s),
        )
        if max(differences_s) > CHAPTER_TOLERANCE_S or one.title != other.title:
            return Check("chapters", "failed", f"{one.title or 'an untitled one'} differs")
    return Check("chapters", "ok", f"{found}, at their times")


def _check_tags(before: VideoInfo, after: VideoInfo) -> Check:
    lost = list(find_lost_tags("", before.metadata, after.metadata, set()))
    if lost:
        return Check("tags", "failed", "; ".join(lost))
    return Check("tags", "ok", f"{len(after.metadata)} of the file")
