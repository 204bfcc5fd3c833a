"""Whether a target has everything of its source: `lfdn-video verify SOURCE TARGET`.

Both are read from beginning to end, by the reader that restoring uses: every frame is decoded, each
packet of the other streams counted and compared. What is restored, the samples of the pictures, is
the one thing that is not compared. Knows files; how it is shown is `tables.py`'s.
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
from lfdn_video.ffmpeg import demux_packets, open_source
from lfdn_video.input.images import ImageReader
from lfdn_video.input.reader import Reader, open_reader
from lfdn_video.media import StreamInfo, VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.output.passthrough import lost_tags

CLOCK_S = Fraction(1, 1000)
"""The coarsest clock of a container that keeps times, Matroska's."""

APART_S = Fraction(1, 20)
"""Sound may come so much earlier or later than in the source: containers differ in how they tell
the samples by which an encoder warms up."""

NO_TEXT = b"\0\0"
"""What MP4 has between two subtitles, to take the first from the screen."""

COLOUR_TAGS = ("matrix", "primaries", "transfer")
LIMITED, FULL = 1, 2


def verify(
    source: str | Path, target: str | Path, span: SpanOptions | None = None
) -> Generator[Check]:
    """What is the same in both, and what is not, check by check.

    `span`: which part of the source the target was made of. Raises InputError if one of the two is
    no video at all.
    """
    span = span or SpanOptions()
    with open_reader(source, span) as before, open_reader(target) as after:
        shown, found = _Times.of(before), _Times.of(after)
        for warning in (*before.warnings, *after.warnings):
            yield Check("damage", "warning", warning)
        yield _frames(shown, found)
        yield _picture(before.info, after.info)
        if before.info.from_images or after.info.from_images:
            return
        shift_s = found.times_s[0] - shown.times_s[0]
        yield from _streams(before.info, after.info, span, shift_s)
        yield _chapters(before.info, after.info, span)
        yield _tags(before.info, after.info)


@dataclass(slots=True)
class _Times:
    """When the frames of a file are shown, in seconds, and how finely its clock tells."""

    times_s: list[Fraction]
    tick_s: Fraction

    @classmethod
    def of(cls, reader: Reader | ImageReader) -> _Times:
        clock_s = reader.info.time_base
        with closing(reader.frames()) as frames:
            times_s = [frame.pts * clock_s for frame in frames]
        if not times_s:
            raise InputError(f"{reader.info.path}: has no frames")
        return cls(times_s, clock_s)


def _frames(shown: _Times, found: _Times) -> Check:
    """Every frame of the source in the target, at its time, counted from the first."""
    near_s = (shown.tick_s + found.tick_s) / 2
    wanted = [time - shown.times_s[0] for time in shown.times_s]
    there = [time - found.times_s[0] for time in found.times_s]
    counts = f"{len(there)} of {len(wanted)} frames"
    if len(there) == len(wanted):
        worst_s = max(abs(a - b) for a, b in zip(wanted, there, strict=True))
        if worst_s <= near_s:
            return Check("frames", "ok", f"{counts}, each at its time")
        return Check("frames", "failed", f"{counts}, but up to {float(worst_s):.3f} s moved")
    parted_s = next(
        (min(a, b) for a, b in zip(wanted, there, strict=False) if abs(a - b) > near_s),
        min(wanted[-1], there[-1]),
    )
    return Check("frames", "failed", f"{counts}; they part at {float(parted_s):.3f} s")


def _picture(before: VideoInfo, after: VideoInfo) -> Check:
    """Size, shape, direction, format and colour."""
    pairs = [
        ("size", f"{before.width}×{before.height}", f"{after.width}×{after.height}"),
        ("turn", (before.rotation, before.flip), (after.rotation, after.flip)),
        ("shape of pixels", before.sample_aspect_ratio or 1, after.sample_aspect_ratio or 1),
        ("format", _format(before), _format(after)),
        ("range", _range(before), _range(after)),
    ]
    pairs += [
        (name, getattr(before.colour, name), getattr(after.colour, name)) for name in COLOUR_TAGS
    ]
    changed = [f"{name} {one} became {other}" for name, one, other in pairs if one != other]
    changed += [f"{what} is lost" for what in before.hdr_metadata if what not in after.hdr_metadata]
    if changed:
        return Check("picture", "failed", "; ".join(changed))
    return Check("picture", "ok", f"{after.width}×{after.height} {after.format.name}, tagged alike")


def _format(info: VideoInfo) -> str:
    """`yuvj420p` is `yuv420p` of full range by another name."""
    return info.format.name.replace("yuvj", "yuv")


def _range(info: VideoInfo) -> int:
    """Untagged YUV is taken as limited by every program."""
    if "yuvj" in info.format.name or info.format.family != "yuv":
        return FULL
    return info.colour.range or LIMITED


@dataclass(slots=True)
class _Content:
    """What a stream that is copied consists of."""

    packets: int = 0
    first_s: Fraction | None = None
    last_s: Fraction | None = None
    sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, payload: bytes, time_s: Fraction | None) -> None:
        self.packets += 1
        self.sha256.update(payload)
        if time_s is not None:
            self.first_s = time_s if self.first_s is None else self.first_s
            self.last_s = time_s


def _streams(
    before: VideoInfo, after: VideoInfo, span: SpanOptions, shift_s: Fraction
) -> Iterator[Check]:
    """Each copied stream of the source against the next one of its type in the target."""
    one, other = _contents(before), _contents(after)
    left = [stream for stream in after.streams if stream.index != after.video_index]
    for stream in before.streams:
        if stream.index == before.video_index:
            continue
        match = next((each for each in left if _alike(stream, each)), None)
        label = _label(stream)
        if match is None:
            yield Check("stream", "failed", f"{label}: is not there")
            continue
        left.remove(match)
        yield _stream(label, one[stream.index], other[match.index], span, shift_s)


def _stream(
    label: str, before: _Content, after: _Content, span: SpanOptions, shift_s: Fraction
) -> Check:
    if not span.whole:
        return Check("stream", "ok", f"{label}: {after.packets} packets of the span")
    if before.packets != after.packets:
        text = f"{label}: {after.packets} of {before.packets} packets"
        return Check("stream", "failed", text)
    if before.first_s is not None and after.first_s is not None:
        apart_s = after.first_s - before.first_s - shift_s
        if abs(apart_s) > APART_S:
            text = f"{label}: {float(apart_s):+.3f} s apart from the pictures"
            return Check("stream", "failed", text)
    same = before.sha256.digest() == after.sha256.digest()
    how = "byte for byte" if same else "wrapped as this container has it"
    return Check("stream", "ok", f"{label}: {after.packets} packets, {how}")


def _contents(info: VideoInfo) -> dict[int, _Content]:
    contents: dict[int, _Content] = defaultdict(_Content)
    with closing(open_source(info.path)) as container:
        others = [stream for stream in container.streams if stream.index != info.video_index]
        for packet in demux_packets(container, others, lambda _: None) if others else ():
            if packet.stream.type == "subtitle" and bytes(packet) == NO_TEXT:
                continue
            time = packet.pts if packet.pts is not None else packet.dts
            time_s = None if time is None else time * packet.time_base
            contents[packet.stream.index].add(bytes(packet), time_s)
    return contents


def _alike(one: StreamInfo, other: StreamInfo) -> bool:
    """A cover may have become an attachment."""
    kinds = {one.type, other.type}
    cover = (one.cover or other.cover) and kinds <= {"video", "attachment"}
    if not cover and one.type != other.type:
        return False
    return one.language == other.language or not (one.language and other.language)


def _label(stream: StreamInfo) -> str:
    details = (stream.codec, stream.language, stream.title, stream.file_name)
    return f"{stream.type} stream {stream.index} ({', '.join(d for d in details if d)})"


def _chapters(before: VideoInfo, after: VideoInfo, span: SpanOptions) -> Check:
    wanted, found = len(before.chapters), len(after.chapters)
    if not span.whole:
        return Check("chapters", "ok", f"{found} in the span")
    if wanted != found:
        return Check("chapters", "failed", f"{found} of {wanted}")
    for one, other in zip(before.chapters, after.chapters, strict=True):
        times = (abs(one.start_s - other.start_s), abs(one.end_s - other.end_s))
        if max(times) > CLOCK_S or one.title != other.title:
            return Check("chapters", "failed", f"{one.title or 'one'} is not as it was")
    return Check("chapters", "ok", f"{found}, at their times")


def _tags(before: VideoInfo, after: VideoInfo) -> Check:
    lost = list(lost_tags("", before.metadata, after.metadata, set()))
    if lost:
        return Check("tags", "failed", "; ".join(lost))
    return Check("tags", "ok", f"{len(after.metadata)} of the file")
