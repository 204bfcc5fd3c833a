"""The joined clock: where timestamps jump back, copied streams follow the video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Stream

from lfdn_video.input.reader import Reader
from lfdn_video.media import PixelFormat, VideoInfo
from lfdn_video.output.joined_clock import MAX_WAITING_PACKETS, JoinedClock
from tests.support.clips import Clip

FRAME_MS = 40
VIDEO = 0
AUDIO = 1
SUBTITLE = 2
TYPES = {VIDEO: "video", AUDIO: "audio", SUBTITLE: "subtitle"}


@dataclass
class FakeStream:
    index: int
    type: str


@dataclass
class FakePacket:
    """The parts of a packet that the clock reads and changes, in milliseconds."""

    stream: FakeStream
    pts: int | None
    dts: int | None
    duration: int = FRAME_MS
    time_base: Fraction = Fraction(1, 1000)


def packet(stream: int, time_ms: int | None) -> FakePacket:
    return FakePacket(FakeStream(stream, TYPES[stream]), time_ms, time_ms)


def info() -> VideoInfo:
    return VideoInfo(
        path=Path("in.ts"),
        container="mpegts",
        codec="h264",
        width=64,
        height=48,
        format=PixelFormat.parse("yuv420p"),
        source_format="yuv420p",
        time_base=Fraction(1, 1000),
        average_rate=Fraction(25),
        video_index=VIDEO,
    )


def shift(packets: list[FakePacket], *, origin_s: int = 0) -> list[tuple[int, int | None]]:
    """Shift packets; return stream and pts of those that come out."""
    clock = JoinedClock(info(), follow_video=True, origin_s=Fraction(origin_s))
    shifted = clock.shift_packets(cast("Iterator[Packet[Stream]]", iter(packets)))
    return [(each.stream.index, each.pts) for each in shifted]


def part(length_ms: int, *streams: int) -> list[FakePacket]:
    """Make a recording: a packet of each stream every 40 ms."""
    return [packet(stream, ms) for ms in range(0, length_ms, FRAME_MS) for stream in streams]


def test_first_part_is_not_shifted() -> None:
    assert shift(part(120, VIDEO, AUDIO)) == [(AUDIO, 0), (AUDIO, 40), (AUDIO, 80)]


def test_audio_of_the_next_part_is_shifted_as_far_as_the_video() -> None:
    longer_audio = [packet(AUDIO, 2000), packet(AUDIO, 2040)]
    found = shift([*part(2000, VIDEO, AUDIO), *longer_audio, *part(80, VIDEO, AUDIO)])
    assert found[-4:] == [(AUDIO, 2000), (AUDIO, 2040), (AUDIO, 2000), (AUDIO, 2040)]


def test_audio_that_jumps_before_the_video_waits_for_it() -> None:
    found = shift([*part(2000, VIDEO, AUDIO), packet(AUDIO, 0), *part(80, VIDEO)])
    assert found[-1] == (AUDIO, 2000)


def test_jump_of_the_audio_alone_is_no_discontinuity() -> None:
    waiting = [packet(AUDIO, 0)] * (MAX_WAITING_PACKETS + 1)
    found = shift([*part(2000, VIDEO, AUDIO), *waiting, *part(80, VIDEO)])
    assert found[-1] == (AUDIO, 0)


def test_sparse_subtitle_without_a_jump_belongs_to_the_nearer_part() -> None:
    second = [*part(3000, VIDEO), packet(SUBTITLE, 2960)]
    found = shift([packet(SUBTITLE, 40), *part(2000, VIDEO), *second])
    assert found == [(SUBTITLE, 40), (SUBTITLE, 2000 + 2960)]


def test_late_packet_of_the_old_part_is_not_shifted() -> None:
    found = shift([*part(2000, VIDEO, AUDIO), *part(80, VIDEO), packet(AUDIO, 2000)])
    assert found[-1] == (AUDIO, 2000)


def test_parts_before_the_span_shift_nothing() -> None:
    found = shift([*part(2000, VIDEO, AUDIO), *part(6000, VIDEO, AUDIO)], origin_s=5)
    assert found[-1] == (AUDIO, 5960)


def test_packet_without_times_stays_in_its_part() -> None:
    assert shift([*part(80, VIDEO), packet(AUDIO, None)]) == [(AUDIO, None)]


def test_audio_runs_on_from_its_own_last_packet_if_the_video_is_not_followed(
    tmp_path: Path,
) -> None:
    path = Clip(audio="flac", pts=range(30)).make(tmp_path / "in.nut")
    with av.open(str(path)) as once, av.open(str(path)) as again:
        both = chain(*(file.demux(file.streams[1]) for file in (once, again)))
        clock = JoinedClock(Reader(path).info, follow_video=False)
        moved = [packet.dts for packet in clock.shift_packets(each for each in both if each.size)]
    assert len(set(np.diff([dts for dts in moved if dts is not None])[:-1])) == 1
    assert clock.first_discontinuity_s == pytest.approx(1.2, abs=0.1)
