"""Image files by name and by first bytes: supported formats, and numbered sequences."""

import re
from collections.abc import Sequence
from pathlib import Path

from lfdn_video import image_tags, tiff

ENCODERS = {
    ".png": "png",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".jpe": "mjpeg",
    ".jfif": "mjpeg",
    ".webp": "libwebp",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""FFmpeg's encoder for each supported suffix, in lower case."""

DECODERS = {
    image_tags.PNG_MAGIC: "png",
    image_tags.JPEG_MAGIC: "mjpeg",
    b"BM": "bmp",
    **dict.fromkeys(tiff.MAGICS, "tiff"),
}
"""FFmpeg's decoder by the first bytes of a file. WebP is missing: its magic is not contiguous."""

FRAME_NUMBER = re.compile(r"%(0?\d*)d")
"""The place of the number in a pattern such as `frame_%05d.png`."""


_DIGITS = re.compile(r"(\d+)")
_LAST_NUMBER = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)")


def is_image_file(file: Path) -> bool:
    """Tell whether `file` exists and has an image's suffix; hidden files are left out."""
    named = file.suffix.lower() in ENCODERS and not file.name.startswith(".")
    return named and file.is_file()


def list_numbered_files(pattern: Path) -> list[Path]:
    """Find the files that match a pattern with `%d`, in no order; none if there is no folder."""
    before, _, after = FRAME_NUMBER.split(pattern.name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    existing = pattern.parent.iterdir() if pattern.parent.is_dir() else ()
    return [file for file in existing if name.fullmatch(file.name) and file.is_file()]


def are_numbered(files: Sequence[Path]) -> bool:
    """Tell whether files are the frames of one sequence: two or more names that differ in a number
    alone, which counts up by one.

    Args:
        files: in the order of their numbers.
    """
    names = [_LAST_NUMBER.fullmatch(file.name) for file in files]
    found = [(name["before"], int(name["number"]), name["after"]) for name in names if name]
    if len(found) < len(files) or len(files) < 2:
        return False
    before, first, after = found[0]
    return found == [(before, first + index, after) for index in range(len(files))]


def natural_key(file: Path) -> list[tuple[int, str]]:
    """Return a key that sorts `2.png` before `10.png`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part.lower())
        for part in _DIGITS.split(file.name)
    ]


def find_decoder(content: bytes) -> str:
    """Return FFmpeg's decoder for an image file's content, or "" if none is known."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in DECODERS.items() if content.startswith(magic)), "")
