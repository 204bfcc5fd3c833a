"""Files of packets: what was written is read back, and an incomplete file is refused."""

from fractions import Fraction
from pathlib import Path

import pytest
from av.packet import Packet

from lfdn_video.errors import OutputError
from lfdn_video.output.packets import PacketWriter, file_sha256, read_packets

TIME_BASE = Fraction(1, 90_000)


def write_packets(path: Path) -> str:
    with PacketWriter(path) as writer:
        for number, content in enumerate((b"key", b"", b"x" * 3000)):
            packet = Packet(content)
            packet.pts = 3000 * number
            packet.dts = 3000 * number - 6000
            packet.duration = 3000
            packet.is_keyframe = number == 0
            writer.write_packet(packet)
        return writer.close()


def test_packets_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    write_packets(tmp_path / "packets")
    found = list(read_packets(tmp_path / "packets", TIME_BASE))
    assert [bytes(packet) for packet in found] == [b"key", b"", b"x" * 3000]
    assert [(packet.pts, packet.dts) for packet in found] == [(0, -6000), (3000, -3000), (6000, 0)]
    assert [packet.duration for packet in found] == [3000] * 3
    assert [packet.is_keyframe for packet in found] == [True, False, False]
    assert {packet.time_base for packet in found} == {TIME_BASE}


def test_closing_returns_the_digest_of_the_file(tmp_path: Path) -> None:
    assert write_packets(tmp_path / "packets") == file_sha256(tmp_path / "packets")


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "packets"
    write_packets(path)
    path.write_bytes(path.read_bytes()[: 8 + 10])
    with pytest.raises(OutputError, match="is truncated"):
        list(read_packets(path, TIME_BASE))


def test_other_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"not packets")
    with pytest.raises(OutputError, match="is not a packet file"):
        list(read_packets(tmp_path / "other", TIME_BASE))
