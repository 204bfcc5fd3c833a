"""`PartSink`: the segments of a part of a video, for another run to adopt and join."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from lfdn_video.options import EncodeOptions
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.sinks import Resumed, SegmentedSink
from lfdn_video.parts import Part


class PartSink(SegmentedSink):
    """Like `SegmentedSink`, but the segments stay in the journal, and there is no target."""

    def __init__(
        self,
        target: Path,
        muxer: Muxer,
        encoder: Encoder,
        options: EncodeOptions,
        *,
        rate: Fraction,
        segment_frames: int,
        manifest: Mapping[str, Any],
        part: Part,
    ) -> None:
        """Prepare a run; see `SegmentedSink`.

        Args:
            target: names the work folder; its extension chooses the container.
            muxer: opened once, as a trial.
            encoder: sets up a fresh encoder for each segment.
            options: `resume` and `overwrite` apply to an interrupted run.
            rate: frames per second, for the encoders.
            segment_frames: frames of a segment.
            manifest: the run manifest, as JSON values.
            part: which frames of the source.
        """
        super().__init__(
            target,
            muxer,
            encoder,
            options,
            rate=rate,
            segment_frames=segment_frames,
            manifest={**manifest, "part": list(part.bounds)},
        )
        self._part = part

    def resume(self, network: Mapping[str, str]) -> Resumed:
        """Resume an interrupted run; without one, the times are still counted from the origin."""
        self._journal.extend_manifest({"network": dict(network)})
        segments = self._journal.segments
        return Resumed(
            frames=self._journal.frames,
            first_pts=self._part.origin_pts,
            last_pts=segments[-1].last_pts if segments else None,
        )

    def complete(self, first_pts: int) -> None:  # noqa: ARG002
        """Finish the last segment."""
        self._segments.finish_segment()
