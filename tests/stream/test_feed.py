"""Frames for many viewers, each encoded once."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from lfdn_video.media import Image
from lfdn_video.stream.board import Board
from lfdn_video.stream.watch import stills
from lfdn_video.stream.watch.feed import Feed
from tests.support.sessions import living_board, view


@pytest.fixture
def board() -> Board:
    return living_board()


@pytest.fixture
def encoded_images(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Every image that was encoded."""
    encoded: list[Image] = []

    def encode(image: Image) -> bytes:
        encoded.append(image)
        return b"jpeg"

    monkeypatch.setattr(stills, "encode_jpeg", encode)
    return encoded


def run_with_feed(feed: Feed, *awaited: Coroutine[Any, Any, Any]) -> list[Any]:
    """Return the results of coroutines that are awaited while the feed runs."""

    async def together() -> list[Any]:
        running = asyncio.create_task(feed.follow_board())
        try:
            return await asyncio.wait_for(asyncio.gather(*awaited), 10)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    return asyncio.run(together())


def test_waiting_viewer_gets_the_newest_view(board: Board) -> None:
    feed = Feed(board)
    board.show(view(1))
    board.show(view(5))
    (seen,) = run_with_feed(feed, feed.wait_for_view(0))
    assert seen.number == 5


def test_viewers_of_one_view_share_the_encoding(board: Board, encoded_images: list[Image]) -> None:
    feed, one = Feed(board), view(1)
    run_with_feed(feed, *(feed.get_jpeg(one, "raw") for _ in range(5)))
    assert len(encoded_images) == 1


def test_raw_and_restored_are_encoded_separately(board: Board, encoded_images: list[Image]) -> None:
    feed, one = Feed(board), view(1)
    run_with_feed(feed, feed.get_jpeg(one, "raw"), feed.get_jpeg(one, "restored"))
    assert len(encoded_images) == 2


def test_nothing_is_encoded_without_a_viewer(board: Board, encoded_images: list[Image]) -> None:
    feed = Feed(board)
    board.show(view(1))
    run_with_feed(feed, feed.wait_for_view(0))
    assert encoded_images == []


def test_viewer_that_leaves_does_not_cancel_the_shared_encoding(board: Board) -> None:
    feed, one = Feed(board), view(1)

    async def impatient() -> None:
        leaving = asyncio.create_task(feed.get_jpeg(one, "raw"))
        await asyncio.sleep(0)
        leaving.cancel()

    _, content = run_with_feed(feed, impatient(), feed.get_jpeg(one, "raw"))
    assert content.startswith(b"\xff\xd8")


def test_feed_without_a_frame_has_no_silence_and_is_stalled(board: Board) -> None:
    feed = Feed(board)
    assert (feed.silent_s, feed.health) == (None, "stalled")


def test_feed_ends_when_the_board_is_closed(board: Board) -> None:
    board.show(view(7))
    board.close()
    feed = Feed(board)
    asyncio.run(asyncio.wait_for(feed.follow_board(), 10))
    assert feed.view is not None
    assert feed.view.number == 7
