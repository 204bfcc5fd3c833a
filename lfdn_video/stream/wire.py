"""What the processes of a live session tell each other over pipes.

Messages are values, pickled; arrays follow behind their message as they lie in memory. Both ends
are this program (`child.py`); nobody else's bytes are read here. Knows no FFmpeg.
"""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.stream.addresses import Source

_HEAD = struct.Struct("<II")
_SIZE = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """What to read, and how."""

    source: Source
    loop: bool = False
    """A file begins again at its end."""
    patience_s: float = 10.0
    """FFmpeg is to give up by itself when nothing came for so long."""
    audio: bool = False
    """Whether packets of audio are wanted too."""
    options: Mapping[str, str] = field(default_factory=dict)
    """FFmpeg's, of the demuxer and the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """Where to pass a stream on to, and how it is encoded. Frames and audio follow."""

    target: str = field(repr=False)
    encode: EncodeOptions


@dataclass(frozen=True, slots=True, eq=False)
class StampedFrame:
    """A decoded frame; its `info` is set, its pts left to the receiver."""

    frame: Frame
    stamp_s: float
    """When it came, by `time.monotonic`, which all processes of a machine share."""
    decode_s: float
    """What it took to decode."""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """There is audio: a NUT file with next to nothing in it, which says of what kind it is."""

    header: bytes


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """A packet of the audio, as it came."""

    content: bytes
    stamp_s: float
    """When it is to be heard, by the clock of the pictures' stamps."""
    duration_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last message: nothing more comes, since that was all or since `error`."""

    error: str | None = None
    final: bool = False
    """Of an error: trying again cannot help."""


def send(file: IO[bytes], message: object) -> None:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    file.write(_HEAD.pack(len(head), len(views)))
    for view in views:
        file.write(_SIZE.pack(view.nbytes))
    file.write(head)
    for view in views:
        file.write(view)
    file.flush()


def receive(file: IO[bytes]) -> Any:
    """The next message; EOFError if the other end is gone, be it in the middle of one."""
    head_bytes, count = _HEAD.unpack(_read(file, _HEAD.size))
    sizes = [_SIZE.unpack(_read(file, _SIZE.size))[0] for _ in range(count)]
    head = _read(file, head_bytes)
    return pickle.loads(head, buffers=[_read(file, size) for size in sizes])


def _read(file: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        if not (count := file.readinto(view[done:])):  # type: ignore[attr-defined]  # IO has it not
            raise EOFError
        done += count
    return content
