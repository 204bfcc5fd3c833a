"""The density of an image file, in dots per inch: read from any kind, and set in a new file.

It works on bytes alone; `output/images.py` uses it.
"""

import struct
import zlib
from fractions import Fraction

from lfdn_video import image_tags, tiff

Density = tuple[Fraction, Fraction]
"""Dots per inch across and down."""

INCH_M = Fraction(254, 10_000)
BMP_MAGIC = b"BM"
BMP_DENSITY = struct.Struct("<ii")
BMP_DENSITY_AT = 38
"""Place of the dots per metre in a BMP with the usual header of 40 bytes or more."""
BMP_HEADER_BYTES = 40

METRE = 1
"""PNG's unit of density; 0 states an aspect ratio alone."""
PER_CM, PER_INCH = 2, 1
"""JFIF's units of density; 0 states an aspect ratio alone."""


def read_density(content: bytes) -> Density | None:
    """Return the dots per inch that an image file states; None if it states none."""
    if content.startswith(tiff.MAGICS):
        found = tiff.read_density(content)
    elif content.startswith(BMP_MAGIC):
        found = _read_bmp(content)
    elif content.startswith(image_tags.JPEG_MAGIC):
        found = _read_jpeg(content)
    else:
        found = _read_png(content)
    return found if found and min(found) > 0 else None


def set_density(content: bytes, density: Density) -> bytes:
    """Return an image file with another density: a JPEG, PNG or BMP; others are left as they are.

    Args:
        content: the file, as FFmpeg wrote it.
        density: dots per inch.
    """
    across, down = (max(1, round(value / INCH_M)) for value in density)  # per metre
    if content.startswith(BMP_MAGIC) and _has_usual_header(content):
        values = BMP_DENSITY.pack(across, down)
        end = BMP_DENSITY_AT + BMP_DENSITY.size
        return content[:BMP_DENSITY_AT] + values + content[end:]
    if content.startswith(image_tags.JPEG_MAGIC):
        return image_tags.set_jfif_density(
            content, struct.pack(">BHH", PER_INCH, *(min(65535, round(each)) for each in density))
        )
    if content.startswith(image_tags.PNG_MAGIC):
        return _set_png(content, struct.pack(">IIB", across, down, METRE))
    return content


def _has_usual_header(bmp: bytes) -> bool:
    size = int.from_bytes(bmp[14:18], "little")
    return size >= BMP_HEADER_BYTES and len(bmp) >= BMP_DENSITY_AT + BMP_DENSITY.size


def _read_bmp(content: bytes) -> Density | None:
    if not _has_usual_header(content):
        return None
    across, down = BMP_DENSITY.unpack_from(content, BMP_DENSITY_AT)
    return across * INCH_M, down * INCH_M


def _read_jpeg(content: bytes) -> Density | None:
    found = image_tags.read_jfif_density(content)
    if found is None:
        return None
    unit, across, down = struct.unpack(">BHH", found)
    if unit not in (PER_CM, PER_INCH):
        return None
    scale = tiff.CM_PER_INCH if unit == PER_CM else Fraction(1)
    return across * scale, down * scale


def _read_png(content: bytes) -> Density | None:
    for kind, chunk in image_tags.png_chunks(content):
        if kind == b"pHYs" and len(chunk) >= 21:
            across, down, unit = struct.unpack_from(">IIB", chunk, 8)
            return (across * INCH_M, down * INCH_M) if unit == METRE else None
    return None


def _set_png(content: bytes, payload: bytes) -> bytes:
    header, *rest = [chunk for kind, chunk in image_tags.png_chunks(content) if kind != b"pHYs"]
    body = b"pHYs" + payload
    chunk = len(payload).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return b"".join([image_tags.PNG_MAGIC, header, chunk, *rest])
