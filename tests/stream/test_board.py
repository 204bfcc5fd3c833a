"""The board between a live session and its viewers."""

import threading

import numpy as np
import pytest

from lfdn_video.stream.board import Board, Status, View

BLACK = np.zeros((2, 2, 3), np.uint8)


def view(number: int) -> View:
    return View(number, BLACK, BLACK, captured_at=0.0, latency_s=0.0)


@pytest.fixture
def board() -> Board:
    return Board(Status(source="camera", task="derain"))


def test_board_gives_the_newest_view(board: Board) -> None:
    board.show(view(1))
    board.show(view(3))
    seen = board.wait_for_view(1, timeout_s=0)
    assert seen is not None
    assert seen.number == 3


def test_waiting_without_a_newer_view_gives_none_at_the_timeout(board: Board) -> None:
    board.show(view(3))
    assert board.wait_for_view(3, timeout_s=0) is None


def test_new_view_wakes_a_waiting_viewer(board: Board) -> None:
    seen: list[View | None] = []
    waiting = threading.Thread(target=lambda: seen.append(board.wait_for_view(0, timeout_s=30)))
    waiting.start()
    board.show(view(1))
    waiting.join(30)
    assert [one.number for one in seen if one is not None] == [1]


def test_closing_wakes_a_waiting_viewer(board: Board) -> None:
    seen: list[View | None] = []
    waiting = threading.Thread(target=lambda: seen.append(board.wait_for_view(0, timeout_s=30)))
    waiting.start()
    board.close()
    waiting.join(30)
    assert seen == [None]
    assert board.closed


def test_update_keeps_the_other_fields(board: Board) -> None:
    board.update(state="live", frames_in=5)
    assert (board.status.source, board.status.state, board.status.frames_in) == (
        "camera",
        "live",
        5,
    )


def test_every_frame_is_shown_by_default(board: Board) -> None:
    board.show(view(1))
    assert board.wants_view()


def test_idle_board_wants_a_view_now_and_then_and_every_one_while_somebody_looks() -> None:
    board = Board(Status(source="camera", task="derain"), idle_interval_s=3600)
    assert board.wants_view()  # the first
    board.show(view(1))
    assert not board.wants_view()
    board.want_views()
    assert board.wants_view()


def test_listener_is_called_after_a_view_and_at_the_end(board: Board) -> None:
    seen: list[bool] = []
    with board.calling(lambda: seen.append(board.closed)):
        board.show(view(1))
        board.close()
    board.close()
    assert seen == [False, True]
