"""What a picture file says beside its samples: EXIF, colour profile, texts, orientation.

FFmpeg decodes and encodes the samples; this carries the rest from one JPEG or PNG to another, byte
by byte, and tells whether a file of another kind says something. Knows bytes only. `images.py`
uses it.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXIF_MARK = b"Exif\0\0"
ORIENTATION_TAG = 0x0112

SCAN, COMMENT, APP0, APP1, ADOBE, APP15 = 0xDA, 0xFE, 0xE0, 0xE1, 0xEE, 0xEF
MAKER_CHUNKS = {b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tIME"}
TEXT_CHUNKS = {b"tEXt", b"iTXt", b"zTXt"}
WEBP_CHUNKS = {b"EXIF", b"ICCP", b"XMP "}
TIFF_MAGICS = (b"II*\0", b"MM\0*")

# Of a TIFF's numbers those that say something about the picture; the others are about its samples.
TIFF_TEXTS = {269, 270, 271, 272, 285, 306, 315, 316, 33432}  # names, description, maker, dates
TIFF_TAGS = TIFF_TEXTS | {700, 33723, 34377, 34665, 34675, 34853}  # XMP, IPTC, PSD, EXIF, ICC, GPS

# EXIF's orientation: the clockwise turn that makes the picture upright, and a mirror after it.
ORIENTATIONS: dict[int, tuple[Literal[0, 90, 180, 270], bool]] = {
    1: (0, False),
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (90, True),
    6: (90, False),
    7: (270, True),
    8: (270, False),
}


def read_orientation(content: bytes) -> tuple[Literal[0, 90, 180, 270], bool]:
    """Clockwise turn and mirror after it that make a picture file upright, by its EXIF."""
    return ORIENTATIONS.get(_orientation_number(_exif(content)), (0, False))


def copy_tags(source: bytes, target: bytes) -> bytes:
    """`target` with what `source` says beside its samples. Both are of the same kind."""
    return _carried_jpeg(source, target) if _is_jpeg(source) else _carried_png(source, target)


def has_tags(content: bytes) -> bool:
    """Whether there is something that another kind of file would not have."""
    if _is_jpeg(content):
        return any(_is_carried_segment(segment) for segment in _segments(content))
    if _is_webp(content):
        return any(kind in WEBP_CHUNKS for kind, _ in _webp_chunks(content))
    if content.startswith(TIFF_MAGICS):
        return any(tag in TIFF_TAGS for tag, _ in _entries(content))
    return any(kind in MAKER_CHUNKS | TEXT_CHUNKS for kind, _ in _chunks(content))


def _is_jpeg(content: bytes) -> bool:
    return content.startswith(JPEG_MAGIC)


def _is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def _carried_jpeg(source: bytes, target: bytes) -> bytes:
    said = b"".join(segment for segment in _segments(source) if _is_carried_segment(segment))
    start = len(JPEG_MAGIC) - 1
    if target[start + 1] == APP0:  # JFIF wants its own header to be the first
        start += 2 + struct.unpack_from(">H", target, start + 2)[0]
    return target[:start] + said + target[start:]


def _carried_png(source: bytes, target: bytes) -> bytes:
    said = {kind: chunk for kind, chunk in _chunks(source) if kind in MAKER_CHUNKS}
    texts = [chunk for kind, chunk in _chunks(source) if kind in TEXT_CHUNKS]
    own = [(kind, chunk) for kind, chunk in _chunks(target) if kind not in said]
    header, rest = own[0][1], [chunk for _, chunk in own[1:]]
    return b"".join([PNG_MAGIC, header, *said.values(), *texts, *rest])


def _segments(content: bytes) -> Iterator[bytes]:
    """A JPEG's segments up to its samples, each with marker and length."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != SCAN:
        length = 2 + struct.unpack_from(">H", content, at + 2)[0]
        yield content[at : at + length]
        at += length


def _is_carried_segment(segment: bytes) -> bool:
    # Adobe's tells how the samples are coded, and those are coded anew.
    marker = segment[1]
    return marker == COMMENT or (APP1 <= marker <= APP15 and marker != ADOBE)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A PNG's chunks: kind, and the whole of it."""
    at = len(PNG_MAGIC) if content.startswith(PNG_MAGIC) else len(content)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, content[at : at + length + 12]
        at += length + 12


def _exif(content: bytes) -> bytes:
    """The TIFF structure in which EXIF is kept."""
    if _is_jpeg(content):
        for segment in _segments(content):
            if segment[1] == APP1 and segment[4:].startswith(EXIF_MARK):
                return segment[4 + len(EXIF_MARK) :]
    if content.startswith(TIFF_MAGICS):
        return content
    if _is_webp(content):
        exif = (said for kind, said in _webp_chunks(content) if kind == b"EXIF")
        return next(exif, b"").removeprefix(EXIF_MARK)
    return next((chunk[8:-4] for kind, chunk in _chunks(content) if kind == b"eXIf"), b"")


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A WebP's chunks: kind, and what is in it."""
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        yield kind, content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _orientation_number(exif: bytes) -> int:
    """1…8, or 1 if it is not said, or not well."""
    return next((value for tag, value in _entries(exif) if tag == ORIENTATION_TAG), 1)


def _entries(tiff: bytes) -> Iterator[tuple[int, int]]:
    """The numbers in a TIFF's first directory: tag, and value if it is a short one."""
    order = "<" if tiff.startswith(b"II") else ">"
    with suppress(struct.error):  # it ends before its time
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", tiff, at)[0]):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            yield tag, value
