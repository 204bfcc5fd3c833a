"""Render the pictures of README.md and docs/, and measure the real rain of docs/gallery.md.

    python -m benchmarks.gallery D/videos                   # everything
    python -m benchmarks.gallery D/videos --only live_page.webp
    python -m benchmarks.gallery D/videos --look seen/      # also the real rain, to look at

Clips are those of `samples/` and of `D/videos` (docs/gallery.md names them); a picture is made only
of footage that may be passed on. Clips of real rain may not: their figures go to
`benchmarks/results/gallery.json` and into the table of docs/gallery.md, and `--look` writes their
frames elsewhere, for the eye.

Frames are as decoded and as restored, lossless; nothing is retouched. Pages are photographed in
Debian's chromium. What each picture was made from is in `docs/pictures/manifest.json`.
"""

import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import pictures
from benchmarks.screenshots import photograph, photograph_live
from lfdn_video import EncodeOptions, SpanOptions, restore
from lfdn_video.inference.degradation import WHOLE_FRAMES, make_degrading_engine
from lfdn_video.options import Task
from lfdn_video.review.compare import compare
from lfdn_video.review.report import write_report

SAMPLES = pictures.ROOT / "samples"
RESULTS = Path(__file__).parent / "results" / "gallery.json"
PAGE = pictures.ROOT / "docs" / "gallery.md"
COMMAND = "python -m benchmarks.gallery D/videos"
LIVE_FILES = "lfdn_video/stream/watch/page"
REPORT_FILES = "lfdn_video/review/page"
GAP_PX = 6
QUALITY = 88
LOOP_QUALITY = 70
DASHCAM_END_S = 1.98
LOOP_FRAMES = 49
REAL_END_S = 0.9
REAL = ("real_rain_park.mp4", "cctv_rain.mp4")
DRY = "dashcam.mp4"
DRY_END_S = 0.3
CLOSE_UP = (560, 200, 320, 240)
"""Left, top, width and height of what is shown of the dry clip, in px."""

Rgb = NDArray[np.uint8]


@dataclass(slots=True)
class Studio:
    """Where pictures are made: the clips, a folder, and what is restored so far."""

    videos: Path
    """Folder of the clips that are not in the repository."""
    folder: Path
    """Folder for what is restored."""
    restored: dict[str, Path] = field(default_factory=dict)
    """Restored clips by name and task."""
    changed: dict[str, int] = field(default_factory=dict)
    """Frames that the temporal stage changed, by clip."""

    def find(self, name: str) -> Path:
        """Return the file of a clip, of `samples/` or of the other folder."""
        return SAMPLES / name if (SAMPLES / name).is_file() else self.videos / name

    def restore(self, clip: Path, end_s: float, task: Task = "derain") -> Path:
        """Restore the first seconds of a clip without loss, once."""
        key = f"{clip.stem}.{task}"
        if key not in self.restored:
            target = self.folder / f"{key}.mkv"
            summary = restore(
                clip,
                target,
                task=task,
                span=SpanOptions(end_s=end_s),
                encode=EncodeOptions(codec="ffv1"),
            )
            self.restored[key] = target
            if summary.temporal is not None:
                self.changed[clip.name] = summary.temporal.frames
        return self.restored[key]


def read_frames(clip: Path, numbers: Iterable[int]) -> list[Rgb]:
    """Decode frames of a clip, by their numbers in ascending order."""
    wanted = set(numbers)
    frames = []
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if number >= max(wanted):
                break
    return frames


def join(images: list[Rgb], axis: int) -> Rgb:
    """Put images of one size above (axis 0) or beside (axis 1) each other, with a white gap."""
    shape = list(images[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, 255, np.uint8)
    parts = [part for image in images for part in (gap, image)][1:]
    return np.concatenate(parts, axis=axis)


def enlarge(image: Rgb, box: tuple[int, int, int, int], times: int) -> Rgb:
    """Enlarge the part `(left, top, width, height)` of an image, each sample to a square."""
    left, top, width, height = box
    part = image[top : top + height, left : left + width]
    return np.asarray(part.repeat(times, axis=0).repeat(times, axis=1))


def encode(image: Rgb) -> bytes:
    """Encode an image as WebP."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "webp", quality=QUALITY, method=6)
    return content.getvalue()


def make_dashcam(studio: Studio) -> bytes:
    """Make the picture of the README: a frame of the sample, source above, result below."""
    clip = studio.find("rainy_dashcam.mp4")
    result = studio.restore(clip, DASHCAM_END_S)
    return encode(join([read_frames(each, [37])[0] for each in (clip, result)], axis=0))


def make_detail(studio: Studio) -> bytes:
    """Make a close-up of the same frame, source beside result."""
    clip = studio.find("rainy_dashcam.mp4")
    result = studio.restore(clip, DASHCAM_END_S)
    both = [read_frames(each, [37])[0] for each in (clip, result)]
    return encode(join([enlarge(each, (440, 30, 200, 130), 2) for each in both], axis=1))


def make_loop(studio: Studio) -> bytes:
    """Make two seconds of the sample as an animation: left half source, right half result."""
    clip = studio.find("rainy_dashcam.mp4")
    result = studio.restore(clip, DASHCAM_END_S)
    numbers = range(LOOP_FRAMES)
    frames = []
    for before, after in zip(*(read_frames(each, numbers) for each in (clip, result)), strict=True):
        middle = before.shape[1] // 2
        frame = np.concatenate([before[:, :middle], after[:, middle:]], axis=1)
        frame[:, middle - 1 : middle + 1] = 255
        frames.append(Image.fromarray(frame))
    content = io.BytesIO()
    frames[0].save(
        content,
        "webp",
        save_all=True,
        append_images=frames[1:],
        duration=40,  # ms
        loop=0,
        quality=LOOP_QUALITY,
        method=6,
    )
    return content.getvalue()


def make_car(studio: Studio) -> bytes:
    """Make a frame of the clip filmed from above, source beside result."""
    clip = studio.find("variable_rate.mp4")
    result = studio.restore(clip, 0.6)
    return encode(join([read_frames(each, [12])[0] for each in (clip, result)], axis=1))


def make_dry(studio: Studio) -> bytes:
    """Make a close-up of dry footage: source, result, and eight times their difference."""
    clip = studio.find(DRY)
    result = studio.restore(clip, DRY_END_S)
    before, after = (read_frames(each, [4])[0] for each in (clip, result))
    difference = 128 + 8 * (after.astype(int) - before)
    shown = [before, after, difference.clip(0, 255).astype(np.uint8)]
    return encode(join([enlarge(each, CLOSE_UP, 1) for each in shown], axis=1))


def blur(studio: Studio) -> Path:
    """Blur the first frames of the dry clip by the camera's motion and shake, once."""
    target = studio.folder / "blurred.mkv"
    if not target.is_file():
        with make_degrading_engine("blur", seed=1, exposure=0.8, shake=1.0) as engine:
            restore(
                studio.find(DRY),
                target,
                engine=engine,
                inference=WHOLE_FRAMES,
                temporal="off",
                span=SpanOptions(end_s=DRY_END_S),
                encode=EncodeOptions(codec="ffv1"),
            )
    return target


def make_blur(studio: Studio) -> bytes:
    """Make a close-up of dry footage: sharp, blurred by the camera's shake, and restored."""
    blurred = blur(studio)
    result = studio.restore(blurred, DRY_END_S, "deblur")
    shown = [read_frames(each, [4])[0] for each in (studio.find(DRY), blurred, result)]
    return encode(join([enlarge(each, CLOSE_UP, 1) for each in shown], axis=1))


def make_live_page(studio: Studio) -> bytes:
    """Photograph the page of a live session."""
    png = photograph_live(studio.find("rainy_dashcam.mp4"), 40.0, (1200, 760), dark=True)
    return encode(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))


def make_report_page(studio: Studio) -> bytes:
    """Photograph the upper part of a report."""
    clip = studio.find("rainy_dashcam.mp4")
    result = studio.restore(clip, DASHCAM_END_S)
    page = studio.folder / "report.html"
    if not page.is_file():
        write_report(clip, result, page, span=SpanOptions(end_s=DASHCAM_END_S))
    png = photograph(page.as_uri(), 1.0, (1200, 1250), dark=False)
    return encode(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and what its content depends on."""

    make: Callable[[Studio], bytes]
    clip: str
    weights: tuple[str, ...] = ("derain",)
    pages: str | None = None
    """Folder of the web page that it shows."""

    def list_inputs(self, studio: Studio) -> dict[str, Path]:
        """List what it is made from: name in the manifest to file."""
        clip = studio.find(self.clip)
        is_here = clip.is_relative_to(pictures.ROOT)
        name = f"samples/{self.clip}" if is_here else f"{pictures.OUTSIDE}videos/{self.clip}"
        found = {name: clip}
        if self.pages:
            files = sorted((pictures.ROOT / self.pages).iterdir())
            found |= {
                str(file.relative_to(pictures.ROOT)): file for file in files if file.is_file()
            }
        return found


PICTURES = {
    "dashcam.webp": Picture(make_dashcam, "rainy_dashcam.mp4"),
    "dashcam_detail.webp": Picture(make_detail, "rainy_dashcam.mp4"),
    "dashcam_loop.webp": Picture(make_loop, "rainy_dashcam.mp4"),
    "car.webp": Picture(make_car, "variable_rate.mp4"),
    "dry.webp": Picture(make_dry, DRY),
    "blur.webp": Picture(make_blur, DRY, ("deblur",)),
    "live_page.webp": Picture(
        make_live_page, "rainy_dashcam.mp4", ("derain", "derain_lite"), LIVE_FILES
    ),
    "report_page.webp": Picture(make_report_page, "rainy_dashcam.mp4", pages=REPORT_FILES),
}


def measure(studio: Studio) -> dict[str, Any]:
    """Measure what is done to clips of real rain, to dry footage and to blur."""
    rows: dict[str, Any] = {}
    for name in REAL:
        clip = studio.find(name)
        found = compare(clip, studio.restore(clip, REAL_END_S), span=SpanOptions(end_s=REAL_END_S))
        figures = found.figures
        rows[name] = {
            "sha256": pictures.digest(clip),
            "frames": found.frames,
            "frames_changed_by_neighbours": studio.changed[name],
            "change": round(figures["change"].mean, 3),
            "flicker_before": round(figures["flicker_before"].mean, 2),
            "flicker_after": round(figures["flicker_after"].mean, 2),
        }
    clip, span = studio.find(DRY), SpanOptions(end_s=DRY_END_S)
    blurred = blur(studio)
    for name, result in (
        ("dry", studio.restore(clip, DRY_END_S)),
        ("blurred", blurred),
        ("deblurred", studio.restore(blurred, DRY_END_S, "deblur")),
    ):
        psnr = compare(clip, result, span=span).figures["psnr_y"]
        rows[name] = {"psnr_y": round(psnr.mean, 2), "worst": round(psnr.least, 2)}
    return {"weights": pictures.weights_digests(("derain", "deblur")), "clips": rows}


def render_table(report: dict[str, Any]) -> str:
    """Render the table of docs/gallery.md."""
    clips = report["clips"]
    lines = [
        "| clip | frames | changed by neighbours | change | flicker before | after |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in REAL:
        row = clips[name]
        lines.append(
            f"| `{name}` | {row['frames']} | {row['frames_changed_by_neighbours']} "
            f"| {row['change']:.2f} | {row['flicker_before']:.2f} | {row['flicker_after']:.2f} |"
        )
    dry, blurred, deblurred = (clips[name] for name in ("dry", "blurred", "deblurred"))
    weights = report["weights"]
    text = (
        f"Dry footage comes back at {dry['psnr_y']:.1f} dB PSNR-Y, the worst frame at "
        f"{dry['worst']:.1f}. Blurred frames are {blurred['psnr_y']:.1f} dB from the sharp ones, "
        f"restored ones {deblurred['psnr_y']:.1f}."
    )
    digests = f"`{weights['derain'][:12]}` (derain) and `{weights['deblur'][:12]}` (deblur)"
    lines += ["", text, "", f"*Weights {digests}.*"]
    return "\n".join(lines)


def render(text: str, report: dict[str, Any]) -> str:
    """Replace what is between the markers in a page by the table."""
    block = f"<!-- gallery -->\n{render_table(report)}\n<!-- /gallery -->"
    return re.sub(r"<!-- gallery -->\n.*?<!-- /gallery -->", lambda _: block, text, flags=re.DOTALL)


def look(studio: Studio, folder: Path) -> None:
    """Write frames of real rain, source above result: to be looked at, not to be passed on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in REAL:
        clip = studio.find(name)
        both = (clip, studio.restore(clip, REAL_END_S))
        shown = join([read_frames(each, [10])[0] for each in both], axis=0)
        Image.fromarray(shown).save(folder / f"{clip.stem}.png")


@click.command()
@click.argument("videos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--only",
    type=click.Choice([*PICTURES, "figures"]),
    multiple=True,
    help="Make this picture, or the figures; may be repeated.",
)
@click.option(
    "--look",
    "seen",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write frames of real rain to this folder.",
)
def main(videos: Path, only: tuple[str, ...], seen: Path | None) -> None:
    """Render docs/pictures and the figures of docs/gallery.md from samples/ and VIDEOS."""
    pictures.FOLDER.mkdir(exist_ok=True)
    weights = pictures.INDEX.read_bytes()

    def check() -> None:
        """Refuse to note digests of weights that came while a picture was in work."""
        if pictures.INDEX.read_bytes() != weights:
            raise click.ClickException(f"{pictures.INDEX}: has changed meanwhile; start again")

    with TemporaryDirectory(prefix="lfdn-video-") as temporary:
        studio = Studio(videos, Path(temporary))
        for name in only or PICTURES:
            if name not in PICTURES:
                continue
            picture = PICTURES[name]
            content = picture.make(studio)
            check()
            (pictures.FOLDER / name).write_bytes(content)
            entries = pictures.load()
            entries[name] = pictures.describe(
                pictures.FOLDER / name, COMMAND, picture.list_inputs(studio), picture.weights
            )
            pictures.save(entries)
            click.echo(f"{name}: {(pictures.FOLDER / name).stat().st_size / 1e3:.0f} kB")
        if not only or "figures" in only:
            report = measure(studio)
            check()
            RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(render(page, report), encoding="utf-8")
            click.echo(render_table(report))
        if seen is not None:
            look(studio, seen)


if __name__ == "__main__":
    main()
