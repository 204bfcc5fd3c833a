"""The page of all cameras in a browser: what it shows, and the keyboard."""

import shutil
from collections.abc import Generator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lfdn_video.stream.watch.web import serve
from tests.support.sessions import Session, living_board

pytestmark = pytest.mark.needs_browser

NAMES = ("door", "yard", "gate")
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def sessions() -> Generator[list[Session]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Session(living_board(camera=name))) for name in NAMES]


@pytest.fixture(scope="module")
def url(sessions: list[Session]) -> Generator[str]:
    with serve([session.board for session in sessions], "127.0.0.1:0") as served:
        yield served.url


@pytest.fixture(params=[1200, 390])
def page(browser: Browser, url: str, request: pytest.FixtureRequest) -> Generator[Page]:
    tab = browser.new_page(viewport={"width": request.param, "height": 800})
    tab.goto(url)
    expect(tab.locator(".tile[data-number]")).to_have_count(len(NAMES))
    yield tab
    tab.close()


def test_every_camera_has_a_tile_whose_frames_change(page: Page) -> None:
    assert page.locator(".name").all_text_contents() == list(NAMES)
    for tile in page.locator(".tile").all():
        before = tile.get_attribute("data-number")
        expect(tile).not_to_have_attribute("data-number", before or "")
        expect(tile.locator(".state-word")).to_have_text("Live")
    expect(page.locator("#state-word")).to_have_text("3 of 3 live")


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_dead_camera_says_why_and_since_when(page: Page, sessions: list[Session]) -> None:
    sessions[1].dies("no frame for 10 s; trying again")
    tile = page.locator(".tile").nth(1)
    try:
        expect(tile.locator(".state-word")).to_have_text("Reconnecting")
        expect(tile.locator(".why")).to_have_text("no frame for 10 s; trying again")
        expect(tile.locator(".numbers")).to_contain_text("for ")
        expect(page.locator("#state-word")).to_have_text("2 of 3 live")
        expect(page).to_have_title("2 of 3 live – Cameras – lfdn-video")
    finally:
        sessions[1].comes_back()
    expect(tile.locator(".state-word")).to_have_text("Live")


def test_keys_choose_and_open_a_camera_and_lead_back(page: Page, url: str) -> None:
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tile").nth(1)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{url}cameras/gate/")
    page.wait_for_selector("#stage[data-number]:not(.dead)")
    expect(page.locator("#source")).to_contain_text("gate · ")
    page.locator("#all").press("Enter")
    expect(page).to_have_url(url)
