"""Pictures for many viewers, each coded once."""

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
def codings(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Every picture that was coded."""
    coded: list[Image] = []

    def code(picture: Image) -> bytes:
        coded.append(picture)
        return b"jpeg"

    monkeypatch.setattr(stills, "encode_jpeg", code)
    return coded


def fed(feed: Feed, *wishes: Coroutine[Any, Any, Any]) -> list[Any]:
    """What coroutines give while the feed runs."""

    async def together() -> list[Any]:
        running = asyncio.create_task(feed.run())
        try:
            return await asyncio.wait_for(asyncio.gather(*wishes), 10)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    return asyncio.run(together())


def test_who_waits_gets_the_newest(board: Board) -> None:
    feed = Feed(board)
    board.show(view(1))
    board.show(view(5))
    (seen,) = fed(feed, feed.wait_for_view(0))
    assert seen.number == 5


def test_viewers_share_one_coding(board: Board, codings: list[Image]) -> None:
    feed, one = Feed(board), view(1)
    fed(feed, *(feed.get_jpeg(one, "raw") for _ in range(5)))
    assert len(codings) == 1


def test_each_side_is_coded_for_itself(board: Board, codings: list[Image]) -> None:
    feed, one = Feed(board), view(1)
    fed(feed, feed.get_jpeg(one, "raw"), feed.get_jpeg(one, "restored"))
    assert len(codings) == 2


def test_nothing_is_coded_while_nobody_looks(board: Board, codings: list[Image]) -> None:
    feed = Feed(board)
    board.show(view(1))
    fed(feed, feed.wait_for_view(0))
    assert codings == []


def test_a_viewer_who_leaves_does_not_stop_the_others(board: Board) -> None:
    feed, one = Feed(board), view(1)

    async def impatient() -> None:
        leaving = asyncio.create_task(feed.get_jpeg(one, "raw"))
        await asyncio.sleep(0)
        leaving.cancel()

    _, content = fed(feed, impatient(), feed.get_jpeg(one, "raw"))
    assert content.startswith(b"\xff\xd8")


def test_before_the_first_picture_there_is_no_silence(board: Board) -> None:
    feed = Feed(board)
    assert (feed.silent_s, feed.health) == (None, "stalled")


def test_the_feed_ends_with_the_board(board: Board) -> None:
    board.show(view(7))
    board.close()
    feed = Feed(board)
    asyncio.run(asyncio.wait_for(feed.run(), 10))
    assert feed.view is not None
    assert feed.view.number == 7
