"""The live page in a browser: what it shows, input, downloads, access.

The browser is Debian's chromium, headless; nothing is downloaded for it.
"""

import shutil
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from lfdn_video.stream.board import Board, Status
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
"""Mean colour of a side as it is drawn. JPEG changes single pixels much at the bar's edges."""


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
    """One for all tests, live again whatever the last test did to it."""
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
    """The page of a live session, freshly loaded, with a frame."""
    tab.goto(url)
    wait_for_frame(tab)
    return tab


def wait_for_frame(page: Page) -> None:
    page.wait_for_selector("#stage[data-number]:not(.dead)", timeout=PATIENCE_MS)


def colour(page: Page, side: str) -> list[float]:
    mean: list[float] = page.evaluate(COLOUR, side)
    return mean


def divider_at(page: Page) -> int:
    return int(page.get_by_role("slider").get_attribute("aria-valuenow") or -1)


def test_frames_change(page: Page) -> None:
    before = colour(page, "raw")
    page.wait_for_function(f"before => String(({COLOUR})('raw')) !== String(before)", arg=before)


def test_both_sides_show_the_same_frame(page: Page, session: Session) -> None:
    session.dies("stands still")
    page.wait_for_selector("#stage.dead")
    page.wait_for_timeout(300)  # until the frames in flight are drawn
    swapped = colour(page, "restored")[::-1]
    assert np.abs(np.subtract(colour(page, "raw"), swapped)).max() <= 3  # JPEG


def test_browser_reports_no_errors(page: Page) -> None:
    """Violations of the content security policy included."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.reload()
    wait_for_frame(page)
    page.keyboard.press("s")
    page.get_by_text("Restored", exact=True).last.click()
    page.wait_for_timeout(600)  # the status comes twice a second
    assert errors == []


def test_nothing_is_loaded_from_elsewhere(desk: BrowserContext, url: str) -> None:
    requested: list[str] = []
    opened = desk.new_page()
    opened.on("request", lambda request: requested.append(request.url))
    opened.goto(url)
    wait_for_frame(opened)
    opened.close()
    assert {urlsplit(one).netloc for one in requested} == {urlsplit(url).netloc}


def test_mouse_drags_the_divider(page: Page) -> None:
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 80, steps=4)
    assert divider_at(page) == 25
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    assert divider_at(page) == 25


def test_keys_move_the_divider(page: Page) -> None:
    page.get_by_role("slider").focus()
    for key in ("ArrowRight", "ArrowRight", "PageDown"):
        page.keyboard.press(key)
    assert divider_at(page) == 44
    page.keyboard.press("Home")
    assert divider_at(page) == 0
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "0 % raw")


def test_divider_has_raw_on_its_left_and_restored_on_its_right(desk: BrowserContext) -> None:
    one = view(3)
    still = Session(living_board(), pictures=[one])
    opened = desk.new_page()
    with still, serve(still.board, "127.0.0.1:0") as served:
        opened.goto(served.url)
        wait_for_frame(opened)
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
def test_keys_select_what_is_shown(page: Page, keys: str, shown: list[str]) -> None:
    for key in keys:
        page.keyboard.press(key)
    assert [side for side in ("raw", "restored") if page.locator(f"#{side}").is_visible()] == shown


def test_side_by_side_places_restored_right_of_raw(page: Page) -> None:
    page.get_by_role("radio", name="Side by side").check(force=True)
    raw, restored = (page.locator(f"#{side}").bounding_box() for side in ("raw", "restored"))
    assert raw is not None
    assert restored is not None
    assert restored["x"] >= raw["x"] + raw["width"]


def test_other_side_of_a_dead_sources_last_frame_can_be_shown(page: Page, session: Session) -> None:
    page.keyboard.press("r")
    page.wait_for_timeout(300)  # of these frames only the raw side is sent
    session.dies("stands still")
    page.wait_for_selector("#stage.dead")
    page.keyboard.press("d")
    wanted = colour(page, "raw")[::-1]
    page.wait_for_function(
        f"wanted => ({COLOUR})('restored').every((value, at) => Math.abs(value - wanted[at]) < 4)",
        arg=wanted,
    )


def test_statistics_change(page: Page) -> None:
    frames = page.locator("#frames-out")
    before = frames.inner_text()
    expect(frames).not_to_have_text(before)


def test_statistics_are_those_of_the_session(page: Page, session: Session) -> None:
    expect(page.locator("#size")).to_have_text("320×180")
    expect(page.locator("#scale")).to_have_text("50 %")
    expect(page.locator("#fps-note")).to_have_text("of 60.0 from the source")
    expect(page.locator("#recording-file")).to_have_text("front-2026-11-25-14.mkv")
    expect(page.locator("#source")).to_have_text("rtsp://camera.test/front")
    expect(page.locator("#state")).to_have_text("Live")


def test_picture_that_is_too_small_is_not_called_restored(page: Page, session: Session) -> None:
    session.board.update(too_small=True)
    try:
        badge = page.locator("#too-small")
        expect(badge).to_have_text("Too small to remove rain: 50 %")
        expect(page.locator("#restored-side figcaption")).to_be_hidden()
        expect(page.locator("#fps-word")).to_have_text("Shown")
    finally:
        session.board.update(too_small=False)
    expect(page.locator("#too-small")).to_be_hidden()
    expect(page.locator("#restored-side figcaption")).to_be_visible()


def test_choice_of_what_to_keep_reaches_the_session(page: Page, session: Session) -> None:
    page.get_by_role("radio", name="Remove rain").check(force=True)
    page.wait_for_timeout(700)  # until a status has confirmed it
    expect(page.get_by_role("radio", name="Remove rain")).to_be_checked()
    assert session.board.status.prefer == "quality"
    session.board.update(prefer="latency")
    expect(page.get_by_role("radio", name="Stay on time")).to_be_checked()


def test_nothing_is_claimed_before_the_first_frame(desk: BrowserContext) -> None:
    opened = desk.new_page()
    fresh = Board(Status(source="camera", task="derain"))
    with serve(fresh, "127.0.0.1:0") as served:
        opened.goto(served.url)
        expect(opened.locator("#source")).to_have_text("camera")
        shown = [opened.locator(f"#{name}").inner_text() for name in ("scale", "latency-note")]
    opened.close()
    assert [text.strip() for text in shown] == ["–", ""]


def test_latency_includes_the_way_to_the_screen(page: Page) -> None:
    page.wait_for_function("() => Number(document.getElementById('latency').textContent) >= 150")


@pytest.mark.parametrize(("key", "side", "width"), [("", "both", 640), ("d", "restored", 320)])
def test_snapshot_is_downloaded_with_its_name(
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


def test_stalled_source_is_shown_as_such(
    page: Page, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH_S", -1.0)
    expect(page.locator("#dead-word")).to_have_text("No frames")


def test_dead_source_is_shown_with_state_time_and_error(page: Page, session: Session) -> None:
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


def test_source_that_comes_back_is_shown_as_live(page: Page, session: Session) -> None:
    session.dies("Connection timed out")
    page.wait_for_selector("#stage.dead")
    session.comes_back()
    wait_for_frame(page)
    expect(page.locator("#dead")).to_be_hidden()
    expect(page.locator("#reconnects")).to_have_text(str(session.board.status.reconnects))


def test_end_of_the_session_is_shown(page: Page, session: Session) -> None:
    session.board.update(state="ended")
    expect(page.locator("#dead-word")).to_have_text("Ended")


def test_markup_in_an_error_message_is_shown_as_text(page: Page, session: Session) -> None:
    session.dies("<img src=x onerror=alert(1)>")
    expect(page.locator("#dead-message")).to_have_text("<img src=x onerror=alert(1)>")


def test_missing_server_is_shown_and_reconnected_to(desk: BrowserContext, session: Session) -> None:
    opened = desk.new_page()
    with serve(session.board, "127.0.0.1:0") as served:
        opened.goto(served.url)
        wait_for_frame(opened)
    expect(opened.locator("#dead-word")).to_have_text("Server does not answer")
    with serve(session.board, urlsplit(served.url).netloc):
        wait_for_frame(opened)
    opened.close()


def test_wrong_token_is_refused_and_the_right_one_opens_the_page(
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
        wait_for_frame(opened)
        assert "token" not in opened.url
        opened.reload()
        wait_for_frame(opened)
    context.close()


def test_address_with_its_token_opens_the_page(browser: Browser, session: Session) -> None:
    context = browser.new_context()
    opened = context.new_page()
    with serve(session.board, "0.0.0.0:0") as served:
        parts = urlsplit(served.url)
        opened.goto(f"http://127.0.0.1:{parts.port}/?{parts.query}")
        wait_for_frame(opened)
    context.close()


def right_of(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"]


def bottom_of(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["y"] + box["height"]


def test_toolbar_is_seen_whole_on_a_phone_on_its_side(
    browser: Browser, session: Session, url: str
) -> None:
    context = browser.new_context(viewport={"width": 844, "height": 390}, is_mobile=True)
    opened = context.new_page()
    opened.goto(url)
    wait_for_frame(opened)
    assert bottom_of(opened, "#tools") <= 390
    assert bottom_of(opened, "#stage") <= 390
    context.close()


def test_choice_stays_beside_the_numbers_at_twice_the_text_size(page: Page) -> None:
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    numbers = page.locator("#numbers").bounding_box()
    assert numbers is not None
    assert right_of(page, "#tools fieldset") <= numbers["x"]
    assert right_of(page, "#tools fieldset label:last-child") <= numbers["x"]
    page.evaluate("document.documentElement.style.fontSize = ''")


def test_page_fits_a_phone_and_the_divider_follows_a_finger(
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
    wait_for_frame(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    box = opened.locator("#stage").bounding_box()
    assert box is not None
    opened.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert divider_at(opened) == 75
    context.close()
