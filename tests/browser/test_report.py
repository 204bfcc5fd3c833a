"""The report in a browser: slider, frames, plots, and what a screen reader is told.

The browser is Debian's chromium, headless; nothing is downloaded for it.
"""

import shutil
from collections.abc import Generator
from typing import Any

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from lfdn_video.checks import Check
from lfdn_video.review.report import RunFacts, write_report
from tests.support import drawn, runs

pytestmark = pytest.mark.needs_browser

DESK = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}
SOURCE_GREY, RESULT_GREY = 60, 200


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with everything in it: a dark source, a bright result, a reference, a run."""
    folder = tmp_path_factory.mktemp("report")
    dark, bright = (
        drawn.write(folder / f"{grey}.mkv", [np.full((90, 160), grey, np.uint8)] * 30)
        for grey in (SOURCE_GREY, RESULT_GREY)
    )
    checks = [Check("frames", "ok", "30 of 30"), Check("tags", "warning", "one differs")]
    run = RunFacts(
        task="derain",
        command="lfdn-video derain dark.mkv",
        summary=runs.summary("dark.mkv: a warning"),
        checks=[*checks, Check("stream", "failed", "is missing")],
    )
    reference = drawn.write(folder / "clean.mkv", [np.full((90, 160), 55, np.uint8)] * 30)
    write_report(dark, bright, folder / "out.html", reference=reference, run=run)
    return (folder / "out.html").as_uri()


@pytest.fixture
def context(browser: Browser) -> Generator[BrowserContext]:
    opened = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Page:
    opened = context.new_page()
    opened.goto(address)
    return opened


def shot(page: Page) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(
        np.frombuffer(page.locator("#stage").screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def border(page: Page) -> float:
    """Where the picture changes from source to result, as a share of its width."""
    row = shot(page)[-40].astype(int)
    return float((np.abs(row - SOURCE_GREY) < 12).mean())


def value(page: Page) -> float:
    return float(page.get_by_role("slider").input_value())


def stage_box(page: Page) -> Any:
    page.locator("#stage").scroll_into_view_if_needed()
    return page.locator("#stage").bounding_box()


def test_page_is_quiet_and_asks_for_nothing(context: BrowserContext, address: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.get_by_role("slider").press("ArrowRight")
    opened.get_by_role("radio", name="Change", exact=True).check(force=True)
    opened.get_by_role("button", name="Copy").click()
    opened.wait_for_timeout(300)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]


def test_source_is_left_and_result_right_of_the_divider(page: Page) -> None:
    pixels = shot(page)
    height, width = pixels.shape
    assert abs(int(pixels[height * 3 // 4, width // 4]) - SOURCE_GREY) < 8
    assert abs(int(pixels[height * 3 // 4, width * 3 // 4]) - RESULT_GREY) < 8


def test_mouse_drags_the_divider(page: Page) -> None:
    box = stage_box(page)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=5)
    page.mouse.up()
    assert value(page) == pytest.approx(20, abs=1)
    assert border(page) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("ArrowRight ArrowRight", 52), ("ArrowLeft", 49), ("Home", 0), ("End", 100), ("PageUp", 60)],
)
def test_keys_move_the_divider(page: Page, keys: str, expected: int) -> None:
    page.get_by_role("slider").focus()
    for key in keys.split():
        page.keyboard.press(key)
    assert value(page) == expected
    assert border(page) == pytest.approx(expected / 100, abs=0.03)
    told = f"{expected} % source, {100 - expected} % result"
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", told)


def test_finger_moves_the_divider_on_a_phone(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True)  # type: ignore[arg-type]
    opened = context.new_page()
    opened.goto(address)
    assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    box = stage_box(opened)
    opened.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 3)
    assert value(opened) == pytest.approx(75, abs=1)
    context.close()


def test_views_show_one_picture_each(page: Page) -> None:
    for name, kind in (("Source", "before"), ("Result", "after"), ("Change", "heat")):
        page.get_by_role("radio", name=name, exact=True).check(force=True)
        visible = [
            each
            for each in ("before", "after", "heat")
            if page.locator(f".shot:not([hidden]) .{each}").is_visible()
        ]
        assert visible == [kind]
        assert page.get_by_role("slider").is_hidden()
    expect(page.locator(".scale")).to_be_visible()


def test_strip_chooses_the_frame_by_keys(page: Page) -> None:
    frames = page.locator("[name=shot]")
    frames.first.check(force=True)
    expect(page.locator("#caption")).to_contain_text("Frame 0 at 0 s")
    frames.first.press("ArrowRight")
    expect(frames.nth(1)).to_be_checked()
    expect(page.locator("#caption")).not_to_contain_text("Frame 0 ")
    assert page.locator(".shot:visible").count() == 1


def test_plots_are_drawn(page: Page) -> None:
    plots = page.locator(".plots svg")
    assert plots.count() == 6
    for number in range(plots.count()):
        box = plots.nth(number).bounding_box()
        assert box is not None
        assert box["width"] > 200
        colour = (
            plots.nth(number)
            .locator("path[style*='--accent']")
            .first.evaluate("path => getComputedStyle(path).stroke")
        )
        assert colour == "rgb(11, 125, 112)"


def test_copy_selects_the_command(page: Page) -> None:
    page.get_by_role("button", name="Copy").click()
    assert page.evaluate("String(getSelection())") == "lfdn-video derain dark.mkv"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(browser: Browser, address: str, scheme: Any, size: Any) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(address)
    response = Axe().run(opened).response
    context.close()
    found = response["violations"]
    assert len(response["passes"]) > 10
    assert [(each["id"], each["impact"], len(each["nodes"])) for each in found] == []
