"""The open target file: encoded video, interleaved with the copied streams of the source.

Knows containers and packets. The owner of a `Muxer` encodes the frames (`sinks.py`); packets may
also come from segments that were encoded earlier.
"""

from __future__ import annotations

from collections import deque
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

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.ffmpeg import KEEP_BYTES, discard_other_streams, ffmpeg_errors, ffmpeg_message
from lfdn_video.frame_io import Warnings
from lfdn_video.media import VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.passthrough import Passthrough
from lfdn_video.timestamps import REORDER_FRAMES

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

APPLE_CONTAINERS = frozenset({"mp4", "mov", "ipod"})

APPLE_TAGS = "com."
"""Start of the names of tags that QuickTime files alone hold: com.apple…, com.android…"""

COMMON_START_CONTAINERS = {"avi"}
"""Containers in which all streams start together. With a later start, FFmpeg's muxer would put the
gap behind the first frame."""


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
        """
        self._target = target
        self._container_name = container_name
        self._info = info
        self._encoder = encoder
        self._rate = rate
        self._span = span
        self._warnings = warnings
        self.from_first_frame = not span.whole or container_name in COMMON_START_CONTAINERS
        """True if the target's time starts at the first frame; otherwise it is the source's."""
        self._path = target
        self._container: OutputContainer | None = None
        self._passthrough: Passthrough | None = None
        self._recent_ticks: deque[int] = deque(maxlen=REORDER_FRAMES)
        self.muxed_frames = 0
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
        self._container = container = av.open(
            f"file:{path}",
            "w",
            format=self._container_name,
            container_options=_choose_options(self._container_name, self._info),
            metadata_errors=KEEP_BYTES,
        )
        if self._info.from_images:
            self._add_video(container)
        else:
            self._passthrough = Passthrough(self._info)
            self._passthrough.add_streams(container, self._add_video)
            self._passthrough.add_chapters(container, *self._span_s())
        with ffmpeg_errors():
            container.start_encoding()
        self._collect_warnings()

    def set_first_pts(self, first_pts: int) -> None:
        """Set the actual start of the video; the copied streams of a span start there too.

        Args:
            first_pts: pts of the first frame, in ticks of the source's time base.
        """
        if self._passthrough is not None:
            origin_s = first_pts * self._info.time_base if self.from_first_frame else Fraction(0)
            end_s = self._span_s()[1]
            self._passthrough.set_span(origin_s=origin_s, end_s=end_s, trim=not self._span.whole)

    def mux(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write packets of the video, each after the copied packets with earlier times.

        Raises:
            FFmpegError, OSError: the file cannot be written.
        """
        assert self._container is not None
        for packet in packets:
            if self._passthrough is not None:
                # By decoding time, the order in which players read: no stream runs ahead.
                ticks = packet.dts if packet.dts is not None else packet.pts or 0
                self._copy(self._passthrough.packets_before(ticks * packet.time_base))
            self._check_ticks((packet.pts or 0) * packet.time_base)
            self._container.mux(packet)
            self.muxed_frames += 1

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
        self._check_frames()
        if self._passthrough is None:
            return
        self._collect_warnings()
        try:
            for note in self._passthrough.find_losses(self._path):
                self._warn(note)
        except FFmpegError as error:  # every frame is there, so the file is worth keeping
            words = ffmpeg_message(error)
            self._warn(f"is complete, but what it kept could not be checked: {words}")

    def close(self) -> None:
        """Close the file. Remove it first if it is not wanted: completing it may take minutes."""
        if self._passthrough is not None:
            self._passthrough.close()
        if self._container is not None:
            with suppress(FFmpegError, OSError):
                self._container.close()

    def _add_video(self, container: OutputContainer) -> Stream:
        encoder = self._encoder
        info = self._info
        try:
            stream = container.add_stream(encoder.codec.name, self._rate)
        except ValueError as error:
            raise OptionError(
                f"{self._target}: {self._container_name} cannot hold {encoder.codec.name}; "
                f"choose another codec, or another extension"
            ) from error
        assert isinstance(stream, VideoStream)
        encoder.configure(stream.codec_context, rate=self._rate)
        _tag_for_players(stream, self._container_name)
        stream.time_base = encoder.time_base
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        elif info.rotation or info.flip:
            stream.set_display_rotation(-info.rotation, hflip=info.flip)
        self.stream = stream
        return stream

    def _span_s(self) -> tuple[Fraction, Fraction | None]:
        """Return start and end of the span on the source's clock; None: the end of the source."""
        if self._span.whole:
            return Fraction(0), None
        first_s = self._info.start_pts * self._info.time_base
        end_s = None if self._span.end is None else first_s + self._span.end
        return first_s + (self._span.start or 0), end_s

    def _copy(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write copied packets. Those too corrupt to be muxed are skipped and counted."""
        assert self._container is not None
        assert self._passthrough is not None
        for packet in packets:
            try:
                self._container.mux(packet)
            except (InvalidDataError, ArgumentError, PatchWelcomeError):  # a full disk must raise
                self._passthrough.count_refused(packet)

    def _check_ticks(self, time_s: Fraction) -> None:
        """Warn if the container's time base cannot express this time."""
        tick_s = self.stream.time_base or self._encoder.time_base
        ticks = round(time_s / tick_s)
        if ticks in self._recent_ticks:
            self._warn("frames are closer together than its time base can express; use .mp4")
        elif ticks * tick_s != time_s:
            self._warn(
                f"timestamps are rounded to {tick_s} s by {self._container_name}; "
                f".mp4 keeps them exactly"
            )
        self._recent_ticks.append(ticks)

    def _check_frames(self) -> None:
        """Demux the file once more, without decoding, and count the frames."""
        # Muxers drop packets silently, for instance with times that they cannot store.
        with av.open(f"file:{self._path}", metadata_errors=KEEP_BYTES) as container:
            stream = container.streams[self.stream.index]
            discard_other_streams(container, stream)
            found = sum(packet.size > 0 for packet in container.demux(stream))
        if found != self.muxed_frames:
            counts = f"{found} of {self.muxed_frames}"
            raise OutputError(
                f"{self._target}: only {counts} frames were found when it was read again; "
                "try another extension"
            )

    def _collect_warnings(self) -> None:
        for note in self._passthrough.warnings if self._passthrough is not None else ():
            self._warn(note)

    def _warn(self, note: str) -> None:
        self._warnings.add(self._target, note)


def _tag_for_players(stream: VideoStream, container: str) -> None:
    """Give HEVC in MP4 the tag that Apple's players know; FFmpeg's own is `hev1`."""
    if container in APPLE_CONTAINERS and stream.codec_context.codec.canonical_name == "hevc":
        stream.codec_context.codec_tag = "hvc1"


def _has_apple_tags(info: VideoInfo) -> bool:
    return any(tag.lower().startswith(APPLE_TAGS) for tag in info.metadata)  # Matroska capitalizes


def _choose_options(container: str, info: VideoInfo) -> dict[str, str]:
    """Choose the muxer's options; those of MP4 and MOV depend on the source's tags."""
    options = dict(CONTAINER_OPTIONS.get(container, {}))
    if container in APPLE_CONTAINERS and _has_apple_tags(info):
        options["movflags"] += "+use_metadata_tags"
    return options
