"""The grabber process: reads a live source and sends its frames to the parent.

It is a process, because a process can be killed in any state: when a read hangs in FFmpeg, a driver
or a name server, when a reconnect leaks, or when a decoder crashes on data from the network. The
parent sends the request (`wire.CaptureRequest`); `capture.py` starts and supervises the process.

    video   sources.py or cameras.py -> packets -> decoder -> pacing.py -> frames -> parent
    audio   sources.py -> packets -> pacing.py -> audio.py -> packets -> parent
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import EOFError as FFmpegEnd
from av.error import FFmpegError, ProtocolNotFoundError
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lfdn_video.child import connect_to_parent, describe_failure
from lfdn_video.errors import InputError
from lfdn_video.ffmpeg import decoding_limits, ffmpeg_message
from lfdn_video.input.probe import find_main_stream, probe_frame
from lfdn_video.media import FALLBACK_RATE, Frame, FrameFormat
from lfdn_video.planes import extract_planes
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import describe_missing_protocol, mask_secrets
from lfdn_video.stream.capture.audio import forward_audio, packet_time_s
from lfdn_video.stream.capture.backlog import Backlog
from lfdn_video.stream.capture.cameras import find_ffmpeg_device, read_opencv_frames
from lfdn_video.stream.capture.pacing import LivePace, Pace, RealTimePace, SourceClock
from lfdn_video.stream.capture.sources import is_finite, open_container

MAX_CORRUPT_PACKETS = 250
"""Consecutive corrupt packets after which the source is reopened."""

Send = Callable[[object], None]


def main() -> None:
    """Serve the parent's only request."""
    with connect_to_parent() as parent:
        request = parent.receive()
        parent.exit_with_parent()
        grab(request, parent.send)


def grab(request: wire.CaptureRequest, send: Send) -> None:
    """Read a source to its end.

    Args:
        request: the source and its options.
        send: sends a message of `wire.py`: frames, audio and notes in real time, then one `Ended`,
            which reports errors of the source; they are not raised.

    Raises:
        OSError: raised by `send`.
    """
    source = request.source
    try:
        if source.kind == "camera":
            _grab_camera(request, send)
        else:
            _grab_container(request, send)
    except InputError as error:
        send(wire.Ended(source.redact(str(error))))
    except ProtocolNotFoundError:
        send(wire.Ended(f"{source}: {describe_missing_protocol(source.scheme)}", final=True))
    except FFmpegError as error:
        send(wire.Ended(f"{source}: {source.redact(ffmpeg_message(error))}"))
    except OSError:  # of `send`: the parent is gone
        raise
    except Exception as error:  # noqa: BLE001 (the parent shows it; otherwise it would be lost)
        send(wire.Ended(f"{source}: {source.redact(describe_failure(error))}"))
    else:
        send(wire.Ended())


def _grab_camera(request: wire.CaptureRequest, send: Send) -> None:
    """Read a camera with FFmpeg, or with OpenCV where FFmpeg cannot. Always ends in InputError."""
    camera = request.source.address
    found = find_ffmpeg_device(camera)
    reason = "is not known to FFmpeg"
    if found is not None:
        device_format, name = found
        try:
            container = av.open(name, format=device_format, options=dict(request.options))
        except (FFmpegError, ValueError) as error:  # ValueError: no such format in this build
            reason = ffmpeg_message(error) if isinstance(error, FFmpegError) else str(error)
        else:
            with closing(container):
                _ContainerGrabber(container, request, send, LivePace()).send_all()
            raise InputError(f"{request.source}: delivers no more frames; is it plugged in?")
    try:
        sender = _FrameSender(send)
        with closing(read_opencv_frames(camera)) as frames:
            for video in frames:
                sender.send_frame(video, None, time.monotonic())
    except InputError as error:
        raise InputError(f"{error} (FFmpeg: {reason})") from error


def _grab_container(request: wire.CaptureRequest, send: Send) -> None:
    """Read a source to its end; in a loop if the request says so and the source is finite."""
    pace: Pace | None = None
    while True:
        with closing(open_container(request)) as container:
            finite = is_finite(request.source, container)
            if pace is None:
                pace = RealTimePace() if finite else LivePace()
            grabber = _ContainerGrabber(container, request, send, pace)
            grabber.send_all()
            if not finite:
                raise InputError(f"{request.source}: the stream ended")
            if not grabber.frames_sent:
                raise InputError(f"{request.source}: no frame can be decoded; is it a video?")
        if not request.loop:
            return
        pace.restart()


class _ContainerGrabber:
    """Demuxes and decodes one open container to its end; does not close it."""

    def __init__(
        self, container: InputContainer, request: wire.CaptureRequest, send: Send, pace: Pace
    ) -> None:
        self._container = container
        self._pace = pace
        self._send = send
        self._name = Path(mask_secrets(request.source.address))
        self._video = find_main_stream(container, self._name)
        self._video.thread_type = ThreadType.SLICE  # frame threads would delay frames
        self._video.codec_context.options = decoding_limits()
        self._sender = _FrameSender(send)
        self._clock = SourceClock()
        self._audio = forward_audio(container, send, self._clock) if request.audio else None
        self._wanted = [self._video, *([self._audio.stream] if self._audio is not None else [])]
        for stream in container.streams:
            if stream not in self._wanted:
                stream.discard = Discard.all
        self._corrupt_in_a_row = 0
        # A paced file has no backlog, and HTTP may deliver seconds of video at once.
        is_steady = isinstance(pace, LivePace) and not request.source.scheme.startswith("http")
        self._backlog = Backlog() if is_steady else None

    @property
    def frames_sent(self) -> int:
        return self._sender.count

    def send_all(self) -> None:
        """Send all frames and audio. Raises InputError or FFmpegError if reading fails."""
        for packet in self._demux_packets():
            if self._audio is not None and packet.stream == self._audio.stream:
                self._pace.wait_until(packet_time_s(packet))
                self._audio.forward(packet, time.monotonic())
            else:
                self._decode(packet)
        self._decode(None)

    def _demux_packets(self) -> Iterator[Packet[Stream]]:
        try:
            for packet in self._container.demux(self._wanted):
                if packet.size:
                    yield packet
        except FFmpegEnd:
            return

    def _decode(self, packet: Packet[Stream] | None) -> None:
        """Send the frames of a packet; None flushes the decoder."""
        arrival_s = time.monotonic()
        self._skip_frames_if_behind(packet, arrival_s)
        try:
            frames = self._video.decode(cast("Packet[VideoStream] | None", packet))
        except FFmpegError as error:
            self._corrupt_in_a_row += 1
            if packet is not None and self._corrupt_in_a_row >= MAX_CORRUPT_PACKETS:
                reason = ffmpeg_message(error)
                raise InputError(f"{self._name}: cannot be decoded any more: {reason}") from error
            return
        decode_s = time.monotonic() - arrival_s
        for video in frames:
            self._corrupt_in_a_row = 0
            time_s = None
            if video.pts is not None and video.time_base:
                time_s = float(video.pts * video.time_base)
            # By the arrival, not the time after decoding, so that the latency includes decoding.
            due_s = self._pace.wait_until(time_s) or arrival_s
            stamp_s = self._clock.stamp_frame(time_s, due_s)
            if not video.is_corrupt:  # a live frame is dropped, not repeated: the next one is near
                self._sender.send_frame(video, self._video, stamp_s, decode_s / len(frames))

    def _skip_frames_if_behind(self, packet: Packet[Stream] | None, arrival_s: float) -> None:
        """Decode keyframes alone while packets pile up."""
        if self._backlog is None or packet is None:
            return
        before = self._backlog.piles_up
        time_s = packet_time_s(packet)
        self._backlog.add_packet(time_s, arrival_s, keyframe=packet.is_keyframe)
        piles_up = self._backlog.piles_up
        if piles_up != before:
            self._video.codec_context.skip_frame = "NONKEY" if piles_up else "DEFAULT"
        if piles_up and not before:
            self._send(wire.Note("arrives faster than it can be decoded; only keyframes are shown"))


class _FrameSender:
    """Sends decoded frames with their `info`, which is probed again only if it may have changed."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._info: FrameFormat | None = None
        self._info_key: tuple[object, ...] = ()
        self.count = 0

    def send_frame(
        self,
        video: VideoFrame,
        stream: VideoStream | None,
        stamp_s: float,
        decode_s: float = 0.0,
    ) -> None:
        """Send a frame; `stream` is None if it was not decoded by FFmpeg."""
        info = self._info_of(video, stream)
        frame = Frame(extract_planes(video, info.format), info.format, pts=0, info=info)
        self._send(wire.StampedFrame(frame, stamp_s, decode_s))
        self.count += 1

    def _info_of(self, video: VideoFrame, stream: VideoStream | None) -> FrameFormat:
        key = (video.width, video.height, video.format.name, video.colorspace, video.color_range)
        if self._info is None or key != self._info_key:
            found = probe_frame(video, stream, Path("live"))
            self._info = replace(found, average_rate=found.average_rate or FALLBACK_RATE)
            self._info_key = key
        return self._info


if __name__ == "__main__":
    main()
