"""Metadata of image files: EXIF, colour profile, texts, orientation.

FFmpeg decodes and encodes the samples; this module copies the rest from one JPEG or PNG to another,
byte by byte, and tells whether a file of another kind has any. It works on bytes alone.
`input/images.py` and `output/images.py` use it.
"""

import re
import struct
from collections.abc import Iterator
from typing import Literal

from lfdn_video import tiff

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

PROFILE_MARK = b"ICC_PROFILE\0"
PROFILE_SPACE = slice(34, 38)
"""Colour space of the samples in the first ICC segment, its marker and length included (ICC.1)."""
FOREIGN_SPACES = (b"CMYK", b"GRAY")

APPENDED_MARKS = (JPEG_MAGIC, b"ftyp", b"MotionPhoto_Data")
"""What begins a picture or a video that phones append to a JPEG."""

XMP_MARK = b"http://ns.adobe.com/xap/"
XMP_INDEX_MARKS = (b"hdrgm:", b"Container:Directory", b"MotionPhoto", b"MicroVideo")
"""Words of XMP that announce a gain map or a video behind the picture."""

PNG_CHUNKS = {b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tIME"}
PNG_TEXT_CHUNKS = {b"tEXt", b"iTXt", b"zTXt"}
WEBP_CHUNKS = {b"EXIF", b"ICCP", b"XMP "}

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
    if content.startswith(tiff.MAGICS):
        return any(tag in TIFF_TAGS for tag, _ in tiff.list_entries(content))
    return any(kind in PNG_CHUNKS | PNG_TEXT_CHUNKS for kind, _ in png_chunks(content))


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
    if content.startswith(tiff.MAGICS):
        return tiff.has_second_directory(content)
    return any(kind == b"acTL" for kind, _ in png_chunks(content))


def is_cut_off(content: bytes) -> bool:
    """Tell whether a JPEG ends before its end marker. FFmpeg makes the missing part gray.

    Other formats state their length, so FFmpeg's decoders notice by themselves.
    """
    return _is_jpeg(content) and _find_end(content) is None


def holds_more(content: bytes) -> bool:
    """Tell whether a JPEG holds or announces more than its picture: others, a gain map, a video.

    `copy_tags` leaves both out, as these are not copied. Padding behind the picture is nothing.
    """
    if not _is_jpeg(content):
        return False
    behind = content[_find_end(content) or len(content) :]
    announced = any(_is_index(each) for each in _jpeg_segments(content))
    return announced or any(mark in behind for mark in APPENDED_MARKS)


def has_foreign_profile(content: bytes) -> bool:
    """Tell whether a JPEG's colour profile is one of samples that are not RGB, such as CMYK.

    `copy_tags` leaves it out, as the target's samples are of RGB.
    """
    return (
        _is_jpeg(content)
        and any(_is_profile(each) for each in _jpeg_segments(content))
        and (not _profile_is_rgb(content))
    )


def read_jfif_density(content: bytes) -> bytes | None:
    """Return unit and density of a JPEG's JFIF segment, 5 bytes; None if it has none."""
    for segment in _jpeg_segments(content):
        if segment[1] == APP0 and JFIF_MARK in segment[:9]:
            density = segment[JFIF_DENSITY]
            return density if len(density) == JFIF_DENSITY.stop - JFIF_DENSITY.start else None
    return None


def set_jfif_density(content: bytes, density: bytes) -> bytes:
    """Return a JPEG with this unit and density in its JFIF segment, if it has one."""
    if read_jfif_density(content) is None:
        return content
    at = content.index(JFIF_MARK) - 4
    return content[: at + JFIF_DENSITY.start] + density + content[at + JFIF_DENSITY.stop :]


def _find_end(content: bytes) -> int | None:
    """Find the byte behind a JPEG's end marker; None if there is no such marker."""
    at = 2 + sum(len(segment) for segment in _jpeg_segments(content))
    while (marker := MARKER.search(content, at)) is not None:
        if marker[1][0] == END:
            return marker.end()
        # Between scans a progressive JPEG has tables, in which any bytes may stand.
        length = int.from_bytes(content[marker.end() : marker.end() + 2])
        at = marker.end() + max(2, length)
    return None


def _is_profile(segment: bytes) -> bool:
    return segment[1] == APP2 and segment[4:].startswith(PROFILE_MARK)


def _profile_is_rgb(content: bytes) -> bool:
    first = next((each for each in _jpeg_segments(content) if _is_profile(each)), b"")
    return first[PROFILE_SPACE] not in FOREIGN_SPACES


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
    is_rgb = _profile_is_rgb(source)
    copied = [
        each
        for each in _jpeg_segments(source)
        if _is_metadata_segment(each) and (is_rgb or not _is_profile(each))
    ]
    own = list(_jpeg_segments(target))
    samples = target[2 + sum(len(each) for each in own) :]
    # JFIF requires its own header to come first. FFmpeg's comment names FFmpeg, and says no more.
    header = [each for each in own if each[1] == APP0]
    rest = [each for each in own if each[1] not in {APP0, COMMENT}]
    joined = b"".join([target[:2], *header, *copied, *rest, samples])
    density = read_jfif_density(source)
    return joined if density is None else set_jfif_density(joined, density)


def _copy_png_tags(source: bytes, target: bytes) -> bytes:
    copied = {kind: chunk for kind, chunk in png_chunks(source) if kind in PNG_CHUNKS}
    # Texts may repeat, so all are copied; of the other chunks, a PNG has one each.
    texts = [chunk for kind, chunk in png_chunks(source) if kind in PNG_TEXT_CHUNKS]
    header, *rest = [chunk for kind, chunk in png_chunks(target) if kind not in copied]
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


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a PNG's chunks: type, and the whole chunk with its length and checksum.

    Args:
        content: the whole file; of another kind of file nothing is yielded.
    """
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
    if content.startswith(tiff.MAGICS):
        return content
    if _is_webp(content):
        exif = (payload for kind, payload in _webp_chunks(content) if kind == b"EXIF")
        return next(exif, b"").removeprefix(EXIF_MARK)
    return next((chunk[8:-4] for kind, chunk in png_chunks(content) if kind == b"eXIf"), b"")


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a WebP's chunks: type and payload."""
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        yield kind, content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2  # RIFF pads chunks to even lengths


def _orientation_value(exif: bytes) -> int:
    """Return EXIF's orientation, 1 (upright) if it has none; the value may be invalid."""
    return next((value for tag, value in tiff.list_entries(exif) if tag == ORIENTATION_TAG), 1)
