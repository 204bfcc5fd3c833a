"""SMPTE timecode of a video: MOV and MP4 store it in a track, other containers in a tag.

FFmpeg shows the track's first timecode as a tag too, and its muxers make the track from that tag.
So the tag is copied, moved to the start of the span, and the track is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil

from av.stream import Stream

TAG = "timecode"

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)")

DROP_BASES = (30, 60)
"""Nominal rates at which numbers of frames are dropped, to keep up with 30000/1001 or 60000/1001
frames per second."""


def is_timecode_track(stream: Stream) -> bool:
    """Tell whether a stream only stores the timecode of another one."""
    return stream.type == "data" and TAG in stream.metadata


def find_timecode(streams: Iterable[Stream], video: Stream) -> str | None:
    """Return the first timecode of a video, from its own tag or else from a track.

    Args:
        streams: all streams of the file.
        video: the video stream.
    """
    own = video.metadata.get(TAG)
    tracks = (each.metadata[TAG] for each in streams if is_timecode_track(each))
    return own or next(tracks, None)


def with_timecode(
    tags: Mapping[str, str], timecode: str | None, start_s: Fraction, rate: Fraction | None
) -> dict[str, str]:
    """Return tags with the timecode of the span's first frame.

    Args:
        tags: of a stream or of the container.
        timecode: the source's; None: the one in `tags`, if there is one.
        start_s: start of the span.
        rate: frames per second; None if unknown.
    """
    found = timecode or tags.get(TAG)
    return dict(tags) if found is None else {**tags, TAG: shift_timecode(found, start_s, rate)}


def shift_timecode(timecode: str, start_s: Fraction, rate: Fraction | None) -> str:
    """Return the timecode of a later frame.

    Args:
        timecode: of the first frame, `hh:mm:ss:ff`; with `;` before the frames it drops numbers.
        start_s: the first frame that is wanted is the first one at or after this time.
        rate: frames per second; None or a text that is no timecode: nothing is changed.
    """
    match = _TIMECODE.fullmatch(timecode)
    if match is None or not rate or start_s <= 0:
        return timecode
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    base = round(rate)
    drops = match[4] != ":" and base in DROP_BASES
    number = ((hours * 60 + minutes) * 60 + seconds) * base + frames
    dropped = 2 * base // 30 if drops else 0  # at each minute but every tenth
    if drops:
        total_minutes = hours * 60 + minutes
        number -= dropped * (total_minutes - total_minutes // 10)
    return _format(number + ceil(start_s * rate), base, dropped, match[4])


def _format(number: int, base: int, dropped: int, separator: str) -> str:
    """Write the number of a frame since midnight as a timecode."""
    ten_minutes = 600 * base - 9 * dropped
    number %= 144 * ten_minutes
    if dropped:
        tens, rest = divmod(number, ten_minutes)
        number += 9 * dropped * tens
        if rest >= dropped:
            number += dropped * ((rest - dropped) // (60 * base - dropped))
    seconds, frames = divmod(number, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{separator}{frames:02}"
