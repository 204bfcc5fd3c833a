"""Values of copied video packets: what a source's packets allow, and which segments are copied.

input/packets.py    a source's packets ─▶ PacketIndex
gate/               which segments need no restoration ─▶ CopyPlan
output/             copies them between those that are encoded
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal, Self, TypeAlias

Finding: TypeAlias = Literal[
    "dry", "rain", "cannot be decoded", "trimmed by the container", "cut by the span"
]
"""What was found of a segment; only a dry one is copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketGroup:
    """Packets that can be decoded without any others, and without which the others can be.

    It starts at a keyframe before which everything earlier is shown, and after which everything
    later is: leading pictures of an open group belong to the group before.
    """

    first: int
    """Number of its first packet, in decoding order, from 0."""
    packets: int
    """Number of its packets."""
    start_pts: int
    """Pts of its keyframe, the earliest, in ticks of the source."""
    end_pts: int
    """Pts of the next group; of the last one the end of its last frame."""
    obstacle: Finding | None = None
    """Why it cannot be copied; None: it can."""

    @property
    def last(self) -> int:
        """Number of the packet behind its last one."""
        return self.first + self.packets


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketIndex:
    """The packets of a video stream, without their content."""

    groups: tuple[PacketGroup, ...] = ()
    """All packets, divided."""
    pts: array[int] = field(default_factory=lambda: array("q"))
    """Pts of each packet in decoding order, in ticks of the source."""
    header: bytes = b""
    """The decoder's configuration, as the container stores it (`extradata`)."""
    reorders: bool = False
    """Packets are not in the order of presentation: there are B-frames."""
    sets_in_band: bool = False
    """Each group starts with its own parameter sets."""
    problem: str | None = None
    """Why no packet can be copied, as words about the source; None: they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Some groups that were judged together."""

    start_s: float
    """Start in seconds from the first frame."""
    end_s: float
    """End in seconds from the first frame."""
    start_pts: int
    """Pts of its first frame, in ticks of the source."""
    end_pts: int
    """Pts of the first frame behind it."""
    first: int
    """Number of its first packet, in decoding order."""
    packets: int
    """Number of its packets, which is that of its frames."""
    finding: Finding
    """What was found."""
    spread: float | None = None
    """Share of a frame in which it rains, 0…1: the largest that was seen; None: not looked at."""

    @property
    def copied(self) -> bool:
        """Its packets are copied."""
        return self.finding == "dry"


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Which segments of a source are copied."""

    segments: tuple[Segment, ...]
    """All segments of the span, in order, without a gap."""

    def is_copied(self, pts: int) -> bool:
        """Tell whether the frame of this pts is in a segment that is copied."""
        segment = self.find(pts)
        return segment is not None and segment.copied

    def find(self, pts: int) -> Segment | None:
        """Return the segment of a frame; None: it is in none."""
        at = bisect_right(self.segments, pts, key=lambda each: each.start_pts) - 1
        return self.segments[at] if at >= 0 and pts < self.segments[at].end_pts else None

    def count_copied(self, before_pts: int | None = None) -> int:
        """Count the frames that are copied.

        Args:
            before_pts: count those before it; None: all.
        """
        return sum(
            segment.packets
            for segment in self.segments
            if segment.copied and (before_pts is None or segment.start_pts < before_pts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSummary:
    """What the dry gate did in a run."""

    copied_frames: int = 0
    """Frames whose packets are the source's."""
    segments: tuple[Segment, ...] = ()
    """What was found, segment by segment."""
    off: str | None = None
    """Why nothing could be copied, whatever was found; None: it could."""

    @classmethod
    def of(cls, plan: CopyPlan | None, off: str | None) -> Self:
        """Summarize a plan, or say why there is none."""
        if plan is None:
            return cls(off=off)
        return cls(copied_frames=plan.count_copied(), segments=plan.segments)
