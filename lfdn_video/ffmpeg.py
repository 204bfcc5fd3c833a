"""PyAV helpers that several packages share: open files safely, demux packets, name streams.

A file is data: it may not make FFmpeg open other files or the network, as a playlist named `.mp4`
would. Whatever is not a video becomes an InputError of one line. `input/probe.py` describes a file
as a whole; `planes.py` handles frames.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Discard, Disposition, Stream

from lfdn_video.errors import InputError

# Demuxers whose input refers to other files, or that read no file at all.
REFERRING_FORMATS = {"concat", "concatf", "dash", "hls", "image2", "imf", "webm_dash_manifest"}
REFERRING_FORMATS |= {"lavfi", "rtp", "rtsp", "sap", "sdp", "vobsub"}

PLAYLIST_MAGICS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"[playlist]", b"v=0\r\n", b"v=0\n")

PYAV_FOLDER = Path(av.__file__).parent

CONVERT = "convert it with another program first, for example to .mkv"
"""What to do about a file that FFmpeg or PyAV cannot handle."""

STAND_INS = ("pcm_s16le", "aac", "mp2", "libopus")
"""Audio codecs of which every container that holds audio holds one."""

MAX_READ_ERRORS = 8
"""Consecutive failed reads after which the rest of a file is skipped."""

MAX_PIXELS = 100_000_000
"""Largest frame to decode, in pixels; 12K film has 80 million. Decoders refuse larger ones before
they allocate memory."""

MAX_PROBED = 64
"""Streams to which FFmpeg applies `MAX_PIXELS` when it opens a file."""

MICROSECONDS = 1_000_000  # AV_TIME_BASE

KEEP_BYTES = "surrogateescape"
"""Python's error handler with which tags that are not UTF-8 are copied unchanged."""


def ffmpeg_message(error: FFmpegError) -> str:
    """Return FFmpeg's message for `error`, with its log line where `ffmpeg_errors` caught one."""
    message = error.strerror or str(error)
    log = cast("tuple[int, str, str] | None", error.log)  # level, name, line; the stubs differ
    return f"{message} ({log[2].strip()})" if log else message


@contextmanager
def ffmpeg_errors() -> Iterator[None]:
    """Attach FFmpeg's log lines to exceptions raised in the block, which are terse otherwise.

    Use it only for short steps without frames in flight. PyAV's log callback needs the GIL, so a
    thread of FFmpeg that logs while Python waits for that thread would deadlock.
    """
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture():
            yield
    finally:
        av.logging.set_level(before)


def open_source(path: Path, *, metadata_errors: str = "replace") -> InputContainer:
    """Open a local media file for demuxing.

    Args:
        path: the file; its name is never interpreted as a URL or a pattern.
        metadata_errors: Python's error handler for tags that are not UTF-8.

    Returns:
        The open container; the caller closes it.

    Raises:
        InputError: there is no such file, it cannot be read, or FFmpeg finds no media in it.
    """
    _check_file(path)  # FFmpeg's own errors are vague, and a pipe would block
    options = {
        # Both are needed: a playlist may name local files, and a file's name may look like a URL.
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(sorted(av.formats_available - REFERRING_FORMATS)),
        # PyAV asks FFmpeg to make up missing pts, which are wrong for B-frames in AVI and ASF. The
        # decoder knows better (`timestamps.BestEffortTimes`).
        "fflags": "-genpts",
    }
    limits = [decoding_limits()] * MAX_PROBED
    with pyav_errors(path):
        try:
            return av.open(
                f"file:{path}",
                options=options,
                stream_options=limits,  # type: ignore[arg-type]  # the stubs
                metadata_errors=metadata_errors,
            )
        except FFmpegError as error:
            raise InputError(f"{path}: {_refusal(path, error)}") from error
        except ValueError:
            # FLV, MPEG-PS, SWF, DHAV and others show their streams only in the packets, so PyAV has
            # none to apply the limits to. They apply again when frames are decoded.
            pass
        try:
            return av.open(f"file:{path}", options=options, metadata_errors=metadata_errors)
        except FFmpegError as error:
            raise InputError(f"{path}: {_refusal(path, error)}") from error


@contextmanager
def pyav_errors(path: Path) -> Iterator[None]:
    """Turn exceptions that PyAV or FFmpeg raise in the block into an InputError about a file.

    PyAV has complaints of its own, such as ValueErrors about what it does not support. They are
    about the file, not about this program. Exceptions of this program's own code pass.

    Args:
        path: the file that is read.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_pyav_error(error):
            raise
        raise InputError(f"{path}: cannot be read: {pyav_message(error)}; {CONVERT}") from error


def is_pyav_error(error: BaseException) -> bool:
    """Tell whether an exception was raised by FFmpeg or by PyAV's own code."""
    if isinstance(error, FFmpegError):
        return True
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    raised_in = Path(traceback.tb_frame.f_code.co_filename)
    # PyAV's compiled modules name their sources relative to the folder of the package.
    return raised_in.parts[:1] == ("av",) or raised_in.is_relative_to(PYAV_FOLDER)


def pyav_message(error: BaseException) -> str:
    """Return the words of an exception for which `is_pyav_error` is true, without a full stop."""
    words = ffmpeg_message(error) if isinstance(error, FFmpegError) else str(error)
    return " ".join((words or type(error).__name__).split()).rstrip(".")


def add_copy(target: OutputContainer, stream: Stream) -> Stream:
    """Add a stream for the unchanged packets of another one.

    Args:
        target: an open container without a header so far.
        stream: a stream of a source.

    Returns:
        The new stream. FFmpeg may still refuse it when it writes the header.

    Raises:
        ValueError: the container cannot hold such a stream.
    """
    try:
        # "Opaque": from the decoder's parameters, so no encoder is needed.
        return target.add_stream_from_template(stream, opaque=True)
    except ValueError:
        # PyAV asks FFmpeg's table of the container's codecs, which lacks those that Matroska stores
        # as WAV does: G.711, ADPCM, WMA. So another one is added, and gets their parameters.
        if stream.type != "audio":
            raise
        with av.open(io.BytesIO(), "w", format="nut") as neutral:
            # Its parameters have no tag of the source's container.
            template = neutral.add_stream_from_template(stream, opaque=True)
            for stand_in in STAND_INS:
                with suppress(ValueError):
                    copy = target.add_mux_stream(stand_in)
                    BitStreamFilterContext("null", template, copy)  # copies all parameters
                    copy.time_base = stream.time_base
                    return copy
        raise


def decoding_limits() -> dict[str, str]:
    """Return the decoder options that bound the memory untrusted input can allocate."""
    return {"max_pixels": str(MAX_PIXELS)}


def demux_packets(
    container: InputContainer, streams: list[Stream], on_error: Callable[[str], None]
) -> Generator[Packet[Stream]]:
    """Demux packets, continuing after read errors as far as the demuxer can.

    Args:
        container: an open file.
        streams: the streams to demux.
        on_error: called with FFmpeg's message after each failed read.

    Yields:
        Packets that hold data, in the order of the file.
    """
    failures = 0
    packets = container.demux(streams)
    while failures < MAX_READ_ERRORS:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError as error:
            failures += 1
            on_error(ffmpeg_message(error))
            packets = container.demux(streams)  # an error ends PyAV's iterator, not the file
            continue
        failures = 0  # only failures in a row mean that the rest is unreadable
        if packet.size:  # PyAV ends each stream with an empty packet, to flush its decoder
            yield packet


def seek_or_rewind(container: InputContainer, offset: int, stream: Stream | None = None) -> None:
    """Go to a keyframe before a time; where that fails, to the start of the file.

    Some demuxers stand at the end of the file after a seek that failed.

    Args:
        container: an open file from which no packet was read.
        offset: in ticks of the stream; in microseconds without one.
        stream: the stream whose keyframes count; None: FFmpeg chooses.
    """
    try:
        container.seek(offset, stream=stream)
    except FFmpegError:
        with suppress(FFmpegError):  # a format that cannot seek at all stays at its start
            container.seek(container.start_time or 0)


def discard_other_streams(container: InputContainer, wanted: Stream) -> None:
    """Make the demuxer of `container` skip all streams but `wanted`."""
    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = Discard.all


def allows_discontinuities(container: InputContainer) -> bool:
    """Tell whether timestamps may jump back inside files of this format, as in MPEG-TS.

    In such a file one pts may belong to several frames, and seeking by time is unreliable.
    """
    return has_flag(container, Flags.ts_discont)


def has_flag(container: InputContainer | OutputContainer, flag: Flags) -> bool:
    """Tell whether FFmpeg sets `flag` for the container's format."""
    return bool(container.format.flags & cast("int", flag.value))  # the stubs type it as a flag


def is_cover(stream: Stream) -> bool:
    """Tell whether a video stream is only the file's cover or a thumbnail."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def has_decoder(stream: Stream) -> bool:
    """Tell whether this build of FFmpeg can decode the stream."""
    # The stubs promise a codec context to every stream; without a decoder there is none.
    return cast("object", stream.codec_context) is not None


def codec_name(stream: Stream) -> str:
    """Return FFmpeg's name for the stream's codec; else its MIME type, or `unknown`."""
    if has_decoder(stream):
        return stream.codec_context.codec.canonical_name
    return getattr(stream, "mimetype", None) or stream.name or "unknown"


def stream_title(stream: Stream) -> str | None:
    """Return the stream's title tag, which MP4 calls `name`."""
    return stream.metadata.get("title") or stream.metadata.get("name")


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
    if head.startswith(PLAYLIST_MAGICS) or b"<MPD" in head:
        return "is a playlist, not a video; give the files that it lists"
    message = ffmpeg_message(error)
    return f"not a video that FFmpeg can read: {message}; it may be corrupt, truncated, or no video"


@contextmanager
def ordinary_scheduling() -> Generator[None]:
    """Take back the real-time priority that a library gives itself, and the thread that calls it.

    Run by root, as in many containers, SVT-AV1 puts both under SCHED_FIFO at the highest priority
    when it is opened. Whatever such a thread waits for in a loop may then never run, in this
    process and in those that it starts. Threads that were real-time before stay so.
    """
    before = _list_real_time_threads()
    try:
        yield
    finally:
        for thread in _list_real_time_threads() - before:
            with suppress(OSError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _list_real_time_threads() -> set[int]:
    """List the native numbers of this process's real-time threads; none but on Linux."""
    found = set()
    if sys.platform == "linux":
        for thread in (int(path.name) for path in Path("/proc/self/task").iterdir()):
            with suppress(OSError):  # it has ended
                if os.sched_getscheduler(thread) in {os.SCHED_FIFO, os.SCHED_RR}:
                    found.add(thread)
    return found
