"""What a TIFF's directory says, against Pillow and OpenCV, which write the files."""

import io
import struct
from fractions import Fraction

import pytest
from PIL import Image

from lfdn_video import tiff


def write(**words: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16), (90, 80, 70)).save(buffer, "TIFF", **words)
    return buffer.getvalue()


def with_entry(tag: int, kind: int, value: int) -> bytes:
    """Return a TIFF of one entry; only its directory is valid."""
    return struct.pack("<4sIHHHII", b"II*\0", 8, 1, tag, kind, 1, value) + bytes(4)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_usual_tiffs_have_no_name(compression: str | None) -> None:
    assert tiff.name_unreadable(write(compression=compression)) is None


def test_tiff_with_jpeg_compression_is_named() -> None:
    assert tiff.name_unreadable(write(compression="jpeg")) == "a TIFF with JPEG compression"


def test_tiff_in_tiles_is_named() -> None:
    assert tiff.name_unreadable(with_entry(tiff.TILE_WIDTH, 3, 16)) == "a TIFF in tiles"


def test_bigtiff_is_named() -> None:
    assert tiff.name_unreadable(b"II+\0" + bytes(20)) == "a BigTIFF"


@pytest.mark.parametrize("bits", [16, 32])
def test_only_floats_of_16_bits_are_named(bits: int) -> None:
    entries = [(tiff.BITS, bits), (tiff.SAMPLE_FORMAT, tiff.FLOAT)]
    words = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    content = struct.pack("<4sIH", b"II*\0", 8, len(entries)) + words + bytes(4)
    assert (tiff.name_unreadable(content) is None) == (bits == 32)


def test_first_value_behind_the_directory_is_read() -> None:
    """Three values of 16 bits do not fit into an entry."""
    assert dict(tiff.list_entries(write()))[tiff.BITS] == 8


@pytest.mark.parametrize("density", [(72, 72), (300, 150)])
def test_density_is_that_of_the_file(density: tuple[int, int]) -> None:
    assert tiff.read_density(write(dpi=density)) == tuple(map(Fraction, density))


def test_density_per_centimetre_is_converted() -> None:
    content = write(resolution_unit="cm", x_resolution=100.0, y_resolution=100.0)
    assert tiff.read_density(content) == (Fraction(254), Fraction(254))


def test_structure_that_is_cut_off_is_no_error() -> None:
    content = write(dpi=(300, 300))
    for length in range(0, len(content), 7):
        tiff.name_unreadable(content[:length])
        tiff.read_density(content[:length])
