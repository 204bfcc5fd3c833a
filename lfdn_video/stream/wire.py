"""Messages that the processes of a live session exchange over pipes.

Messages are pickled values; the bytes of their arrays follow uncopied (pickle's out-of-band
buffers). Both ends are this program (`child.py`), so no foreign bytes are unpickled. Knows no
FFmpeg.
"""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.stream.addresses import Source

_HEAD = struct.Struct("<II")  # bytes of the pickle, number of buffers
_SIZE = struct.Struct("<Q")  # bytes of a buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """The source for a grabber process to read; the only message that it receives."""

    source: Source
    """The source to read."""
    loop: bool = False
    """Play a file again from its start when it ends."""
    patience_s: float = 10.0
    """FFmpeg's timeout for opening and for reading, in seconds."""
    audio: bool = False
    """Send the packets of the source's audio too."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options for FFmpeg's demuxer and protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """The server for a pusher process to send to; frames and audio follow."""

    target: str = field(repr=False)
    """Its address, credentials included."""
    encode: EncodeOptions
    """The user's encoding options."""


@dataclass(frozen=True, slots=True, eq=False)
class StampedFrame:
    """A frame and its time of capture. `frame.info` is set; the receiver sets `frame.pts`."""

    frame: Frame
    """The decoded frame."""
    stamp_s: float
    """Time of capture by `time.monotonic`, which all processes of a machine share."""
    decode_s: float
    """Seconds spent decoding it."""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """Minimal NUT header with the codec parameters of the audio that follows."""

    header: bytes
    """The content of the NUT file."""


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One encoded packet of the source's audio."""

    content: bytes
    """The packet's bytes."""
    stamp_s: float
    """Time of presentation on the clock of `StampedFrame.stamp_s`."""
    duration_s: float
    """Duration in seconds; 0 if unknown."""


@dataclass(frozen=True, slots=True)
class Note:
    """A warning for the user."""

    text: str
    """The message, without a subject."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last message of a process."""

    error: str | None = None
    """Reason of the failure, without secrets; None after a normal end."""
    final: bool = False
    """True if another try cannot succeed either."""


def send(file: IO[bytes], message: object) -> None:
    """Write one message and flush.

    Args:
        file: the writing end of a pipe.
        message: one of the classes above.

    Raises:
        BrokenPipeError: the other end is gone.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    # Sizes go first, so that the receiver can allocate every buffer before it reads them.
    views = [buffer.raw() for buffer in buffers]
    file.write(_HEAD.pack(len(head), len(views)))
    for view in views:
        file.write(_SIZE.pack(view.nbytes))
    file.write(head)
    for view in views:
        file.write(view)
    file.flush()


def receive(file: IO[bytes]) -> Any:
    """Wait for the next message.

    Args:
        file: the reading end of a pipe.

    Returns:
        An instance of one of the classes above.

    Raises:
        EOFError: the other end is gone, perhaps in the middle of a message.
    """
    head_bytes, count = _HEAD.unpack(_read(file, _HEAD.size))
    sizes = [_SIZE.unpack(_read(file, _SIZE.size))[0] for _ in range(count)]
    head = _read(file, head_bytes)
    return pickle.loads(head, buffers=[_read(file, size) for size in sizes])


def _read(file: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    done = 0
    while done < size:
        if not (count := file.readinto(view[done:])):  # type: ignore[attr-defined]  # IO has it not
            raise EOFError
        done += count
    return content
