"""Messages that the processes of a live session exchange over pipes.

Values only; `lfdn_video/child.py` sends and receives them. Knows no FFmpeg.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.stream.addresses import Source


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
    """The codec parameters of the audio that follows."""

    header: bytes
    """The content of a media file with them; the same for the same parameters."""


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
