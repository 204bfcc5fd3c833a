"""Groups to segments, and where bursts are sampled."""

import itertools
from array import array
from fractions import Fraction
from pathlib import Path

from lfdn_video.copying import Finding, PacketGroup, PacketIndex
from lfdn_video.gate.segments import BURST_FRAMES, divide, list_bursts
from lfdn_video.media import PixelFormat, VideoInfo
from lfdn_video.options import SpanOptions

INFO = VideoInfo(
    width=64,
    height=48,
    format=PixelFormat.parse("yuv420p"),
    path=Path("a.mp4"),
    container="mov,mp4",
    codec="h264",
    source_format="yuv420p",
    time_base=Fraction(1, 25),
    average_rate=Fraction(25),
)


def make_index(*lengths: int, obstacles: dict[int, Finding] | None = None) -> PacketIndex:
    """Groups of so many frames, at 25 a second, one tick each."""
    groups = []
    first = 0
    for number, length in enumerate(lengths):
        obstacle = (obstacles or {}).get(number)
        groups.append(
            PacketGroup(
                first=first,
                packets=length,
                start_pts=first,
                end_pts=first + length,
                obstacle=obstacle,
            )
        )
        first += length
    return PacketIndex(groups=tuple(groups), pts=array("q", range(first)))


def test_short_groups_are_joined_to_four_seconds() -> None:
    segments = divide(make_index(*[25] * 10), INFO, SpanOptions())
    assert [segment.packets for segment in segments] == [100, 100, 50]
    assert [(segment.start_s, segment.end_s) for segment in segments] == [(0, 4), (4, 8), (8, 10)]


def test_group_with_an_obstacle_stays_alone() -> None:
    index = make_index(*[25] * 4, obstacles={1: "cannot be decoded"})
    segments = divide(index, INFO, SpanOptions())
    assert [segment.packets for segment in segments] == [25, 25, 50]
    assert [segment.finding for segment in segments] == ["rain", "cannot be decoded", "rain"]


def test_span_cuts_groups_at_its_ends_alone() -> None:
    segments = divide(make_index(*[100] * 4), INFO, SpanOptions(start_s=2, end_s=12))
    assert [segment.first for segment in segments] == [0, 100, 200]
    assert [segment.finding for segment in segments] == ["cut by the span", "rain", "rain"]


def test_bursts_reach_from_the_first_frame_to_the_last() -> None:
    index = make_index(500)
    (segment,) = divide(index, INFO, SpanOptions())
    bursts = list_bursts(segment, index, INFO)
    assert bursts[0] == 0
    assert bursts[-1] == 500 - BURST_FRAMES
    assert max(b - a for a, b in itertools.pairwise(bursts)) <= 50


def test_single_frame_is_one_burst() -> None:
    index = make_index(1)
    (segment,) = divide(index, INFO, SpanOptions())
    assert list_bursts(segment, index, INFO) == [0]
