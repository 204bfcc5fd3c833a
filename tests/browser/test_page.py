"""The page in a browser: what is seen, dragged, typed, downloaded, and refused.

The browser is Debian's, without a window; nothing is fetched for it.
"""

import shutil
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from lfdn_video.stream.watch import health
from lfdn_video.stream.watch.web import serve
from tests.support.sessions import Session, living_board, running, view

pytestmark = pytest.mark.needs_browser

TOKEN = "a token for tests"
PATIENCE_MS = 30_000
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

COLOUR = """side => {
  const copy = new OffscreenCanvas(320, 180).getContext("2d");
  copy.drawImage(document.getElementById(side), 0, 0);
  const values = copy.getImageData(0, 0, 320, 180).data;
  return [0, 1, 2].map(channel => {
    let sum = 0;
    for (let at = channel; at < values.length; at += 4) sum += values[at];
    return sum / (320 * 180);
  });
}"""
"""The mean of a side as it is drawn: JPEG moves single points far where the bar is."""


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def desk(browser: Browser) -> Generator[BrowserContext]:
    context = browser.new_context(viewport=DESK, accept_downloads=True)  # type: ignore[arg-type]
    yield context
    context.close()


@pytest.fixture(scope="module")
def shared_session() -> Generator[Session]:
    with running() as live:
        yield live


@pytest.fixture
def session(shared_session: Session) -> Session:
    """One for all tests; it is live, whatever the test before did to it."""
    if shared_session.board.status.state != "live":
        shared_session.comes_back()
    return shared_session


@pytest.fixture(scope="module")
def url(shared_session: Session) -> Generator[str]:
    with serve(shared_session.board, "127.0.0.1:0") as served:
        yield served.url


@pytest.fixture(scope="module")
def tab(desk: BrowserContext) -> Page:
    return desk.new_page()


@pytest.fixture
def page(tab: Page, session: Session, url: str) -> Page:
    """The page of a live session, opened anew, with a picture."""
    tab.goto(url)
    shows_a_picture(tab)
    return tab


def shows_a_picture(page: Page) -> None:
    page.wait_for_selector("#stage[data-number]:not(.dead)", timeout=PATIENCE_MS)


def colour(page: Page, side: str) -> list[float]:
    seen: list[float] = page.evaluate(COLOUR, side)
    return seen


def divider_at(page: Page) -> int:
    return int(page.get_by_role("slider").get_attribute("aria-valuenow") or -1)


def test_the_picture_changes(page: Page) -> None:
    before = colour(page, "raw")
    page.wait_for_function(f"before => String(({COLOUR})('raw')) !== String(before)", arg=before)


def test_both_sides_are_of_one_moment(page: Page, session: Session) -> None:
    session.dies("stands still")
    page.wait_for_selector("#stage.dead")
    page.wait_for_timeout(300)  # what was under way is drawn
    turned = colour(page, "restored")[::-1]
    assert np.abs(np.subtract(colour(page, "raw"), turned)).max() <= 3  # JPEG


def test_the_browser_finds_nothing_wrong(page: Page) -> None:
    """Its policy for content included."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.reload()
    shows_a_picture(page)
    page.keyboard.press("s")
    page.get_by_text("Restored", exact=True).last.click()
    page.wait_for_timeout(600)  # numbers come twice a second
    assert complaints == []


def test_nothing_comes_from_elsewhere(desk: BrowserContext, url: str) -> None:
    asked: list[str] = []
    opened = desk.new_page()
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(url)
    shows_a_picture(opened)
    opened.close()
    assert {urlsplit(one).netloc for one in asked} == {urlsplit(url).netloc}


def test_the_divider_is_dragged_by_the_mouse(page: Page) -> None:
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 80, steps=4)
    assert divider_at(page) == 25
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    assert divider_at(page) == 25


def test_the_divider_is_moved_by_keys(page: Page) -> None:
    page.get_by_role("slider").focus()
    for key in ("ArrowRight", "ArrowRight", "PageDown"):
        page.keyboard.press(key)
    assert divider_at(page) == 44
    page.keyboard.press("Home")
    assert divider_at(page) == 0
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "0 % raw")


def test_left_of_the_divider_is_raw_and_right_of_it_restored(desk: BrowserContext) -> None:
    one = view(3)
    still = Session(living_board(), pictures=[one])
    opened = desk.new_page()
    with still, serve(still.board, "127.0.0.1:0") as served:
        opened.goto(served.url)
        shows_a_picture(opened)
        shot = np.frombuffer(opened.locator("#stage").screenshot(), np.uint8)
    opened.close()
    pixels = cv2.imdecode(shot, cv2.IMREAD_COLOR)
    assert pixels is not None
    height, width = pixels.shape[:2]
    left, right = (pixels[height // 4, at][::-1].astype(int) for at in (width // 4, width * 3 // 4))
    assert np.abs(left - one.raw[45, 80]).max() <= 3  # JPEG
    assert np.abs(right - one.restored[45, 240]).max() <= 3


@pytest.mark.parametrize(
    ("keys", "shown"),
    [("r", ["raw"]), ("d", ["restored"]), ("s", ["raw", "restored"]), ("ss", ["raw", "restored"])],
)
def test_keys_choose_what_is_shown(page: Page, keys: str, shown: list[str]) -> None:
    for key in keys:
        page.keyboard.press(key)
    assert [side for side in ("raw", "restored") if page.locator(f"#{side}").is_visible()] == shown


def test_side_by_side_is_side_by_side(page: Page) -> None:
    page.get_by_role("radio", name="Side by side").check(force=True)
    raw, restored = (page.locator(f"#{side}").bounding_box() for side in ("raw", "restored"))
    assert raw is not None
    assert restored is not None
    assert restored["x"] >= raw["x"] + raw["width"]


def test_a_dead_picture_can_be_seen_from_its_other_side(page: Page, session: Session) -> None:
    page.keyboard.press("r")
    page.wait_for_timeout(300)  # of these pictures only the raw side was sent
    session.dies("stands still")
    page.wait_for_selector("#stage.dead")
    page.keyboard.press("d")
    wanted = colour(page, "raw")[::-1]
    page.wait_for_function(
        f"wanted => ({COLOUR})('restored').every((value, at) => Math.abs(value - wanted[at]) < 4)",
        arg=wanted,
    )


def test_the_numbers_change(page: Page) -> None:
    frames = page.locator("#frames-out")
    before = frames.inner_text()
    expect(frames).not_to_have_text(before)


def test_the_numbers_are_those_of_the_session(page: Page, session: Session) -> None:
    expect(page.locator("#size")).to_have_text("320×180")
    expect(page.locator("#scale")).to_have_text("50 %")
    expect(page.locator("#fps-note")).to_have_text("of 60.0 from the source")
    expect(page.locator("#recording-file")).to_have_text("front-2026-11-25-14.mkv")
    expect(page.locator("#source")).to_have_text("rtsp://camera.test/front")
    expect(page.locator("#state")).to_have_text("Live")


def test_the_latency_includes_the_way_to_the_screen(page: Page) -> None:
    page.wait_for_function("() => Number(document.getElementById('latency').textContent) >= 150")


@pytest.mark.parametrize(("key", "side", "width"), [("", "both", 640), ("d", "restored", 320)])
def test_the_snapshot_is_downloaded(
    page: Page, tmp_path: Path, key: str, side: str, width: int
) -> None:
    if key:
        page.keyboard.press(key)
    with page.expect_download() as coming:
        page.get_by_role("link", name="Snapshot").click()
    name = coming.value.suggested_filename
    coming.value.save_as(tmp_path / name)
    pixels = cv2.imread(str(tmp_path / name))
    assert pixels is not None
    assert (pixels.shape, name.rpartition("-")[2]) == ((180, width, 3), f"{side}.png")


def test_a_source_that_falls_silent_shows_as_dead(
    page: Page, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH_S", -1.0)
    expect(page.locator("#dead-word")).to_have_text("No frames")


def test_a_dead_source_shows_as_dead(page: Page, session: Session) -> None:
    session.dies("rtsp://camera.test/front: Connection timed out")
    expect(page.locator("#dead-word")).to_have_text("Reconnecting")
    expect(page.locator("#dead-word")).to_be_visible()
    expect(page.locator("#dead-since")).to_contain_text("since ")
    expect(page.locator("#dead-message")).to_have_text(
        "rtsp://camera.test/front: Connection timed out"
    )
    expect(page.get_by_role("status")).to_have_text("Reconnecting")
    expect(page.locator("#latency")).to_have_text("–")
    assert page.title().startswith("Reconnecting")


def test_a_source_that_comes_back_shows_as_live(page: Page, session: Session) -> None:
    session.dies("Connection timed out")
    page.wait_for_selector("#stage.dead")
    session.comes_back()
    shows_a_picture(page)
    expect(page.locator("#dead")).to_be_hidden()
    expect(page.locator("#reconnects")).to_have_text(str(session.board.status.reconnects))


def test_an_end_shows_as_an_end(page: Page, session: Session) -> None:
    session.board.update(state="ended")
    expect(page.locator("#dead-word")).to_have_text("Ended")


def test_markup_in_a_message_is_text(page: Page, session: Session) -> None:
    session.dies("<img src=x onerror=alert(1)>")
    expect(page.locator("#dead-message")).to_have_text("<img src=x onerror=alert(1)>")


def test_a_server_that_is_gone_shows_and_comes_back(desk: BrowserContext, session: Session) -> None:
    opened = desk.new_page()
    with serve(session.board, "127.0.0.1:0") as served:
        opened.goto(served.url)
        shows_a_picture(opened)
    expect(opened.locator("#dead-word")).to_have_text("Server does not answer")
    with serve(session.board, urlsplit(served.url).netloc):
        shows_a_picture(opened)
    opened.close()


def test_a_wrong_token_is_refused_and_the_right_one_opens(
    browser: Browser, session: Session
) -> None:
    context = browser.new_context()  # without cookies
    opened = context.new_page()
    with serve(session.board, "127.0.0.1:0", token=TOKEN) as served:
        answer = opened.goto(f"{served.url.partition('?')[0]}?token=wrong")
        assert answer is not None
        assert answer.status == 401
        expect(opened.locator("#what")).to_have_text("This is not the right token.")
        assert opened.locator("#stage").count() == 0
        opened.get_by_label("Token").fill(TOKEN)
        opened.get_by_role("button", name="Watch").click()
        shows_a_picture(opened)
        assert "token" not in opened.url
        opened.reload()
        shows_a_picture(opened)
    context.close()


def test_the_address_with_its_token_opens(browser: Browser, session: Session) -> None:
    context = browser.new_context()
    opened = context.new_page()
    with serve(session.board, "0.0.0.0:0") as served:
        parts = urlsplit(served.url)
        opened.goto(f"http://127.0.0.1:{parts.port}/?{parts.query}")
        shows_a_picture(opened)
    context.close()


def test_on_a_phone_it_fits_and_the_divider_follows_a_finger(
    browser: Browser, session: Session, url: str
) -> None:
    context = browser.new_context(
        viewport=PHONE,  # type: ignore[arg-type]
        is_mobile=True,
        has_touch=True,
        color_scheme="dark",
    )
    opened = context.new_page()
    opened.goto(url)
    shows_a_picture(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    box = opened.locator("#stage").bounding_box()
    assert box is not None
    opened.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert divider_at(opened) == 75
    context.close()
