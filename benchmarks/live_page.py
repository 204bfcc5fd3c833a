"""Take a screenshot of the web page of `lfdn-video live`; a clip replaces the camera.

    python -m benchmarks.live_page samples/rainy_dashcam.mp4 -o docs/live_page.jpg
    python -m benchmarks.live_page samples/rainy_dashcam.mp4 --cameras 5 -o docs/serve_page.jpg

The page shows a real session on this machine, and its figures; with `--cameras` that of `serve`
with so many, the last of which does not answer. The network restores whole frames (`--scale 1`).
Needs Debian's chromium and the extra `[dev]`.
"""

import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import sync_playwright

QUALITY = 88
START_S = 120.0
NAMES = ("front-door", "yard", "car-park", "loading-bay", "roof", "gate")
"""Names of the cameras of `serve`."""


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
@click.option("--cameras", type=int, default=1, show_default=True, help="Number of cameras.")
def main(
    source: Path, output: Path, seconds: float, size: tuple[int, int], dark: bool, cameras: int
) -> None:
    """Write a screenshot of the page that shows SOURCE."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["live", str(source), "--loop", "--scale", "1", "--web", address]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if cameras > 1:
            config = Path(folder) / "cameras.toml"
            config.write_text(_configure(source.absolute(), address, cameras), encoding="utf-8")
            words = ["serve", str(config)]
        command = [sys.executable, "-m", "lfdn_video", *words]
        live = stack.enter_context(subprocess.Popen(command))
        try:
            _wait_for(f"http://{address}/healthz", live)
            screenshot = _take_screenshot(f"http://{address}/", seconds, size, dark=dark)
        finally:
            live.terminate()
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(output, quality=QUALITY)
    click.echo(f"{output}: {output.stat().st_size} bytes")


def _configure(source: Path, address: str, cameras: int) -> str:
    """Write the file of `serve` for several cameras with one clip, and one that is dead."""
    parts = [f'[web]\naddress = "{address}"\n[network]\nnetwork = "lite"\n']
    parts += ["[defaults]\nscale = 1\nloop = true\n"]
    parts += [
        f'[cameras.{name}]\nsource = "{source}"\n' for name in NAMES[: min(cameras, len(NAMES)) - 1]
    ]
    return "".join([*parts, '[cameras.gate]\nsource = "rtsp://127.0.0.1:9/stream1"\n'])


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
