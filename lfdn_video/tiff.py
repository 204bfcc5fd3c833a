"""A TIFF's first directory: what the file says of its samples, and which kinds FFmpeg cannot read.

TIFF 6.0, section 2. It works on bytes alone; `image_tags.py` and `input/images.py` use it.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

MAGICS = (b"II*\0", b"MM\0*")
BIG_MAGICS = (b"II+\0", b"MM\0+")
"""First bytes of BigTIFF, which has offsets of 64 bits."""

BITS, COMPRESSION, X_RESOLUTION, Y_RESOLUTION, UNIT, TILE_WIDTH, SAMPLE_FORMAT = (
    *(258, 259, 282, 283, 296),
    *(322, 339),
)
JPEG_COMPRESSIONS = frozenset({6, 7})
FLOAT, HALF_BITS = 3, 16
CENTIMETRE, CM_PER_INCH = 3, Fraction(254, 100)

FORMATS = {1: "B", 3: "H", 4: "I"}
"""Types of an entry whose values are read: BYTE, SHORT, LONG."""


def list_entries(tiff: bytes) -> Iterator[tuple[int, int]]:
    """Yield the entries of a TIFF's first directory: tag, and first value if it is a number.

    Args:
        tiff: the file, or the same structure in EXIF. It may be cut off.
    """
    order = _order(tiff)
    with suppress(struct.error):
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", tiff, at)[0]):
            start = at + 2 + 12 * entry
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, start)
            code = FORMATS.get(kind, "I")
            place = start + 8
            if count * struct.calcsize(code) > 4 and kind in FORMATS:
                place = struct.unpack_from(f"{order}I", tiff, place)[0]
            yield tag, struct.unpack_from(f"{order}{code}", tiff, place)[0]


def has_second_directory(tiff: bytes) -> bool:
    """Tell whether a TIFF has several pages."""
    order = _order(tiff)
    with suppress(struct.error):
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        entries = struct.unpack_from(f"{order}H", tiff, at)[0]
        return bool(struct.unpack_from(f"{order}I", tiff, at + 2 + 12 * entries)[0])
    return False


def read_density(tiff: bytes) -> tuple[Fraction, Fraction] | None:
    """Return the dots per inch across and down; None if the file does not state them."""
    entries = dict(list_entries(tiff))
    order = _order(tiff)
    with suppress(struct.error, KeyError, ZeroDivisionError):
        across, down = (
            Fraction(*struct.unpack_from(f"{order}II", tiff, entries[tag]))
            for tag in (X_RESOLUTION, Y_RESOLUTION)
        )
        unit = entries.get(UNIT, 2)
        if unit == 1:  # an aspect ratio alone
            return None
        scale = CM_PER_INCH if unit == CENTIMETRE else 1
        return across * scale, down * scale
    return None


def name_unreadable(content: bytes) -> str | None:
    """Name the kind of a TIFF that FFmpeg does not decode, or decodes to something else.

    Its decoder makes black images of tiles and of JPEG, and takes 16-bit floats for integers.

    Args:
        content: the whole file.

    Returns:
        Words that follow "it is"; None if the file is no such TIFF.
    """
    if content.startswith(BIG_MAGICS):
        return "a BigTIFF"
    if not content.startswith(MAGICS):
        return None
    entries = dict(list_entries(content))
    if TILE_WIDTH in entries:
        return "a TIFF in tiles"
    if entries.get(COMPRESSION) in JPEG_COMPRESSIONS:
        return "a TIFF with JPEG compression"
    if entries.get(SAMPLE_FORMAT) == FLOAT and entries.get(BITS) == HALF_BITS:
        return "a TIFF of 16-bit floating point samples"
    return None


def _order(tiff: bytes) -> str:
    return "<" if tiff.startswith(b"II") else ">"
