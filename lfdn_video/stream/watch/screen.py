"""The screen a window needs: a check that there is one, and a workaround for Qt on X11."""

import ctypes
import os
import subprocess
import sys
from contextlib import suppress

import cv2

from lfdn_video.errors import LfdnVideoError

PROBE_S = 30.0
"""Longest wait, in seconds, for the process that tries to open a window."""


def check_screen() -> None:
    """Check that a window can be opened here.

    Raises:
        LfdnVideoError: OpenCV was built without windows, or there is no usable screen.
    """
    if not cv2.currentUIFramework():
        raise LfdnVideoError(
            "window: this OpenCV was built without windows (opencv-python-headless);"
            " install opencv-python, or watch in a browser with --web"
        )
    if sys.platform in ("win32", "darwin"):  # a desktop is always there
        return
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen:
        raise LfdnVideoError("window: there is no screen here; watch in a browser with --web")
    if not _window_opens():
        raise LfdnVideoError(
            f"window: the screen {screen} cannot be used; watch in a browser with --web"
        )


def prepare_qt() -> None:
    """Set Qt up for OpenCV's window. Call it before opening the first window."""
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")  # fonts that Qt misses
    load_system_x11_xcb()


def load_system_x11_xcb() -> None:
    """Load the system's libX11-xcb, so that Qt binds to it instead of the one in OpenCV's wheel.

    Through this library Qt tells Xlib to leave X events to Qt. When it tells the copy in the wheel,
    the system's Xlib (1.8) still takes some events, and a window that loses its MapNotify stays
    black for good (docs/log.md, 2026-11-26).
    """
    with suppress(OSError):  # no X11, or nothing better than the wheel's copy
        ctypes.CDLL("libX11-xcb.so.1", ctypes.RTLD_GLOBAL)


def _window_opens() -> bool:
    """Try to open one in another process, since Qt aborts when it cannot reach the screen."""
    trial = [sys.executable, "-c", "import cv2; cv2.namedWindow('lfdn-video')"]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
