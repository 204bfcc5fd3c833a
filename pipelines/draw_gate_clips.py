"""Draw rainy clips for the gate of the temporal stage, and restore their frames.

    python pipelines/draw_gate_clips.py clips/ --sequence soapbox --still photos --bank STREAKS

A clip is seven frames of 256x192: consecutive frames of a filmed sequence, or a still behind a
camera moved by hand, in part with small bright things that fly through or blink, and with rain
that is drawn anew in every frame or falls from one to the next. `CLIP.npz` holds what
`train_gate.py` needs: `restored` `[7, H, W, 3]`, what the network makes of all frames, and
`decoded` and `truth` `[H, W, 3]` of the middle one, all uint8 RGB. A clip depends on the seed, its
number and the sources alone; those that are there are kept.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from lfdn.datasets.layouts import read_streak_bank
from lfdn.degrade import FallingRain
from lfdn.degrade.rain import RainMix, cover, drawn_streaks, rendered_streaks
from lfdn_video.inference.engine import load_engine
from lfdn_video.options import InferenceOptions, Precision

cv: Any = cv2
Image = np.ndarray[Any, np.dtype[np.float32]]
Array = np.ndarray[Any, Any]

FRAMES = 7
HEIGHT, WIDTH = 192, 256
SUFFIXES = (".jpg", ".png", ".webp")
MIX = replace(
    RainMix.wide(), slanted=0.5, coverage=(0.0004, 0.15), sigma_px=(0.4, 3.5), layer_gain=(0.12, 1)
)
SHORT, SHORT_PX = 0.25, (2.0, 8.0)
"""Share of the drawn rain whose streaks are so short: dots have no direction, as insects."""

DRY = 0.12
FILMED = 0.6
FIXED = 0.25
FLYING = 0.4
FALLING = 0.3
"""Share of the rainy clips with the rain of `lfdn-video degrade rain`."""


def read_images(folder: Path) -> list[Path]:
    """List the images of a folder, in order of their names."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def read(path: Path) -> Image:
    image: Any = cv.imread(str(path), cv.IMREAD_COLOR_RGB)
    return np.asarray(image, np.float32) / np.float32(255)


def film(sequence: Sequence[Path], random: np.random.Generator) -> list[Image]:
    """Cut seven frames from a filmed sequence: at any speed to two frames a step, either way."""
    step = int(random.choice([1, 1, 1, 2]))
    start = int(random.integers(len(sequence) - step * (FRAMES - 1)))
    paths = list(sequence[start : start + step * FRAMES : step])[:FRAMES]
    if random.random() < 0.5:
        paths.reverse()
    frames = [read(path) for path in paths]
    smallest = max(HEIGHT / frames[0].shape[0], WIDTH / frames[0].shape[1])
    scale = random.uniform(max(0.5, smallest), 1)
    frames = [cv.resize(f, None, fx=scale, fy=scale, interpolation=cv.INTER_AREA) for f in frames]
    y = int(random.integers(frames[0].shape[0] - HEIGHT + 1))
    x = int(random.integers(frames[0].shape[1] - WIDTH + 1))
    return [frame[y : y + HEIGHT, x : x + WIDTH] for frame in frames]


def move(still: Image, random: np.random.Generator) -> list[Image]:
    """Look at a still through a camera that pans, shakes, turns and zooms, or is fixed."""
    height, width = still.shape[:2]
    scale = random.uniform(1.0, max(1.05, min(height / HEIGHT, width / WIDTH, 3) * 0.9))
    pan = random.normal(0, 1, 2) * random.choice([0, 1, 3, 6])
    shake_px = random.choice([0, 0.4, 1.2])
    turn, zoom = random.normal(0, 0.003), random.normal(0, 0.004)
    if random.random() < FIXED:
        pan, shake_px, turn, zoom = np.zeros(2), 0, 0, 0
    room = np.maximum(0, np.array([width - WIDTH * scale, height - HEIGHT * scale]) / 2)
    centre = np.array([width, height]) / 2 + random.uniform(-0.8, 0.8, 2) * room
    frames = []
    for index in range(FRAMES):
        t = index - FRAMES // 2
        angle, size = turn * t + 0.001 * random.normal() * shake_px, scale * (1 + zoom * t)
        at = centre + scale * (pan * t + shake_px * random.normal(0, 1, 2))
        c, s = size * math.cos(angle), size * math.sin(angle)
        offset = at - np.array([[c, -s], [s, c]]) @ np.array([WIDTH / 2, HEIGHT / 2])
        matrix = np.array([[c, -s, offset[0]], [s, c, offset[1]]])
        blurred = cv.GaussianBlur(still, (0, 0), 0.4 * scale) if scale > 1.5 else still
        frames.append(
            cv.warpAffine(
                blurred,
                matrix,
                (WIDTH, HEIGHT),
                flags=cv.INTER_CUBIC | cv.WARP_INVERSE_MAP,
                borderMode=cv.BORDER_REFLECT,
            ).clip(0, 1)
        )
    return frames


def let_fly(frames: list[Image], random: np.random.Generator) -> list[Image]:
    """Let small bright things of one kind fly through or blink, which are no rain."""
    frames = [frame.copy() for frame in frames]
    draw = KINDS[int(random.integers(len(KINDS)))]
    for _ in range(int(2 ** random.uniform(0, 6))):
        at = random.uniform(0, 1, 2) * (WIDTH, HEIGHT)
        tint = random.choice([0, 0, 0.4]) * random.random(3)
        colour = (random.uniform(0.6, 1) * (1 - tint)).astype(np.float32)
        strength = np.float32(random.uniform(0.4, 1))
        for frame, mask in zip(frames, draw(at, random), strict=True):
            if mask is not None:
                soft = cv.GaussianBlur(mask, (0, 0), 0.6)[..., None]
                frame += (colour - frame) * soft * strength
    return frames


Mask = Image | None


def draw_balls(at: Array, random: np.random.Generator) -> Iterator[Mask]:
    """A ball, or a flat piece that spins, on a straight line."""
    radius_px = random.uniform(1, 8)
    axes = (radius_px, radius_px * random.uniform(0.4, 1))
    speed = random.normal(0, 1, 2) * random.choice([1, 5, 15])
    spin = random.uniform(-40, 40)
    for t in range(FRAMES):
        x, y = at + speed * (t - FRAMES // 2)
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        box = ((float(x), float(y)), (2 * axes[0], 2 * axes[1]), float(spin * t))
        yield cv.ellipse(mask, box, 1.0, -1, cv.LINE_AA)


def draw_insects(at: Array, random: np.random.Generator) -> Iterator[Mask]:
    """An insect that darts about, smeared by its own motion."""
    dart_px, width = random.uniform(1, 9), int(random.integers(1, 4))
    for _ in range(FRAMES):
        before, at = at, at + random.normal(0, dart_px, 2)
        yield _draw_line(at + random.uniform(0.2, 0.6) * (before - at), at, width)


def draw_confetti(at: Array, random: np.random.Generator) -> Iterator[Mask]:
    """A piece of paper that falls and tumbles; now and then it is seen from its edge."""
    fall = np.array([random.normal(0, 1.5), random.uniform(1, 12)])
    width, height = random.uniform(1.5, 6, 2)
    turn, tumble, phase = *random.uniform(-0.8, 0.8, 2), random.uniform(0, 6)
    for t in range(FRAMES):
        x, y = width, height * abs(math.cos(2 * tumble * t + phase))
        c, s = math.cos(turn * t), math.sin(turn * t)
        corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)]) @ np.array([(c, s), (-s, c)])
        points = ((at + fall * (t - FRAMES // 2) + corners) * 16).round().astype(np.int32)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv.fillPoly(mask, [points], 255, cv.LINE_AA, 4)
        yield mask.astype(np.float32) / np.float32(255)


def draw_sparks(at: Array, random: np.random.Generator) -> Iterator[Mask]:
    """A spark, or a drop of a fountain: thrown, and falling back."""
    speed, pull = random.normal(0, 1, 2) * random.choice([4, 10]), random.uniform(0.2, 2)
    for t in range(-(FRAMES // 2), FRAMES - FRAMES // 2):
        head, tail = (
            at + speed * time + np.array([0, 0.5 * pull * time**2]) for time in (t, t - 0.5)
        )
        yield _draw_line(tail, head, 1)


def draw_glints(at: Array, random: np.random.Generator) -> Iterator[Mask]:
    """Light on water or on metal, for a frame or two in a place of its own."""
    half = np.array((random.uniform(0.5, 4), 0))
    phase, rate = random.random(), random.uniform(0.07, 0.25)
    for t in range(FRAMES):
        glint = max(0.0, math.sin(2 * math.pi * (phase + rate * t))) ** 8
        mask = _draw_line(at - half, at + half, 1)
        yield mask * np.float32(glint) if glint > 0.1 else None


def _draw_line(start: Array, end: Array, width: int) -> Image:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    tail, head = (tuple((point * 16).round().astype(int).tolist()) for point in (start, end))
    cv.line(mask, tail, head, 255, width, cv.LINE_AA, 4)
    return mask.astype(np.float32) / np.float32(255)


KINDS = (draw_balls, draw_insects, draw_confetti, draw_sparks, draw_glints)


def draw_streaks(bank: Tensor, generator: torch.Generator, random: np.random.Generator) -> Tensor:
    """Draw the streaks of seven frames, of one kind, `[7, 1, H, W]`."""
    cpu = torch.device("cpu")
    if random.random() < MIX.rendered:
        gain = random.uniform(0.2, 1)
        streaks = rendered_streaks(bank, FRAMES, HEIGHT, WIDTH, generator=generator)
        return streaks * gain
    # One large picture has one kind of rain; each frame is a part of it.
    mix = replace(MIX, length_px=SHORT_PX) if random.random() < SHORT else MIX
    canvas = drawn_streaks(1, 3 * HEIGHT, 3 * WIDTH, generator=generator, device=cpu, mix=mix)
    parts = canvas.view(3, HEIGHT, 3, WIDTH).permute(0, 2, 1, 3).reshape(9, 1, HEIGHT, WIDTH)
    return parts[:FRAMES]


def let_rain(
    dry: Tensor, bank: Tensor, generator: torch.Generator, random: np.random.Generator
) -> Tensor:
    """Let rain of one kind fall on seven frames, `[7, 3, H, W]`, or none."""
    if random.random() < DRY:
        return dry
    if random.random() < FALLING:
        # The clip is a part of a frame whose rain it shows.
        height = int(random.integers(360, 721))
        width, density = height * WIDTH // HEIGHT, 10 ** random.uniform(-1.3, 0.3)
        rain = FallingRain(height, width, seed=int(random.integers(2**31)), density=density)
        y, x = int(random.integers(height - HEIGHT)), int(random.integers(width - WIDTH))
        sides = (y, height - HEIGHT - y, x, width - WIDTH - x)
        fallen = []
        for t, frame in enumerate(dry.permute(0, 2, 3, 1).numpy()):
            whole = cv.copyMakeBorder(frame, *sides, cv.BORDER_REFLECT)
            fallen.append(rain.fall(whole, t)[y : y + HEIGHT, x : x + WIDTH])
        return torch.from_numpy(np.stack(fallen)).permute(0, 3, 1, 2)
    streaks = draw_streaks(bank, generator, random)
    look = int(random.integers(2**62))
    # The same seed in each frame: the same light in the drops.
    covered = [
        cover(dry[t : t + 1], streaks[t : t + 1], generator=torch.Generator().manual_seed(look))
        for t in range(FRAMES)
    ]
    return torch.cat(covered)


def draw_clip(
    sequences: Sequence[Sequence[Path]],
    stills: Sequence[Path],
    bank: Tensor,
    seed: int,
    number: int,
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.uint8]]]:
    """Draw a clip: its rainy and its true frames, uint8 `[7, H, W, 3]`."""
    random = np.random.default_rng((seed, number))
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    if sequences and (not stills or random.random() < FILMED):
        frames = film(sequences[int(random.integers(len(sequences)))], random)
    else:
        frames = move(read(stills[int(random.integers(len(stills)))]), random)
    if random.random() < 0.5:
        frames = [frame[:, ::-1] for frame in frames]
    if random.random() < FLYING:
        frames = let_fly(frames, random)
    if random.random() < 0.3:
        gain, gamma = random.uniform(0.35, 1), random.uniform(0.8, 1.6)
        frames = [np.clip(frame, 1e-4, 1) ** gamma * gain for frame in frames]
    dry = torch.from_numpy(np.ascontiguousarray(np.stack(frames), np.float32)).permute(0, 3, 1, 2)
    rainy = let_rain(dry, bank, generator, random)
    noise = random.choice([0, 0, 0.004, 0.01, 0.02]) * torch.randn(dry.shape, generator=generator)
    quality = int(random.integers(60, 97)) if random.random() < 0.4 else None
    return _finish(rainy + noise, quality), _finish(dry + noise, quality)


def _finish(frames: Tensor, quality: int | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    images = (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    if quality is None:
        return np.ascontiguousarray(images)
    coded = []
    for image in images:
        _, data = cv.imencode(".jpg", image[..., ::-1], [cv.IMWRITE_JPEG_QUALITY, quality])
        coded.append(cv.imdecode(data, cv.IMREAD_COLOR_RGB))
    return np.stack(coded)


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--sequence", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--still", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--bank", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--weights", type=click.Path(path_type=Path, exists=True))
@click.option("--precision", default="auto", show_default=True)
@click.option("--clips", default=1000, show_default=True)
@click.option("--first", default=0, show_default=True, help="Number of the first clip.")
@click.option("--seed", default=1, show_default=True)
def main(
    output: Path,
    sequence: Sequence[Path],
    still: Sequence[Path],
    bank: Path,
    weights: Path | None,
    precision: Precision,
    clips: int,
    first: int,
    seed: int,
) -> None:
    """Draw clips into OUTPUT."""
    if not sequence and not still:
        raise click.UsageError("no source: give --sequence or --still")
    output.mkdir(parents=True, exist_ok=True)
    sequences = [read_images(folder) for folder in sequence]
    stills = [path for folder in still for path in read_images(folder)]
    layers = read_streak_bank(bank)
    options = InferenceOptions(device="cpu", precision=precision)
    with load_engine("derain", weights=weights, options=options) as engine:
        for number in range(first, first + clips):
            path = output / f"{number:05d}.npz"
            if path.exists():
                continue
            rainy, truth = draw_clip(sequences, stills, layers, seed, number)
            inputs = torch.from_numpy(rainy).permute(0, 3, 1, 2).float() / 255
            residuals = [engine.compute_residual(each[None]).result() for each in inputs]
            outputs = (inputs + torch.cat(residuals)).clamp(0, 1)
            restored = (outputs * 255).round().byte().permute(0, 2, 3, 1).numpy()
            middle = FRAMES // 2
            partial = path.with_suffix(".part.npz")
            np.savez(partial, restored=restored, decoded=rainy[middle], truth=truth[middle])
            partial.replace(path)


if __name__ == "__main__":
    main()
