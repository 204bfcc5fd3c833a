"""Draws the web page of `lfdn-video live`, as a browser shows it; a clip stands in for a camera.

    python benchmarks/live_page.py samples/rainy_dashcam.mp4 -o docs/live_page.jpg

What is on it is what the command does on this machine, its numbers included; the network has the
whole picture (`--scale 1`). Needs Debian's chromium and the extra `[dev]`.
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
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=40.0, show_default=True, help="To run before.")
@click.option("--size", type=(int, int), default=(1200, 700), show_default=True)
@click.option("--dark/--light", default=True, show_default=True)
def main(source: Path, output: Path, seconds: float, size: tuple[int, int], dark: bool) -> None:
    """Write a picture of the page."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--loop", "--scale", "1", "--web", address]
    command = [sys.executable, "-m", "lfdn_video", "live", str(source), *options]
    with subprocess.Popen(command) as live:
        try:
            _wait_for(f"http://{address}/healthz", live)
            shot = _shot(f"http://{address}/", seconds, size, dark=dark)
        finally:
            live.terminate()
    Image.open(io.BytesIO(shot)).convert("RGB").save(output, quality=QUALITY)
    click.echo(f"{output}: {output.stat().st_size} bytes")


def _wait_for(url: str, live: subprocess.Popen[bytes]) -> None:
    """Until the stream is live."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and live.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
        except OSError:  # the server is not there yet
            pass
        else:
            return
        time.sleep(0.2)
    raise click.ClickException("the stream did not become live")


def _shot(url: str, seconds: float, size: tuple[int, int], *, dark: bool) -> bytes:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        tab.goto(url)
        tab.wait_for_timeout(seconds * 1000)
        shot = tab.screenshot()
        browser.close()
    return shot


if __name__ == "__main__":
    main()
