"""Judges the segments of a video by bursts of frames, of which one each is restored for it.

    segment ─ bursts ─▶ decode ─▶ restore the middle frame ─▶ over how much of it does it rain?

In doubt a segment is restored: where one burst shows rain, or cannot be decoded. The bursts of a
segment are looked at in order until one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from lfdn_video.copying import CopyPlan, PacketIndex, Segment
from lfdn_video.gate.segments import BURST_FRAMES, divide, list_bursts
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import SpanOptions

DETECTOR = "1"
"""Changes when the same frames may be judged otherwise: a run that is resumed keeps its plan."""

THRESHOLD = 0.06
"""Share of a frame at which it rains: half of what 98 % of the rainy calibration bursts exceed
(`benchmarks/dry_gate.py`)."""

ReadBurst: TypeAlias = Callable[[int, int], Sequence[Frame]]
"""Decodes so many frames from a pts on; none if that fails."""

MeasureRain: TypeAlias = Callable[[Sequence[Frame]], float]
"""Measures over how much of a burst's middle frame it rains, 0…1."""


class Survey:
    """Judges the segments of one source.

    Args:
        info: the source.
        index: its packets.
        read: decodes a burst.
        measure: measures the rain in it.
    """

    def __init__(
        self,
        info: VideoInfo,
        index: PacketIndex,
        read: ReadBurst,
        measure: MeasureRain,
    ) -> None:
        self._info = info
        self._index = index
        self._read = read
        self._measure = measure

    def plan(self, span: SpanOptions, on_segment: Callable[[int, int], None]) -> CopyPlan:
        """Judge every segment of a span.

        Args:
            span: the part of the source.
            on_segment: called before each segment with its number, from 0, and the number of
                segments.
        """
        judged = []
        segments = divide(self._index, self._info, span)
        for number, segment in enumerate(segments):
            on_segment(number, len(segments))
            judged.append(self._judge(segment) if segment.finding == "rain" else segment)
        return CopyPlan(tuple(judged))

    def _judge(self, segment: Segment) -> Segment:
        highest: float | None = None
        for pts in list_bursts(segment, self._index, self._info):
            decoded = self._read(pts, BURST_FRAMES)
            if not decoded:
                return replace(segment, finding="cannot be decoded", spread=highest)
            spread = self._measure(decoded)
            highest = spread if highest is None else max(spread, highest)
            if spread >= THRESHOLD:
                return replace(segment, finding="rain", spread=highest)
        return replace(segment, finding="dry", spread=highest)
