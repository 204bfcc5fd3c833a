"""The process that passes a live stream on to a server: encodes what it is sent, and pushes it.

A process of its own for the reasons of `grabber.py`: FFmpeg has no way to end a write that hangs.
It is told where to by `wire.PushRequest`, then gets frames and audio; `push.py` starts it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from av.error import FFmpegError, ProtocolNotFoundError

from lfdn_video.errors import LfdnVideoError
from lfdn_video.ffmpeg import ffmpeg_words
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import describe_missing_protocol, mask_secrets, redact, scheme_of
from lfdn_video.stream.child import Parent, connect_to_parent
from lfdn_video.stream.sinks.outlet import Outlet, shape

if TYPE_CHECKING:
    from lfdn_video.media import VideoInfo

KINDS = {
    "rtmp": "flv",
    "rtmps": "flv",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "srt": "mpegts",
    "tcp": "mpegts",
    "udp": "mpegts",
}
"""FFmpeg's muxers for the schemes that can be pushed to."""

_OPTIONS = {
    "flv": {"flvflags": "no_duration_filesize", "flush_packets": "1"},
    "mpegts": {"flush_packets": "1", "mpegts_flags": "+resend_headers"},
    "rtsp": {"rtsp_transport": "tcp"},
}
UDP_BYTES = 1316
"""Of a packet: seven whole ones of MPEG-TS, within what networks carry."""


def main() -> None:
    with connect_to_parent() as the_parent:
        request = the_parent.receive()
        try:
            _push(request, the_parent)
        except ProtocolNotFoundError:
            words = describe_missing_protocol(scheme_of(request.target))
            the_parent.send(wire.Ended(f"{mask_secrets(request.target)}: {words}", final=True))
        except FFmpegError as error:
            words = redact(ffmpeg_words(error), request.target)
            the_parent.send(wire.Ended(f"{mask_secrets(request.target)}: {words}"))
        except LfdnVideoError as error:
            words = redact(str(error), request.target)
            the_parent.send(wire.Ended(f"{mask_secrets(request.target)}: {words}", final=True))
        else:
            the_parent.send(wire.Ended())


def address(target: str) -> str:
    """The target as FFmpeg is to open it."""
    if scheme_of(target) != "udp" or "pkt_size=" in target:
        return target
    return f"{target}{'&' if '?' in target else '?'}pkt_size={UDP_BYTES}"


def _push(request: wire.PushRequest, the_parent: Parent) -> None:
    """Until there is nothing more to be had from the parent."""
    header: wire.AudioHeader | None = None
    outlet: Outlet | None = None
    current: VideoInfo | None = None
    try:
        while True:
            try:
                message = the_parent.receive()
            except EOFError:
                break
            if isinstance(message, wire.AudioHeader):
                header = message
            elif isinstance(message, wire.AudioPacket):
                if outlet is not None:
                    outlet.write_audio(message)
            else:
                info = message.frame.info
                if outlet is None or current is None or shape(info) != shape(current):
                    if outlet is not None:
                        outlet.close()
                    outlet, current = _outlet(request, info, header), info
                outlet.write(message.frame, message.stamp_s)
    finally:
        if outlet is not None:
            with suppress(FFmpegError):  # the reason stands in the first error
                outlet.close()


def _outlet(request: wire.PushRequest, info: VideoInfo, header: wire.AudioHeader | None) -> Outlet:
    kind = KINDS[scheme_of(request.target)]
    return Outlet(
        address(request.target),
        kind,
        info,
        request.encode,
        container_options=_OPTIONS[kind],
        audio=header,
    )


if __name__ == "__main__":
    main()
