"""Calibrates the dry gate, and measures how often it is wrong.

    python -m benchmarks.dry_gate collect calibration --data D -o calibration.json
    python -m benchmarks.dry_gate collect test --data D -o test.json
    python -m benchmarks.dry_gate calibrate calibration.json
    python -m benchmarks.dry_gate rate test.json
    python -m benchmarks.dry_gate clips --data D -o clips.json
    python -m benchmarks.dry_gate blur --data D

`collect` measures labelled bursts (`benchmarks/dry/bursts.py`) with the packaged network by
`lfdn_video/temporal/rainfall.py`; `lfdn_video/gate/survey.py` has the threshold. `calibrate` prints
what it should be, and sees no test clip. `rate` prints precision and recall of "rain" and of "dry",
by scene and kind. `clips` does so for the segments of whole files, half dry and half rainy
(`benchmarks/dry/halves.py`). `blur` shows why the gate is not for `deblur`: the same question,
asked of the deblurring network on sharp and on blurred frames.
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
import cv2
import numpy as np

from benchmarks.dry.bursts import Image, Use, crop, list_bursts, read, read_video
from benchmarks.dry.halves import judge, list_labels, write_half_dry
from lfdn_video.gate.survey import THRESHOLD
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Colour, Frame, FrameFormat, PixelFormat
from lfdn_video.temporal.rainfall import measure_rainfall

cv: Any = cv2

FORMAT = PixelFormat.parse("yuvj444p")
QUANTILE = 0.02
MARGIN = 2
"""Rain may be fainter than any that was drawn."""
HALF_DRY = ("dashcam", "car_detection")
"""No training saw them."""

BLUR_PAIRS = 8
"""Of each clip."""


@click.group()
def main() -> None:
    """Calibrate and measure the dry gate."""


@main.command()
@click.argument("use", type=click.Choice(["calibration", "test"]))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def collect(use: str, data: Path, output: Path) -> None:
    """Measure the labelled bursts of one use."""
    rows: list[dict[str, object]] = []
    start_s = time.perf_counter()
    with load_engine("derain") as engine:
        for burst in list_bursts(data, cast("Use", use)):
            spread = measure(burst.images, engine)
            rows.append({"scene": burst.scene, "kind": burst.kind, "spread": round(spread, 4)})
            output.write_text(json.dumps(rows, indent=0) + "\n")
            click.echo(f"{time.perf_counter() - start_s:6.0f} s {rows[-1]}", err=True)


@main.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True))
def calibrate(results: Path) -> None:
    """Print the threshold that follows from calibration bursts."""
    rows = json.loads(results.read_text())
    rainy = [row["spread"] for row in rows if row["kind"] != "dry"]
    quantile = float(np.quantile(rainy, QUANTILE))
    click.echo(f"98 % of {len(rainy)} rainy bursts exceed {quantile:.4f}: {quantile / MARGIN:.4f}")
    show(rows)


@main.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True))
def rate(results: Path) -> None:
    """Print the error rates."""
    show(json.loads(results.read_text()))


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def clips(data: Path, output: Path) -> None:
    """Judge the segments of whole clips, half dry and half rainy, and print the error rates."""
    rows: list[dict[str, Any]] = []
    with load_engine("derain") as engine, tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(HALF_DRY):
            images = read_video(data / "videos" / f"{name}.mp4")
            for first_rains in (False, True):
                labels = list_labels(len(images), first_rains)
                path = Path(folder) / f"{name}_{first_rains}.mp4"
                write_half_dry(path, images, labels, 7000 + 100 * number)
                segments = judge(path, engine)
                for label, segment in zip(labels, segments, strict=True):
                    rows.append({"scene": name, "kind": label, "spread": segment.spread})
                    click.echo(rows[-1], err=True)
                output.write_text(json.dumps(rows, indent=0) + "\n")
    show(rows)


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path))
def blur(data: Path, output: Path | None) -> None:
    """Measure how well the change by `deblur` tells blurred from sharp frames."""
    changes: dict[str, list[float]] = {"blur": [], "sharp": []}
    with load_engine("deblur") as engine:
        for folder in sorted((data / "reds_small").glob("clip_*")):
            files = sorted((folder / "blur").iterdir())
            for file in files[:: max(1, len(files) // BLUR_PAIRS)][:BLUR_PAIRS]:
                for kind, found in changes.items():
                    before = to_frame(crop(read(folder / kind / file.name)))
                    after = restore(before, engine)
                    difference = after.planes[0].astype(int) - before.planes[0]
                    found.append(round(float(np.abs(difference).mean()), 4))
    blurred, sharp = (np.array(changes[kind]) for kind in ("blur", "sharp"))
    above = float((blurred[:, None] > sharp[None]).mean())
    passing = float((sharp < np.quantile(blurred, QUANTILE)).mean())
    click.echo(f"{len(sharp)} pairs: a blurred frame changes more than a sharp one: {above:.2f}")
    click.echo(f"sharp frames that pass where 98 % of the blurred are found: {passing:.2f}")
    if output is not None:
        result = {"changes": changes, "area_under_curve": above, "sharp_passing": passing}
        output.write_text(json.dumps(result, indent=1) + "\n")


def measure(images: Sequence[Image], engine: Engine) -> float:
    """Measure over how much of a burst's middle frame it rains, as the gate does."""
    frames = [to_frame(image, number) for number, image in enumerate(images)]
    middle = frames[len(frames) // 2]
    return measure_rainfall(frames, restore(middle, engine), format_of(middle))


def restore(frame: Frame, engine: Engine) -> Frame:
    (restored,) = restore_frames([frame], PlaneConverter(format_of(frame)), engine)
    return restored


def to_frame(image: Image, number: int = 0) -> Frame:
    luma, red, blue = cv.split(cv.cvtColor(image, cv.COLOR_RGB2YCrCb))
    return Frame((luma, blue, red), FORMAT, number)


def format_of(frame: Frame) -> FrameFormat:
    return FrameFormat(width=frame.width, height=frame.height, format=frame.format, colour=Colour())


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print how often rain is found, by scene and kind, and the rates over all."""
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows:
        kind = row["kind"].partition(",")[0]
        groups[row["scene"], kind].append(row["spread"] >= THRESHOLD)
    for (scene, kind), found in sorted(groups.items()):
        click.echo(f"{scene:16} {kind:10} rain in {sum(found):3} of {len(found):3}")
    label = np.array([row["kind"] != "dry" for row in rows])
    rain = np.array([row["spread"] >= THRESHOLD for row in rows])
    for name, true, said in (("rain", label, rain), ("dry", ~label, ~rain)):
        hits = (true & said).sum()
        precision = f"{hits / said.sum():.3f}" if said.any() else "none found"
        click.echo(f"{name}: precision {precision}, recall {hits / true.sum():.3f}")


if __name__ == "__main__":
    main()
