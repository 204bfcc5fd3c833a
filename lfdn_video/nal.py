"""NAL units of H.264 and HEVC, as MP4 and Matroska store them: each behind its length.

Only what copying packets needs: which units a packet holds, and the parameter sets of H.264's
decoder configuration record (avcC, ISO/IEC 14496-15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

LENGTH_BYTES = 4
"""Bytes of a unit's length, as every common program writes them."""

H264_IDR = 5
H264_SPS, H264_PPS = 7, 8
HEVC_IRAP = range(16, 22)
"""Pictures at which a decoder may start: BLA, IDR and CRA."""
HEVC_PARAMETER_SETS = frozenset({32, 33, 34})

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")


class MalformedError(ValueError):
    """Bytes that are no units of the expected kind."""


def split_units(packet: bytes) -> Iterator[bytes]:
    """Yield the units of a packet in which each follows its length.

    Raises:
        MalformedError: the lengths do not add up to the packet.
    """
    at = 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + LENGTH_BYTES], "big")
        unit = packet[at + LENGTH_BYTES : at + LENGTH_BYTES + size]
        if not unit or len(unit) < size:
            raise MalformedError("the lengths of its units do not fit")
        yield unit
        at += LENGTH_BYTES + size


def split_start_codes(packet: bytes) -> Iterator[bytes]:
    """Yield the units of a packet in which each follows a start code, as encoders write them."""
    # The pattern takes the longer start code, of which the shorter is a part.
    yield from (unit for unit in _START_CODE.split(packet) if unit)


def to_lengths(packet: bytes) -> bytes:
    """Replace start codes by lengths."""
    return b"".join(
        len(unit).to_bytes(LENGTH_BYTES, "big") + unit for unit in split_start_codes(packet)
    )


def h264_type(unit: bytes) -> int:
    """Return `nal_unit_type` of a unit of H.264."""
    return unit[0] & 0x1F


def hevc_type(unit: bytes) -> int:
    """Return `nal_unit_type` of a unit of HEVC."""
    return unit[0] >> 1 & 0x3F


def h264_id(unit: bytes) -> int:
    """Return the number by which an H.264 parameter set is referred to.

    Args:
        unit: an SPS or a PPS.

    Raises:
        MalformedError: it is too short.
    """
    # An SPS has profile, constraints and level first.
    at = 1 if h264_type(unit) == H264_PPS else 4
    bits = "".join(f"{byte:08b}" for byte in unit[at : at + 5])
    zeros = bits.find("1")
    if zeros < 0 or len(bits) < 2 * zeros + 1:
        raise MalformedError("a parameter set is too short")
    return int(bits[zeros : 2 * zeros + 1], 2) - 1  # Exp-Golomb


@dataclass(frozen=True, slots=True)
class AvcConfiguration:
    """H.264's decoder configuration record: the parameter sets that a container holds."""

    head: bytes
    """Profile, constraints and level."""
    sequence_sets: tuple[bytes, ...]
    """SPS."""
    picture_sets: tuple[bytes, ...]
    """PPS."""
    tail: bytes = b""
    """Chroma format and depths, where the profile has them."""

    @classmethod
    def parse(cls, record: bytes) -> Self:
        """Read a record.

        Raises:
            MalformedError: it is none, or its units have lengths of fewer than four bytes.
        """
        if len(record) < 7 or record[0] != 1:
            raise MalformedError("its parameter sets are not in the container's header")
        if record[4] & 3 != LENGTH_BYTES - 1:
            raise MalformedError("its units have short lengths")
        lists: list[tuple[bytes, ...]] = []
        at = 5
        for mask in (0x1F, 0xFF):
            count, at = record[at] & mask if at < len(record) else 0, at + 1
            units = []
            for _ in range(count):
                size = int.from_bytes(record[at : at + 2], "big")
                units.append(record[at + 2 : at + 2 + size])
                at += 2 + size
            if not all(units) or at > len(record):
                raise MalformedError("its parameter sets are cut off")
            lists.append(tuple(units))
        return cls(record[1:4], lists[0], lists[1], record[at:])

    @property
    def sets(self) -> frozenset[bytes]:
        """All parameter sets."""
        return frozenset(self.sequence_sets + self.picture_sets)

    @property
    def profile(self) -> int:
        """`profile_idc`."""
        return self.head[0]

    def free_number(self) -> int | None:
        """Return the lowest number that no parameter set has; None: all are taken."""
        taken = {h264_id(unit) for unit in self.sets}
        return next((number for number in range(32) if number not in taken), None)

    def extended(self, units: Iterator[bytes]) -> Self:
        """Return the record with the parameter sets among `units` added, and the higher level."""
        more = list(units)
        sequence = tuple(unit for unit in more if h264_type(unit) == H264_SPS)
        level = max(self.head[2], *(unit[3] for unit in sequence))
        return replace(
            self,
            head=self.head[:2] + bytes([level]),
            sequence_sets=self.sequence_sets + sequence,
            picture_sets=self.picture_sets
            + tuple(unit for unit in more if h264_type(unit) == H264_PPS),
        )

    def build(self) -> bytes:
        """Return the record as bytes."""
        parts = [b"\x01", self.head, bytes([0xFC | LENGTH_BYTES - 1])]
        for units, reserved in ((self.sequence_sets, 0xE0), (self.picture_sets, 0)):
            parts.append(bytes([reserved | len(units)]))
            parts += [len(unit).to_bytes(2, "big") + unit for unit in units]
        return b"".join(parts) + self.tail
