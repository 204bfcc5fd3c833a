"""Draws the web page of a live stream, as a browser shows it, with a clip in the camera's place.

    python benchmarks/live_page.py samples/rainy_dashcam.mp4 -o docs/live_page.jpg

The clip runs in real time, the newest frame is restored as it comes and the others are dropped, so
the numbers on the page are this machine's. Needs Debian's chromium and the extra `[dev]`.
"""

import io
import shutil
import time
from contextlib import closing
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from playwright.sync_api import sync_playwright

import lfdn
from lfdn_video import open_reader
from lfdn_video.board import LATENCY_BOUNDS_S, Board, Picture, Status, View
from lfdn_video.colour import PlaneConverter
from lfdn_video.web import serve

FPS = 25.0
QUALITY = 88
MAX_LATENCY_S = 1.0


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=20.0, show_default=True, help="To run before.")
@click.option("--size", type=(int, int), default=(1200, 700), show_default=True)
@click.option("--dark/--light", default=True, show_default=True)
def main(source: Path, output: Path, seconds: float, size: tuple[int, int], dark: bool) -> None:
    """Write a picture of the page."""
    board = Board(Status(source=source.name, task="derain", max_latency_s=MAX_LATENCY_S))
    pictures = _pictures(source)
    with serve(board, "127.0.0.1:0") as page, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        tab.goto(page.url)
        _run(board, pictures, seconds)
        shot = tab.screenshot()
        browser.close()
    board.close()
    Image.open(io.BytesIO(shot)).convert("RGB").save(output, quality=QUALITY)
    status = board.status
    click.echo(f"{output}: {output.stat().st_size} bytes; {status.fps_out:.1f} fps on this machine")


def _pictures(source: Path) -> list[Picture]:
    with open_reader(source) as reader, closing(reader.frames()) as frames:
        return [
            PlaneConverter(frame.info or reader.info).to_image(frame.planes) for frame in frames
        ]


def _run(board: Board, pictures: list[Picture], seconds: float) -> None:
    """Restore the newest frame, again and again, and count what was dropped meanwhile."""
    network = lfdn.load("derain")
    begun = time.time()
    height, width = pictures[0].shape[:2]
    board.update(state="live", started_at=begun, changed_at=begun, size=(width, height))
    counts, total_s, out, last = [0] * (len(LATENCY_BOUNDS_S) + 1), 0.0, 0, 0
    while time.time() < begun + seconds:
        number = max(last + 1, int((time.time() - begun) * FPS) + 1)
        captured_at = begun + (number - 1) / FPS
        time.sleep(max(0.0, captured_at - time.time()))
        raw = pictures[(number - 1) % len(pictures)]
        restored = _restored(network, raw)
        latency_s = time.time() - captured_at
        last, out, total_s = number, out + 1, total_s + latency_s
        counts[int(np.searchsorted(LATENCY_BOUNDS_S, latency_s))] += 1
        board.show(View(number, raw, restored, captured_at, latency_s))
        board.update(
            frames_in=number,
            frames_out=out,
            frames_dropped=number - out,
            fps_in=FPS,
            fps_out=out / (time.time() - begun),
            latency_s=latency_s,
            latency_counts=tuple(counts),
            latency_sum_s=total_s,
        )


def _restored(network: torch.nn.Module, picture: Picture) -> Picture:
    with torch.inference_mode():
        batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        pixels = network(batch)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    return np.asarray(pixels.numpy(), np.uint8)


if __name__ == "__main__":
    main()
