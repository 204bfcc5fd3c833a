"""What the temporal stage does to rain and to dry footage, offline and as in `live`.

    python -m benchmarks.temporal --pairs FOLDER --mode offline --mode delay-1 --mode delay-0
    python -m benchmarks.temporal --sequence FOLDER --drawn 1 --frames 14
    python -m benchmarks.temporal --sequence VIDEO --frames 12 --parts 4
    python -m benchmarks.temporal --smoke

FOLDER of `--pairs` holds numbered images in `rainy/` and `clean/`. A `--sequence`, a folder of
numbered images or a video, is taken as dry: what comes out is compared with what went in, and the
stage with the network alone. With `--drawn` rain is drawn into it as `lfdn-video degrade rain`
draws it, with `--rendered` other streaks of a bank are laid over each frame, and the sequence
itself is the truth. Of long ones `--parts` of so many `--frames` are
measured, evenly spaced.

    offline   `restore` with its defaults, to a file in FFV1 that is decoded again
    delay-1   `Restoration`, which restores the frames of `live --delay 1`; every frame, full size
    delay-0   the same with `--delay 0`: past frames alone

The network runs in float32 on the CPU.

    PSNR-Y    mean over frames and the worst, dB; at most 100
    SSIM-Y    mean over frames
    flicker   that of `lfdn.video_metrics`, on luma, in 8-bit codes
"""

import hashlib
import json
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, TypeAlias, get_args

import click
import numpy as np
from torch import Tensor

import lfdn
from benchmarks.pictures import weights_digests
from benchmarks.reports import describe_machine
from benchmarks.scenes.rendered import make_rendering_engine
from lfdn.cpu import optimize_for_cpu
from lfdn.datasets.images import to_tensor
from lfdn.metrics import luma, psnr, ssim
from lfdn.training.evaluate import EQUAL_DB
from lfdn.video_metrics import flicker
from lfdn.weights import file_sha256, find_packaged
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.degradation import WHOLE_FRAMES, make_degrading_engine
from lfdn_video.inference.engine import MAX_LANES, Engine
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame
from lfdn_video.options import Delay, EncodeOptions, SpanOptions, Temporal
from lfdn_video.pipeline import restore, restored_frames
from lfdn_video.stream.capture.capture import CapturedFrame
from lfdn_video.stream.network import OwnNetwork
from lfdn_video.stream.restoration import Restoration
from lfdn_video.temporal.stage import TemporalSummary

SAMPLE = Path(__file__).parent.parent / "samples" / "rainy_dashcam.mp4"
MOST_REMEMBERED = 100
"""Results of the network that are kept; 4 MB each at 640x480."""

IDENTICAL_DB = EQUAL_DB
"""Shown for frames without a difference."""

Mode: TypeAlias = Literal["offline", "delay-1", "delay-0"]
DELAYS: dict[Mode, Delay] = {"delay-1": 1, "delay-0": 0}

Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Scores:
    """Frames against others; None where nothing can be compared."""

    psnr_y: float
    worst_psnr_y: float
    ssim_y: float
    flicker: float | None


@dataclass(frozen=True)
class Row:
    """One sequence in one mode."""

    name: str
    mode: Mode
    frames: int
    input: Scores | None
    """The source against the truth; None if it is the truth."""
    network: Scores
    """The network alone against the truth."""
    stage: Scores
    """With the stage against the truth."""
    stage_to_network: Scores | None
    """With the stage against the network alone; None where there is rain."""
    changed: int
    mean_change: float
    left: dict[str, int]
    given_back: int
    """Frames in which texture was given back."""


def images(source: Path, span: SpanOptions | None = None) -> list[Image]:
    """All frames of a source as RGB."""
    return list(iterate(source, span))


def iterate(source: Path, span: SpanOptions | None = None) -> Iterator[Image]:
    """Decode the frames of a source to RGB."""
    with Engine(lambda batch: batch) as engine:
        for frame in restored_frames(source, engine=engine, temporal="off", span=span):
            yield frame.image


def compare(frames: Iterator[Image], truth: Iterator[Image]) -> Scores:
    """Compare frames with others, two at a time in memory."""
    decibels, similarities, changes = [], [], []
    before: tuple[Tensor, Tensor] | None = None
    for pair in zip(frames, truth, strict=True):
        one, other = (luma(to_tensor(image)) for image in pair)
        decibels.append(min(psnr(one, other).item(), IDENTICAL_DB))
        similarities.append(ssim(one, other).item())
        if before is not None:
            changes.append(flicker((before[0], one), (before[1], other)))
        before = one, other
    return Scores(
        psnr_y=fmean(decibels),
        worst_psnr_y=min(decibels),
        ssim_y=fmean(similarities),
        flicker=fmean(changes) if changes else None,
    )


class Remembered:
    """A network that runs once on an image, however often it is asked.

    Modes of one sequence then cost one pass of the network, and differ by the stage alone.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self._network = network
        self._results: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, batch: Tensor) -> Tensor:
        key = hashlib.sha256(batch.contiguous().numpy().tobytes()).digest()
        if key not in self._results:
            self._results[key] = self._network(batch).clone()
            if len(self._results) > MOST_REMEMBERED:
                self._results.popitem(last=False)
        return self._results[key].clone()


class Restored:
    """A source restored by each way to do it, as files in a folder.

    Args:
        source: video, or images.
        folder: where files are written.
        engine: with the network.
        span: the part of the source.
    """

    def __init__(
        self, source: Path, folder: Path, engine: Engine, span: SpanOptions | None = None
    ) -> None:
        self._source = source
        self._folder = folder
        self._engine = engine
        self._span = span
        self._network: Path | None = None

    def by_network(self) -> Path:
        """The network alone."""
        if self._network is None:
            self._network, _ = self._restore("off")
        return self._network

    def by_stage(self, mode: Mode) -> tuple[Path, TemporalSummary]:
        """Network and stage."""
        if mode == "offline":
            target, summary = self._restore("auto")
            assert summary is not None
            return target, summary
        return self._restore_live(mode)

    def same_as_stage(self, target: Path) -> None:
        """Say that the stage changed nothing, so that the network alone need not run again."""
        self._network = self._network or target

    def _restore(self, temporal: Temporal) -> tuple[Path, TemporalSummary | None]:
        target = self._folder / f"{temporal}.mkv"
        summary = restore(
            self._source,
            target,
            engine=self._engine,
            temporal=temporal,
            encode=EncodeOptions(codec="ffv1", overwrite=True),
            span=self._span,
        )
        return target, summary.temporal

    def _restore_live(self, mode: Mode) -> tuple[Path, TemporalSummary]:
        folder = self._folder / mode
        folder.mkdir(exist_ok=True)
        frames: list[Frame] = []
        with (
            open_reader(self._source, self._span) as reader,
            closing(Restoration(OwnNetwork(self._engine), delay=DELAYS[mode])) as restoration,
        ):
            info = reader.info
            for number, frame in enumerate(reader.frames(), 1):
                captured = CapturedFrame(
                    frame=replace(frame, info=frame.info or info),
                    number=number,
                    stamp_s=number / 25,
                    captured_at=number / 25,
                    connection=0,
                )
                ready = restoration.push(captured, scale=1.0, refines=True)
                frames += [each.frame for each in ready]
            frames += [each.frame for each in restoration.finish()]
            account = restoration.account()
        converter = PlaneConverter(info)
        for number, frame in enumerate(frames):
            np.save(folder / f"{number:05}.npy", converter.to_image(frame.planes))
        return folder, TemporalSummary(
            frames=account["temporal_frames"],  # type: ignore[arg-type]
            mean_change=account["temporal_mean_change"],  # type: ignore[arg-type]
            left=account["temporal_left"],  # type: ignore[arg-type]
            given_back=account["temporal_given_back"],  # type: ignore[arg-type]
        )


def read_back(target: Path) -> Iterator[Image]:
    """Read the frames of `Restored`."""
    if target.is_dir():
        return (np.load(path) for path in sorted(target.iterdir()))
    return iterate(target)


def measure(
    name: str,
    source: Path,
    truth: Path | None,
    engine: Engine,
    modes: Sequence[Mode],
    span: SpanOptions | None = None,
) -> Iterator[Row]:
    """Compare with and without the stage; without truth, both with the source."""
    with tempfile.TemporaryDirectory() as folder:
        restored = Restored(source, Path(folder), engine, span)
        wanted = source if truth is None else truth
        unprocessed = None
        if truth is not None:
            unprocessed = compare(iterate(source, span), iterate(wanted, span))
        for mode in modes:
            target, summary = restored.by_stage(mode)
            stage = compare(read_back(target), iterate(wanted, span))
            if not summary.frames and not summary.given_back:
                restored.same_as_stage(target)
            alone = restored.by_network()
            to_network = None
            if truth is None:
                to_network = compare(read_back(target), read_back(alone))
            yield Row(
                name=name,
                mode=mode,
                frames=summary.frames + sum(summary.left.values()),
                input=unprocessed,
                network=compare(read_back(alone), iterate(wanted, span)),
                stage=stage,
                stage_to_network=to_network,
                changed=summary.frames,
                mean_change=summary.mean_change,
                left=dict(summary.left),
                given_back=summary.given_back,
            )


def measure_sequence(
    source: Path,
    engine: Engine,
    span: SpanOptions,
    density: float | Path | None,
    modes: Sequence[Mode],
) -> Iterator[Row]:
    """Measure a part of a dry sequence, or one with rain drawn, or rendered, into it."""
    start = f" from {float(span.start_s):.2f} s" if span.start_s else ""
    if density is None:
        yield from measure(f"{source.stem}{start}, dry", source, None, engine, modes, span)
        return
    with tempfile.TemporaryDirectory() as folder:
        dry, rainy = Path(folder) / "dry_%05d.png", Path(folder) / "rainy_%05d.png"
        with Engine(lambda batch: batch) as copier:
            restore(source, dry, engine=copier, temporal="off", span=span)
        if isinstance(density, Path):
            kind, degrader = "rendered rain", make_rendering_engine(density)
        else:
            kind = f"rain {density:g}"
            degrader = make_degrading_engine("rain", seed=3, density=density)
        with degrader:
            restore(dry, rainy, engine=degrader, inference=WHOLE_FRAMES, temporal="off")
        yield from measure(f"{source.stem}{start}, {kind}", rainy, dry, engine, modes)


def list_spans(source: Path, frames: int, parts: int) -> Iterator[SpanOptions]:
    """Spread parts of so many frames evenly over a source, from its start to its end; 0: all."""
    with open_reader(source) as reader:
        rate, duration_s = Fraction(reader.info.average_rate or 25), reader.info.duration_s
    count = round((duration_s or 0) * rate)
    if not frames or parts * frames >= count:
        yield SpanOptions()
        return
    for part in range(parts):
        first = part * (count - frames) // max(1, parts - 1)
        # A quarter of a frame sooner, so that no rounding moves a frame out or in.
        start_s, end_s = ((each - Fraction(1, 4)) / rate for each in (first, first + frames))
        yield SpanOptions(start_s=max(0.0, float(start_s)), end_s=float(end_s))


def format_row(row: Row) -> str:
    """One line: input, network alone, with the stage."""
    sides = {"input": row.input, "network": row.network, "stage": row.stage}
    words = [f"{row.name}, {row.mode}, {row.frames} frames:"]
    words += [f"{name} {show(scores)};" for name, scores in sides.items() if scores is not None]
    if row.stage_to_network is not None:
        words.append(f"stage to network {show(row.stage_to_network)};")
    words.append(f"changed {row.changed} by {row.mean_change:.2f}, left {row.left};")
    words.append(f"texture given back in {row.given_back}")
    return " ".join(words)


def show(scores: Scores) -> str:
    flickers = "" if scores.flicker is None else f", flicker {scores.flicker:.2f}"
    return (
        f"PSNR-Y {scores.psnr_y:.2f} (worst {scores.worst_psnr_y:.2f}), "
        f"SSIM-Y {scores.ssim_y:.4f}{flickers}"
    )


@click.command()
@click.option("--pairs", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--sequence", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--drawn", type=float, multiple=True, help="Draw rain of this density instead.")
@click.option(
    "--rendered", type=click.Path(path_type=Path, exists=True), help="Lay its streaks over it too."
)
@click.option("--mode", "modes", type=click.Choice(get_args(Mode)), multiple=True)
@click.option("--frames", type=int, default=40, show_default=True, help="Of each part; 0: all.")
@click.option("--parts", type=int, default=1, show_default=True, help="Of each sequence.")
@click.option("--weights", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--smoke", is_flag=True, help="A few frames of a sample, to see that it runs.")
def main(
    pairs: Sequence[Path],
    sequence: Sequence[Path],
    drawn: Sequence[float],
    rendered: Path | None,
    modes: Sequence[Mode],
    frames: int,
    parts: int,
    weights: Path | None,
    json_path: Path | None,
    smoke: bool,
) -> None:
    """Measure the temporal stage."""
    rows: list[Row] = []
    modes = modes or ("offline",)
    if smoke:
        sequence, frames, modes = (SAMPLE,), 5, get_args(Mode)

    def add(measured: Iterator[Row]) -> None:
        for row in measured:
            rows.append(row)
            click.echo(format_row(row))
            if json_path is not None:
                content = {
                    "machine": describe_machine(),
                    "weights": digest,
                    "gate": weights_digests(["derain"])["derain.gate"],
                    "sequences": [asdict(each) for each in rows],
                }
                json_path.write_text(json.dumps(content, indent=1) + "\n")

    source_of_weights = find_packaged("derain")[0] if weights is None else weights
    digest = file_sha256(source_of_weights)
    network = Remembered(optimize_for_cpu(lfdn.load("derain" if weights is None else weights)))
    with Engine(network, lanes=MAX_LANES, model_id=digest, task="derain") as engine:
        for folder in pairs:
            add(measure(folder.name, folder / "rainy", folder / "clean", engine, modes))
        for source in sequence:
            kinds: list[float | Path | None] = [*drawn, *([rendered] if rendered else [])]
            for span, density in product(list_spans(source, frames, parts), kinds or [None]):
                add(measure_sequence(source, engine, span, density, modes))


if __name__ == "__main__":
    main()
