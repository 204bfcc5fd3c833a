"""The process that reads a live source: opens, demuxes, decodes, and passes on what it gets.

A process of its own, because whatever FFmpeg, a driver or a name server does, it can be ended:
a read that hangs for good, a leak at every reconnect, a decoder that crashes on what a network
brought. It is told what to read in `wire.CaptureRequest`. `capture.py` starts it and watches over it.

What does not come at its own pace (files, test sources) is given out in real time.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
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

from lfdn_video.errors import InputError
from lfdn_video.ffmpeg import REFERRING_FORMATS, decoding_limits, ffmpeg_words, open_source
from lfdn_video.input.probe import main_stream, picture_info
from lfdn_video.media import FALLBACK_RATE, Frame, VideoInfo
from lfdn_video.planes import planes_of
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import (
    LAVFI_PREFIX,
    PROTOCOLS,
    Source,
    describe_missing_protocol,
    mask_secrets,
)
from lfdn_video.stream.capture.cameras import ffmpeg_name, opencv_frames
from lfdn_video.stream.child import connect_to_parent

PROBE_US = 1_000_000
"""So much of a stream FFmpeg may look at before it says what is in it."""

NETWORK_FORMATS = {
    "http": {"hls", "dash"},
    "https": {"hls", "dash"},
    "rtp": {"rtp"},
    "rtsp": {"rtsp"},
    "rtsps": {"rtsp"},
}
"""Demuxers that refer to more than one place, by the scheme they are meant for."""

DAMAGED_PACKETS = 250
"""So many in a row that cannot be decoded, and the source is opened anew."""

LARGEST_GAP_S = 5.0
"""Where times jump by more, they are counted anew from there."""

BEHIND_S, CAUGHT_UP_S = 1.0, 0.2
"""What is decoded later than it was sent, by so much more than once, piles up; see `_Backlog`."""

DRIFT = 0.001
"""Seconds per second by which a camera's clock may be slow."""

SILENCE_BYTES = 16
"""Of a packet that stands for the audio where only its kind is told."""

LATEST_S = 0.5
"""What could not be given out in time by more than this delays all that follows."""

Send = Callable[[object], None]


def main() -> None:
    """Read the request from the parent, and do it."""
    with connect_to_parent() as the_parent:
        request = the_parent.receive()
        the_parent.watch()
        grab(request, the_parent.send)


def grab(request: wire.CaptureRequest, send: Send) -> None:
    """Send what `request` asks for, and at last how it ended. Raises nothing but OSError."""
    try:
        if request.source.kind == "camera":
            _grab_camera(request, send)
        else:
            _grab_container(request, send)
    except InputError as error:
        send(wire.Ended(request.source.redact(str(error))))
    except ProtocolNotFoundError:
        send(
            wire.Ended(
                f"{request.source}: {describe_missing_protocol(request.source.scheme)}", final=True
            )
        )
    except FFmpegError as error:
        words = request.source.redact(ffmpeg_words(error))
        send(wire.Ended(f"{request.source}: {words}"))
    else:
        send(wire.Ended())


def _grab_camera(request: wire.CaptureRequest, send: Send) -> None:
    camera, found = request.source.address, ffmpeg_name(request.source.address)
    words = "is not known to FFmpeg"
    if found is not None:
        kind, name = found
        try:
            container = av.open(name, format=kind, options=dict(request.options))
        except (FFmpegError, ValueError) as error:  # ValueError: no such format in this build
            words = ffmpeg_words(error) if isinstance(error, FFmpegError) else str(error)
        else:
            with closing(container):
                _Grab(container, request, send, _Unhurried()).run()
            raise InputError(f"{request.source}: gives no pictures any more; is it plugged in?")
    try:
        pictures = _Pictures(request.source.redact, send)
        with closing(opencv_frames(camera)) as frames:
            for video in frames:
                pictures.give(video, None, time.monotonic())
    except InputError as error:
        raise InputError(f"{error} (FFmpeg: {words})") from error


def _grab_container(request: wire.CaptureRequest, send: Send) -> None:
    pace: _Pace | _Unhurried | None = None
    while True:
        with closing(_open(request)) as container:
            finite = not request.source.endless or _is_recorded(request.source, container)
            if pace is None:
                pace = _Pace() if finite else _Unhurried()
            grab = _Grab(container, request, send, pace)
            grab.run()
            if not finite:
                raise InputError(f"{request.source}: the stream ended")
            if not grab.frames:
                raise InputError(f"{request.source}: no frame can be decoded; is it a video?")
        if not request.loop:
            return
        pace.begin_again()


def _open(request: wire.CaptureRequest) -> InputContainer:
    source = request.source
    if source.kind == "file":
        return open_source(Path(source.address))
    if source.kind == "lavfi":
        return av.open(source.address.removeprefix(LAVFI_PREFIX), format="lavfi")
    allowed = (av.formats_available - REFERRING_FORMATS) | NETWORK_FORMATS.get(source.scheme, set())
    return av.open(
        source.address,
        options={
            **_network_options(source.scheme, request.patience_s),
            "protocol_whitelist": PROTOCOLS[source.scheme],
            "format_whitelist": ",".join(sorted(allowed)),
            **request.options,
        },
        timeout=(2 * request.patience_s, request.patience_s),
        metadata_errors="replace",
    )


def _network_options(scheme: str, patience_s: float) -> dict[str, str]:
    """What a camera needs that is watched as it comes, and that may go away."""
    patience_us = str(round(patience_s * 1e6))
    options = {
        "fflags": "+discardcorrupt+genpts+nobuffer",
        "analyzeduration": str(PROBE_US),
        "rw_timeout": patience_us,
    }
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": "tcp", "timeout": patience_us}
    elif scheme in ("http", "https", "tcp", "udp", "srt"):  # of RTMP it would make a server
        options["timeout"] = patience_us
    if scheme == "udp":
        options |= {"overrun_nonfatal": "1", "fifo_size": "50000"}
    return options


def _is_recorded(source: Source, container: InputContainer) -> bool:
    """Whether an address turned out to be a file: it says how long it is."""
    long = bool(container.duration and container.duration > 0)
    return long and source.scheme in ("http", "https")


class _Grab:
    """One opened source, read to its end."""

    def __init__(
        self,
        container: InputContainer,
        request: wire.CaptureRequest,
        send: Send,
        pace: _Pace | _Unhurried,
    ) -> None:
        self._container, self._pace = container, pace
        self._name = Path(mask_secrets(request.source.address))
        self._video = main_stream(container, self._name)
        self._video.thread_type = ThreadType.SLICE  # by frames, each would come some frames late
        self._video.codec_context.options = decoding_limits()
        self._pictures = _Pictures(request.source.redact, send)
        self._audio = _audio(container, send) if request.audio else None
        wanted = [self._video, *([self._audio.stream] if self._audio is not None else [])]
        for stream in container.streams:
            if stream not in wanted:
                stream.discard = Discard.all
        self._wanted = wanted
        self._damaged = 0
        self._send = send
        # What is held up here to be in time is not behind, and HTTP may bring seconds at once.
        even = isinstance(pace, _Unhurried) and not request.source.scheme.startswith("http")
        self._backlog = _Backlog() if even else None

    @property
    def frames(self) -> int:
        """So many were given."""
        return self._pictures.count

    def run(self) -> None:
        """InputError or FFmpegError if it ends before its time."""
        for packet in self._packets():
            if self._audio is not None and packet.stream == self._audio.stream:
                self._pace.until(_time_s(packet))
                self._audio.give(packet, time.monotonic())
            else:
                self._decode(packet)
        self._decode(None)

    def _packets(self) -> Iterator[Packet[Stream]]:
        try:
            for packet in self._container.demux(self._wanted):
                if packet.size:
                    yield packet
        except FFmpegEnd:
            return

    def _decode(self, packet: Packet[Stream] | None) -> None:
        came_s = time.monotonic()
        self._keep_up(packet, came_s)
        try:
            frames = self._video.decode(cast("Packet[VideoStream] | None", packet))
        except FFmpegError as error:
            self._damaged += 1
            if packet is not None and self._damaged >= DAMAGED_PACKETS:
                words = ffmpeg_words(error)
                raise InputError(f"{self._name}: cannot be decoded any more: {words}") from error
            return
        decode_s = time.monotonic() - came_s
        for video in frames:
            self._damaged = 0
            time_s = None
            if video.pts is not None and video.time_base:
                time_s = float(video.pts * video.time_base)
            stamp_s = self._pace.until(time_s) or came_s
            if not video.is_corrupt:
                self._pictures.give(video, self._video, stamp_s, decode_s / len(frames))

    def _keep_up(self, packet: Packet[Stream] | None, came_s: float) -> None:
        """Decode key frames alone while more comes than can be decoded."""
        if self._backlog is None or packet is None:
            return
        before = self._backlog.piles_up
        self._backlog.note(_time_s(packet), came_s, key=packet.is_keyframe)
        if self._backlog.piles_up != before:
            skipped = self._backlog.piles_up
            self._video.codec_context.skip_frame = "NONKEY" if skipped else "DEFAULT"
        if self._backlog.piles_up and not before:
            self._send(wire.Note("comes faster than it can be decoded; key frames alone are shown"))


class _Pictures:
    """Gives decoded frames out, with what is known of them."""

    def __init__(self, hide: Callable[[str], str], send: Send) -> None:
        self._hide, self._send = hide, send
        self._info: VideoInfo | None = None
        self._seen: tuple[object, ...] = ()
        self.count = 0

    def give(
        self,
        video: VideoFrame,
        stream: VideoStream | None,
        stamp_s: float,
        decode_s: float = 0.0,
    ) -> None:
        info = self._info_of(video, stream)
        frame = Frame(planes_of(video, info.format), info.format, pts=0, info=info)
        self._send(wire.StampedFrame(frame, stamp_s, decode_s))
        self.count += 1

    def _info_of(self, video: VideoFrame, stream: VideoStream | None) -> VideoInfo:
        """Asked for anew only when it may have changed."""
        seen = (video.width, video.height, video.format.name, video.colorspace, video.color_range)
        if self._info is None or seen != self._seen:
            info = picture_info(video, stream, Path("live"))
            rate = None
            if stream is not None:
                rate = stream.average_rate or stream.guessed_rate or None
            self._info, self._seen = replace(info, average_rate=rate or FALLBACK_RATE), seen
        return self._info


class _AudioCopier:
    """Packets of audio, put on the clock of the pictures.

    The first one is heard when it comes, and the others as far from it as they say; where they
    drift away from when they come, that is begun again.
    """

    def __init__(self, stream: Stream, send: Send) -> None:
        self.stream = stream
        self._send = send
        self._ahead_s: float | None = None

    def give(self, packet: Packet[Stream], came_s: float) -> None:
        time_s = _time_s(packet)
        if time_s is None:
            return
        if self._ahead_s is None or abs(time_s + self._ahead_s - came_s) > 1:
            self._ahead_s = came_s - time_s
        duration_s = float((packet.duration or 0) * packet.time_base)
        self._send(wire.AudioPacket(bytes(packet), time_s + self._ahead_s, duration_s))


def _audio(container: InputContainer, send: Send) -> _AudioCopier | None:
    """The first stream of audio, if there is one that can be copied; its header is sent."""
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="nut") as empty:
            copy = empty.add_stream_from_template(stream, opaque=True)
            silence: Packet[Stream] = Packet(bytes(SILENCE_BYTES))  # without, none would open it
            silence.stream, silence.time_base, silence.pts, silence.dts = copy, Fraction(1), 0, 0
            empty.mux(silence)
    except (FFmpegError, ValueError) as error:
        words = ffmpeg_words(error) if isinstance(error, FFmpegError) else str(error)
        send(wire.Note(f"the audio ({stream.name}) cannot be copied and is left out: {words}"))
        return None
    send(wire.AudioHeader(header.getvalue()))
    return _AudioCopier(stream, send)


class _Backlog:
    """Whether packets pile up before they are decoded, told by how much later each comes."""

    def __init__(self) -> None:
        self.piles_up = False
        self._least_s: float | None = None
        self._last_s = 0.0

    def note(self, time_s: float | None, came_s: float, *, key: bool) -> None:
        """A packet with that time came now. The end of it is at a key frame: others need more."""
        if time_s is None:
            return
        late_s = came_s - time_s
        if self._least_s is not None:
            self._least_s += DRIFT * (came_s - self._last_s)
        if self._least_s is None or not 0 < late_s - self._least_s < 10 * LARGEST_GAP_S:
            self._least_s = late_s
        self._last_s = came_s
        behind_s = late_s - self._least_s
        if behind_s > BEHIND_S:
            self.piles_up = True
        elif behind_s < CAUGHT_UP_S and key:
            self.piles_up = False


class _Unhurried:
    """What comes at its own pace is not held up."""

    def until(self, _: float | None) -> float | None:
        return None

    def begin_again(self) -> None:
        pass


class _Pace:
    """Holds up what is there already until its time has come."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._last_s: float | None = None

    def until(self, time_s: float | None) -> float | None:
        """Wait for it. When that was meant to be, by `time.monotonic`; None if that is unknown."""
        if time_s is None:
            return None
        now_s = time.monotonic()
        if self._start_s is None or self._jumped(time_s):
            self._start_s = now_s - time_s
        self._last_s = time_s
        late_s = now_s - self._start_s - time_s
        if late_s < 0:
            time.sleep(-late_s)
        elif late_s > LATEST_S:
            self._start_s = now_s - time_s
        return time.monotonic()

    def begin_again(self) -> None:
        """Times count from the start once more."""
        self._start_s = None

    def _jumped(self, time_s: float) -> bool:
        return self._last_s is not None and abs(time_s - self._last_s) > LARGEST_GAP_S


def _time_s(packet: Packet[Stream]) -> float | None:
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else float(ticks * (packet.time_base or Fraction(0)))


if __name__ == "__main__":
    main()
