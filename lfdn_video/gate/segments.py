"""Segments that are judged together, and where in them bursts of frames are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from lfdn_video.copying import Finding, PacketGroup, PacketIndex, Segment
from lfdn_video.media import VideoInfo
from lfdn_video.options import SpanOptions

LEAST_S = Fraction(4)
"""Groups are joined to segments of this length: each costs as many bursts as a longer one."""

BURST_EVERY_S = Fraction(2)
"""Largest distance of bursts; rain comes and goes more slowly."""

LEAST_BURSTS = 3
"""Of a segment: at its start, in its middle, at its end."""

BURST_FRAMES = 5
"""Of a burst: one that is restored, and two neighbours on each side that tell what is rain."""


def divide(index: PacketIndex, info: VideoInfo, span: SpanOptions) -> list[Segment]:
    """Divide a span into segments.

    Args:
        index: the source's packets.
        info: the source.
        span: the part of it that is restored.

    Returns:
        The segments in order, none judged yet: `finding` is `rain`, or why one is not looked at.
    """
    start_pts, end_pts = _span_pts(info, span)
    joined: list[list[PacketGroup]] = []
    for group in index.groups:
        if group.end_pts <= start_pts or (end_pts is not None and group.start_pts >= end_pts):
            continue
        is_cut = group.start_pts < start_pts or (end_pts is not None and group.end_pts > end_pts)
        if is_cut or not joined or not _may_join(joined[-1], group, info):
            joined.append([group])
        else:
            joined[-1].append(group)
    return [_make(groups, info, start_pts, end_pts) for groups in joined]


def list_bursts(segment: Segment, index: PacketIndex, info: VideoInfo) -> list[int]:
    """List the pts at which the bursts of a segment start, evenly spread from end to end.

    Args:
        segment: one of `divide`.
        index: the source's packets.
        info: the source.
    """
    pts = sorted(index.pts[segment.first : segment.first + segment.packets])
    length_s = len(pts) * info.frame_ticks * info.time_base
    bursts = max(LEAST_BURSTS, ceil(length_s / BURST_EVERY_S) + 1)
    last = max(0, len(pts) - BURST_FRAMES)
    places = sorted({round(last * number / (bursts - 1)) for number in range(bursts)})
    return [pts[place] for place in places]


def _span_pts(info: VideoInfo, span: SpanOptions) -> tuple[int, int | None]:
    start = info.start_pts + ceil((span.start or 0) / info.time_base)
    end = span.end
    return start, None if end is None else info.start_pts + ceil(end / info.time_base)


def _may_join(groups: Sequence[PacketGroup], group: PacketGroup, info: VideoInfo) -> bool:
    length_s = (groups[-1].end_pts - groups[0].start_pts) * info.time_base
    return length_s < LEAST_S and {groups[-1].obstacle, group.obstacle} == {None}


def _make(
    groups: Sequence[PacketGroup], info: VideoInfo, start_pts: int, end_pts: int | None
) -> Segment:
    first, last = groups[0], groups[-1]
    is_cut = first.start_pts < start_pts or (end_pts is not None and last.end_pts > end_pts)
    finding: Finding = "cut by the span" if is_cut else first.obstacle or "rain"
    return Segment(
        start_s=float((first.start_pts - info.start_pts) * info.time_base),
        end_s=float((last.end_pts - info.start_pts) * info.time_base),
        start_pts=first.start_pts,
        end_pts=last.end_pts,
        first=first.first,
        packets=last.last - first.first,
        finding=finding,
    )
