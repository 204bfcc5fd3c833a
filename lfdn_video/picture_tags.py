"""What a JPEG or PNG file says beside its samples: EXIF, colour profile, texts, orientation.

FFmpeg decodes and encodes the samples; this carries the rest from one file to another of its kind,
byte by byte. Knows bytes only. `images.py` uses it.
"""

import struct
from collections.abc import Iterator
from typing import Literal

JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXIF_MARK = b"Exif\0\0"
ORIENTATION_TAG = 0x0112

SCAN, COMMENT, APP0, APP1, ADOBE, APP15 = 0xDA, 0xFE, 0xE0, 0xE1, 0xEE, 0xEF
MAKER_CHUNKS = {b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tIME"}
TEXT_CHUNKS = {b"tEXt", b"iTXt", b"zTXt"}

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


def orientation(content: bytes) -> tuple[Literal[0, 90, 180, 270], bool]:
    """Clockwise turn and mirror after it that make a picture file upright, by its EXIF."""
    return ORIENTATIONS.get(_orientation_number(_exif(content)), (0, False))


def same_kind(first: bytes, second: bytes) -> bool:
    """Whether what one file says can be carried to the other."""
    return any(
        first.startswith(magic) and second.startswith(magic) for magic in (JPEG_MAGIC, PNG_MAGIC)
    )


def carried(source: bytes, target: bytes) -> bytes:
    """`target` with what `source` says beside its samples. Both are of the same kind."""
    return _carried_jpeg(source, target) if _is_jpeg(source) else _carried_png(source, target)


def has_tags(content: bytes) -> bool:
    """Whether there is something that another kind of file would not have."""
    if _is_jpeg(content):
        return any(_is_carried_segment(segment) for segment in _segments(content))
    return any(kind in MAKER_CHUNKS | TEXT_CHUNKS for kind, _ in _chunks(content))


def _is_jpeg(content: bytes) -> bool:
    return content.startswith(JPEG_MAGIC)


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
    if content.startswith((b"II*\0", b"MM\0*")):
        return content
    if content[8:12] == b"WEBP":
        return _webp_exif(content)
    return next((chunk[8:-4] for kind, chunk in _chunks(content) if kind == b"eXIf"), b"")


def _webp_exif(content: bytes) -> bytes:
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind == b"EXIF":
            return content[at + 8 : at + 8 + length].removeprefix(EXIF_MARK)
        at += 8 + length + length % 2
    return b""


def _orientation_number(exif: bytes) -> int:
    """1…8, or 1 if it is not said, or not well."""
    order = "<" if exif.startswith(b"II") else ">"
    try:
        at = struct.unpack_from(f"{order}I", exif, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", exif, at)[0]):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if tag == ORIENTATION_TAG:
                return int(value)
    except struct.error:
        pass
    return 1
