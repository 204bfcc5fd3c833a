"""The open target file: encoded video, interleaved with the copied streams of the source.

Knows containers and packets. The owner of a `Muxer` encodes the frames (`sinks.py`); packets may
also come from segments that were encoded earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError, PatchWelcomeError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from lfdn_video.errors import OptionError
from lfdn_video.ffmpeg import KEEP_BYTES, ffmpeg_errors, ffmpeg_message
from lfdn_video.frame_io import Warnings
from lfdn_video.media import VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.output.audit import Written, check_video
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.joint import Joint
from lfdn_video.output.passthrough import Passthrough
from lfdn_video.output.signalling import APPLE_CONTAINERS
from lfdn_video.output.tags import describe_stream
from lfdn_video.output.target_clock import TargetClock

CONTAINER_OPTIONS = {
    # The index goes to the front, so that a browser can play the file while it loads.
    "mp4": {"movflags": "+faststart"},
    "mov": {"movflags": "+faststart"},
    "ipod": {"movflags": "+faststart"},
    # AAC starts slightly before zero; by default FFmpeg would shift the video to compensate.
    "avi": {"avoid_negative_ts": "disabled"},
    "matroska": {"avoid_negative_ts": "disabled"},
    "webm": {"avoid_negative_ts": "disabled"},
}

APPLE_TAGS = "com."
"""Start of the names of tags that QuickTime files alone hold: com.apple…, com.android…"""


class Muxer:
    """Writes one file: `open`, `set_first_pts`, `mux`, `finish`; `close` always.

    It can be opened again after `close`, for another file.
    """

    def __init__(
        self,
        target: Path,
        container_name: str,
        info: VideoInfo,
        encoder: Encoder,
        *,
        rate: Fraction,
        span: SpanOptions,
        warnings: Warnings,
        joint: Joint | None = None,
    ) -> None:
        """Prepare a file; `open` creates it.

        Args:
            target: named in messages.
            container_name: FFmpeg's name of the muxer.
            info: the source.
            encoder: sets up the stream of the video.
            rate: frames per second, for containers and codecs that require one.
            span: the part of the source that the target holds.
            warnings: receives a message for everything that does not reach the target unchanged.
            joint: how packets of the source are joined with those of `encoder`; None: none are.
        """
        self._target = target
        self._container_name = container_name
        self.info = info
        """The source."""
        self.encoder = encoder
        """Encodes the video."""
        self._rate = rate
        self._span = span
        self._warnings = warnings
        self._joint = joint or Joint()
        self.clock = TargetClock(info, container_name, span)
        """Time zero of the target; known after `open`."""
        self._path = target
        self._container: OutputContainer | None = None
        self._passthrough: Passthrough | None = None
        self.left_out: set[int] = set()
        """Indices of the source's streams that are not copied, as the file cannot be written with
        them."""
        self.copied_streams: dict[int, str] = {}
        """Descriptions of the source's streams that are copied, by index; known after `open`."""
        self._written = Written(encoder.time_base, container_name)
        self.stream: VideoStream
        """The video stream, set by `open`; its encoder is open and unused."""

    def open(self, path: Path) -> None:
        """Create a file and write its header.

        Raises:
            OptionError: the container cannot hold the codec, or the encoder refuses an option.
            InputError: the source cannot be opened again.
            FFmpegError, OSError: the file cannot be written.
        """
        self._path = path
        self._written = Written(self.encoder.time_base, self._container_name)
        self._container = container = av.open(
            f"file:{path}",
            "w",
            format=self._container_name,
            container_options=_choose_options(self._container_name, self.info),
            metadata_errors=KEEP_BYTES,
        )
        if self.info.from_images:
            self._add_video(container)
        else:
            self._passthrough = Passthrough(self.info, self._span)
            if (note := self.clock.read_start(self._passthrough.source)) is not None:
                self.warn(note)
            self._passthrough.add_streams(container, self._add_video, self.left_out)
            copies = self._passthrough.copies.items()
            self.copied_streams = {index: describe_stream(copy.source) for index, copy in copies}
            self._passthrough.add_chapters(container, *self.clock.span_s())
        with ffmpeg_errors():
            container.start_encoding()
        self._collect_warnings()

    def set_first_pts(self, first_pts: int) -> None:
        """Set the actual start of the video; the copied streams of a span start there too.

        Args:
            first_pts: pts of the first frame, in ticks of the source's time base.
        """
        if self._passthrough is not None:
            self._passthrough.set_span(
                origin_s=self.clock.origin_s(first_pts * self.info.time_base),
                end_s=self.clock.span_s()[1],
                trim=not self._span.whole,
            )

    def mux(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write packets of the video, each after the copied packets with earlier times.

        Raises:
            FFmpegError, OSError: the file cannot be written.
        """
        assert self._container is not None
        for packet in packets:
            tick_s = self.stream.time_base or self.encoder.time_base
            if (note := self._written.add_packet(packet, tick_s)) is not None:
                self.warn(note)
            self._mux_one(self._container, packet)

    def finish(self) -> None:
        """Write the remaining copied packets, close the file, and check what it kept.

        Raises:
            OutputError: the file does not hold every frame.
            FFmpegError, OSError: it cannot be written.
        """
        assert self._container is not None
        if self._passthrough is not None:
            self._copy(self._passthrough.remaining_packets())
        self._container.close()
        for note in check_video(self._path, self.stream.index, self._written, self._target):
            self.warn(note)
        if self._passthrough is None:
            return
        self._collect_warnings()
        try:
            for note in self._passthrough.find_losses(self._path):
                self.warn(note)
        except FFmpegError as error:  # every frame is there, so the file is worth keeping
            words = ffmpeg_message(error)
            self.warn(f"is complete, but what it kept could not be checked: {words}")

    def mux_trial(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write all packets of a file that only shows whether it can be written, and close it.

        Raises:
            FFmpegError, OSError: it cannot be written.
        """
        assert self._container is not None
        for packet in packets:
            self._mux_one(self._container, packet)
        self._container.close()

    def close(self) -> None:
        """Close the file. Remove it first if it is not wanted: completing it may take minutes."""
        if self._passthrough is not None:
            self._passthrough.close()
        if self._container is not None:
            with suppress(FFmpegError, OSError):
                self._container.close()

    def _add_video(self, container: OutputContainer) -> Stream:
        encoder, info = self.encoder, self.info
        try:
            stream = container.add_stream(encoder.codec.name, self._rate)
        except ValueError as error:
            raise OptionError(
                f"{self._target}: {self._container_name} cannot hold {encoder.codec.name}; "
                f"choose another codec, or another extension"
            ) from error
        assert isinstance(stream, VideoStream)
        encoder.configure(stream.codec_context, rate=self._rate)
        self._joint.configure(stream.codec_context, self._container_name)
        stream.time_base = encoder.time_base
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        elif info.rotation or info.flip:
            stream.set_display_rotation(-info.rotation, hflip=info.flip)
        self.stream = stream
        return stream

    def _mux_one(self, container: OutputContainer, packet: Packet[Stream]) -> None:
        if packet.pts is not None and packet.dts is not None:
            # x265 states wrong ones for a video shorter than its reordering depth.
            packet.dts = min(packet.dts, packet.pts)
        if self._passthrough is not None:
            # By decoding time, the order in which players read: no stream runs ahead.
            ticks = packet.dts if packet.dts is not None else packet.pts or 0
            self._copy(self._passthrough.packets_before(ticks * packet.time_base))
        container.mux(packet)

    def _copy(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write copied packets. Those too corrupt to be muxed are skipped and counted."""
        assert self._container is not None
        assert self._passthrough is not None
        for packet in packets:
            try:
                self._container.mux(packet)
            except (InvalidDataError, ArgumentError, PatchWelcomeError):  # a full disk must raise
                self._passthrough.count_refused(packet)

    def _collect_warnings(self) -> None:
        for note in self._passthrough.warnings if self._passthrough is not None else ():
            self.warn(note)

    def warn(self, note: str) -> None:
        """Add a warning about the target, once."""
        self._warnings.add(self._target, note)


def _has_apple_tags(info: VideoInfo) -> bool:
    return any(tag.lower().startswith(APPLE_TAGS) for tag in info.metadata)  # Matroska capitalizes


def _choose_options(container: str, info: VideoInfo) -> dict[str, str]:
    """Choose the muxer's options; those of MP4 and MOV depend on the source's tags."""
    options = dict(CONTAINER_OPTIONS.get(container, {}))
    if container in APPLE_CONTAINERS and _has_apple_tags(info):
        options["movflags"] += "+use_metadata_tags"
    return options
