"""Picture files by name and by their first bytes: which kinds there are, and numbered sequences."""

import re
from pathlib import Path

from lfdn_video import image_tags

ENCODERS = {
    ".png": "png",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".webp": "libwebp",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
DECODERS = {
    image_tags.PNG_MAGIC: "png",
    image_tags.JPEG_MAGIC: "mjpeg",
    b"BM": "bmp",
    **dict.fromkeys(image_tags.TIFF_MAGICS, "tiff"),
}
FRAME_NUMBER = re.compile(r"%(0?\d*)d")


def is_image_file(file: Path) -> bool:
    named = file.suffix.lower() in ENCODERS and not file.name.startswith(".")
    return named and file.is_file()


def list_numbered_files(pattern: Path) -> list[Path]:
    """The files that a pattern with `%d` stands for."""
    before, _, after = FRAME_NUMBER.split(pattern.name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    standing = pattern.parent.iterdir() if pattern.parent.is_dir() else ()
    return [file for file in standing if name.fullmatch(file.name) and file.is_file()]


def find_decoder(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in DECODERS.items() if content.startswith(magic)), "")
