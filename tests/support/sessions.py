"""A live session without a camera: a thread that publishes changing frames to a board.

python -m tests.support.sessions            # the page of one, until Ctrl-C
python -m tests.support.sessions --window   # its window
"""

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from lfdn_video.media import Image
from lfdn_video.stream.board import LATENCY_BOUNDS_S, Board, Status, View

HEIGHT_PX, WIDTH_PX = 180, 320
FPS = 20.0
DROPPED_EACH = 2  # frames dropped for each that is shown
LATENCY_S = 0.15


def picture(number: int, *, height: int = HEIGHT_PX, width: int = WIDTH_PX) -> Image:
    """Draw a grey bar that moves over a changing colour."""
    colour = np.array([(number * 5) % 256, 90, 255 - (number * 5) % 256], np.uint8)
    pixels = np.broadcast_to(colour, (height, width, 3)).copy()
    left = (number * 7) % width
    pixels[:, left : left + 12] = 200
    return pixels


def view(number: int, *, raw: Image | None = None) -> View:
    """Make a view whose restored image is raw with red and blue swapped, to tell them apart."""
    pixels = picture(number) if raw is None else raw
    return View(number, pixels, pixels[:, :, ::-1], time.time() - LATENCY_S, LATENCY_S)


def living_board(**changes: object) -> Board:
    """Make the board of a live session that has no frame yet."""
    board = Board(Status(source="rtsp://camera.test/front", task="derain", prefer="latency"))
    now = time.time()
    board.update(**{"state": "live", "started_at": now, "changed_at": now, **changes})
    return board


class Session:
    """Publishes frames to `board` while its context is entered; `dies` stops its source."""

    def __init__(self, board: Board, *, pictures: list[View] | None = None) -> None:
        self.board = board
        self._pictures = pictures
        self._silent = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake session")

    def dies(self, message: str) -> None:
        self._silent.set()
        self.board.update(state="reconnecting", changed_at=time.time(), message=message)

    def comes_back(self) -> None:
        self.board.update(
            state="live",
            changed_at=time.time(),
            message="",
            reconnects=self.board.status.reconnects + 1,
        )
        self._silent.clear()

    def __enter__(self) -> "Session":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.board.close()

    def _run(self) -> None:
        shown = 0
        while not self._ended.wait(1 / FPS):
            if not self._silent.is_set():
                shown += 1
                self._show(shown)

    def _show(self, shown: int) -> None:
        number = shown * (1 + DROPPED_EACH)
        if self._pictures is None:
            self.board.show(view(number))
        else:
            now = self._pictures[shown % len(self._pictures)]
            captured_at = time.time() - LATENCY_S
            self.board.show(View(number, now.raw, now.restored, captured_at, LATENCY_S))
        newest = self.board.view
        assert newest is not None
        counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        counts[2] = shown
        self.board.update(
            size=(newest.raw.shape[1], newest.raw.shape[0]),
            frames_in=number + 1,  # one is in flight
            frames_out=shown,
            frames_dropped=shown * DROPPED_EACH,
            fps_in=FPS * (1 + DROPPED_EACH),
            fps_out=FPS + 0.2 * np.sin(shown / 9),
            latency_s=LATENCY_S,
            max_latency_s=0.5,
            inference_scale=0.5,
            latency_counts=tuple(counts),
            latency_sum_s=shown * LATENCY_S,
            stage_s={"decode": shown * 0.002, "model": shown * 0.04, "encode": shown * 0.01},
            recording="/recordings/front-2026-11-25-14.mkv",
        )


@contextmanager
def running(board: Board | None = None) -> Generator[Session]:
    with Session(living_board() if board is None else board) as session:
        yield session


def main() -> None:
    """Show a session, to look at by hand."""
    with running() as session:
        if "--window" in sys.argv:
            from lfdn_video.stream.watch.preview import watch

            watch(session.board)
            return
        from lfdn_video.stream.watch.web import serve

        with serve(session.board) as page:
            sys.stdout.write(f"{page.url}\n")
            threading.Event().wait()


if __name__ == "__main__":
    main()
