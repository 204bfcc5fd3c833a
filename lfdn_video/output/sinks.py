"""Sinks: the two ways to write a run's frames to the target.

    DirectSink      frames ─ encoder ─▶ temporary file ─ rename ─▶ target
    SegmentedSink   frames ─ encoder ─▶ segments ─ mux ─▶ temporary file ─ rename ─▶ target

A short run is encoded directly into the target's temporary file. A long one is encoded into
segments (`segments.py`), which a journal keeps if the run is interrupted, so that the next run can
resume it. `writer.py` chooses one and uses both alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from lfdn_video.errors import OutputError
from lfdn_video.options import EncodeOptions
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.journal import Journal
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.segments import SegmentEncoder
from lfdn_video.output.target import (
    create_temporary,
    lock_temporary,
    remove_stale_temporaries,
    remove_temporary,
    rename_into_place,
    sync_to_disk,
)
from lfdn_video.output.trial import try_out


@dataclass(frozen=True, slots=True)
class Resumed:
    """The state of an interrupted run."""

    frames: int
    """Frames in its finished segments."""
    first_pts: int
    """Pts of its first frame, in ticks of the source's time base."""
    last_pts: int | None
    """Pts of the last finished frame, in ticks of the encoder; None: none is finished."""


class Sink(ABC):
    """Takes a run's frames: `claim`, `open`, `set_first_pts`, `encode`, `complete`.

    `clean_up` comes last, after success too. Methods that write raise FFmpegError and OSError
    unchanged; the writer adds the target's name.
    """

    def __init__(self, target: Path, muxer: Muxer, *, overwrite: bool) -> None:
        self._target = target
        self._muxer = muxer
        self._overwrite = overwrite

    @property
    def kept_frames(self) -> int:
        """Number of frames that are kept if the run fails, for the next one to resume."""
        return 0

    @abstractmethod
    def claim(self) -> None:
        """Create and lock the temporary file or the work folder beside the target.

        Raises:
            OutputError: it cannot be written, or another run has locked it.
        """

    @abstractmethod
    def open(self) -> None:
        """Check that the container and the encoder accept the request."""

    def resume(self, network: Mapping[str, str]) -> Resumed | None:  # noqa: ARG002
        """Resume an interrupted run, if there is one.

        Args:
            network: what the restored frames depend on (`Runner.identity`).

        Returns:
            The state of the interrupted run; None if there is none.

        Raises:
            OutputError: its frames were restored by another network.
        """
        return None

    @abstractmethod
    def set_first_pts(self, first_pts: int) -> None:
        """Set the pts of the first frame, in the source's time base, before encoding it."""

    @abstractmethod
    def encode(self, video: VideoFrame) -> None:
        """Encode the next frame."""

    def end_segment(self) -> None:  # noqa: B027
        """Encode what follows on its own, where there are segments: something is between."""

    @abstractmethod
    def complete(self, first_pts: int) -> None:
        """Complete the target and rename it into place.

        Args:
            first_pts: as in `set_first_pts`, which a resumed run without new frames never calls.
        """

    @abstractmethod
    def clean_up(self) -> None:
        """Close everything, and remove all but the target and the finished segments."""

    def _rename(self, temporary: Path) -> None:
        sync_to_disk(temporary, self._target)
        rename_into_place({self._target: temporary}, overwrite=self._overwrite)

    def _close_muxer(self, temporary: Path) -> None:
        remove_temporary(temporary)  # first: closing an unwanted file may take minutes
        self._muxer.close()
        remove_temporary(temporary)  # again, for systems where open files cannot be removed


class DirectSink(Sink):
    """Encodes into the target's temporary file. An interrupted run leaves nothing."""

    def __init__(self, target: Path, muxer: Muxer, *, overwrite: bool) -> None:
        super().__init__(target, muxer, overwrite=overwrite)
        self._temporary: Path | None = None
        self._lock: IO[bytes] | None = None

    def claim(self) -> None:
        self._temporary = create_temporary(self._target)
        self._lock = lock_temporary(self._temporary)
        try:  # with its own file locked: of two that start at once, one sees the other
            remove_stale_temporaries(self._target, self._temporary)
        except OutputError:
            self.clean_up()
            raise

    def open(self) -> None:
        assert self._temporary is not None
        try_out(self._muxer, self._temporary)
        self._muxer.open(self._temporary)

    def set_first_pts(self, first_pts: int) -> None:
        self._muxer.set_first_pts(first_pts)

    def encode(self, video: VideoFrame) -> None:
        self._muxer.mux(self._muxer.stream.encode(video))

    def complete(self, first_pts: int) -> None:  # noqa: ARG002
        assert self._temporary is not None
        self._muxer.mux(self._muxer.stream.encode(None))
        self._muxer.finish()
        self._rename(self._temporary)

    def clean_up(self) -> None:
        assert self._temporary is not None
        self._close_muxer(self._temporary)
        if self._lock is not None:
            self._lock.close()


class SegmentedSink(Sink):
    """Encodes into segments, and muxes the target from them at the end.

    Finished segments are kept if the run is interrupted. Muxing them needs twice the disk space.
    """

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
    ) -> None:
        """Prepare a run; `claim` creates its work folder.

        Args:
            target: the file to be written.
            muxer: opened once as a trial, and again to join the segments.
            encoder: sets up a fresh encoder for each segment.
            options: `resume` and `overwrite` apply to an interrupted run.
            rate: frames per second, for the encoders.
            segment_frames: frames of a segment.
            manifest: the run manifest, as JSON values.
        """
        super().__init__(target, muxer, overwrite=options.overwrite)
        self._resume = options.resume
        self._manifest = manifest
        self._journal = Journal(target)
        self._segments = SegmentEncoder(
            self._journal, encoder, rate=rate, segment_frames=segment_frames
        )
        self._temporary = self._journal.folder / f"joined{target.suffix}"

    @property
    def kept_frames(self) -> int:
        return self._journal.frames

    def claim(self) -> None:
        self._journal.open(self._manifest, resume=self._resume, overwrite=self._overwrite)
        try:
            remove_stale_temporaries(self._target)
        except OutputError:
            self._journal.close()
            raise

    def open(self) -> None:
        # The container is needed only at the end, but its refusals must be known before hours of
        # work.
        try_out(self._muxer, self._temporary)
        self._muxer.open(self._temporary)
        # Some containers want codec headers once, in their own header (`Flags.global_header`).
        self._segments.flags = self._muxer.stream.codec_context.flags
        self._muxer.close()
        remove_temporary(self._temporary)

    def resume(self, network: Mapping[str, str]) -> Resumed | None:
        self._journal.extend_manifest({"network": dict(network)})
        if not self._journal.segments:
            return None
        return Resumed(
            frames=self._journal.frames,
            first_pts=self._journal.manifest["first_pts"],
            last_pts=self._journal.segments[-1].last_pts,
        )

    def set_first_pts(self, first_pts: int) -> None:
        self._journal.extend_manifest({"first_pts": first_pts})

    def adopt(self, parts: Iterable[Path]) -> Resumed:
        """Take over the segments of all parts, in order, as if this run had finished them.

        Args:
            parts: the targets that the parts were written with.

        Returns:
            The state of the run; nothing is left to encode.

        Raises:
            OutputError: a part was made in another way.
        """
        for part in parts:
            self._journal.adopt(part, self._manifest)
        return Resumed(
            frames=self._journal.frames,
            first_pts=self._journal.manifest["first_pts"],
            last_pts=self._journal.segments[-1].last_pts,
        )

    def encode(self, video: VideoFrame) -> None:
        self._segments.encode(video)

    def complete(self, first_pts: int) -> None:
        self._segments.finish_segment()
        self._muxer.open(self._temporary)
        self._muxer.set_first_pts(first_pts)
        with closing(self._join_packets(first_pts)) as packets:
            self._muxer.mux(packets)
        self._muxer.finish()
        self._rename(self._temporary)
        self._journal.remove()

    def clean_up(self) -> None:
        self._close_muxer(self._temporary)
        self._segments.discard()
        self._journal.close()

    def _join_packets(self, first_pts: int) -> Generator[Packet[Stream]]:  # noqa: ARG002
        """Yield the packets of the target, in decoding order."""
        return self._segments.join_packets(self._muxer.stream)
