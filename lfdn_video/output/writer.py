"""Writes videos: encodes restored frames and copies everything else of the source beside them.

`Writer` refuses impossible requests before the first frame, computes each frame's timestamp, and
passes the frame to a sink (`sinks.py`), which renames the target into place when it is complete.
`encoder.py` encodes frames, `muxer.py` writes the container; `images.py` writes images.

Timestamps are the source's, in the source's time base. Containers with a time base of their own
round them, Matroska to milliseconds; MP4 takes any. Where a container or codec has a constant rate,
frames are moved. Warnings name both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from lfdn_video.copying import CopyPlan, PacketIndex
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.files import Inputs, check_target, follow_link, refuse_around
from lfdn_video.frame_io import FrameWriter
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import (
    CONTAINER_CODECS,
    DEFAULT_CODEC,
    EncodeOptions,
    SpanOptions,
)
from lfdn_video.output.choices import choose_encoder, choose_rate, choose_sink
from lfdn_video.output.containers import (
    CONSTANT_RATE_CONTAINERS,
    DECODING_ORDER_CONTAINERS,
    adapt_options,
    find_container,
)
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.frame_times import FrameTimes
from lfdn_video.output.gated import GatedSink
from lfdn_video.output.joint import Joint
from lfdn_video.output.journal import Journal
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.segments import choose_segment_frames
from lfdn_video.output.signalling import APPLE_CONTAINERS, describe_chroma_move
from lfdn_video.output.sinks import Resumed, SegmentedSink, Sink
from lfdn_video.output.target import output_errors
from lfdn_video.parts import Part


class Writer(FrameWriter):
    """Writes one video. A context manager: entering opens the target, leaving completes it.

    If an exception leaves the block, only the finished segments of a long run remain.
    """

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        options: EncodeOptions | None = None,
        span: SpanOptions | None = None,
        *,
        inputs: Inputs | None = None,
        index: PacketIndex | None = None,
        part: Part | None = None,
    ) -> None:
        """Check the request; no file is created yet.

        Args:
            target: the file to write; its extension chooses the container.
            info: the source of the frames; everything else of it is copied.
            options: how to encode; None: the defaults.
            span: the part of the source that the frames are from; None: all of it.
            inputs: the files that are read; None: the source.
            index: the source's packets, if segments may be copied; None: everything is encoded.
            part: the part of the source to write, for another writer to `adopt`; None: all.

        Raises:
            OutputError: no file can be created at `target`, or FFmpeg has no video format for its
                extension.
            OptionError: the encoder does not accept the options.
        """
        super().__init__()
        self._target = Path(target)
        self._info = info
        self._options = options or EncodeOptions()
        self._span = span or SpanOptions()
        self._encoded = 0  # frames in the target that were encoded
        self._copied = 0  # frames before the last encoded one that are copied
        self._file = _claim_file(self._target, inputs or Inputs([info.path]), self._options)
        self._container_name = find_container(self._target)
        codec = self._options.codec or CONTAINER_CODECS.get(self._container_name, DEFAULT_CODEC)
        time_base = _choose_time_base(info, self._options)
        adapted = adapt_options(self._options, self._container_name, codec, info)
        self._encoder, self._joint, self.copy_problem = choose_encoder(
            info, adapted, index, time_base, codec, self._container_name
        )
        rate = choose_rate(info, self._options, self._encoder, self._container_name)
        self._times = FrameTimes(time_base, self._encoder.time_base)
        self._muxer = Muxer(
            self._target,
            self._container_name,
            info,
            self._encoder,
            rate=rate,
            span=self._span,
            warnings=self.warnings,
            joint=self._joint,
        )
        self._sink = choose_sink(
            self._file, self._muxer, self._options, self._span, rate, index, self._joint, part
        )
        self.resumable = isinstance(self._sink, SegmentedSink)
        self.segment_frames = _find_segment_frames(self._sink, self._encoder, info)
        self.audits = True

    @property
    def target(self) -> Path:
        """The file to write."""
        return self._target

    @property
    def kept_frames(self) -> int:
        """Number of frames in finished segments."""
        return self._sink.kept_frames

    def open(self) -> None:
        """Create the temporary file or the journal, and try container and encoder.

        Raises:
            OutputError: the target cannot be written, or an interrupted run must be resumed or
                overwritten first.
            OptionError: the encoder or the container refuses the request.
        """
        self._sink.claim()
        try:
            with output_errors(self._target):
                self._sink.open()
        except BaseException:
            self._sink.clean_up()
            raise
        joint, container = self._joint, self._container_name
        notes = _describe_request(self._target, self._file, joint, container, self.copy_problem)
        changes = _describe_changes(self._info, self._encoder, self._options, container)
        for note in (*notes, *changes):
            self._warn(note)

    def start(self, network: Mapping[str, str]) -> int:
        """Resume an interrupted run, if there is one to resume.

        Args:
            network: what the restored frames depend on (`Runner.identity`).

        Returns:
            The number of frames that are finished already and must not be written again.

        Raises:
            OutputError: those frames were restored by another network.
        """
        with output_errors(self._target):
            self._continue(self._sink.resume(network))
        return self._encoded

    def adopt(self, parts: Iterable[Path], first_pts: int) -> None:
        """Take over all frames from the parts of a divided run, after `start`.

        Args:
            parts: the targets that they were written with, in order.
            first_pts: pts of the first frame, in ticks of the source.

        Raises:
            OutputError: a part was made in another way, or cannot be moved.
        """
        assert isinstance(self._sink, SegmentedSink)
        with output_errors(self._target):
            self._sink.set_first_pts(first_pts)
            self._continue(self._sink.adopt(parts))

    @property
    def plan(self) -> CopyPlan | None:
        """The segments that are copied, as `set_plan` or an interrupted run set them."""
        return self._sink.plan if isinstance(self._sink, GatedSink) else None

    def set_plan(self, plan: CopyPlan) -> None:
        """Set which segments are copied, where `copy_problem` is None; before the first frame.

        Raises:
            OutputError: it cannot be written beside the target.
        """
        assert isinstance(self._sink, GatedSink)
        with output_errors(self._target):
            self._sink.set_plan(plan)
            if plan.segments[0].copied:
                self._set_first_pts(plan.segments[0].start_pts)

    def write(self, frame: Frame) -> None:
        """Encode the next frame, which is like the first; see `FrameWriter.write`."""
        _check_like_first(frame, self._info)
        with output_errors(self._target):
            if self._times.first_pts is None:
                self._set_first_pts(frame.pts)
            copied = self.plan.count_copied(frame.pts) if self.plan is not None else 0
            if copied != self._copied:
                self._sink.end_segment()
                self._copied = copied
            video = self._encoder.prepare(frame)
            origin_s = self._muxer.clock.origin_s(self._times.first_s)
            video.pts, is_moved = self._times.place(frame.pts, origin_s)
            if is_moved:
                self._warn(_constant_rate_note(self._container_name, self._encoder.codec.name))
            video.duration = self._times.to_encoder_ticks(frame.duration)
            self._sink.encode(video)
        self._encoded += 1
        self.frames_written = self._encoded + copied

    def complete(self) -> None:
        """Complete the target and rename it into place.

        Raises:
            OutputError: there was no frame, or the target cannot be completed.
        """
        self.frames_written = self._encoded + (self.plan.count_copied() if self.plan else 0)
        if self.frames_written == 0:
            raise OutputError(f"{self._target}: there was no frame to write")
        assert self._times.first_pts is not None
        with output_errors(self._target):
            self._sink.complete(self._times.first_pts)

    def clean_up(self) -> None:
        """Close everything, and remove all but the target and the finished segments."""
        self._sink.clean_up()

    def _continue(self, resumed: Resumed | None) -> None:
        if resumed is not None:
            self._times.first_pts, self._times.last_pts = resumed.first_pts, resumed.last_pts
            self._encoded = self.frames_written = resumed.frames

    def _set_first_pts(self, pts: int) -> None:
        self._times.first_pts = pts
        self._sink.set_first_pts(pts)

    def _warn(self, note: str) -> None:
        self.warnings.add(self._target, note)


def _claim_file(target: Path, inputs: Inputs, options: EncodeOptions) -> Path:
    """Check that the target may be written. Returns the file: another one if it is a link."""
    check_target(target, inputs, overwrite=options.overwrite)
    file = follow_link(target)
    refuse_around(Journal(file).folder, inputs)
    return file


def _find_segment_frames(sink: Sink, encoder: Encoder, info: VideoInfo) -> int | None:
    """Return the frames of a segment, if each can be written apart from the others."""
    # At a constant rate, the place of a frame depends on all that came before it.
    if type(sink) is not SegmentedSink or encoder.time_base != info.time_base:
        return None
    return choose_segment_frames(info)


def _describe_request(
    target: Path, file: Path, joint: Joint | None, container: str, copy_problem: str | None
) -> Iterator[str]:
    """Describe, before the run, what a user might not expect of the target's name and kind."""
    if file != target:
        yield f"is a link, and stays one; {file} is written"
    if copy_problem is not None:
        yield f"nothing is copied: {copy_problem}"
    if joint is not None and joint.tag and container in APPLE_CONTAINERS:
        yield f"is tagged {joint.tag}, which players by Apple do not know; use .mkv"


def _constant_rate_note(container: str, codec: str) -> str:
    if container in CONSTANT_RATE_CONTAINERS:
        return "has a constant rate, so frames are moved; use .mp4 or .mkv"
    return f"{codec} has a constant rate, so frames are moved; use another codec"


def _check_like_first(frame: Frame, first: VideoInfo) -> None:
    """Refuse a frame that differs from the first: images may differ, video frames must not."""
    own = frame.info or first
    found = (frame.width, frame.height, frame.format, own.rotation, own.flip)
    if found != (first.width, first.height, first.format, first.rotation, first.flip):
        raise OutputError(
            f"{frame.name or 'a frame'}: is {frame.width}x{frame.height} {frame.format.name} "
            f"rotated by {own.rotation}, but the first is {first.width}x{first.height} "
            f"{first.format.name} rotated by {first.rotation}; make them alike, or write to a "
            f"folder"
        )


def _describe_changes(
    info: VideoInfo, encoder: Encoder, options: EncodeOptions, container: str
) -> Iterator[str]:
    """Describe, before the run, what of the frames does not reach the target unchanged."""
    yield from encoder.warnings
    wanted = options.codec_options.get("bf", options.codec_options.get("bframes", "0"))
    if container in DECODING_ORDER_CONTAINERS and wanted != "0":
        yield "stores no order of presentation, so frames move with B-frames; leave out bf"
    codec = encoder.codec.canonical_name
    moved = describe_chroma_move(info.codec, codec, info.format.chroma_shift)
    if moved is not None:
        yield moved
    for metadata in (*info.hdr_metadata, *info.side_data):
        yield f"{metadata} is left out"


def _choose_time_base(info: VideoInfo, options: EncodeOptions) -> Fraction:
    """Return the time base of the frames' pts: the source's, or by the rate for images."""
    if options.frame_rate is None:
        return info.time_base
    if not info.from_images:
        raise OptionError(
            f"frame rate: {info.path} is a video and keeps its own timestamps; leave it out"
        )
    return 1 / options.frame_rate
