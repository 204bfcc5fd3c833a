"""Clips of images that a test draws, without loss."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
"""`[H, W]`, full range."""


def texture(height: int = 96, width: int = 128, *, seed: int = 1) -> Grey:
    """Draw smooth texture that optical flow can follow, in the middle of the range."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    scaled = 128 + (smooth - smooth.mean()) * (40 / smooth.std())
    drawn: Grey = scaled.clip(40, 215).astype(np.uint8)
    return drawn


def still(count: int = 6) -> list[Grey]:
    """Draw the same frame `count` times."""
    return [texture()] * count


def flickering(frames: Sequence[Grey], by: int) -> list[Grey]:
    """Make every other frame brighter."""
    return [(frame + by * (number % 2)).astype(np.uint8) for number, frame in enumerate(frames)]


def write(path: Path, frames: Sequence[Grey], pts: Sequence[int] | None = None) -> Path:
    """Write frames at 25 per second, or at these ticks of 1/1000 s; return `path`."""
    times = pts if pts is not None else [40 * number for number in range(len(frames))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 25)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "gray"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(frames, times, strict=True):
            frame = VideoFrame.from_ndarray(image, format="gray")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
