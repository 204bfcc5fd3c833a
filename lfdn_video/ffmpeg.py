"""PyAV, as several rooms need it: files opened safely, packets read, FFmpeg's words and names.

A file is data: it may not make FFmpeg open other files or the network, as a playlist that calls
itself `.mp4` would. Every way of not being a video becomes an InputError of one line. Knows streams
and packets; what is in a file as a whole is `input/probe.py`'s, frames are `planes.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Discard, Disposition, Stream

from lfdn_video.errors import InputError

# Demuxers whose input names other files, or that are no files at all.
REFERRING_FORMATS = {"concat", "concatf", "dash", "hls", "image2", "imf", "webm_dash_manifest"}
REFERRING_FORMATS |= {"lavfi", "rtp", "rtsp", "sap", "sdp", "vobsub"}

PLAYLIST_MARKS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"[playlist]", b"v=0\r\n", b"v=0\n")

READ_ERRORS = 8
"""So many failed reads in a row are the end of the file."""

MAX_PIXELS = 100_000_000
"""Of a picture; 12K film has 80 million. Larger ones are refused before they take memory."""

MOST_PROBED = 64
"""Streams that FFmpeg is told `MAX_PIXELS` for while it finds out what is in a file."""

MICROSECONDS = 1_000_000  # AV_TIME_BASE

KEEP_BYTES = "surrogateescape"
"""Tags that are no UTF-8 leave as they came."""


def ffmpeg_message(error: FFmpegError) -> str:
    """What FFmpeg says is wrong, with its log line where one was caught."""
    words = error.strerror or str(error)
    log = cast("tuple[int, str, str] | None", error.log)  # level, who, what; the stubs differ
    return f"{words} ({log[2].strip()})" if log else words


@contextmanager
def ffmpeg_errors() -> Iterator[None]:
    """Let FFmpeg's log lines reach its exceptions, which are terse without.

    Only for short steps without frames in flight: PyAV's log callback needs Python's lock, and a
    thread of FFmpeg that logs while another waits for it would stop both for good.
    """
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture():
            yield
    finally:
        av.logging.set_level(before)


def open_source(path: Path, *, metadata_errors: str = "replace") -> InputContainer:
    """Open a local file that holds a video. The caller closes it. InputError if it is none."""
    _check_file(path)
    options = {
        # Both are needed: a playlist may name local files, and a name may be an address.
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(sorted(av.formats_available - REFERRING_FORMATS)),
    }
    try:
        return av.open(
            f"file:{path}",
            options=options,
            stream_options=[decoding_limits()] * MOST_PROBED,  # type: ignore[list-item]  # the stubs
            metadata_errors=metadata_errors,
        )
    except FFmpegError as error:
        raise InputError(f"{path}: {_refusal(path, error)}") from error


def decoding_limits() -> dict[str, str]:
    """Options for every decoder of what may have been made to harm."""
    return {"max_pixels": str(MAX_PIXELS)}


def demux_packets(
    container: InputContainer, streams: list[Stream], on_error: Callable[[str], None]
) -> Generator[Packet[Stream]]:
    """Every packet that can be read, with data; `on_error` gets FFmpeg's words on what cannot."""
    failures = 0
    packets = container.demux(streams)
    while failures < READ_ERRORS:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError as error:
            failures += 1
            on_error(ffmpeg_message(error))
            packets = container.demux(streams)  # an error ends PyAV's iterator, not the file
            continue
        failures = 0
        if packet.size:  # PyAV ends each stream with an empty one, to flush a decoder
            yield packet


def discard_other_streams(container: InputContainer, wanted: Stream) -> None:
    """Spare the demuxer the streams that are not read here."""
    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = Discard.all


def allows_discontinuities(container: InputContainer) -> bool:
    """Whether the clock may start again inside such a file, so that a time comes twice."""
    return has_flag(container, Flags.ts_discont)


def has_flag(container: InputContainer | OutputContainer, flag: Flags) -> bool:
    """What FFmpeg says of a container's format in general."""
    return bool(container.format.flags & cast("int", flag.value))  # the stubs type it as a flag


def is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def has_decoder(stream: Stream) -> bool:
    # The stubs promise a codec context to every stream; without a decoder there is none.
    return cast("object", stream.codec_context) is not None


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec, or the next best thing."""
    if has_decoder(stream):
        return stream.codec_context.codec.canonical_name
    return getattr(stream, "mimetype", None) or stream.name or "unknown"


def stream_title(stream: Stream) -> str | None:
    return stream.metadata.get("title") or stream.metadata.get("name")  # `name` in MP4


def _check_file(path: Path) -> None:
    try:
        size_bytes = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file, or a folder of images")
        if not path.is_file():
            raise InputError(f"{path}: is a device or a pipe; give a file")
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if size_bytes == 0:
        raise InputError(f"{path}: the file is empty")


def _refusal(path: Path, error: FFmpegError) -> str:
    with path.open("rb") as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(PLAYLIST_MARKS) or b"<MPD" in head:
        return "is a playlist, not a video; a file may not open other files, so give those"
    words = ffmpeg_message(error)
    return f"not a video that FFmpeg can read: {words}; it may be damaged, cut short, or no video"
