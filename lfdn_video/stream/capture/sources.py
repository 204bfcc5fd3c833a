"""Opens live sources with FFmpeg: addresses, files played as live, and FFmpeg's test sources.

An address can make FFmpeg use only the protocols of its own scheme, and never local files. Cameras
are opened by `cameras.py`.
"""

from pathlib import Path

import av
from av.container import InputContainer

from lfdn_video.ffmpeg import REFERRING_FORMATS, open_source
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import LAVFI_PREFIX, PROTOCOLS, Source

PROBE_US = 1_000_000
"""Longest part of a stream, in microseconds, that FFmpeg may read to probe it."""

REFERRING_NETWORK_FORMATS = {
    "http": {"hls", "dash"},
    "https": {"hls", "dash"},
    "rtp": {"rtp"},
    "rtsp": {"rtsp"},
    "rtsps": {"rtsp"},
}
"""Demuxers that open further addresses, by the scheme that is allowed to use them."""


def open_container(request: wire.CaptureRequest) -> InputContainer:
    """Open the source of a request; the caller closes the container.

    Args:
        request: the request for a source other than a camera.

    Returns:
        The open container.

    Raises:
        InputError: the file is missing or not a video.
        FFmpegError: FFmpeg cannot open the address or the test source.
    """
    source = request.source
    if source.kind == "file":
        return open_source(Path(source.address))
    if source.kind == "lavfi":
        return av.open(source.address.removeprefix(LAVFI_PREFIX), format="lavfi")
    formats = av.formats_available - REFERRING_FORMATS
    formats |= REFERRING_NETWORK_FORMATS.get(source.scheme, set())
    return av.open(
        source.address,
        options={
            **_network_options(source.scheme, request.patience_s),
            "protocol_whitelist": PROTOCOLS[source.scheme],
            "format_whitelist": ",".join(sorted(formats)),
            **request.options,
        },
        timeout=(2 * request.patience_s, request.patience_s),
        metadata_errors="replace",
    )


def is_finite(source: Source, container: InputContainer) -> bool:
    """Return True for a source with a regular end, which therefore has no pace of its own.

    An HTTP address that states its duration is a file.
    """
    is_file = bool(container.duration and container.duration > 0)
    return not source.endless or (is_file and source.scheme in ("http", "https"))


def _network_options(scheme: str, patience_s: float) -> dict[str, str]:
    """Choose options for low delay, and for errors instead of endless waits."""
    patience_us = str(round(patience_s * 1e6))
    options = {
        "fflags": "+discardcorrupt+genpts+nobuffer",
        "analyzeduration": str(PROBE_US),
        "rw_timeout": patience_us,
    }
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": "tcp", "timeout": patience_us}
    elif scheme in (
        "http",
        "https",
        "tcp",
        "udp",
        "srt",
    ):  # with `timeout`, RTMP would become a server
        options["timeout"] = patience_us
    if scheme == "udp":
        options |= {"overrun_nonfatal": "1", "fifo_size": "50000"}
    return options
