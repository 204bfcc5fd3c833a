"""Files of encoded packets, kept on disk until the target is muxed.

The format is our own, since no container keeps every codec's packets unchanged: Matroska
rounds times to milliseconds, NUT drops decoding times, MP4 refuses codecs. A file is `MAGIC`
followed by records: a `RECORD` header (pts, dts, duration, size in bytes, flags), then the packet's
bytes. Times are ticks of the encoder's time base, which the file does not hold.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Self

from av.packet import Packet
from av.stream import Stream

from lfdn_video.errors import OutputError

MAGIC = b"LFDNPKT1"

# Little-endian and without padding, so that a run can be resumed on another machine.
RECORD = struct.Struct("<qqqIB")

KEYFRAME_FLAG = 1  # bit 0 of the record's flags


class PacketWriter:
    """Writes one packet file. A context manager; the file is complete once `close` has returned."""

    def __init__(self, path: Path) -> None:
        """Create `path`. Raises OSError."""
        self._file = path.open("wb")
        # Hashed while writing, not read back at the end: that would take time, and would certify
        # whatever the disk returned instead of what was encoded.
        self._sha256 = hashlib.sha256()
        self._append(MAGIC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write_packet(self, packet: Packet[Stream]) -> None:
        """Append a packet. Its pts and dts must be set, as encoders do.

        Raises:
            OSError: the packet cannot be written, for instance because the disk is full.
        """
        assert packet.pts is not None
        assert packet.dts is not None
        # The only flag that muxers need: it goes into the container's index, for seeking.
        flags = KEYFRAME_FLAG if packet.is_keyframe else 0
        duration = packet.duration or 0
        self._append(RECORD.pack(packet.pts, packet.dts, duration, packet.size, flags))
        self._append(bytes(packet))

    def close(self) -> str:
        """Flush the file to the disk and close it.

        Returns:
            The file's SHA-256, in hexadecimal.

        Raises:
            OSError: the file cannot be flushed, for instance because the disk is full.
        """
        # The journal's entry comes next. The file has to reach the disk before it, or a power cut
        # could leave an entry without its frames.
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._sha256.hexdigest()

    def discard(self) -> None:
        """Close the file without completing it. Safe to call again."""
        # Closing flushes, which fails again on a full disk; the first failure is the one reported.
        with suppress(OSError):
            self._file.close()

    def _append(self, content: bytes) -> None:
        self._sha256.update(content)
        self._file.write(content)


def read_packets(
    path: Path, time_base: Fraction, adapt: Callable[[bytes], bytes] = bytes
) -> Generator[Packet[Stream]]:
    """Read a packet file.

    Args:
        path: a file that `PacketWriter` completed.
        time_base: time base of the encoder, in seconds per tick.
        adapt: makes the content of the packets from that of the file.

    Yields:
        Packets in the order of writing, which is decoding order, without a stream. Close the
        generator when leaving it early.

    Raises:
        OutputError: the file is not a packet file, or is truncated.
    """
    with path.open("rb") as file:
        for pts, dts, duration, size, flags in _read_records(path, file):
            # A packet's bytes need no check of their own: the journal's digest covers the file.
            packet = Packet(adapt(file.read(size)))
            packet.pts = pts
            packet.dts = dts
            packet.duration = duration
            packet.time_base = time_base
            packet.is_keyframe = bool(flags & KEYFRAME_FLAG)
            yield packet


def read_times(path: Path) -> Iterator[int]:
    """Read the pts of a packet file's packets, in ticks of the encoder, in decoding order.

    Raises:
        OutputError: the file is not a packet file, or is truncated.
    """
    with path.open("rb") as file:
        for pts, _, _, size, _ in _read_records(path, file):
            yield pts
            file.seek(size, os.SEEK_CUR)


def _read_records(path: Path, file: IO[bytes]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield the headers of the records; the caller moves the file past the bytes of each."""
    if file.read(len(MAGIC)) != MAGIC:
        raise OutputError(f"{path}: is not a packet file; start over")
    while header := file.read(RECORD.size):
        if len(header) < RECORD.size:
            raise OutputError(f"{path}: is truncated; start over")
        yield RECORD.unpack(header)


def file_sha256(path: Path) -> str:
    """Compute a file's SHA-256, in hexadecimal, without loading it whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
