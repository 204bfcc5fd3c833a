"""Compares a target with its source: `lfdn-video verify SOURCE TARGET`.

Reads both from beginning to end with the reader that `restore` uses: decodes every frame, and
counts and compares every packet of the other streams. The samples of the frames are not compared,
because restoring changes them. `cli/tables.py` prints the checks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.container import InputContainer
from av.stream import Stream

from lfdn_video.checks import Check
from lfdn_video.errors import InputError
from lfdn_video.ffmpeg import open_source, pyav_errors, stream_title
from lfdn_video.frame_io import FrameReader
from lfdn_video.input.open import open_reader
from lfdn_video.media import RANGE_FULL, RANGE_LIMITED, FrameFormat, StreamInfo, VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.output.signalling import choose_encoding
from lfdn_video.output.tags import find_lost_tags, find_stream_losses
from lfdn_video.output.timecode import TAG as TIMECODE
from lfdn_video.output.timecode import is_timecode_track
from lfdn_video.shown import measure_tint, shown_luma
from lfdn_video.verify_streams import (
    TEXT_CODECS,
    StreamContent,
    count_copied_packets,
    find_audio_difference,
    find_silence,
    find_time_difference,
    read_contents,
)

CHAPTER_TOLERANCE_S = Fraction(1, 1000)
"""A tick of Matroska, the coarsest of the containers that store chapters."""

BRIGHTNESS_TOLERANCE = 0.03
CONTRAST_TOLERANCE = 0.08
"""Accepted change of the mean and, relatively, of the deviation: a range that is told wrongly
changes the contrast by 16 percent."""

MATRIX_BT601 = 6
MATRIX_BT470BG = 5

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
        one for each warning of the reader, and one if packets of the video were copied.
        Images have only the first two.

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
        yield _check_picture(before, after, looks_alike=source_times.looks_like(target_times))
        if before.from_images or after.from_images:
            return
        yield from _check_copies(before, after)
        shift_s = target_times.times_s[0] - source_times.times_s[0]
        yield from _check_streams(before, after, span, shift_s)
        yield _check_chapters(before, after, span, shift_s)
        yield _check_tags(before, after)


@dataclass(slots=True)
class _FrameTimes:
    """The presentation times of a file's frames, and their resolution, in seconds."""

    times_s: list[Fraction]
    tick_s: Fraction
    brightness: tuple[float, float]
    """Mean and standard deviation of what is shown, 0 black to 1 white, over all frames."""
    tint: tuple[float, float]
    """Mean of red and blue less the brightness, by the matrix; 0 where there is no chroma."""

    @classmethod
    def read(cls, reader: FrameReader) -> _FrameTimes:
        tick_s = reader.info.time_base
        times_s: list[Fraction] = []
        means: list[float] = []
        squares: list[float] = []
        tints: list[tuple[float, float]] = []
        with closing(reader.frames()) as frames:
            for frame in frames:
                times_s.append(frame.pts * tick_s)
                own = frame.info or reader.info
                bits = own.format.depth - 8
                is_full = _range(own) == RANGE_FULL
                black, peak = (0, (1 << 8 + bits) - 1) if is_full else (16 << bits, 219 << bits)
                luma = shown_luma(frame, own)
                means.append((float(luma.mean()) - black) / peak)
                squares.append(means[-1] ** 2 + (float(luma.std()) / peak) ** 2)
                tints.append(measure_tint(frame, own))
        if not times_s:
            raise InputError(f"{reader.info.path}: has no frames")
        count = len(times_s)
        mean = sum(means) / count
        spread = max(0.0, sum(squares) / count - mean**2) ** 0.5
        red, blue = (sum(each[i] for each in tints) / count for i in (0, 1))
        return cls(times_s, tick_s, (mean, spread), (red, blue))

    def looks_like(self, other: _FrameTimes) -> bool:
        """Tell whether brightness, contrast and tint agree, as far as restoring keeps them."""
        (mean, spread), (other_mean, other_spread) = self.brightness, other.brightness
        least, most = sorted((spread, other_spread))
        tinted = max(abs(a - b) for a, b in zip(self.tint, other.tint, strict=True))
        return max(abs(mean - other_mean), tinted) < BRIGHTNESS_TOLERANCE and (
            most - least < max(CONTRAST_TOLERANCE * most, 1 / 255)
        )


def _check_frames(source: _FrameTimes, target: _FrameTimes) -> Check:
    """Compare the number of frames, and their times from the first one."""
    # Rounding moves a frame by half a tick at most, and so it does the first one, on both clocks.
    tolerance_s = source.tick_s + target.tick_s
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


def _check_picture(before: VideoInfo, after: VideoInfo, *, looks_alike: bool) -> Check:
    """Compare size, orientation, sample aspect ratio, pixel format, colour and HDR metadata.

    Another range, a format that holds all samples, or the only matrix that the target can name, is
    a conversion if the result looks alike, and a warning only.
    """
    pairs = [
        ("size", f"{before.width}×{before.height}", f"{after.width}×{after.height}"),
        ("rotation and flip", (before.rotation, before.flip), (after.rotation, after.flip)),
        (
            "sample aspect ratio",
            before.sample_aspect_ratio or 1,
            after.sample_aspect_ratio or 1,
        ),
    ]
    pairs += [
        (name, getattr(before.colour, name), getattr(after.colour, name))
        for name in COLOUR_TAGS
        if name != "matrix"
    ]
    conversions: list[tuple[str, object, object]] = [("range", _range(before), _range(after))]
    matrices = ("matrix", _matrix(before), _matrix(after))
    (conversions if _must_convert_matrix(before, after) else pairs).append(matrices)
    formats = ("pixel format", _format(before), _format(after))
    # Video of RGB images is made for players, which show 8 bits.
    made_for_players = before.format.family == "rgb" and after.format.family == "yuv"
    if after.format.depth >= before.format.depth or made_for_players:
        conversions.append(formats)
    else:
        pairs.append(formats)
    converted = [f"{name} {one} became {other}" for name, one, other in conversions if one != other]
    changed = [f"{name} {one} became {other}" for name, one, other in pairs if one != other]
    changed += [f"{name} is lost" for name in before.hdr_metadata if name not in after.hdr_metadata]
    if changed or (converted and not looks_alike):
        looks = [] if looks_alike else ["it looks different"]
        return Check("picture", "failed", "; ".join([*changed, *converted, *looks]))
    if converted:
        return Check("picture", "warning", f"{'; '.join(converted)}; it looks alike")
    text = f"{after.width}×{after.height} {after.format.name}, same tags"
    return Check("picture", "ok", text)


def _check_copies(before: VideoInfo, after: VideoInfo) -> Iterator[Check]:
    """Say how much of the video was not encoded again, if anything was not."""
    if before.codec != after.codec:
        return
    copied, packets = count_copied_packets(before, after)
    if copied:
        text = f"{copied} of {packets} packets of the video are the source's, byte for byte"
        yield Check("copied", "ok", text)


def _format(info: VideoInfo) -> str:
    """Return the pixel format; `yuvj420p` is another name of `yuv420p` with full range."""
    return info.format.name.replace("yuvj", "yuv")


def _matrix(info: VideoInfo) -> int:
    """Return the matrix that applies; BT.601 has two numbers."""
    matrix = info.colour.resolved_matrix(info.height, info.width)
    return MATRIX_BT601 if matrix == MATRIX_BT470BG else matrix


def _must_convert_matrix(before: VideoInfo, after: VideoInfo) -> bool:
    """Tell whether the target has the matrix that its codec and container require."""
    if {before.format.family, after.format.family} != {"yuv"}:
        return False
    container = after.container.partition(",")[0]
    required = choose_encoding(before, after.format.name, after.codec, container).matrix
    return _matrix(after) == (MATRIX_BT601 if required == MATRIX_BT470BG else required)


def _range(info: FrameFormat) -> int:
    """Return the range that applies; every program treats untagged YUV as limited."""
    if "yuvj" in info.format.name or info.format.family == "rgb":
        return RANGE_FULL
    if info.format.family == "gray":
        return info.colour.range or RANGE_FULL
    return info.colour.range or RANGE_LIMITED


def _check_streams(
    before: VideoInfo, after: VideoInfo, span: SpanOptions, shift_s: Fraction
) -> Iterator[Check]:
    """Compare each copied stream of the source with the next one of its type in the target."""
    source = read_contents(before.path, before.video_index)
    target = read_contents(after.path, after.video_index)
    unmatched = [stream for stream in after.streams if stream.index != after.video_index]
    with (
        closing(open_source(before.path)) as source_file,
        closing(open_source(after.path)) as target_file,
    ):
        for stream in before.streams:
            one = source_file.streams[stream.index]
            if stream.index == before.video_index or _is_timecode_kept(one, target_file):
                continue
            label = _label(stream)
            match = next((each for each in unmatched if _is_same_kind(stream, each)), None)
            if match is None:
                yield Check("stream", "failed", f"{label}: is missing")
                continue
            unmatched.remove(match)
            other = target_file.streams[match.index]
            pair = _Pair(label, before.path, one, after.path, other)
            yield _check_stream(pair, source[stream.index], target[match.index], span, shift_s)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A stream of the source and its copy."""

    label: str
    source: Path
    before: Stream
    target: Path
    after: Stream


def _check_stream(
    pair: _Pair, before: StreamContent, after: StreamContent, span: SpanOptions, shift_s: Fraction
) -> Check:
    label = pair.label
    tags = _find_tag_differences(pair)
    # QuickTime has languages of its own, and no dispositions.
    state: Literal["warning", "failed"] = "warning" if _is_quicktime(pair.after) else "failed"
    problems: list[str] = []
    if not span.whole:
        if tags:
            return Check("stream", state, f"{label}: {'; '.join(tags)}")
        return Check("stream", "ok", f"{label}: {after.packets} packets of the span")
    identical = before.sha256.digest() == after.sha256.digest()
    is_audio = pair.before.type == "audio"
    silence_s = find_silence(before, after, shift_s)
    if (difference := find_time_difference(before, after, shift_s + silence_s)) is not None:
        problems.append(difference)
    if is_audio and not identical:
        heard = find_audio_difference(
            pair.source, pair.before.index, pair.target, pair.after.index, -silence_s
        )
        problems += [heard] if heard is not None else []
    elif before.packets != after.packets and not is_audio:  # PCM may be cut otherwise
        problems.append(f"{after.packets} of {before.packets} packets")
    elif not identical and not _is_same_text(before, after):
        problems.append("its content differs")
    if problems or tags:
        found = "; ".join([*tags, *problems])
        return Check("stream", "failed" if problems else state, f"{label}: {found}")
    how = "byte for byte" if identical else "repackaged for this container"
    if before.codec != after.codec and is_audio and not identical:
        return Check("stream", "warning", f"{label}: is {after.codec} now, sounds alike")
    return Check("stream", "ok", f"{label}: {after.packets} packets, {how}")


def _is_same_text(before: StreamContent, after: StreamContent) -> bool:
    """Compare text subtitles of any codec; other streams in another form cannot be compared."""
    both_text = before.codec in TEXT_CODECS and after.codec in TEXT_CODECS
    return before.texts == after.texts if both_text else before.codec != after.codec


def _find_tag_differences(pair: _Pair) -> list[str]:
    if pair.before.type != pair.after.type:
        return []  # a cover that became an attachment
    elsewhere = set(pair.after.container.metadata.values())
    losses = find_stream_losses(pair.before, pair.after, elsewhere)
    found = [loss.rpartition(": ")[2] for loss in losses]
    for name, one, other in (
        ("language", pair.before.language, pair.after.language),
        ("title", stream_title(pair.before), stream_title(pair.after)),
    ):
        if one and other and one != other and "und" not in (one, other):
            found.append(f"{name} {one} became {other}")
    return found


def _is_quicktime(stream: Stream) -> bool:
    return stream.container.metadata.get("major_brand", "").strip() == "qt"


def _is_timecode_kept(stream: Stream, target: InputContainer) -> bool:
    """Tell whether a stream is a timecode track whose timecode the target has in some form."""
    tags = [target.metadata, *(each.metadata for each in target.streams)]
    names = {name.lower() for each in tags for name in each}
    return is_timecode_track(stream) and TIMECODE in names


def _is_same_kind(one: StreamInfo, other: StreamInfo) -> bool:
    """Tell whether the types agree; a cover may have become an attachment."""
    kinds = {one.type, other.type}
    cover = (one.cover or other.cover) and kinds <= {"video", "attachment"}
    return bool(cover) or one.type == other.type


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
    with pyav_errors(after.path), closing(open_source(after.path)) as container:
        of_streams = [stream.metadata for stream in container.streams]
    # FFmpeg's muxers of MOV and MP4 move the timecode to the streams.
    timecodes = {
        tag: value for tags in of_streams for tag, value in tags.items() if tag == TIMECODE
    }
    lost = list(find_lost_tags("", before.metadata, {**timecodes, **after.metadata}, set()))
    if lost:
        return Check("tags", "failed", "; ".join(lost))
    return Check("tags", "ok", f"{len(after.metadata)} of the file")
