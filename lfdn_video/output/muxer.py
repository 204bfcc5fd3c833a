"""An open target file: the encoded video, and between its packets all else of the source.

Knows containers and packets. Frames are encoded by who holds a `Muxer` (`writer.py`, and
`segments.py`, which brings packets that were encoded long before).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
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
    # AAC starts a little before zero; FFmpeg would move all the video instead of letting it.
    "avi": {"avoid_negative_ts": "disabled"},
    "matroska": {"avoid_negative_ts": "disabled"},
    "webm": {"avoid_negative_ts": "disabled"},
}

NO_START = {"avi"}
"""Containers in which no stream can begin later than the others: FFmpeg's muxer would put the pause
behind the first frame."""


class Muxer:
    """Writes one file. `open` it, `begin` with the first frame, `mux`, `finish`; `close` always."""

    def __init__(
        self,
        target: Path,
        kind: str,
        info: VideoInfo,
        encoder: Encoder,
        *,
        rate: Fraction,
        span: SpanOptions,
        warn: Callable[[str], None],
    ) -> None:
        """`kind`: FFmpeg's name of the container. `warn` is told what is not in it as it was."""
        self._target, self._kind, self._info, self._encoder = target, kind, info, encoder
        self._rate, self._span, self._warn = rate, span, warn
        self.from_first_frame = not span.whole or kind in NO_START
        """Whether time zero is the first frame's; otherwise it is the source's own."""
        self._container: OutputContainer | None = None
        self._passthrough: Passthrough | None = None
        self._recent_ticks: deque[int] = deque(maxlen=REORDER_FRAMES)
        self.muxed_frames = 0
        self.stream: VideoStream
        """The video's; its encoder is open and has not been used."""

    def open(self, file: Path) -> None:
        """Make `file` and write its header. OptionError or FFmpegError if it cannot be."""
        self._file = file
        self._container = container = av.open(
            f"file:{file}",
            "w",
            format=self._kind,
            container_options=CONTAINER_OPTIONS.get(self._kind, {}),
            metadata_errors=KEEP_BYTES,
        )
        if self._info.from_images:
            self._add_video(container)
        else:
            self._passthrough = Passthrough(self._info)
            self._passthrough.add_to(container, self._add_video)
            self._passthrough.add_chapters(container, *self._span_s())
        with ffmpeg_errors():
            container.start_encoding()
        self._pass_on_warnings()

    def begin(self, first_pts: int) -> None:
        """Now it is known where a span really starts: time counts from its first frame."""
        if self._passthrough is not None:
            origin_s = first_pts * self._info.time_base if self.from_first_frame else Fraction(0)
            end_s = self._span_s()[1]
            self._passthrough.begin(origin_s=origin_s, end_s=end_s, cut=not self._span.whole)

    def mux(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write packets of the video, and before each what belongs before it."""
        container, others = self._container, self._passthrough
        assert container is not None
        for packet in packets:
            if others is not None:
                ticks = packet.dts if packet.dts is not None else packet.pts or 0
                self._copy(others.until(ticks * packet.time_base))
            self._check_ticks((packet.pts or 0) * packet.time_base)
            container.mux(packet)
            self.muxed_frames += 1

    def finish(self) -> None:
        """Write what is left of the source, close the file, and look what it kept.

        OutputError if that is not every frame.
        """
        container, others = self._container, self._passthrough
        assert container is not None
        if others is not None:
            self._copy(others.rest())
        container.close()
        self._check_frames()
        if others is None:
            return
        self._pass_on_warnings()
        try:
            for note in others.lost_in(self._file):
                self._warn(note)
        except FFmpegError as error:  # that is no reason to lose it
            words = ffmpeg_message(error)
            self._warn(f"is complete, but what it kept could not be checked: {words}")

    def close(self) -> None:
        """Give up what is open. Remove the file first, or closing may take long to finish it."""
        if self._passthrough is not None:
            self._passthrough.close()
        if self._container is not None:
            with suppress(FFmpegError, OSError):
                self._container.close()

    def _add_video(self, container: OutputContainer) -> Stream:
        encoder, info = self._encoder, self._info
        try:
            stream = container.add_stream(encoder.codec.name, self._rate)
        except ValueError as error:
            raise OptionError(
                f"{self._target}: {self._kind} cannot hold {encoder.codec.name}; "
                f"choose another codec, or another ending"
            ) from error
        assert isinstance(stream, VideoStream)
        encoder.configure(stream.codec_context, rate=self._rate)
        stream.time_base = encoder.time_base
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        elif info.rotation or info.flip:
            stream.set_display_rotation(-info.rotation, hflip=info.flip)
        self.stream = stream
        return stream

    def _span_s(self) -> tuple[Fraction, Fraction | None]:
        """Start and end of the span on the source's own clock; None: it has no end."""
        if self._span.whole:
            return Fraction(0), None
        first_s = self._info.start_pts * self._info.time_base
        end_s = None if self._span.end is None else first_s + self._span.end
        return first_s + (self._span.start or 0), end_s

    def _copy(self, packets: Iterable[Packet[Stream]]) -> None:
        """Write what is not video. A packet that is too damaged to be wrapped costs itself only."""
        assert self._container is not None
        assert self._passthrough is not None
        for packet in packets:
            try:
                self._container.mux(packet)
            except (InvalidDataError, ArgumentError, PatchWelcomeError):  # a full disk is none
                self._passthrough.refused(packet)

    def _check_ticks(self, time_s: Fraction) -> None:
        """Warn if the container's clock cannot tell this time."""
        tick_s = self.stream.time_base or self._encoder.time_base
        ticks = round(time_s / tick_s)
        if ticks in self._recent_ticks:
            self._warn("frames follow each other closer than it can tell; use .mp4")
        elif ticks * tick_s != time_s:
            self._warn(
                f"timestamps are rounded to {tick_s} s by {self._kind}; .mp4 keeps them exactly"
            )
        self._recent_ticks.append(ticks)

    def _check_frames(self) -> None:
        """Read the file again, without decoding, and count."""
        with av.open(f"file:{self._file}", metadata_errors=KEEP_BYTES) as container:
            stream = container.streams[self.stream.index]
            discard_other_streams(container, stream)
            found = sum(packet.size > 0 for packet in container.demux(stream))
        if found != self.muxed_frames:
            counts = f"{found} of {self.muxed_frames}"
            raise OutputError(
                f"{self._target}: only {counts} frames were found when it was read again; "
                "try another ending"
            )

    def _pass_on_warnings(self) -> None:
        for note in self._passthrough.take_warnings() if self._passthrough is not None else ():
            self._warn(note)
