"""`PartSink`: the segments of a part of a video, for another run to adopt and join."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfdn_video.output.sinks import Resumed, SegmentedSink
from lfdn_video.parts import Part

ENTRY = "part"
"""Name of the part in the run manifest."""


def describe_part(part: Part) -> dict[str, Any]:
    """Describe a part for the run manifest, as JSON values."""
    return {ENTRY: {"bounds": list(part.bounds), "origin_pts": part.origin_pts}}


class PartSink(SegmentedSink):
    """Like `SegmentedSink`, but the segments stay in the journal, and there is no target.

    The run manifest has the entry `part`, as `describe_part` writes it.
    """

    def resume(self, network: Mapping[str, str]) -> Resumed:
        """Resume an interrupted run; without one, the times are still counted from the origin."""
        self._journal.extend_manifest({"network": dict(network)})
        segments = self._journal.segments
        return Resumed(
            frames=self._journal.frames,
            first_pts=self._manifest[ENTRY]["origin_pts"],
            last_pts=segments[-1].last_pts if segments else None,
        )

    def complete(self, first_pts: int) -> None:  # noqa: ARG002
        """Finish the last segment."""
        self._segments.finish_segment()
