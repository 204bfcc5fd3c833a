"""Judges the segments of a video by bursts of frames that are restored for it.

    segment ─ bursts ─▶ decode ─▶ restore ─▶ what was taken away ─▶ dry, or rain

In doubt a segment is restored: where one burst shows rain, or cannot be decoded. The bursts of a
segment are looked at in order until one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from lfdn_video.copying import CopyPlan, PacketIndex, Segment
from lfdn_video.gate.detector import THRESHOLD, measure_spread
from lfdn_video.gate.segments import BURST_FRAMES, divide, list_bursts
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import SpanOptions

ReadBurst: TypeAlias = Callable[[int, int], Sequence[Frame]]
"""Decodes so many frames from a pts on; none if that fails."""

RestoreBurst: TypeAlias = Callable[[Sequence[Frame]], Sequence[Frame]]
"""Restores consecutive frames, as the run does."""


class Survey:
    """Judges the segments of one source.

    Args:
        info: the source.
        index: its packets.
        read: decodes a burst.
        restore: restores it.
    """

    def __init__(
        self,
        info: VideoInfo,
        index: PacketIndex,
        read: ReadBurst,
        restore: RestoreBurst,
    ) -> None:
        self._info = info
        self._index = index
        self._read = read
        self._restore = restore

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
            spread = measure_spread(decoded, self._restore(decoded))
            highest = spread if highest is None else max(spread, highest)
            if spread >= THRESHOLD:
                return replace(segment, finding="rain", spread=highest)
        return replace(segment, finding="dry", spread=highest)
