"""Writes videos: encodes restored frames and copies everything else of the source beside them.

`Writer` refuses impossible requests before the first frame, computes each frame's timestamp, and
passes the frame to a sink (`sinks.py`), which renames the target into place when it is complete.
`encoder.py` encodes frames, `muxer.py` writes the container; `images.py` writes images.

Timestamps are the source's, in the source's time base. Containers with a time base of their own
round them, Matroska to milliseconds; MP4 takes any. Where a container or codec has a constant rate,
frames are moved. Warnings name both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from lfdn_video.copying import CopyPlan, PacketIndex
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.files import Inputs, check_target, follow_link, refuse_around
from lfdn_video.frame_io import FrameWriter
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import (
    CONTAINER_CODECS,
    DEFAULT_CODEC,
    IMAGE_RATE,
    EncodeOptions,
    SpanOptions,
)
from lfdn_video.output.containers import (
    CONSTANT_RATE_CONTAINERS,
    DECODING_ORDER_CONTAINERS,
    adapt_options,
    find_container,
)
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.gated import GatedSink
from lfdn_video.output.joint import Joint, choose_joint
from lfdn_video.output.journal import Journal, fingerprint_file
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.segments import choose_segment_frames
from lfdn_video.output.signalling import APPLE_CONTAINERS, describe_chroma_move
from lfdn_video.output.sinks import DirectSink, SegmentedSink, Sink
from lfdn_video.output.target import output_errors

MAX_DIRECT_SEGMENTS = 2
"""Runs with more frames than this number of segments has are written in segments."""

MAX_RATE = 240
"""Rates above this are a wrong guess, and more than some encoders accept."""


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
    ) -> None:
        """Check the request; no file is created yet.

        Args:
            target: the file to write; its extension chooses the container.
            info: the source of the frames; everything else of it is copied.
            options: how to encode; None: the defaults.
            span: the part of the source that the frames are from; None: all of it.
            inputs: the files that are read; None: the source.
            index: the source's packets, if segments may be copied; None: everything is encoded.

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
        self._first_pts: int | None = None
        """Pts of the first frame, in ticks of the source's time base."""
        self._last_pts: int | None = None
        """Pts of the last frame, in ticks of the encoder."""
        self._encoded = 0
        """Frames in the target that were encoded."""
        self._copied = 0
        """Frames before the last encoded one that are copied."""
        self._file = _claim_file(self._target, inputs or Inputs([info.path]), self._options)
        self._container_name = find_container(self._target)
        codec = self._options.codec or CONTAINER_CODECS.get(self._container_name, DEFAULT_CODEC)
        self._source_time_base = _choose_time_base(info, self._options)
        adapted = adapt_options(self._options, self._container_name, codec, info)

        def make_encoder(codec_options: Mapping[str, str]) -> Encoder:
            return Encoder(
                info,
                replace(adapted, codec_options=codec_options),
                time_base=self._source_time_base,
                codec=codec,
                container=self._container_name,
            )

        chosen = adapted.codec_options
        self._joint: Joint | None = None
        found: tuple[Encoder, Joint] | str | None = None
        if index is not None:
            found = choose_joint(index, info, codec, self._container_name, make_encoder, chosen)
        if isinstance(found, tuple):
            self._encoder, self._joint = found
        else:
            self._encoder = make_encoder(chosen)
            self.copy_problem = found
        rate = self._choose_rate()
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
        self._sink = self._choose_sink(rate, index)
        self.resumable = isinstance(self._sink, SegmentedSink)
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
        if self._file != self._target:
            self._warn(f"is a link, and stays one; {self._file} is written")
        if self.copy_problem is not None:
            self._warn(f"nothing is copied: {self.copy_problem}")
        if self._joint is not None and self._joint.tag and self._container_name in APPLE_CONTAINERS:
            self._warn(f"is tagged {self._joint.tag}, which players by Apple do not know; use .mkv")
        for note in _describe_changes(
            self._info, self._encoder, self._options, self._container_name
        ):
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
            resumed = self._sink.resume(network)
        if resumed is not None:
            self._first_pts = resumed.first_pts
            self._last_pts = resumed.last_pts
            self._encoded = resumed.frames
            self.frames_written = self._encoded
        return self._encoded

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
        """Encode the next frame.

        Args:
            frame: a frame with the source's size, format and rotation, and a pts above the last
                one's.

        Raises:
            OutputError: its format differs from the first one's, or it cannot be written.
        """
        _check_like_first(frame, self._info)
        with output_errors(self._target):
            first_pts = self._first_pts
            if first_pts is None:
                first_pts = self._set_first_pts(frame.pts)
            copied = self.plan.count_copied(frame.pts) if self.plan is not None else 0
            if copied != self._copied:
                self._sink.end_segment()
                self._copied = copied
            video = self._encoder.prepare(frame)
            origin_s = self._muxer.clock.origin_s(first_pts * self._source_time_base)
            video.pts = self._next_pts(frame.pts * self._source_time_base - origin_s)
            video.duration = self._to_encoder_ticks(frame.duration)
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
        assert self._first_pts is not None
        with output_errors(self._target):
            self._sink.complete(self._first_pts)

    def clean_up(self) -> None:
        """Close everything, and remove all but the target and the finished segments."""
        self._sink.clean_up()

    def _choose_sink(self, rate: Fraction, index: PacketIndex | None) -> Sink:
        """Choose segments for long runs, where an interrupted run left some, and for copies."""
        expected = self._info.expected_frames(self._span)
        segment_frames = choose_segment_frames(self._info)
        is_long = expected is None or expected > MAX_DIRECT_SEGMENTS * segment_frames
        if not (is_long or self._joint or Journal(self._file).folder.is_dir()):
            return DirectSink(self._file, self._muxer, overwrite=self._options.overwrite)
        make: Callable[..., SegmentedSink] = SegmentedSink
        if self._joint is not None and index is not None:
            make = partial(GatedSink, index=index, joint=self._joint)
        return make(
            self._file,
            self._muxer,
            self._encoder,
            self._options,
            rate=rate,
            segment_frames=segment_frames,
            manifest=_build_manifest(self._info, self._options, self._span),
        )

    def _choose_rate(self) -> Fraction:
        """Choose the frame rate for containers and codecs that require one."""
        rate = self._options.frame_rate or self._info.average_rate or IMAGE_RATE
        if self._container_name in CONSTANT_RATE_CONTAINERS or self._encoder.needs_rate:
            return self._encoder.keep_rate(rate)
        return IMAGE_RATE if rate > MAX_RATE else rate

    def _set_first_pts(self, pts: int) -> int:
        self._first_pts = pts
        self._sink.set_first_pts(pts)
        return pts

    def _next_pts(self, time_s: Fraction) -> int:
        """Compute the next frame's pts in the encoder's time base, by default the source's.

        At a constant rate, one tick of the encoder is one frame. A frame whose tick is occupied
        gets the next one, so that none is lost.
        """
        tick_s = self._encoder.time_base
        pts = round(time_s / tick_s)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        # Rounding to ticks moves frames of a truly constant rate by far less than this.
        if abs(pts * tick_s - time_s) > tick_s / 4:
            self._warn(_constant_rate_note(self._container_name, self._encoder.codec.name))
        self._last_pts = pts
        return pts

    def _to_encoder_ticks(self, source_ticks: int) -> int:
        return round(source_ticks * self._source_time_base / self._encoder.time_base)

    def _warn(self, note: str) -> None:
        self.warnings.add(self._target, note)


def _claim_file(target: Path, inputs: Inputs, options: EncodeOptions) -> Path:
    """Check that the target may be written. Returns the file: another one if it is a link."""
    check_target(target, inputs, overwrite=options.overwrite)
    file = follow_link(target)
    refuse_around(Journal(file).folder, inputs)
    return file


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


def _build_manifest(info: VideoInfo, options: EncodeOptions, span: SpanOptions) -> dict[str, Any]:
    """Return everything that a run's encoded frames depend on, as JSON values."""
    # `overwrite` and `resume` do not change the frames, so a resuming command may differ in them.
    encode = {name: str(value) for name, value in asdict(options).items() if value is not None}
    for name in ("overwrite", "resume"):
        encode.pop(name)
    source: Any = {"pictures": info.frame_count}
    if info.path.is_file():
        source = fingerprint_file(info.path)
    if info.deinterlaced:
        source["deinterlaced"] = True
    return {"source": source, "encoding": encode, "span": asdict(span)}
