"""The pusher process: encodes the frames of a live stream and sends them to a server.

It is a process for the same reason as the grabber: FFmpeg cannot abort a write that hangs, but a
process can be killed. `push.py` starts it and sends it a `wire.PushRequest`, then frames and audio.
"""

from __future__ import annotations

from contextlib import suppress

from av.error import FFmpegError, ProtocolNotFoundError

from lfdn_video.child import Parent, connect_to_parent, describe_failure
from lfdn_video.errors import LfdnVideoError
from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.media import FrameFormat
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import describe_missing_protocol, mask_secrets, redact, scheme_of
from lfdn_video.stream.sinks.live_writer import LiveWriter, format_key

MUXER_BY_SCHEME = {
    "rtmp": "flv",
    "rtmps": "flv",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "srt": "mpegts",
    "tcp": "mpegts",
    "udp": "mpegts",
}
"""FFmpeg's muxers for the addresses that can be pushed to."""

PUSH_OPTIONS = {
    "flv": {"flvflags": "no_duration_filesize", "flush_packets": "1"},
    "mpegts": {"flush_packets": "1", "mpegts_flags": "+resend_headers"},
    "rtsp": {"rtsp_transport": "tcp"},
}

UDP_PACKET_BYTES = 1316
"""Size of a UDP packet: seven whole packets of MPEG-TS, within the usual MTU."""


def main() -> None:
    """Push until the parent closes the pipe, and report how it ended."""
    with connect_to_parent() as parent:
        request: wire.PushRequest = parent.receive()
        target = request.target
        try:
            _push(request, parent)
        except ProtocolNotFoundError:
            ended = _failure(target, describe_missing_protocol(scheme_of(target)), final=True)
        except FFmpegError as error:
            ended = _failure(target, redact(ffmpeg_message(error), target), final=False)
        except LfdnVideoError as error:
            ended = _failure(target, redact(str(error), target), final=True)
        except Exception as error:  # noqa: BLE001 (the parent shows it; otherwise it would be lost)
            ended = _failure(target, redact(describe_failure(error), target), final=False)
        else:
            ended = wire.Ended()
        parent.send(ended)


def ffmpeg_address(target: str) -> str:
    """Return the address for FFmpeg; for UDP, add the packet size unless it is given."""
    if scheme_of(target) != "udp" or "pkt_size=" in target:
        return target
    return f"{target}{'&' if '?' in target else '?'}pkt_size={UDP_PACKET_BYTES}"


def _push(request: wire.PushRequest, parent: Parent) -> None:
    """Write what the parent sends until it closes the pipe; reopen the stream on a new format."""
    header: wire.AudioHeader | None = None
    writer: LiveWriter | None = None
    current: FrameFormat | None = None
    try:
        while True:
            try:
                message = parent.receive()
            except EOFError:
                break
            if isinstance(message, wire.AudioHeader):
                header = message
            elif isinstance(message, wire.AudioPacket):
                if writer is not None:
                    writer.write_audio(message)
            else:
                info = message.frame.info
                if writer is None or current is None or format_key(info) != format_key(current):
                    if writer is not None:
                        writer.close()  # size and format cannot change within a stream
                    writer = _open_writer(request, info, header)
                    current = info
                writer.write_frame(message.frame, message.stamp_s)
    finally:
        if writer is not None:
            with suppress(FFmpegError):  # the first error has the reason
                writer.close()


def _open_writer(
    request: wire.PushRequest, info: FrameFormat, header: wire.AudioHeader | None
) -> LiveWriter:
    muxer = MUXER_BY_SCHEME[scheme_of(request.target)]
    return LiveWriter(
        ffmpeg_address(request.target),
        muxer,
        info,
        request.encode,
        container_options=PUSH_OPTIONS[muxer],
        audio=header,
    )


def _failure(target: str, reason: str, *, final: bool) -> wire.Ended:
    return wire.Ended(f"{mask_secrets(target)}: {reason}", final=final)


if __name__ == "__main__":
    main()
