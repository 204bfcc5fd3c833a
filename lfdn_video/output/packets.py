"""Encoded packets on the disk, between their encoder and a target that is made later.

A format of our own, since no container keeps every codec's packets as they are: Matroska rounds
times to milliseconds, NUT drops decoding times, MP4 refuses codecs. A file is `MAGIC` and then
records: `RECORD` (pts, dts, duration, size in bytes, flags) and the packet's bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Generator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from av.packet import Packet
from av.stream import Stream

from lfdn_video.errors import OutputError

MAGIC = b"LFDNPKT1"
RECORD = struct.Struct("<qqqIB")
KEY_FRAME = 1
CHUNK_BYTES = 1 << 20


class PacketFile:
    """Writes one file. A context manager; a file is complete when `close` returned its digest."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._sha256 = hashlib.sha256()
        self._put(MAGIC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # that there is no room was said where it was noticed
            self._file.close()

    def write(self, packet: Packet[Stream]) -> None:
        """pts and dts must be known, as they are of what an encoder gives."""
        assert packet.pts is not None
        assert packet.dts is not None
        flags = KEY_FRAME if packet.is_keyframe else 0
        times = packet.pts, packet.dts, packet.duration or 0
        self._put(RECORD.pack(*times, packet.size, flags))
        self._put(bytes(packet))

    def close(self) -> str:
        """SHA-256 of the file, which is on the disk then."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._sha256.hexdigest()

    def _put(self, content: bytes) -> None:
        self._sha256.update(content)
        self._file.write(content)


def read_packets(path: Path, time_base: Fraction) -> Generator[Packet[Stream]]:
    """The packets of a file, in the order in which they were written. Close it."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise OutputError(f"{path}: is no file of packets; begin again")
        while head := file.read(RECORD.size):
            if len(head) < RECORD.size:
                raise OutputError(f"{path}: is cut short; begin again")
            pts, dts, duration, size, flags = RECORD.unpack(head)
            packet = Packet(file.read(size))
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            packet.time_base = time_base
            packet.is_keyframe = bool(flags & KEY_FRAME)
            yield packet


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
