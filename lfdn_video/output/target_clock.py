"""The target's clock: where its time zero is on the source's clock, and which part it holds.

Times stay the source's where they say something. They start at zero for a part of the source, in
containers whose streams start together, and where the source's clock started anywhere.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

from av.container import InputContainer

from lfdn_video.ffmpeg import allows_discontinuities, is_cover
from lfdn_video.media import VideoInfo
from lfdn_video.options import SpanOptions

COMMON_START_CONTAINERS = {"avi", "mxf"}
"""Containers in which all streams start together. With a later start, FFmpeg's muxer would put the
gap behind the first frame."""

ARBITRARY_START_CONTAINERS = {"mpeg", "mpegts"}
"""Containers whose clock may start anywhere."""

LATE_START_CONTAINERS = {"matroska", "nut", "webm"}
"""Containers that store every time as it is."""

LATE_START_S = 60
"""A clock that starts so late is a time of day or a recorder's uptime. In most containers it would
be shown as so many seconds without a picture."""


class TargetClock:
    """Time zero of a target, known once the source is open."""

    def __init__(self, info: VideoInfo, container_name: str, span: SpanOptions) -> None:
        """Prepare the clock of a target.

        Args:
            info: the source.
            container_name: FFmpeg's name of the target's container.
            span: the part of the source that the target holds.
        """
        self._info = info
        self._container_name = container_name
        self._span = span
        self._from_first_frame = not span.whole or container_name in COMMON_START_CONTAINERS
        self._start_s = Fraction(0)

    def read_start(self, source: InputContainer) -> str | None:
        """Choose time zero for a whole source.

        Args:
            source: the open source.

        Returns:
            A note about a shift that loses a time of day, without a subject; None: nothing is lost.
        """
        start_s = _start_s(source, self._info)
        keeps = self._container_name in LATE_START_CONTAINERS
        if self._container_name in ARBITRARY_START_CONTAINERS:
            return None
        if self._info.start_pts < 0:
            self._start_s = start_s  # players cut off, or cannot place, what is before zero
            return None
        if start_s <= 0:
            return None
        if allows_discontinuities(source) or (start_s >= LATE_START_S and not keeps):
            self._start_s = start_s
        if self._start_s < LATE_START_S or self._from_first_frame:
            return None
        return f"the source's clock starts at {float(start_s):.3f} s; this one starts at 0"

    def origin_s(self, first_s: Fraction) -> Fraction:
        """Return time zero of the target in seconds on the source's clock.

        Args:
            first_s: time of the first frame on the source's clock.
        """
        if self._from_first_frame:
            return first_s
        may_be_negative = self._container_name in ARBITRARY_START_CONTAINERS  # it is moved there
        return self._start_s if may_be_negative else min(self._start_s, first_s)

    def span_s(self) -> tuple[Fraction, Fraction | None]:
        """Return start and end of the span on the source's clock; None: the end of the source."""
        if self._span.whole:
            return self._start_s, None
        first_s = self._info.start_pts * self._info.time_base
        end_s = None if self._span.end is None else first_s + self._span.end
        return first_s + (self._span.start or 0), end_s


def _start_s(source: InputContainer, info: VideoInfo) -> Fraction:
    """Return the earliest start of video and audio, rounded down to a tick of the video."""
    starts_s = [
        stream.start_time * stream.time_base
        for stream in source.streams
        if stream.type in ("video", "audio")
        and not is_cover(stream)
        and stream.start_time is not None
        and stream.time_base
    ]
    tick_s = info.time_base
    return floor(min([info.start_pts * tick_s, *starts_s]) / tick_s) * tick_s
