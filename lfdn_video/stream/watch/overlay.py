"""Draws the content of the window: raw and restored, split or side by side, with overlays.

The overlays are labels, notices, and the error when the session is not live; the statistics are on
a bar below the picture. Draws into copies of the view's images; `preview.py` opens the window.
"""

import time
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from lfdn_video.media import Image
from lfdn_video.stream.board import Status, View
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.health import Health, assess_health

MIN_WIDTH_PX = 640
"""Narrower frames are enlarged by an integer factor, so that the text fits."""
EMPTY_SIZE_PX = (720, 1280)
"""Height and width of the image before the first frame."""
EMPTY_GREY = 12
DIM = 0.4
"""Brightness of the last frame when the session is not live."""

HEALTH_WORDS: dict[Health, str] = {
    "connecting": "connecting",
    "live": "live",
    "stalled": "no frames",
    "reconnecting": "reconnecting",
    "ended": "ended",
    "failed": "failed",
}

Rgb = tuple[int, int, int]
WHITE = (255, 255, 255)
GREEN = (90, 220, 140)
AMBER = (255, 184, 77)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(slots=True)
class ViewOptions:
    """Mode and divider of the window."""

    mode: Literal["split", "side", "raw", "restored"] = "split"
    """`split` by the divider, `side` by side, or one of them."""
    divider: float = 0.5
    """Share of the width that is raw in `split`, from 0 to 1."""

    @property
    def side(self) -> stills.Side:
        """Side or sides that a snapshot contains in this mode."""
        return self.mode if self.mode in ("raw", "restored") else "both"


def compose(
    view: View | None,
    status: Status,
    silent_s: float | None,
    options: ViewOptions,
    notice: str = "",
) -> Image:
    """Draw the content of the window.

    Args:
        view: the newest view; None before the first. Its images are not changed.
        status: the statistics to show.
        silent_s: seconds since the newest frame arrived; None if there was none yet.
        options: mode and divider.
        notice: a line to show above the statistics; empty for none.

    Returns:
        A new image, at least `MIN_WIDTH_PX` wide.
    """
    health = assess_health(status, silent_s)
    if view is None:
        image: Image = np.full((*EMPTY_SIZE_PX, 3), EMPTY_GREY, np.uint8)
    else:
        image = _arrange(view, options)
        _draw_labels(image, options, status)
    if health != "live":
        image = _dim(image)
        _draw_trouble(image, status, health, silent_s)
    elif view is None:
        _draw_centred(image, "waiting for the first frame", 0)
    if notice:
        _draw_bar(image, notice, WHITE)
    is_good = health == "live" and not status.too_small
    bar = np.zeros((_bar_height(image), image.shape[1], 3), np.uint8)
    _draw_bar(bar, _statistics(status, health), GREEN if is_good else AMBER)
    return np.concatenate([image, bar])


def _arrange(view: View, options: ViewOptions) -> Image:
    """Return a copy of the sides that the mode shows, with the divider."""
    width = view.raw.shape[1]
    if options.mode != "split":
        return _enlarge(stills.select_side(view, options.side), width)
    at = round(options.divider * width)
    image = _enlarge(np.concatenate([view.raw[:, :at], view.restored[:, at:]], axis=1), width)
    middle = round(options.divider * image.shape[1])
    thickness = max(1, image.shape[1] // 640)
    image[:, max(0, middle - thickness) : middle + thickness] = 255
    return image


def _enlarge(image: Image, width: int) -> Image:
    """Copy an image, enlarged by the factor that brings `width` to `MIN_WIDTH_PX`."""
    factor = -(-MIN_WIDTH_PX // width)
    if factor == 1:
        return image.copy()
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


def _dim(image: Image) -> Image:
    grey = image.mean(axis=2, keepdims=True) * DIM
    return np.broadcast_to(grey, image.shape).astype(np.uint8)


def _statistics(status: Status, health: Health) -> str:
    if not status.frames_out:  # there are no numbers yet
        return HEALTH_WORDS[health]
    dropped = 100 * status.frames_dropped / max(1, status.frames_in)
    parts = [
        HEALTH_WORDS[health],
        f"{status.fps_out:.1f} of {status.fps_in:.1f} fps",
        f"latency {status.latency_s * 1000:.0f} ms",
        f"dropped {status.frames_dropped} ({dropped:.0f} %)",
        f"reconnects {status.reconnects}",
        f"scale {status.inference_scale * 100:.0f} %",
    ]
    if status.cpu_load is not None:
        parts.append(f"CPU {status.cpu_load * 100:.0f} %")
    if status.gpu_load is not None:
        parts.append(f"GPU {status.gpu_load * 100:.0f} %")
    if status.recording:
        parts.append("recording")
    return "   ".join(parts)


def _draw_trouble(image: Image, status: Status, health: Health, silent_s: float | None) -> None:
    """Write the state, its time and the last error in the middle."""
    _draw_centred(image, HEALTH_WORDS[health].upper(), -1)
    if health == "stalled":
        since = time.time() - (silent_s or 0.0)
    else:
        since = status.changed_at
    if since:
        clock = time.strftime("%H:%M:%S", time.localtime(since))
        _draw_centred(image, f"since {clock}, {max(0.0, time.time() - since):.0f} s", 0)
    _draw_centred(image, status.message, 1, AMBER)


def _draw_labels(image: Image, options: ViewOptions, status: Status) -> None:
    """Name the sides that are shown, in the upper corners."""
    scale = _text_scale(image)
    restored = "restored"
    if status.too_small:
        restored = f"too small to remove rain: {status.inference_scale * 100:.0f} %"
    for side, other, text in (("raw", "restored", "raw"), ("restored", "raw", restored)):
        if options.mode == other:
            continue
        width, height = _measure_text(text, scale)
        on_right = side == "restored" and options.mode != "restored"
        left = image.shape[1] - width - 2 * height if on_right else 0
        _darken(image[: 2 * height, left : left + width + 2 * height])
        colour = AMBER if side == "restored" and status.too_small else WHITE
        _put_text(image, text, (left + height, height + height // 2), scale, colour)


def _draw_centred(image: Image, text: str, row: int, colour: Rgb = WHITE) -> None:
    """Write a line in the middle, `row` lines below it; -1 is the headline."""
    text, scale = _fit_text(image, text, _text_scale(image) * (1.6 if row < 0 else 1.0))
    width, height = _measure_text(text, scale)
    left = (image.shape[1] - width) // 2
    _put_text(image, text, (left, image.shape[0] // 2 + round(row * 2.0 * height)), scale, colour)


def _draw_bar(image: Image, text: str, colour: Rgb) -> None:
    """Write a line on a dark bar at the bottom."""
    text, scale = _fit_text(image, text, _text_scale(image))
    bar, bottom = _bar_height(image), image.shape[0]
    height = bar * 2 // 5
    _darken(image[max(0, bottom - bar) :])
    _put_text(image, text, (height, bottom - bar // 2 + height // 2), scale, colour)


def _bar_height(image: Image) -> int:
    """Return the height of a bar in px: one line and its margins."""
    (_, height), _ = cv2.getTextSize("Ag", FONT, _text_scale(image), 1)
    return 2 * height + height // 2


def _darken(part: Image) -> None:
    part[:] = part // 3


def _fit_text(image: Image, text: str, scale: float) -> tuple[str, float]:
    """Reduce a text to the font's letters, and its scale until it fits the image."""
    ascii_text = text.encode("ascii", "replace").decode()
    width, height = _measure_text(ascii_text, scale)
    room = image.shape[1] - 2 * height
    return ascii_text, scale if width <= room else scale * room / width


def _put_text(image: Image, text: str, place: tuple[int, int], scale: float, colour: Rgb) -> None:
    """Write a text whose lower left corner is at `place`, (x, y)."""
    cv2.putText(image, text, place, FONT, scale, colour, _thickness(scale), cv2.LINE_AA)


def _measure_text(text: str, scale: float) -> tuple[int, int]:
    """Return width and height in pixels."""
    (width, height), _ = cv2.getTextSize(text, FONT, scale, _thickness(scale))
    return width, height


def _text_scale(image: Image) -> float:
    return max(0.45, image.shape[1] / 1900)


def _thickness(scale: float) -> int:
    return max(1, round(scale * 1.6))
