"""A live stream in a window: raw and restored, split by a divider, with its numbers.

OpenCV's window, in the main thread, as every system wants it. It looks at a board (`board.py`) and
draws what it sees there; knows nothing of sources and networks. Where there is no screen, the page
(`web.py`) shows the same.

    r raw   d restored   s split / side by side   arrows or mouse: divider
    p or space: snapshot   q, Esc or closing the window: the end
"""

import ctypes
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from lfdn_video.errors import LfdnVideoError
from lfdn_video.media import Image
from lfdn_video.stream.board import Board, Status, View
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.health import Condition, condition

TITLE = "lfdn-video"
REFRESH_MS = 15  # pictures are looked for so often, and keys all the time
NUMBERS_S = 0.5
NOTICE_S = 4.0
PROBE_S = 30.0

LARGEST_WIDTH_PX = 1280  # of the window, until its user resizes it
SMALLEST_WIDTH_PX = 640  # smaller pictures are enlarged, or the text would not fit
EMPTY_SIZE_PX = (720, 1280)
STEP = 0.02  # of the divider by a key
DIM = 0.4

KEYS_TEXT = "r raw   d restored   s side by side   arrows: divider   p snapshot   q quit"
WORDS: dict[Condition, str] = {
    "connecting": "connecting",
    "live": "live",
    "stalled": "no picture",
    "reconnecting": "reconnecting",
    "ended": "ended",
    "failed": "failed",
}
# As GTK and Qt, Windows, and macOS number them.
LEFT: Final = frozenset({65361, 2424832, 63234})
RIGHT: Final = frozenset({65363, 2555904, 63235})
ESCAPE, SPACE = 27, 32

WHITE, GREY, GREEN, AMBER = (255, 255, 255), (190, 190, 190), (90, 220, 140), (255, 184, 77)
FONT = cv2.FONT_HERSHEY_SIMPLEX

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Look:
    """What the one who watches has chosen."""

    mode: Literal["split", "side", "raw", "restored"] = "split"
    divider: float = 0.5
    """From 0, all restored, to 1, all raw."""

    @property
    def side(self) -> stills.Side:
        """What a snapshot holds."""
        return self.mode if self.mode in ("raw", "restored") else "both"


def watch(board: Board, *, folder: Path | None = None, title: str = TITLE) -> None:
    """Show `board` until the user has enough or nothing comes any more. In the main thread only.

    Snapshots go to `folder`, as a rule the current one. LfdnVideoError if there is no screen.
    """
    check_screen()
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")  # fonts that Qt misses
    keep_events_for_qt()
    window = _Window(board, folder or Path(), title)
    try:
        window.run()
    finally:
        window.close()


def keep_events_for_qt() -> None:
    """Before the first window: let the system's libX11-xcb be found ahead of the wheel's.

    Qt tells Xlib through it to leave the events alone. Told through the one in OpenCV's wheel, the
    system's Xlib (1.8) takes some all the same, and a window whose MapNotify it took stays black
    for good (docs/log.md, 2026-11-26).
    """
    with suppress(OSError):  # no X11, or nothing better than the wheel's
        ctypes.CDLL("libX11-xcb.so.1", ctypes.RTLD_GLOBAL)


def check_screen() -> None:
    """LfdnVideoError unless a window can be opened here."""
    if not cv2.currentUIFramework():
        raise LfdnVideoError(
            "window: this OpenCV was built without windows (opencv-python-headless);"
            " install opencv-python, or watch in a browser with --web"
        )
    if sys.platform in ("win32", "darwin"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise LfdnVideoError("window: there is no screen here; watch in a browser with --web")
    # Qt ends the process when it cannot reach the screen. So another process has to try.
    trial = [sys.executable, "-c", "import cv2; cv2.namedWindow('lfdn-video')"]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        works = False
    else:
        works = done.returncode == 0
    if not works:
        screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        raise LfdnVideoError(
            f"window: the screen {screen} cannot be used; watch in a browser with --web"
        )


def compose(
    view: View | None, status: Status, silent_s: float | None, look: Look, notice: str = ""
) -> Image:
    """What the window shows, RGB: the picture as chosen, its numbers, and what is wrong.

    `silent_s`: seconds since the newest picture came, None if there was none yet.
    """
    now = condition(status, silent_s)
    if view is None:
        picture = np.full((*EMPTY_SIZE_PX, 3), 12, np.uint8)
    else:
        picture = _arranged(view, look)
        _write_labels(picture, look)
    if now != "live":
        picture = _dimmed(picture)
        _write_dead(picture, status, now, silent_s)
    elif view is None:
        _write_centred(picture, "waiting for a picture", 0)
    _write_bar(picture, _numbers(status, now), GREEN if now == "live" else AMBER)
    if notice:
        _write_bar(picture, notice, WHITE, above=1)
    return picture


class _Window:
    """The window and its loop."""

    def __init__(self, board: Board, folder: Path, title: str) -> None:
        self._board = board
        self._folder = folder
        self._title = title
        self._look = Look()
        self._view: View | None = None
        self._came_at = 0.0
        self._width_px = 1
        self._stale = True
        self._notice, self._notice_until = KEYS_TEXT, time.monotonic() + NOTICE_S
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.setMouseCallback(title, self._mouse)

    def run(self) -> None:
        drawn_at, size = 0.0, (0, 0)
        while not self._board.closed:
            if self._take() or self._stale or time.monotonic() - drawn_at > NUMBERS_S:
                drawn_at, self._stale = time.monotonic(), False
                picture = self._composed()
                if _window_size(picture) != size:  # or another shape would be distorted
                    size = _window_size(picture)
                    cv2.resizeWindow(self._title, *size)
                cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            if not self._obey(cv2.waitKeyEx(REFRESH_MS)) or not self._is_open():
                return

    def close(self) -> None:
        with suppress(cv2.error):  # the user was faster
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)  # lets it happen

    def _take(self) -> bool:
        """Whether there is a new picture."""
        number = 0 if self._view is None else self._view.number
        view = self._board.wait(number, 0.0)
        if view is None:
            return False
        self._view, self._came_at = view, time.monotonic()
        return True

    def _composed(self) -> Image:
        status = self._board.status
        silent_s = None if self._view is None else time.monotonic() - self._came_at
        notice = self._notice if time.monotonic() < self._notice_until else ""
        picture = compose(self._view, status, silent_s, self._look, notice)
        self._width_px = picture.shape[1]
        return picture

    def _is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # some backends say so in this way
            return False

    def _obey(self, key: int) -> bool:
        """Do what a key asks for; False if it asks for the end."""
        if key == -1:
            return True
        letter = chr(key & 0xFF).lower() if key not in LEFT | RIGHT else ""
        if letter == "q" or key & 0xFF == ESCAPE:
            return False
        if letter == "r":
            self._look.mode = "raw"
        elif letter == "d":
            self._look.mode = "restored"
        elif letter == "s":
            self._look.mode = "side" if self._look.mode == "split" else "split"
        elif key in LEFT | RIGHT:
            self._divide(self._look.divider + (STEP if key in RIGHT else -STEP))
        elif letter == "p" or key & 0xFF == SPACE:
            self._say(self._snapshot())
        self._stale = True
        return True

    def _mouse(self, event: int, x_px: int, _y_px: int, flags: int, _: object) -> None:
        held = event == cv2.EVENT_MOUSEMOVE and flags & cv2.EVENT_FLAG_LBUTTON
        if self._look.mode == "split" and (event == cv2.EVENT_LBUTTONDOWN or held):
            self._divide(x_px / self._width_px)

    def _divide(self, share: float) -> None:
        self._look.divider = min(1.0, max(0.0, share))
        self._stale = True

    def _say(self, notice: str) -> None:
        self._notice, self._notice_until = notice, time.monotonic() + NOTICE_S

    def _snapshot(self) -> str:
        """What became of it."""
        if self._view is None:
            return "there was no picture yet"
        name = stills.name(self._view, self._look.side, self._board.status.task)
        content = stills.png(self._view, self._look.side)
        try:
            path = save_new(self._folder / name, content)
        except OSError as error:
            return f"{name}: cannot be written: {error.strerror}"
        _log.info("%s: written", path)
        return f"saved {path.name}"


def _window_size(picture: Image) -> tuple[int, int]:
    height, width = picture.shape[:2]
    shown = min(width, LARGEST_WIDTH_PX)
    return shown, max(1, round(height * shown / width))


def save_new(path: Path, content: bytes) -> Path:
    """Write a file that was not there; under a name with a number if the name is taken."""
    for candidate in _names(path):
        with suppress(FileExistsError), candidate.open("xb") as file:
            file.write(content)
            return candidate
    raise AssertionError("unreachable: there are names without end")


def _names(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _arranged(view: View, look: Look) -> Image:
    """A picture of its own, to draw on."""
    if look.mode != "split":
        return _enlarged(stills.chosen(view, look.side), view)
    at = round(look.divider * view.raw.shape[1])
    picture = _enlarged(np.concatenate([view.raw[:, :at], view.restored[:, at:]], axis=1), view)
    middle = round(look.divider * picture.shape[1])
    thick = max(1, picture.shape[1] // 640)
    picture[:, max(0, middle - thick) : middle + thick] = 255
    return picture


def _enlarged(picture: Image, view: View) -> Image:
    """A copy, as many times larger as one side of the view needs."""
    times = -(-SMALLEST_WIDTH_PX // view.raw.shape[1])
    if times == 1:
        return picture.copy()
    return np.repeat(np.repeat(picture, times, axis=0), times, axis=1)


def _dimmed(picture: Image) -> Image:
    grey = picture.mean(axis=2, keepdims=True) * DIM
    return np.broadcast_to(grey, picture.shape).astype(np.uint8)


def _numbers(status: Status, now: Condition) -> str:
    dropped = 100 * status.frames_dropped / max(1, status.frames_in)
    parts = [
        WORDS[now],
        f"{status.fps_out:.1f} of {status.fps_in:.1f} fps",
        f"latency {status.latency_s * 1000:.0f} ms",
        f"dropped {status.frames_dropped} ({dropped:.0f} %)",
        f"reconnects {status.reconnects}",
        f"scale {status.inference_scale * 100:.0f} %",
    ]
    if status.recording:
        parts.append("recording")
    return "   ".join(parts)


def _write_dead(picture: Image, status: Status, now: Condition, silent_s: float | None) -> None:
    _write_centred(picture, WORDS[now].upper(), -1)
    if now == "stalled":
        begun_at = time.time() - (silent_s or 0.0)
    else:
        begun_at = status.changed_at
    if begun_at:
        at = time.strftime("%H:%M:%S", time.localtime(begun_at))
        _write_centred(picture, f"since {at}, {max(0.0, time.time() - begun_at):.0f} s", 0)
    _write_centred(picture, status.message, 1, AMBER)


def _write_labels(picture: Image, look: Look) -> None:
    """Which side is which, in the upper corners."""
    scale = _text_scale(picture)
    for text, hidden in (("raw", "restored"), ("restored", "raw")):
        if look.mode == hidden:
            continue
        (wide, high), _ = cv2.getTextSize(text, FONT, scale, _thickness(scale))
        to_right = text == "restored" and look.mode != "restored"
        left = picture.shape[1] - wide - 2 * high if to_right else 0
        part = picture[: 2 * high, left : left + wide + 2 * high]
        part[:] = part // 3
        place = (left + high, high + high // 2)
        cv2.putText(picture, text, place, FONT, scale, WHITE, _thickness(scale), cv2.LINE_AA)


def _write_centred(
    picture: Image, text: str, line: int, colour: tuple[int, int, int] = WHITE
) -> None:
    scale = _text_scale(picture) * (1.6 if line < 0 else 1.0)
    text, scale = _fitted(picture, text, scale)
    (wide, high), _ = cv2.getTextSize(text, FONT, scale, _thickness(scale))
    height, width = picture.shape[:2]
    place = ((width - wide) // 2, height // 2 + round(line * 2.0 * high))
    cv2.putText(picture, text, place, FONT, scale, colour, _thickness(scale), cv2.LINE_AA)


def _write_bar(picture: Image, text: str, colour: tuple[int, int, int], *, above: int = 0) -> None:
    """A line at the bottom, `above` so many others, on a darker strip."""
    text, scale = _fitted(picture, text, _text_scale(picture))
    (_, high), _ = cv2.getTextSize("Ag", FONT, _text_scale(picture), 1)
    strip = 2 * high + high // 2
    bottom = picture.shape[0] - above * strip
    part = picture[max(0, bottom - strip) : bottom]
    part[:] = part // 3
    place = (high, bottom - strip // 2 + high // 2)
    cv2.putText(picture, text, place, FONT, scale, colour, _thickness(scale), cv2.LINE_AA)


def _fitted(picture: Image, text: str, scale: float) -> tuple[str, float]:
    """In letters that the font has, and small enough for the picture's width."""
    plain = text.encode("ascii", "replace").decode()
    (wide, high), _ = cv2.getTextSize(plain, FONT, scale, _thickness(scale))
    room = picture.shape[1] - 2 * high
    return plain, scale if wide <= room else scale * room / wide


def _text_scale(picture: Image) -> float:
    return max(0.45, picture.shape[1] / 1900)


def _thickness(scale: float) -> int:
    return max(1, round(scale * 1.6))
