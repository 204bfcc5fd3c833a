"""Units and parameter sets of H.264."""

import pytest

from lfdn_video.nal import AvcConfiguration, MalformedError, h264_id, split_units, to_lengths

SPS = bytes.fromhex("6764001facd9")
PPS = bytes.fromhex("68ebe3cb22c0")
RECORD = bytes.fromhex("0164001fffe10006") + SPS + bytes.fromhex("010006") + PPS + b"\xfd\xf8\xf8\0"


def test_record_is_written_as_it_was_read() -> None:
    assert AvcConfiguration.parse(RECORD).build() == RECORD


def test_number_of_a_set_is_read_behind_its_profile() -> None:
    assert h264_id(SPS) == 0
    assert h264_id(PPS) == 0
    assert h264_id(bytes.fromhex("6764001f5c")) == 1  # 010…
    assert h264_id(bytes.fromhex("685c")) == 1
    assert AvcConfiguration.parse(RECORD).free_number() == 1


def test_sets_are_added_with_the_higher_level() -> None:
    more = bytes.fromhex("6764002a5c")
    record = AvcConfiguration.parse(RECORD).extended(iter((more, b"\x68\x5c", b"\x06sei")))
    assert record.sequence_sets == (SPS, more)
    assert record.picture_sets == (PPS, b"\x68\x5c")
    assert record.head == bytes.fromhex("64002a")
    assert AvcConfiguration.parse(record.build()) == record


def test_start_codes_become_lengths() -> None:
    packet = b"\0\0\0\1ab\0\0\1cde\0\0\0\1f"
    assert list(split_units(to_lengths(packet))) == [b"ab", b"cde", b"f"]


@pytest.mark.parametrize("packet", [b"\0\0\0\5abc", b"\0\0\0\0", b"\0\0"])
def test_lengths_that_do_not_fit_are_refused(packet: bytes) -> None:
    with pytest.raises(MalformedError):
        list(split_units(packet))


@pytest.mark.parametrize(
    "record", [b"", b"\0\0\0\1gd", RECORD[:4] + b"\xfd" + RECORD[5:], RECORD[:12]]
)
def test_record_that_is_none_is_refused(record: bytes) -> None:
    with pytest.raises(MalformedError):
        AvcConfiguration.parse(record)
