"""A drawn scene through the network and the stage: PSNR-Y, and how much of a thing is left.

The network restores a scene once; `TemporalStage` then runs alone on what it made.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from benchmarks.scenes.catalogue import Drawn
from benchmarks.scenes.frames import compress, to_frames, to_luma
from benchmarks.scenes.sheet import make_sheet
from benchmarks.scenes.views import Backdrop, Camera, Picture
from benchmarks.temporal import IDENTICAL_DB
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame, FrameFormat
from lfdn_video.temporal.stage import TemporalStage, TemporalSummary

LEAST_CHANGE = 1e-6
"""Sum of squares below which nothing was drawn."""

Group = Literal["dry", "rain", "ball"]


@dataclass(frozen=True)
class Decibels:
    """PSNR-Y of source, network alone and network with stage, mean over frames."""

    input: float
    network: float
    stage: float


@dataclass(frozen=True)
class Kept:
    """Share of a thing's contrast."""

    input: float
    network: float
    stage: float


@dataclass(frozen=True)
class Row:
    """One scene."""

    group: Group
    name: str
    camera: Camera
    background: str
    frames: int
    psnr_y: Decibels
    worst_db: float
    """Of the stage's frames."""
    least_gain_db: float
    noise_free: Decibels | None
    kept: Kept | None
    rain_left: Kept | None
    changed: int
    mean_change: float
    left: dict[str, int]


@dataclass(frozen=True)
class Case:
    """One scene before it is drawn."""

    group: Group
    name: str
    camera: Camera
    backdrop: Backdrop
    draw: Callable[[], Drawn]
    compressed: bool = False
    adds_thing: bool = True


class Network:
    """The network alone on frames of one size, each scene once if there is a folder to keep them.

    Args:
        engine: with the network.
        info: what the frames are.
        folder: where results are kept, by the network and the frames; None: nowhere.
    """

    def __init__(self, engine: Engine, info: FrameFormat, folder: Path | None) -> None:
        self._engine = engine
        self._converter = PlaneConverter(info)
        self._folder = folder

    def restore(self, frames: Sequence[Frame]) -> list[Frame]:
        """Restore frames, or read them."""
        path = self._find(frames)
        if path is not None and path.exists():
            with np.load(path) as kept:
                return [
                    Frame(
                        tuple(kept[f"{frame.pts}_{n}"] for n in range(3)), frame.format, frame.pts
                    )
                    for frame in frames
                ]
        restored = list(restore_frames(list(frames), self._converter, self._engine))
        if path is not None:
            planes = {f"{f.pts}_{n}": plane for f in restored for n, plane in enumerate(f.planes)}
            np.savez_compressed(path, **cast("dict[str, Any]", planes))
        return restored

    def _find(self, frames: Sequence[Frame]) -> Path | None:
        if self._folder is None:
            return None
        key = hashlib.sha256(repr(dict(self._engine.identity)).encode())
        for frame in frames:
            for plane in frame.planes:
                key.update(plane.tobytes())
        return self._folder / f"{key.hexdigest()[:32]}.npz"


def refine(
    decoded: Sequence[Frame], restored: Sequence[Frame], info: FrameFormat
) -> tuple[list[Frame], TemporalSummary]:
    """Pass what the network made through the stage."""
    stage = TemporalStage(info)
    for _ in stage.record(decoded):
        pass
    return list(stage.refine(iter(restored))), stage.summary


def psnr_db(luma: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    error = float(np.square(luma.astype(np.float32) - truth).mean())
    return 10 * float(np.log10(255**2 / error)) if error else IDENTICAL_DB


def kept_share(
    frames: Sequence[Frame], thing: Sequence[Picture], bare: Sequence[Picture]
) -> float | None:
    """How much of a thing is left in frames: their difference from the bare place on its own.

    Args:
        frames: with the thing, perhaps changed.
        thing: luma of what it adds.
        bare: luma of the place without it.

    Returns:
        1 for all of it; None if nothing was drawn.
    """
    both = size = 0.0
    for frame, added, without in zip(frames, thing, bare, strict=True):
        both += float(np.sum(added * (frame.planes[0] - without)))
        size += float(np.sum(np.square(added)))
    return both / size if size > LEAST_CHANGE else None


def measure(case: Case, network: Network, info: FrameFormat, sheets: Path | None) -> Row:
    """Draw a scene, restore it with and without the stage, and compare."""
    drawn = case.draw()
    decoded = to_frames(drawn.pictures)
    if case.compressed:
        decoded = compress(decoded)
    single = network.restore(decoded)
    refined, summary = refine(decoded, single, info)
    results = (decoded, single, refined)
    truth = decoded if drawn.truth is None else to_frames(drawn.truth)
    wanted = [frame.planes[0] for frame in truth]
    by_frame = [_compare(frames, wanted) for frames in results]
    gains = [a - b for a, b in zip(by_frame[2], by_frame[1], strict=True)]
    noise_free = rain_left = None
    if drawn.truth is not None:
        rain_left = _share_left(drawn.pictures, drawn.truth, results)
    if drawn.noise_free is not None:
        lumas = [to_luma(picture) for picture in drawn.noise_free]
        noise_free = Decibels(*(float(np.mean(_compare(frames, lumas))) for frames in results))
    if sheets is not None:
        name = "".join(
            c if c.isalnum() else "_" for c in f"{case.name} {case.camera} {case.backdrop.name}"
        )
        at = int(np.argmin(by_frame[2] if drawn.truth is None else gains))
        make_sheet([frames[at] for frames in results], info).save(sheets / f"{name}.png")
    return Row(
        group=case.group,
        name=case.name,
        camera=case.camera,
        background=case.backdrop.name,
        frames=len(decoded),
        psnr_y=Decibels(*(float(np.mean(each)) for each in by_frame)),
        worst_db=min(by_frame[2]),
        least_gain_db=min(gains),
        noise_free=noise_free,
        kept=_measure_kept(drawn, results) if case.adds_thing else None,
        rain_left=rain_left,
        changed=summary.frames,
        mean_change=summary.mean_change,
        left=dict(summary.left),
    )


def _compare(frames: Sequence[Frame], wanted: Sequence[np.ndarray[Any, Any]]) -> list[float]:
    return [psnr_db(frame.planes[0], luma) for frame, luma in zip(frames, wanted, strict=True)]


def _measure_kept(drawn: Drawn, results: Sequence[Sequence[Frame]]) -> Kept | None:
    shown = drawn.pictures if drawn.truth is None else drawn.truth
    return _share_left(shown, drawn.bare, results)


def _share_left(
    shown: Sequence[Picture], bare: Sequence[Picture], results: Sequence[Sequence[Frame]]
) -> Kept | None:
    """Tell how much of what `shown` has and `bare` lacks is left in each of the results."""
    without = [to_luma(picture.clip(0, 255)) for picture in bare]
    thing = [to_luma(p.clip(0, 255)) - luma for p, luma in zip(shown, without, strict=True)]
    shares = [kept_share(frames, thing, without) for frames in results]
    if any(share is None for share in shares):
        return None
    return Kept(*cast("list[float]", shares))
