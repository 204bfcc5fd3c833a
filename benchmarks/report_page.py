"""Try the page of a report in Debian's chromium, and photograph it.

    lfdn-video derain samples/rainy_dashcam.mp4 -o dry.mp4 --report
    python -m benchmarks.report_page dry.report.html -o seen/

Tried in light and dark, on a desk (1200 px) and a phone (390 px): the slider by mouse, finger and
keys; plots; console and requests; axe-core. Exits with 1 if anything fails. `tests/browser` tries
the same on a small made-up report; this is for the report of a real run.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

SIZES = {"desk": (1200, 900), "phone": (390, 844)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PLOT_PX = 200
"""A plot that is drawn is at least so wide."""

SERIOUS = ("serious", "critical")

Finding = tuple[str, bool, str]
"""What was tried, whether it is as it should be, and what was found."""


@click.command()
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the screenshots.",
)
def main(report: Path, output: Path) -> None:
    """Try the page of REPORT."""
    output.mkdir(parents=True, exist_ok=True)
    url = report.resolve().as_uri()
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for size in SIZES:
            for scheme in SCHEMES:
                picture = output / f"{size}_{scheme}.png"
                for what, is_well, found in _try(browser, url, size, scheme, picture):
                    click.echo(f"{'ok  ' if is_well else 'FAIL'} {size} {scheme}: {what}: {found}")
                    failed += not is_well
        browser.close()
    if failed:
        raise click.ClickException(f"{failed} of these failed")


def _try(
    browser: Browser, url: str, size: str, scheme: Literal["light", "dark"], picture: Path
) -> Iterator[Finding]:
    """Open the page in a window of one size, try everything, and take a screenshot."""
    width, height = SIZES[size]
    is_phone = size == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        is_mobile=is_phone,
        has_touch=is_phone,
    )
    page = context.new_page()
    said, asked = list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.screenshot(path=picture, full_page=True)
    yield from _try_slider(page, is_phone=is_phone)
    boxes = [plot.bounding_box() for plot in page.locator(".plots svg").all()]
    drawn = [box for box in boxes if box is not None and box["width"] > PLOT_PX]
    yield "plots", len(boxes) >= 3 and len(drawn) == len(boxes), f"{len(drawn)} of {len(boxes)}"
    wide = page.evaluate("document.documentElement.scrollWidth")
    yield "nothing sticks out", wide <= width, f"{wide} px"
    found = Axe().run(page).response
    serious = [each["id"] for each in found["violations"] if each["impact"] in SERIOUS]
    others = [each["id"] for each in found["violations"] if each["impact"] not in SERIOUS]
    yield "axe-core", not serious, f"{len(found['passes'])} passed, serious {serious}, {others}"
    fetched = [each for each in asked if each != url and not each.startswith(("data:", "blob:"))]
    yield "console", not said, str(said)
    yield "requests", not fetched, str(fetched)
    context.close()


def _try_slider(page: Page, *, is_phone: bool) -> Iterator[Finding]:
    """Move the divider by finger or mouse, and by keys."""
    slider = page.get_by_role("slider")
    box = _find_stage(page)
    row = box["y"] + box["height"] / 2
    if is_phone:
        page.touchscreen.tap(box["x"] + box["width"] * 0.75, row)
        yield "finger at 75 %", abs(float(slider.input_value()) - 75) < 1.5, slider.input_value()
    else:
        page.mouse.move(box["x"] + box["width"] / 2, row)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.2, row, steps=5)
        page.mouse.up()
        yield "mouse to 20 %", abs(float(slider.input_value()) - 20) < 1.5, slider.input_value()
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    yield "keys Home, right", 0 < float(slider.input_value()) < 5, slider.input_value()


def _find_stage(page: Page) -> FloatRect:
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    if box is None:
        raise click.ClickException("the report shows no frame")
    return box


if __name__ == "__main__":
    main()
