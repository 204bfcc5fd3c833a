"""Drawn scenes with rain that is in one frame only, as frames of any pixel format."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from lfdn_video.inference.engine import Engine
from lfdn_video.media import Colour, Frame, FrameFormat, PixelFormat, Plane
from lfdn_video.planes import build_video_frame
from lfdn_video.temporal.stage import Ahead, TemporalStage, TemporalSummary

Luma = np.ndarray[Any, np.dtype[np.float32]]
"""`[H, W]`, in 8-bit codes."""

HEIGHT, WIDTH, COUNT = 120, 176, 9
COLOUR = Colour(range=2)


STREAK_PX, LEAST_TAKEN, SHARE_TAKEN = 7, 30 / 255, 0.3
"""Of what is narrower, and brighter by more than this, so much is taken."""


def derain_timidly(images: Tensor) -> Tensor:
    """Know rain, but leave most of it: a network."""
    square = np.ones((STREAK_PX, STREAK_PX), np.uint8)
    planes = images.numpy().reshape(-1, *images.shape[2:])
    opened: Any = np.stack([cv2.morphologyEx(each, cv2.MORPH_OPEN, square) for each in planes])
    streaks = images - torch.from_numpy(opened).view_as(images)
    return images - SHARE_TAKEN * streaks * (streaks > LEAST_TAKEN)


def timid_engine() -> Engine:
    return Engine(derain_timidly)


def scene(seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Luma:
    """Texture of several sizes, dark enough for rain to show."""
    random = np.random.default_rng(seed)
    total: Any = np.zeros((height, width), np.float32)
    for sigma, weight in ((1.5, 60), (6, 160), (20, 300)):
        noise = random.normal(size=(height, width)).astype(np.float32)
        total += weight * cv2.GaussianBlur(noise, (0, 0), sigma)
    luma: Luma = np.clip(90 + total, 20, 170)
    return luma


def still(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> list[Luma]:
    """One scene before a camera that does not move."""
    return [scene(height=height, width=width)] * count


def pan(count: int = COUNT, step_px: int = 2) -> list[Luma]:
    """One scene before a camera that turns."""
    wide = scene(width=WIDTH + count * step_px)
    return [wide[:, step_px * index :][:, :WIDTH].copy() for index in range(count)]


def noisy(lumas: Sequence[Luma], sigma: float = 1.5) -> list[Luma]:
    """Sensor noise, different in each frame."""
    random = np.random.default_rng(2)
    return [luma + sigma * random.standard_normal(luma.shape, np.float32) for luma in lumas]


def rain(
    lumas: Sequence[Luma], count: int = 60, gain: float = 60, streak_px: tuple[int, int] = (2, 12)
) -> list[Luma]:
    """Streaks, so far across and down, at other places in each frame."""
    rainy, (across, down) = [], streak_px
    for seed, luma in enumerate(lumas):
        random = np.random.default_rng(100 + seed)
        layer: Any = np.zeros_like(luma)
        for _ in range(count):
            x, y = random.integers(0, luma.shape[1]), random.integers(0, luma.shape[0])
            cv2.line(layer, (int(x), int(y)), (int(x + across), int(y + down)), (gain,), 1)
        rainy.append(luma + cv2.GaussianBlur(layer, (0, 0), 0.7))
    return rainy


def describe(name: str, height: int = HEIGHT, width: int = WIDTH) -> FrameFormat:
    return FrameFormat(width=width, height=height, format=PixelFormat.parse(name), colour=COLOUR)


def to_frames(lumas: Sequence[Luma], name: str = "yuv420p") -> list[Frame]:
    """Grey frames in a pixel format."""
    frames = []
    for pts, luma in enumerate(lumas):
        info = describe(name, *luma.shape)
        form = info.format
        step = form.peak / 255
        samples = np.rint(luma.clip(0, 255) * step).astype(form.dtype)
        neutral = 1 << (form.depth - 1)
        shapes = form.plane_shapes(*luma.shape)
        planes: list[Plane] = [np.full(shape, neutral, form.dtype) for shape in shapes]
        for index in range(3 if form.family == "rgb" else 1):
            planes[index] = samples.copy()
        frames.append(Frame(tuple(planes), form, pts))
    return frames


def write(path: Path, frames: Sequence[Frame]) -> Path:
    """Write frames without loss, 25 a second."""
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        stream.codec_context.color_range = COLOUR.range
        for frame in frames:
            video = build_video_frame(frame)
            video.pts, video.time_base = frame.pts, Fraction(1, 25)
            container.mux(stream.encode(video))
        container.mux(stream.encode(None))
    return path


def restore_timidly(frames: Sequence[Frame]) -> list[Frame]:
    """Pass frames through `derain_timidly`."""
    restored = []
    for frame in frames:
        planes = list(frame.planes)
        for index in range(3 if frame.format.family == "rgb" else 1):
            image = torch.from_numpy(planes[index] / np.float32(frame.format.peak))
            result = derain_timidly(image[None, None])[0, 0].numpy() * frame.format.peak
            planes[index] = np.rint(result).astype(planes[index].dtype)
        restored.append(replace(frame, planes=tuple(planes)))
    return restored


def refine(
    decoded: Sequence[Frame],
    restored: Sequence[Frame] | None = None,
    *,
    wants: Callable[[Frame], bool] | None = None,
) -> tuple[list[Frame], TemporalSummary]:
    """Pass frames through the stage, by default as a timid network leaves them."""
    first = decoded[0]
    info = FrameFormat(width=first.width, height=first.height, format=first.format, colour=COLOUR)
    stage = TemporalStage(info, wants=wants)
    for _ in stage.record(decoded):
        pass
    frames = list(stage.refine(iter(restored or restore_timidly(decoded))))
    return frames, stage.summary


def push(
    decoded: Sequence[Frame], restored: Sequence[Frame] | None = None, *, ahead: Ahead = 3
) -> list[list[Frame]]:
    """Push frames one by one; return what each made ready, and at last what still waited."""
    first = decoded[0]
    info = FrameFormat(width=first.width, height=first.height, format=first.format, colour=COLOUR)
    with closing(TemporalStage(info, ahead=ahead)) as stage:
        pairs = zip(decoded, restored or restore_timidly(decoded), strict=True)
        return [*(stage.push(*pair) for pair in pairs), stage.finish()]


def error(frames: Sequence[Frame], lumas: Sequence[Luma]) -> float:
    """Mean squared error of the first plane, in 8-bit codes."""
    errors = [
        np.square(frame.planes[0] * (255 / frame.format.peak) - luma).mean()
        for frame, luma in zip(frames, lumas, strict=True)
    ]
    return float(np.mean(errors))


def is_same(one: Frame, other: Frame) -> bool:
    """Tell whether two frames have the same samples."""
    return all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))
