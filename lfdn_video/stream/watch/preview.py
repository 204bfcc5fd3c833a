"""Shows a live session in a window: raw and restored, split by a divider, with statistics.

The window is OpenCV's and runs in the main thread, as systems require. It reads a board
(`board.py`); `overlay.py` draws its content. Without a screen, the page (`web.py`) shows the same.

    r raw   d restored   s split / side by side   arrows or mouse: divider
    p or space: snapshot   q, Esc or closing the window: quit
"""

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from lfdn_video.media import Image
from lfdn_video.stream.board import Board, View
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.overlay import ViewOptions, compose
from lfdn_video.stream.watch.screen import check_screen, prepare_qt

TITLE = "lfdn-video"
POLL_MS = 15
"""Interval, in ms, at which the board is polled; keys are handled in between."""
REDRAW_S = 0.5
"""Interval, in seconds, at which the statistics are redrawn without a new frame."""
NOTICE_S = 4.0

MAX_WINDOW_WIDTH_PX = 1280  # of the window, until its user resizes it
DIVIDER_STEP = 0.02  # of the width, for one key press

KEYS_TEXT = "r raw   d restored   s side by side   arrows: divider   p snapshot   q quit"
# Key codes of GTK and Qt, Windows, and macOS.
LEFT: Final = frozenset({65361, 2424832, 63234})
RIGHT: Final = frozenset({65363, 2555904, 63235})
ESCAPE = 27
SPACE = 32

logger = logging.getLogger(__name__)


def watch(board: Board, *, folder: Path | None = None, title: str = TITLE) -> None:
    """Show a session in a window until the user quits or the board is closed.

    Call it in the main thread only.

    Args:
        board: the session.
        folder: folder for snapshots; None: the current one.
        title: title of the window.

    Raises:
        LfdnVideoError: there is no screen.
    """
    check_screen()
    prepare_qt()
    window = _Window(board, folder or Path(), title)
    try:
        window.run()
    finally:
        window.close()


class _Window:
    """The window, its loop, keyboard and mouse."""

    def __init__(self, board: Board, folder: Path, title: str) -> None:
        self._board = board
        self._folder = folder
        self._title = title
        self._options = ViewOptions()
        self._view: View | None = None
        self._arrived_s = 0.0
        self._width_px = 1
        self._needs_redraw = True
        self._show_notice(KEYS_TEXT)
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.setMouseCallback(title, self._on_mouse)

    def run(self) -> None:
        """Draw and handle input until the end."""
        drawn_s = 0.0
        size = (0, 0)
        while not self._board.closed:
            is_old = time.monotonic() - drawn_s > REDRAW_S
            if self._fetch_view() or self._needs_redraw or is_old:
                drawn_s = time.monotonic()
                self._needs_redraw = False
                image = self._compose()
                if _window_size(image) != size:  # the window would distort another aspect ratio
                    size = _window_size(image)
                    cv2.resizeWindow(self._title, *size)
                cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            if not self._handle_key(cv2.waitKeyEx(POLL_MS)) or not self._is_open():
                return

    def close(self) -> None:
        """Close the window, if the user has not."""
        with suppress(cv2.error):
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)  # runs the event loop, which closes it

    def _fetch_view(self) -> bool:
        """Fetch a new view from the board; return False if there is none."""
        number = 0 if self._view is None else self._view.number
        view = self._board.wait_for_view(number, 0.0)
        if view is None:
            return False
        self._view = view
        self._arrived_s = time.monotonic()
        return True

    def _compose(self) -> Image:
        now_s = time.monotonic()
        silent_s = None if self._view is None else now_s - self._arrived_s
        notice = self._notice if now_s < self._notice_until_s else ""
        image = compose(self._view, self._board.status, silent_s, self._options, notice)
        self._width_px = image.shape[1]
        return image

    def _is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # how some backends report a closed window
            return False

    def _handle_key(self, key: int) -> bool:
        """Handle a key code of OpenCV, -1 for none; return False if the user quits."""
        if key == -1:
            return True
        letter = chr(key & 0xFF).lower() if key not in LEFT | RIGHT else ""
        if letter == "q" or key & 0xFF == ESCAPE:
            return False
        if letter == "r":
            self._options.mode = "raw"
        elif letter == "d":
            self._options.mode = "restored"
        elif letter == "s":
            self._options.mode = "side" if self._options.mode == "split" else "split"
        elif key in LEFT | RIGHT:
            step = DIVIDER_STEP if key in RIGHT else -DIVIDER_STEP
            self._move_divider(self._options.divider + step)
        elif letter == "p" or key & 0xFF == SPACE:
            self._show_notice(self._save_snapshot())
        self._needs_redraw = True
        return True

    def _on_mouse(self, event: int, x_px: int, _y_px: int, flags: int, _: object) -> None:
        """Move the divider to where the left button is pressed or dragged."""
        dragged = event == cv2.EVENT_MOUSEMOVE and flags & cv2.EVENT_FLAG_LBUTTON
        if self._options.mode == "split" and (event == cv2.EVENT_LBUTTONDOWN or dragged):
            self._move_divider(x_px / self._width_px)

    def _move_divider(self, share: float) -> None:
        self._options.divider = min(1.0, max(0.0, share))
        self._needs_redraw = True

    def _show_notice(self, notice: str) -> None:
        self._notice = notice
        self._notice_until_s = time.monotonic() + NOTICE_S

    def _save_snapshot(self) -> str:
        """Save a snapshot of the sides shown; return a notice."""
        if self._view is None:
            return "there is no frame yet"
        name = stills.snapshot_name(self._view, self._options.side, self._board.status.task)
        content = stills.encode_snapshot(self._view, self._options.side)
        try:
            path = stills.save_new(self._folder / name, content)
        except OSError as error:
            return f"{name}: cannot be written: {error.strerror}"
        logger.info("%s: written", path)
        return f"saved {path.name}"


def _window_size(image: Image) -> tuple[int, int]:
    """Return width and height of a window for an image."""
    height, width = image.shape[:2]
    shown = min(width, MAX_WINDOW_WIDTH_PX)
    return shown, max(1, round(height * shown / width))
