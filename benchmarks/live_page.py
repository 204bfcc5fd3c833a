"""Take a screenshot of the web page of `lfdn-video live`; a clip replaces the camera.

    python -m benchmarks.live_page samples/rainy_dashcam.mp4 -o docs/live_page.jpg

The page shows a real session on this machine, and its figures. The network restores whole frames
(`--scale 1`). Needs Debian's chromium and the extra `[dev]`.
"""

import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import sync_playwright

QUALITY = 88
START_S = 120.0


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Image to write."
)
@click.option(
    "--seconds",
    type=float,
    default=40.0,
    show_default=True,
    help="Seconds to wait before the screenshot.",
)
@click.option(
    "--size",
    type=(int, int),
    default=(1200, 700),
    show_default=True,
    help="Width and height of the browser window, in px.",
)
@click.option("--dark/--light", default=True, show_default=True, help="Colour scheme.")
def main(source: Path, output: Path, seconds: float, size: tuple[int, int], dark: bool) -> None:
    """Write a screenshot of the page that shows SOURCE."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--loop", "--scale", "1", "--web", address]
    command = [sys.executable, "-m", "lfdn_video", "live", str(source), *options]
    with subprocess.Popen(command) as live:
        try:
            _wait_for(f"http://{address}/healthz", live)
            screenshot = _take_screenshot(f"http://{address}/", seconds, size, dark=dark)
        finally:
            live.terminate()
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(output, quality=QUALITY)
    click.echo(f"{output}: {output.stat().st_size} bytes")


def _wait_for(url: str, live: subprocess.Popen[bytes]) -> None:
    """Wait until the stream is live."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and live.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.HTTPError as not_live_yet:
            not_live_yet.close()
        except OSError:  # the server has not started yet
            pass
        else:
            return
        time.sleep(0.2)
    raise click.ClickException("the stream did not become live")


def _take_screenshot(url: str, seconds: float, size: tuple[int, int], *, dark: bool) -> bytes:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        tab.goto(url)
        tab.wait_for_timeout(seconds * 1000)
        screenshot = tab.screenshot()
        browser.close()
    return screenshot


if __name__ == "__main__":
    main()
