"""Encodes frames of a live session as files: JPEG for streaming, PNG for snapshots.

`feed.py` and `web_app.py` send the bytes, `preview.py` saves them.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np

from lfdn_video.media import Image
from lfdn_video.stream.board import View

JPEG_QUALITY = 82
MAX_JPEG_WIDTH_PX = 1920
"""JPEGs are scaled down to this width in px; snapshots keep the full size."""
SMALL_WIDTH_PX = 640
PNG_COMPRESSION = 3
"""Of 9. A 1080p snapshot takes a fifth of a second."""

Side: TypeAlias = Literal["raw", "restored", "both"]
SIDES: tuple[Side, ...] = get_args(Side)


def encode_jpeg(image: Image) -> bytes:
    """Encode an image as JPEG for display, scaled down to `MAX_JPEG_WIDTH_PX` if wider."""
    return _encode_scaled(image, MAX_JPEG_WIDTH_PX)


def encode_small_jpeg(image: Image) -> bytes:
    """Encode an image as a JPEG of `SMALL_WIDTH_PX` at most, for a page with many cameras."""
    return _encode_scaled(image, SMALL_WIDTH_PX)


def _encode_scaled(image: Image, max_width_px: int) -> bytes:
    height, width = image.shape[:2]
    scaled: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = image
    if width > max_width_px:
        size = (max_width_px, max(1, round(height * max_width_px / width)))
        scaled = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _encode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def encode_snapshot(view: View, side: Side) -> bytes:
    """Encode one side of a view, or both side by side, as a lossless PNG of full size."""
    return _encode(".png", select_side(view, side), [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])


def select_side(view: View, side: Side) -> Image:
    """Return one side of a view; for `both`, raw on the left and restored on the right."""
    if side == "both":
        return np.concatenate([view.raw, view.restored], axis=1)
    return view.raw if side == "raw" else view.restored


def snapshot_name(view: View, side: Side, task: str) -> str:
    """Return a snapshot's file name.

    Args:
        view: the view; its time of capture is part of the name, in local time.
        side: the side or sides that it shows.
        task: `derain` or `deblur`.

    Returns:
        A name like `derain-2026-11-25-140322.125-both.png`.
    """
    captured = datetime.fromtimestamp(view.captured_at, UTC).astimezone()
    milliseconds = captured.microsecond // 1000
    return f"{task}-{captured:%Y-%m-%d-%H%M%S}.{milliseconds:03d}-{side}.png"


def save_new(path: Path, content: bytes) -> Path:
    """Write a new file, with a number appended if the name is taken.

    Args:
        path: the wanted path.
        content: the bytes to write.

    Returns:
        The path that was written.

    Raises:
        OSError: the file cannot be written.
    """
    for candidate in _generate_names(path):
        with suppress(FileExistsError), candidate.open("xb") as file:
            file.write(content)
            return candidate
    raise AssertionError("unreachable: the names do not run out")


def _generate_names(path: Path) -> Iterator[Path]:
    """Yield the path, then the path with -2, -3 ... appended to its stem."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _encode(
    suffix: str,
    image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    parameters: list[int],
) -> bytes:
    _, content = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    return content.tobytes()
