"""Metadata of image files: EXIF, colour profile, texts, orientation.

FFmpeg decodes and encodes the samples; this module copies the rest from one JPEG or PNG to another,
byte by byte, and tells whether a file of another kind has any. It works on bytes alone.
`input/images.py` and `output/images.py` use it.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
EXIF_MARK = b"Exif\0\0"
ORIENTATION_TAG = 0x0112

# Second bytes of JPEG markers.
END, SCAN, COMMENT, APP0, APP1, APP2, ADOBE, APP15 = 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF

MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""A marker among a JPEG's samples: neither a stuffed byte nor a restart."""

JFIF_MARK = b"JFIF\0"
JFIF_DENSITY = slice(11, 16)
"""Unit and density in a JFIF segment, its marker and length included: the DPI."""

MPF_MARK = b"MPF\0"
"""Start of the APP2 segment that says where a JPEG's other pictures are (CIPA DC-007)."""

XMP_MARK = b"http://ns.adobe.com/xap/"
XMP_INDEX_MARKS = (b"hdrgm:", b"Container:Directory", b"MotionPhoto", b"MicroVideo")
"""Words of XMP that announce a gain map or a video behind the picture."""

PNG_CHUNKS = {b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tIME"}
PNG_TEXT_CHUNKS = {b"tEXt", b"iTXt", b"zTXt"}
WEBP_CHUNKS = {b"EXIF", b"ICCP", b"XMP "}
TIFF_MAGICS = (b"II*\0", b"MM\0*")

# The TIFF tags that describe the image; the others describe how its samples are stored.
TIFF_TEXTS = {269, 270, 271, 272, 285, 306, 315, 316, 33432}  # names, description, maker, dates
TIFF_TAGS = TIFF_TEXTS | {700, 33723, 34377, 34665, 34675, 34853}  # XMP, IPTC, PSD, EXIF, ICC, GPS

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
"""Rotation and flip for each value of EXIF's orientation, as in `FrameFormat`."""


def read_orientation(content: bytes) -> tuple[Literal[0, 90, 180, 270], bool]:
    """Read the orientation of an image file from its EXIF.

    Args:
        content: the whole file.

    Returns:
        The clockwise rotation in degrees and the horizontal flip after it that make the image
        upright; `(0, False)` if the file has no valid orientation.
    """
    return ORIENTATIONS.get(_orientation_value(_exif(content)), (0, False))


def copy_tags(source: bytes, target: bytes) -> bytes:
    """Return the file `target` with the metadata of the file `source`.

    Args:
        source: a JPEG or PNG file.
        target: a file of the same kind; its samples are kept.
    """
    return _copy_jpeg_tags(source, target) if _is_jpeg(source) else _copy_png_tags(source, target)


def has_tags(content: bytes) -> bool:
    """Tell whether an image file has metadata that a file of another kind would lack."""
    if _is_jpeg(content):
        return any(_is_metadata_segment(segment) for segment in _jpeg_segments(content))
    if _is_webp(content):
        return any(kind in WEBP_CHUNKS for kind, _ in _webp_chunks(content))
    if content.startswith(TIFF_MAGICS):
        return any(tag in TIFF_TAGS for tag, _ in _tiff_entries(content))
    return any(kind in PNG_CHUNKS | PNG_TEXT_CHUNKS for kind, _ in _png_chunks(content))


def holds_several(content: bytes) -> bool:
    """Tell whether an image file's content is an animation, or has several pages.

    Animated PNG has a chunk acTL (PNG, third edition), animated WebP a flag in VP8X (RFC 9649),
    TIFF of several pages a chain of directories (TIFF 6.0).
    """
    if _is_webp(content):
        flags = next(
            (payload[:1] for kind, payload in _webp_chunks(content) if kind == b"VP8X"), b""
        )
        return bool(flags) and bool(flags[0] & 2)
    if content.startswith(TIFF_MAGICS):
        return _has_second_directory(content)
    return any(kind == b"acTL" for kind, _ in _png_chunks(content))


def is_cut_off(content: bytes) -> bool:
    """Tell whether a JPEG ends before its end marker. FFmpeg makes the missing part gray.

    Other formats state their length, so FFmpeg's decoders notice by themselves.
    """
    at = 2 + sum(len(segment) for segment in _jpeg_segments(content))
    while _is_jpeg(content):
        marker = MARKER.search(content, at)
        if marker is None or marker[1][0] == END:
            return marker is None
        # Between scans a progressive JPEG has tables, in which any bytes may stand.
        length = int.from_bytes(content[marker.end() : marker.end() + 2])
        at = marker.end() + max(2, length)
    return False


def holds_more(content: bytes) -> bool:
    """Tell whether a JPEG announces more than its picture: others, a gain map, a video.

    `copy_tags` leaves the announcement out, as these are not copied.
    """
    return _is_jpeg(content) and any(_is_index(each) for each in _jpeg_segments(content))


def _is_index(segment: bytes) -> bool:
    if segment[1] == APP2:
        return segment[4:].startswith(MPF_MARK)
    is_xmp = segment[1] == APP1 and segment[4:].startswith(XMP_MARK)
    return is_xmp and any(mark in segment for mark in XMP_INDEX_MARKS)


def _is_jpeg(content: bytes) -> bool:
    return content.startswith(JPEG_MAGIC)


def _is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def _copy_jpeg_tags(source: bytes, target: bytes) -> bytes:
    copied = [each for each in _jpeg_segments(source) if _is_metadata_segment(each)]
    own = list(_jpeg_segments(target))
    samples = target[2 + sum(len(each) for each in own) :]
    # JFIF requires its own header to come first. FFmpeg's comment names FFmpeg, and says no more.
    header = [_take_density(each, source) for each in own if each[1] == APP0]
    rest = [each for each in own if each[1] not in {APP0, COMMENT}]
    return b"".join([target[:2], *header, *copied, *rest, samples])


def _take_density(header: bytes, source: bytes) -> bytes:
    """Return a JFIF header with the density of the source's, if both have one."""
    found = (each for each in _jpeg_segments(source) if each[1] == APP0 and JFIF_MARK in each[:9])
    density = next(found, header)[JFIF_DENSITY]
    if JFIF_MARK not in header[:9] or len(density) < JFIF_DENSITY.stop - JFIF_DENSITY.start:
        return header
    return header[: JFIF_DENSITY.start] + density + header[JFIF_DENSITY.stop :]


def _copy_png_tags(source: bytes, target: bytes) -> bytes:
    copied = {kind: chunk for kind, chunk in _png_chunks(source) if kind in PNG_CHUNKS}
    # Texts may repeat, so all are copied; of the other chunks, a PNG has one each.
    texts = [chunk for kind, chunk in _png_chunks(source) if kind in PNG_TEXT_CHUNKS]
    header, *rest = [chunk for kind, chunk in _png_chunks(target) if kind not in copied]
    return b"".join([PNG_MAGIC, header, *copied.values(), *texts, *rest])


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    """Yield a JPEG's segments before its samples, each with its marker and length."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != SCAN:
        length = 2 + struct.unpack_from(">H", content, at + 2)[0]
        yield content[at : at + length]
        at += length


def _is_metadata_segment(segment: bytes) -> bool:
    # Adobe's segment tells how the source's samples are coded; the target has its own.
    marker = segment[1]
    describes = marker == COMMENT or (APP1 <= marker <= APP15 and marker != ADOBE)
    return describes and not _is_index(segment)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a PNG's chunks: type, and the whole chunk with its length and checksum."""
    at = len(PNG_MAGIC) if content.startswith(PNG_MAGIC) else len(content)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, content[at : at + length + 12]
        at += length + 12


def _exif(content: bytes) -> bytes:
    """Find the TIFF structure that holds a file's EXIF; empty if there is none."""
    if _is_jpeg(content):
        for segment in _jpeg_segments(content):
            if segment[1] == APP1 and segment[4:].startswith(EXIF_MARK):
                return segment[4 + len(EXIF_MARK) :]
    if content.startswith(TIFF_MAGICS):
        return content
    if _is_webp(content):
        exif = (payload for kind, payload in _webp_chunks(content) if kind == b"EXIF")
        return next(exif, b"").removeprefix(EXIF_MARK)
    return next((chunk[8:-4] for kind, chunk in _png_chunks(content) if kind == b"eXIf"), b"")


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a WebP's chunks: type and payload."""
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        yield kind, content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2  # RIFF pads chunks to even lengths


def _orientation_value(exif: bytes) -> int:
    """Return EXIF's orientation, 1 (upright) if it has none; the value may be invalid."""
    return next((value for tag, value in _tiff_entries(exif) if tag == ORIENTATION_TAG), 1)


def _tiff_entries(tiff: bytes) -> Iterator[tuple[int, int]]:
    """Yield the entries of a TIFF's first directory: tag, and value if it is a 16-bit one."""
    order = "<" if tiff.startswith(b"II") else ">"
    with suppress(struct.error):  # the structure is truncated
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", tiff, at)[0]):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            yield tag, value


def _has_second_directory(tiff: bytes) -> bool:
    order = "<" if tiff.startswith(b"II") else ">"
    with suppress(struct.error):  # the structure is truncated
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        entries = struct.unpack_from(f"{order}H", tiff, at)[0]
        return bool(struct.unpack_from(f"{order}I", tiff, at + 2 + 12 * entries)[0])
    return False
