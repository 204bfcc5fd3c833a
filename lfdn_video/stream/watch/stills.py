"""One picture as a file: JPEG for a stream, PNG for keeping, and its name.

Pictures come from a live stream (`board.py`); who sends or saves the bytes is `feed.py`,
`web_app.py` and `preview.py`.
"""

from datetime import UTC, datetime
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np

from lfdn_video.media import Image
from lfdn_video.stream.board import View

JPEG_QUALITY = 82
MAX_WIDTH_PX = 1920
"""Wider pictures are shown smaller; what is kept has its full size."""
PNG_COMPRESSION = 3
"""Of 9: a snapshot of a 1080p stream in a fifth of a second."""

Side: TypeAlias = Literal["raw", "restored", "both"]
SIDES: tuple[Side, ...] = get_args(Side)


def jpeg(picture: Image) -> bytes:
    """For showing: at most `MAX_WIDTH_PX` wide."""
    height, width = picture.shape[:2]
    shown: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = picture
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width)))
        shown = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _coded(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def png(view: View, side: Side) -> bytes:
    """For keeping: every bit; `both` has raw on the left and restored on the right."""
    return _coded(".png", chosen(view, side), [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])


def chosen(view: View, side: Side) -> Image:
    if side == "both":
        return np.concatenate([view.raw, view.restored], axis=1)
    return view.raw if side == "raw" else view.restored


def name(view: View, side: Side, task: str) -> str:
    """The name of its PNG: `derain-2026-11-25-140322.125-both.png`, in local time."""
    captured = datetime.fromtimestamp(view.captured_at, UTC).astimezone()
    milliseconds = captured.microsecond // 1000
    return f"{task}-{captured:%Y-%m-%d-%H%M%S}.{milliseconds:03d}-{side}.png"


def _coded(
    suffix: str,
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    parameters: list[int],
) -> bytes:
    _, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), parameters)
    return content.tobytes()
