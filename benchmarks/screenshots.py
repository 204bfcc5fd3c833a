"""Screenshots of pages in Debian's chromium: any address, or the page of a live session.

`gallery.py` puts them into the documentation. A clip replaces the camera of the live session, and
the network restores whole frames (`--scale 1`); the figures shown are those of this machine.
"""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import click
from playwright.sync_api import sync_playwright

START_S = 300.0


def photograph(url: str, seconds: float, size: tuple[int, int], *, dark: bool) -> bytes:
    """Take a screenshot of a page.

    Args:
        url: its address.
        seconds: time to wait before the screenshot.
        size: width and height of the browser window, in px.
        dark: use the dark colour scheme.

    Returns:
        A PNG file.
    """
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


def photograph_live(clip: Path, seconds: float, size: tuple[int, int], *, dark: bool) -> bytes:
    """Take a screenshot of the page of `lfdn-video live CLIP --loop`.

    Args:
        clip: the clip that is shown.
        seconds: time to wait before the screenshot, from the moment the stream is live.
        size: width and height of the browser window, in px.
        dark: use the dark colour scheme.

    Returns:
        A PNG file.

    Raises:
        click.ClickException: the stream did not become live.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--loop", "--scale", "1", "--web", address, "--quiet"]
    command = [sys.executable, "-m", "lfdn_video", "live", clip.name, *options]
    # From its folder: the page shows the name as it was given.
    with subprocess.Popen(command, cwd=clip.parent) as live:
        try:
            _wait_for(f"http://{address}/healthz", live)
            return photograph(f"http://{address}/", seconds, size, dark=dark)
        finally:
            live.terminate()


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
