"""What the temporal stage does: PSNR-Y and flicker with it and without, and its time.

    python -m benchmarks.temporal --pairs FOLDER --weights FILE
    python -m benchmarks.temporal --sequence FOLDER --sequence VIDEO --drawn
    python -m benchmarks.temporal --sequence FOLDER --rendered D/rain_streaks --start 10
    python -m benchmarks.temporal --pairs FOLDER --ahead 0
    python -m benchmarks.temporal --speed
    python -m benchmarks.temporal --smoke

FOLDER of `--pairs` holds numbered images in `rainy/` and `clean/`. A `--sequence`, a folder of
numbered images or a video, is taken as dry: the stage must leave it as the network made it. With
`--drawn` rain is drawn into it as `lfdn-video degrade rain` draws it, with `--rendered` another
layer of rendered streaks is laid over each frame, and the sequence itself is the truth. Frames go
through `restore`, from PNG to PNG; then the stage takes their RGB planes, as it does in such a run.
`--ahead 0` or `1` measures what `live` makes of all frames with that `--delay`.

    PSNR-Y    mean over frames, and the worst, in dB; for dry frames against the network's alone
    flicker   that of `lfdn.video_metrics`, on luma, in 8-bit codes
    ms        CPU time of the stage for a frame, all threads together
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from lfdn.datasets.images import to_tensor
from lfdn.datasets.layouts import read_streak_bank
from lfdn.degrade.rain import cover, rendered_streaks
from lfdn.metrics import luma, psnr
from lfdn.video_metrics import flicker
from lfdn_video.inference.degradation import WHOLE_FRAMES, make_degrading_engine
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.input.open import open_reader
from lfdn_video.media import Colour, Frame, FrameFormat, PixelFormat
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions
from lfdn_video.pipeline import restore, restored_frames
from lfdn_video.temporal.stage import Ahead, TemporalStage, TemporalSummary

SAMPLE = Path(__file__).parent.parent / "samples" / "rainy_dashcam.mp4"
SIZES = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))
SPEED_FRAMES = 12
RAIN_SEED = 3
RENDERED_GAIN = 0.6
IDENTICAL_DB = 99.0
"""Shown for frames without a difference."""

Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Row:
    """One sequence."""

    name: str
    frames: int
    input_db: float
    single_db: float
    stage_db: float
    stage_worst_db: float
    single_flicker: float
    stage_flicker: float
    changed: int
    mean_change: float
    left: dict[str, int]


def psnr_db(one: Image, other: Image) -> float:
    return min(psnr(luma(to_tensor(one)), luma(to_tensor(other))).item(), IDENTICAL_DB)


def flicker_codes(frames: Sequence[Image], truth: Sequence[Image]) -> float:
    return flicker(*((luma(to_tensor(image)) for image in clip) for clip in (frames, truth)))


def images(source: Path, span: SpanOptions | None = None) -> list[Image]:
    """All frames of a source as RGB."""
    with Engine(lambda batch: batch) as engine:
        frames = restored_frames(source, engine=engine, temporal="off", span=span)
        return [frame.image for frame in frames]


def restored(source: Path, folder: Path, engine: Engine) -> list[Image]:
    """What the network alone makes of a source."""
    target = folder / "off_%05d.png"
    restore(source, target, engine=engine, temporal="off", encode=EncodeOptions(overwrite=True))
    return images(target)


def pushed(
    rainy: Sequence[Image], single: Sequence[Image], ahead: Ahead
) -> tuple[list[Image], TemporalSummary]:
    """Pass frames and what the network made of them through the stage one by one, as RGB planes."""
    height, width = single[0].shape[:2]
    form = PixelFormat.parse("gbrp")
    info = FrameFormat(width=width, height=height, format=form, colour=Colour())
    stage = TemporalStage(info, ahead=ahead)
    frames: list[Frame] = []
    for number, pair in enumerate(zip(rainy, single, strict=True)):
        decoded, network = (
            Frame(tuple(np.ascontiguousarray(image[..., c]) for c in (1, 2, 0)), form, number)
            for image in pair
        )
        frames += stage.push(decoded, network)
    frames += stage.finish()
    stage.close()
    return [np.stack([frame.planes[c] for c in (2, 0, 1)], -1) for frame in frames], stage.summary


def measure(
    name: str, source: Path, truth: Sequence[Image] | None, engine: Engine, ahead: Ahead = 3
) -> Row:
    """Compare with and without the stage; without truth, with it to without it."""
    rainy = images(source)
    with tempfile.TemporaryDirectory() as folder:
        single = restored(source, Path(folder), engine)
    stage, summary = pushed(rainy, single, ahead)
    truth = single if truth is None else truth
    by_frame = [psnr_db(*pair) for pair in zip(stage, truth, strict=True)]
    return Row(
        name=name,
        frames=len(stage),
        input_db=float(np.mean([psnr_db(*pair) for pair in zip(rainy, truth, strict=True)])),
        single_db=float(np.mean([psnr_db(*pair) for pair in zip(single, truth, strict=True)])),
        stage_db=float(np.mean(by_frame)),
        stage_worst_db=min(by_frame),
        single_flicker=flicker_codes(single, truth),
        stage_flicker=flicker_codes(stage, truth),
        changed=summary.frames,
        mean_change=summary.mean_change,
        left=dict(summary.left),
    )


def measure_sequence(
    source: Path, engine: Engine, span: SpanOptions, rain: Engine | None, kind: str, ahead: Ahead
) -> Row:
    """Measure a dry sequence, or one with rain laid over it by an engine."""
    with tempfile.TemporaryDirectory() as folder:
        dry, rainy = Path(folder) / "dry_%05d.png", Path(folder) / "rainy_%05d.png"
        with Engine(lambda batch: batch) as copier:
            restore(source, dry, engine=copier, temporal="off", span=span)
        name = f"{source.stem}, {kind}"
        if rain is None:
            return measure(name, dry, None, engine, ahead)
        with rain:
            restore(dry, rainy, engine=rain, inference=WHOLE_FRAMES, temporal="off")
        return measure(name, rainy, images(dry), engine, ahead)


def make_rendering_engine(bank: Path) -> Engine:
    """Make an engine that lays other rendered streaks over each frame, in the same light."""
    layers = read_streak_bank(bank)
    generator = torch.Generator().manual_seed(RAIN_SEED)

    def lay(frame: Tensor) -> Tensor:
        height, width = frame.shape[2:]
        streaks = rendered_streaks(layers, 1, height, width, generator=generator)
        light = torch.Generator().manual_seed(RAIN_SEED)
        return cover(frame, RENDERED_GAIN * streaks, generator=light)

    # The task says that it is not `derain`: see `make_degrading_engine`.
    return Engine(lay, model_id=f"rendered {RAIN_SEED}", task="rain")


def rate(source: Path) -> float:
    with open_reader(source) as reader:
        return float(reader.info.average_rate or 25)


def speed_ms(width: int, height: int, *, rainy: bool) -> float:
    """CPU time of the stage for a frame of moving texture, with or without streaks."""
    info = FrameFormat(
        width=width, height=height, format=PixelFormat.parse("yuv420p"), colour=Colour()
    )
    frames = list(_moving_texture(info, rainy=rainy))
    stage = TemporalStage(info)
    for _ in stage.record(frames):
        pass
    start_s = time.process_time()
    for _ in stage.refine(frames):
        pass
    return 1000 * (time.process_time() - start_s) / len(frames)


def _moving_texture(info: FrameFormat, *, rainy: bool) -> Iterator[Frame]:
    random = np.random.default_rng(1)
    size = (info.width // 4 + 64, info.height // 4)
    coarse = random.integers(60, 140, (size[1], size[0]), np.uint8)
    texture: Any = cv2.resize(coarse, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    for index in range(SPEED_FRAMES):
        plane: Any = texture[: info.height, 3 * index :][:, : info.width].copy()
        for _ in range(info.width * info.height // 4000 if rainy else 0):
            x, y = int(random.integers(info.width)), int(random.integers(info.height))
            cv2.line(plane, (x, y), (x + 3, y + 20), (190,), 1)
        shapes = info.format.plane_shapes(info.height, info.width)
        chroma = [np.full(shape, 128, np.uint8) for shape in shapes[1:]]
        yield Frame((plane, *chroma), info.format, index)


@click.command()
@click.option("--pairs", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--sequence", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--drawn", type=float, multiple=True, help="Draw rain of this density as well.")
@click.option(
    "--ahead",
    type=click.Choice([0, 1, 3]),
    default=3,
    show_default=True,
    help="Neighbours after each frame; 0 and 1 as in live.",
)
@click.option(
    "--rendered",
    type=click.Path(path_type=Path, exists=True),
    help="Lay rendered streaks of this folder over it as well.",
)
@click.option("--dry/--no-dry", default=True, help="Measure the dry sequences too.")
@click.option("--start", type=int, default=0, show_default=True, help="First frame of each.")
@click.option("--frames", type=int, default=40, show_default=True, help="Of each sequence.")
@click.option("--weights", type=click.Path(path_type=Path, exists=True))
@click.option("--speed", is_flag=True, help="Measure the time too.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--smoke", is_flag=True, help="A few frames of a sample, to see that it runs.")
def main(
    pairs: Sequence[Path],
    sequence: Sequence[Path],
    drawn: Sequence[float],
    rendered: Path | None,
    dry: bool,
    ahead: Ahead,
    start: int,
    frames: int,
    weights: Path | None,
    speed: bool,
    json_path: Path | None,
    smoke: bool,
) -> None:
    """Measure the temporal stage."""
    rows: list[Row] = []
    times: dict[str, float] = {}

    def save() -> None:
        # After each row: what is done stays if the rest is cut off.
        if json_path is not None:
            content = {"sequences": [asdict(row) for row in rows], "cpu_ms": times}
            json_path.write_text(json.dumps(content, indent=1) + "\n")

    if smoke:
        sequence, frames = (SAMPLE,), 5

    def add(row: Row) -> None:
        rows.append(row)
        save()
        click.echo(
            f"{row.name}: {row.frames} frames, PSNR-Y input {row.input_db:.2f}, single "
            f"{row.single_db:.2f}, stage {row.stage_db:.2f} (worst {row.stage_worst_db:.2f}), "
            f"flicker {row.single_flicker:.2f} -> {row.stage_flicker:.2f}, changed {row.changed} "
            f"by {row.mean_change:.2f}, left {row.left}"
        )

    options = InferenceOptions()
    with load_engine("derain", weights=weights, options=options) as engine:
        for folder in pairs:
            add(measure(folder.name, folder / "rainy", images(folder / "clean"), engine, ahead))
        for source in sequence:
            pace = rate(source)
            span = SpanOptions(start_s=start / pace, end_s=(start + frames) / pace)
            kinds: dict[str, Engine | None] = {"dry": None} if dry else {}
            for density in drawn:
                rain = make_degrading_engine("rain", seed=RAIN_SEED, density=density)
                kinds[f"rain {density:g}"] = rain
            if rendered is not None:
                kinds["rendered rain"] = make_rendering_engine(rendered)
            for kind, laid in kinds.items():
                add(measure_sequence(source, engine, span, laid, kind, ahead))
    for width, height in SIZES[:1] if smoke else SIZES if speed else ():
        for rainy in (True, False):
            label = f"{width}x{height}, {'rainy' if rainy else 'dry'}"
            times[label] = round(speed_ms(width, height, rainy=rainy), 1)
            click.echo(f"{label}: {times[label]} ms of CPU a frame")
    save()


if __name__ == "__main__":
    main()
