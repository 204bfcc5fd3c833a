"""The window: what it draws and, on a virtual screen, how it handles keys and mouse."""

import ctypes.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ImageGrab

from lfdn_video.errors import LfdnVideoError
from lfdn_video.media import Image
from lfdn_video.stream.board import Status
from lfdn_video.stream.watch import overlay, preview
from lfdn_video.stream.watch.health import FRESH_S
from lfdn_video.stream.watch.overlay import ViewOptions, compose
from lfdn_video.stream.watch.screen import check_screen
from lfdn_video.stream.watch.stills import save_new
from tests.support.sessions import living_board, view

ROOT = Path(__file__).parents[2]
ONE = view(3)
RAW, RESTORED = tuple(ONE.raw[90, 80].tolist()), tuple(ONE.restored[90, 80].tolist())
LIVE = Status(source="camera", task="derain", state="live")
PATIENCE_S = 30.0

PROGRAM = """
import sys, threading
from lfdn_video.stream.watch.preview import watch
from tests.support.sessions import Session, living_board, view

session = Session(living_board(), pictures=[view(3)])
threading.Thread(target=lambda: session.dies(sys.stdin.readline().strip()), daemon=True).start()
with session:
    watch(session.board)
"""
"""A window with a still frame; a line on stdin makes the source die with that error."""


def colours(picture: Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Colour of a point on the left and of one on the right."""
    height, width = picture.shape[:2]
    at = height // 4
    left = picture[at, width // 5]
    right = picture[at, width * 4 // 5]
    return tuple(left.tolist()), tuple(right.tolist())


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (ViewOptions("split"), (RAW, RESTORED)),
        (ViewOptions("side"), (RAW, RESTORED)),
        (ViewOptions("raw"), (RAW, RAW)),
        (ViewOptions("restored"), (RESTORED, RESTORED)),
        (ViewOptions("split", divider=0.0), (RESTORED, RESTORED)),
        (ViewOptions("split", divider=1.0), (RAW, RAW)),
    ],
)
def test_compose_shows_the_chosen_sides(options: ViewOptions, shown: tuple[object, object]) -> None:
    assert colours(compose(ONE, LIVE, 0.1, options)) == shown


def test_compose_does_not_draw_on_the_view() -> None:
    before = ONE.raw.copy(), ONE.restored.copy()
    for mode in ("split", "side", "raw", "restored"):
        compose(ONE, LIVE, FRESH_S + 1, ViewOptions(mode))
    assert np.array_equal(ONE.raw, before[0])
    assert np.array_equal(ONE.restored, before[1])


@pytest.mark.parametrize("state", ["connecting", "reconnecting", "ended", "failed"])
def test_dead_source_is_drawn_grey_and_dark(state: str) -> None:
    dead = Status(source="camera", task="derain", state=state)  # type: ignore[arg-type]
    left, right = colours(compose(ONE, dead, 0.1, ViewOptions()))
    assert left == right == (46, 46, 46)  # mean of its colour times DIM


def test_stalled_source_is_drawn_grey_and_dark() -> None:
    assert colours(compose(ONE, LIVE, FRESH_S + 1, ViewOptions()))[0] == (46, 46, 46)


def test_compose_writes_text_before_the_first_frame() -> None:
    assert compose(None, LIVE, None, ViewOptions()).max() == 255


@pytest.mark.parametrize("shape", [(2, 2), (16, 900), (900, 16), (1080, 1920)])
def test_text_fits_frames_of_every_size(shape: tuple[int, int]) -> None:
    odd = view(1, raw=np.zeros((*shape, 3), np.uint8))
    live = Status(source="camera", task="derain", state="live", message="långe " * 50)
    drawn = compose(odd, live, FRESH_S + 1, ViewOptions(), "a notice")
    assert drawn.shape[1] >= overlay.MIN_WIDTH_PX


def test_statistics_are_below_the_picture() -> None:
    drawn = compose(ONE, LIVE, 0.1, ViewOptions("raw", divider=1.0))
    factor = -(-overlay.MIN_WIDTH_PX // ONE.raw.shape[1])
    height = ONE.raw.shape[0] * factor
    assert drawn.shape[0] > height
    assert tuple(drawn[height - 1, 8].tolist()) == RAW


def test_label_says_that_the_picture_is_too_small_to_remove_rain() -> None:
    small = replace(LIVE, too_small=True, inference_scale=0.25)
    restored, honest = (compose(ONE, each, 0.1, ViewOptions()) for each in (LIVE, small))
    right = slice(restored.shape[1] // 2, None)
    assert not np.array_equal(restored[:40, right], honest[:40, right])
    assert overlay.AMBER in {tuple(px) for px in honest[:40, right].reshape(-1, 3).tolist()}


def test_no_numbers_are_shown_before_the_first_frame() -> None:
    assert overlay._statistics(LIVE, "live") == "live"


def test_snapshot_never_overwrites_a_file(tmp_path: Path) -> None:
    paths = [save_new(tmp_path / "one.png", content) for content in (b"1", b"2", b"3")]
    assert [path.name for path in paths] == ["one.png", "one-2.png", "one-3.png"]
    assert [path.read_bytes() for path in paths] == [b"1", b"2", b"3"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these always have a screen")
@pytest.mark.parametrize("display", [None, "", ":4711"])
def test_missing_screen_is_an_error_that_names_the_page(
    display: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(LfdnVideoError, match=r"^window: .*watch in a browser with --web$"):
        check_screen()


def test_headless_opencv_is_an_error_that_names_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    with pytest.raises(LfdnVideoError, match=r"opencv-python-headless.*--web$"):
        check_screen()


@dataclass(frozen=True)
class Window:
    """A window in a process of its own, with its working folder and screen."""

    process: subprocess.Popen[str]
    folder: Path
    screen: str

    def press(self, *keys: str) -> None:
        self._do("key", "--delay", "60", *keys)

    def drag(self, start_px: int, end_px: int) -> None:
        self._do("mousemove", str(start_px), "100", "mousedown", "1")
        self._do("mousemove", str(end_px), "100")
        self._do("mouseup", "1")

    def shows(self, left: object, right: object) -> bool:
        """Wait until the window shows these colours left and right; False at the timeout."""
        return self.comes_to(lambda: self._colours() == (left, right))

    def comes_to(self, true: Callable[[], object]) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def has_ended(self) -> bool:
        return self.process.wait(PATIENCE_S) == 0

    def picture(self) -> Image:
        return np.asarray(ImageGrab.grab(xdisplay=self.screen).convert("RGB"))

    def _colours(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return colours(self.picture()[:360, :640])  # the window is in the upper left corner

    def _do(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], env=_on(self.screen), check=True, timeout=PATIENCE_S)


def _on(screen: str) -> dict[str, str]:
    return {**os.environ, "DISPLAY": screen, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def screen() -> Generator[str]:
    """A virtual screen that does not reset when its last window closes."""
    command = [
        "Xvfb",
        "-displayfd",
        "1",
        "-screen",
        "0",
        "1400x900x24",
        "-nolisten",
        "tcp",
        "-noreset",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            yield f":{server.stdout.readline().decode().strip()}"
        finally:
            server.terminate()  # a kill would leave its lock file behind


@pytest.fixture
def window(screen: str, tmp_path: Path) -> Generator[Window]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=_on(screen),
        stdin=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            opened = Window(process, tmp_path, screen)
            assert opened.shows(RAW, RESTORED)
            opened._do("mousemove", "320", "100")  # keys go to the window under the pointer
            yield opened
        finally:
            process.kill()


@pytest.mark.needs_screen
def test_keys_select_raw_restored_and_both(window: Window) -> None:
    window.press("r")
    assert window.shows(RAW, RAW)
    window.press("d")
    assert window.shows(RESTORED, RESTORED)
    window.press("s")
    assert window.shows(RAW, RESTORED)


@pytest.mark.needs_screen
def test_side_by_side_is_twice_as_wide(window: Window) -> None:
    window.press("s")
    assert window.shows(RAW, RAW)
    assert window.comes_to(lambda: tuple(window.picture()[50, 1000]) == RESTORED)


@pytest.mark.needs_screen
def test_keys_and_mouse_move_the_divider(window: Window) -> None:
    window.drag(320, 600)
    assert window.shows(RAW, RAW)
    window.drag(600, 40)
    assert window.shows(RESTORED, RESTORED)
    window.press(*["Right"] * 12)
    assert window.shows(RAW, RESTORED)
    window.press(*["Left"] * 12)
    assert window.shows(RESTORED, RESTORED)


@pytest.mark.needs_screen
def test_p_and_space_save_what_is_shown(window: Window) -> None:
    window.press("p", "r")
    assert window.shows(RAW, RAW)
    window.press("space")
    assert window.comes_to(lambda: len(list(window.folder.glob("derain-*.png"))) == 2)
    sides = sorted(path.stem.rpartition("-")[2] for path in window.folder.iterdir())
    assert sides == ["both", "raw"]


@pytest.mark.needs_screen
def test_window_turns_grey_when_the_source_dies(window: Window) -> None:
    assert window.process.stdin is not None
    window.process.stdin.write("Connection timed out\n")
    window.process.stdin.flush()
    assert window.shows((46, 46, 46), (46, 46, 46))


@pytest.mark.needs_screen
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_q_and_escape_quit(window: Window, key: str) -> None:
    window.press(key)
    assert window.has_ended()


@pytest.mark.needs_screen
@pytest.mark.skipif(sys.platform != "linux", reason="reads the log of Linux's loader")
def test_qt_claims_x_events_through_the_systems_library(screen: str, tmp_path: Path) -> None:
    """XSetEventQueueOwner must reach the Xlib that runs, not the copy in the wheel."""
    if ctypes.util.find_library("X11-xcb") is None:
        pytest.skip("no libX11-xcb here")
    program = (
        "import cv2; from lfdn_video.stream.watch.screen import load_system_x11_xcb\n"
        "load_system_x11_xcb(); cv2.namedWindow('window')"
    )
    loader_log = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "bindings")}
    words = [sys.executable, "-c", program]
    subprocess.run(words, env=_on(screen) | loader_log, check=True, timeout=PATIENCE_S)
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    (binding,) = [line for line in lines if "`XSetEventQueueOwner'" in line]
    assert "libQt5XcbQpa" in binding
    assert "libX11-xcb.so.1 " in binding


def test_closing_the_window_quits(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV is replaced: nothing here closes a window as a window manager does."""
    monkeypatch.setattr(preview, "check_screen", lambda: None)
    for name in ("namedWindow", "setMouseCallback", "resizeWindow", "imshow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 0.0)
    preview.watch(living_board())


def test_end_of_the_stream_closes_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "check_screen", lambda: None)
    for name in ("namedWindow", "setMouseCallback", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    board = living_board()
    board.close()
    preview.watch(board)
