"""`GatedSink`: encoded segments, and between them packets of the source as they are."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.packet import Packet
from av.stream import Stream

from lfdn_video.copying import CopyPlan, PacketIndex, Segment
from lfdn_video.options import EncodeOptions
from lfdn_video.output.copied import SourcePackets, assign_decoding_times
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.joint import Joint
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.packets import read_packets, read_times
from lfdn_video.output.sinks import SegmentedSink

PLAN_ENTRY = "segments"
"""Name of the plan in the run manifest."""


class GatedSink(SegmentedSink):
    """Like `SegmentedSink`; the segments that a plan names are copied when the target is muxed."""

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
        index: PacketIndex,
        joint: Joint,
    ) -> None:
        """Prepare a run; see `SegmentedSink`.

        Args:
            target: the file to be written.
            muxer: opened once as a trial, and again to join the segments.
            encoder: sets up a fresh encoder for each segment.
            options: `resume` and `overwrite` apply to an interrupted run.
            rate: frames per second, for the encoders.
            segment_frames: frames of an encoded segment.
            manifest: the run manifest, as JSON values.
            index: the source's packets.
            joint: how they and the encoder's are joined.
        """
        super().__init__(
            target,
            muxer,
            encoder,
            options,
            rate=rate,
            segment_frames=segment_frames,
            manifest=manifest,
        )
        self._index = index
        self._joint = joint
        self._encoder = encoder
        self._plan: CopyPlan | None = None

    @property
    def plan(self) -> CopyPlan | None:
        """The plan of this run, or of the interrupted one; None: there is none so far."""
        values = self._journal.manifest.get(PLAN_ENTRY)
        if self._plan is None and values is not None:
            self._plan = CopyPlan(tuple(Segment(**each) for each in values))
        return self._plan

    def set_plan(self, plan: CopyPlan) -> None:
        """Set the plan; it outlasts an interruption as the finished segments do."""
        self._journal.extend_manifest({PLAN_ENTRY: [asdict(each) for each in plan.segments]})
        self._plan = plan

    def end_segment(self) -> None:
        """Complete the open segment: what follows is not encoded."""
        self._segments.finish_segment()

    def _join_packets(self, first_pts: int) -> Generator[Packet[Stream]]:
        info, time_base = self._muxer.info, self._encoder.time_base
        origin_s = self._muxer.clock.origin_s(first_pts * info.time_base)
        shift = round(origin_s / time_base)
        pieces = self._list_pieces(shift)
        pts: array[int] = array("q")
        for piece in pieces:
            pts.extend(self._read_pts(piece, shift))
        times = assign_decoding_times(pts, info.frame_ticks)
        with closing(SourcePackets(info, self._index)) as source:
            for piece in pieces:
                for packet in self._read_piece(piece, source, shift):
                    packet.dts = next(times)
                    packet.stream = self._muxer.stream
                    yield packet

    def _list_pieces(self, shift: int) -> list[Segment | int]:
        """List what the target consists of, in order: copied segments, numbers of encoded ones."""
        plan = self.plan
        starts: list[tuple[int, Segment | int]] = [
            (segment.first_pts, number) for number, segment in enumerate(self._journal.segments)
        ]
        if plan is not None:
            copied = (each for each in plan.segments if each.copied)
            starts += [(segment.start_pts - shift, segment) for segment in copied]
        return [piece for _, piece in sorted(starts, key=lambda start: start[0])]

    def _read_pts(self, piece: Segment | int, shift: int) -> Iterator[int]:
        if isinstance(piece, int):
            return read_times(self._journal.segment_path(piece))
        own = self._index.pts[piece.first : piece.first + piece.packets]
        return (each - shift for each in own)

    def _read_piece(
        self, piece: Segment | int, source: SourcePackets, shift: int
    ) -> Iterator[Packet[Stream]]:
        time_base = self._encoder.time_base
        if isinstance(piece, int):
            path = self._journal.segment_path(piece)
            with closing(read_packets(path, time_base, self._joint.adapt)) as packets:
                yield from packets
            return
        for found in source.read(piece):
            assert found.pts is not None
            packet = Packet(bytes(found))
            packet.pts, packet.duration = found.pts - shift, found.duration
            packet.time_base, packet.is_keyframe = time_base, found.is_keyframe
            yield packet
