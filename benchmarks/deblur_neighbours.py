"""Do neighbouring frames help `deblur`? Ways to use them, against the network alone.

    python -m benchmarks.deblur_neighbours --pairs FOLDER --pairs FOLDER

FOLDER holds consecutive frames under the same names in `blur/` and `sharp/`. The packaged network
restores each frame; up to two on each side are aligned to it by the flow of the temporal stage, on
restored frames. A neighbour counts where its flow is valid. PSNR-RGB, means over the frames that
have two neighbours on each side.

    smoothed        the network alone, blurred a little: what PSNR gains by that
    mean, median    of the frame and its neighbours
    sharper         each px from where there is most detail around it
    alike, sharper  the same, where both look alike once blurred
    weighted        means, weighted by detail
    fed mean        the network on the mean of the blurred frames, aligned
    fed sharper     the network on the sharper of the blurred frames, aligned
    oracle          each px from whatever is closest to the truth around it: a bound, no method
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from PIL import Image

from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.temporal.flow import Field, FlowEstimator, find_valid, to_flow_image

REACH = 2
SIDE_PX = 360
"""Frames are cropped to this height, and a width in proportion, about their middle."""
DETAIL_PX = 4.0
"""Sigma of the window in which detail, likeness and error are compared."""
ALIKE = 4.0
"""Largest difference of blurred frames, in 8-bit codes, for `alike, sharper`."""
SMOOTHING_PX = 1.0
POWER = 4
"""Of the detail, as a weight."""

Picture = np.ndarray[Any, np.dtype[np.float32]]
"""`[H, W, 3]`, RGB, in 8-bit codes."""


def read(path: Path) -> Picture:
    with Image.open(path) as file:
        image = np.asarray(file.convert("RGB"), np.float32)
    height = min(SIDE_PX, image.shape[0])
    width = height * image.shape[1] // image.shape[0]
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def restore(picture: Picture, engine: Engine) -> Picture:
    batch = torch.from_numpy(picture / 255).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        residual = engine.compute_residual(batch).result()
        restored = (batch + residual)[0].permute(1, 2, 0).numpy()
    return np.clip(np.round(255 * restored), 0, 255).astype(np.float32)


def psnr_db(one: Picture, other: Picture) -> float:
    return float(10 * np.log10(255**2 / np.square(one - other).mean()))


def blur(plane: Any, sigma: float = DETAIL_PX) -> Any:
    return cv2.GaussianBlur(plane, (0, 0), sigma)


def detail(picture: Picture) -> Any:
    """Mean squared gradient around each px."""
    grey = picture.mean(-1)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return blur(across**2 + down**2)


def pick(pictures: Sequence[Picture], scores: Any) -> Picture:
    """Take each px from the picture whose score is the highest there."""
    best = np.argmax(np.stack(scores), 0)
    picked: Picture = np.take_along_axis(np.stack(pictures), best[None, ..., None], 0)[0]
    return picked


class Aligner:
    """Neighbours as seen from a frame, by flows between grey restored frames."""

    def __init__(self, restored: Sequence[Picture]) -> None:
        self._images = [
            to_flow_image(each.mean(-1).round().astype(np.uint8), 8) for each in restored
        ]
        self._estimator = FlowEstimator()
        self._flows: dict[tuple[int, int], Field] = {}

    def flow(self, one: int, other: int) -> Field:
        if (one, other) not in self._flows:
            images = self._images
            self._flows[one, other] = self._estimator.estimate(
                images[one], images[other], min(images[one].shape)
            )
        return self._flows[one, other]

    def align(self, at: int, other: int, pictures: Sequence[Picture]) -> tuple[Picture, Any]:
        """Return a neighbour as seen from frame `at`, and where it is valid."""
        there, back = self.flow(at, other), self.flow(other, at)
        how = cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
        warped: Any = cv2.remap(
            pictures[other],
            there,
            None,
            how,
            borderMode=cv2.BORDER_REPLICATE,  # type: ignore[call-overload]
        )
        return warped, find_valid(there, back, there.shape[0]) > 0


def try_ways(at: int, blurred: Sequence[Picture], restored: Sequence[Picture], sharp: Picture,
             aligner: Aligner, engine: Engine) -> dict[str, Picture]:  # fmt: skip
    """Return what each way makes of one frame."""
    others = [at + step for step in range(-REACH, REACH + 1) if step]
    own = restored[at]
    seen = [aligner.align(at, other, restored) for other in others]
    fed = [aligner.align(at, other, blurred) for other in others]
    # Where a neighbour is not valid, the frame itself stands in.
    outputs = [own, *(np.where(valid[..., None], warped, own) for warped, valid in seen)]
    inputs = [blurred[at], *(np.where(v[..., None], warped, blurred[at]) for warped, v in fed)]
    details = [detail(each) for each in outputs]
    alike = [np.abs(blur(each) - blur(own)).max(-1) < ALIKE for each in outputs]
    weights = np.stack(details) ** POWER + 1e-6
    weights /= weights.sum(0)
    return {
        "network alone": own,
        "smoothed": blur(own, SMOOTHING_PX),
        "mean": np.mean(outputs, 0),
        "median": np.median(outputs, 0),
        "sharper": pick(outputs, details),
        "alike, sharper": pick(
            outputs, [np.where(ok, d, -1) for ok, d in zip(alike, details, strict=True)]
        ),
        "weighted": np.einsum("nhw,nhwc->hwc", weights, np.stack(outputs)).astype(np.float32),
        "fed mean": restore(np.mean(inputs, 0), engine),
        "fed sharper": restore(pick(inputs, [detail(each) for each in inputs]), engine),
        "oracle": pick(outputs, [-blur(np.square(each - sharp).mean(-1)) for each in outputs]),
    }


def measure(folder: Path, frames: int, engine: Engine) -> dict[str, float]:
    """Return the mean PSNR of each way on one sequence."""
    names = sorted(path.name for path in (folder / "blur").iterdir())[:frames]
    blurred = [read(folder / "blur" / name) for name in names]
    sharp = [read(folder / "sharp" / name) for name in names]
    restored = [restore(each, engine) for each in blurred]
    aligner = Aligner(restored)
    found: dict[str, list[float]] = {}
    valid: list[float] = []
    for at in range(REACH, len(names) - REACH):
        found.setdefault("input", []).append(psnr_db(blurred[at], sharp[at]))
        for way, picture in try_ways(at, blurred, restored, sharp[at], aligner, engine).items():
            found.setdefault(way, []).append(psnr_db(picture, sharp[at]))
        valid += [aligner.align(at, at + step, restored)[1].mean() for step in (-1, 1)]
    means = {way: float(np.mean(values)) for way, values in found.items()}
    click.echo(
        f"{folder.name}: {len(found['input'])} frames, next frames valid in {np.mean(valid):.0%}"
    )
    return means


@click.command()
@click.option("--pairs", type=click.Path(path_type=Path, exists=True), multiple=True, required=True)
@click.option("--frames", default=20, show_default=True, help="Of each sequence, from its start.")
def main(pairs: Sequence[Path], frames: int) -> None:
    """Compare ways to use neighbouring frames for deblurring."""
    with load_engine("deblur") as engine:
        results = {each.name: measure(each, frames, engine) for each in pairs}
    click.echo(f"| PSNR-RGB, dB | {' | '.join(results)} |\n|{' --- |' * (1 + len(results))}")
    for way in next(iter(results.values())):
        cells = (f"{result[way]:.2f}" for result in results.values())
        click.echo(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
