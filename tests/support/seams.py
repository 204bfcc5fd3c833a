"""Clips of which a part is rainy, and a network that takes such rain away."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor
from torch.nn.functional import max_pool2d

from lfdn_video.inference.engine import Engine

WIDTH_PX, HEIGHT_PX = 192, 128
RATE = 5
"""Frames per second: few frames make long segments."""
GROUP = 20
"""Frames from keyframe to keyframe, 4 s."""
X264 = {"g": str(GROUP), "sc_threshold": "0", "crf": "18", "preset": "veryfast"}


def derain(images: Tensor) -> Tensor:
    """Take away whatever is bright and narrow: an opening, 5 px across."""
    closed = -max_pool2d(-images, (1, 5), stride=1, padding=(0, 2))
    return max_pool2d(closed, (1, 5), stride=1, padding=(0, 2))


def deraining_engine() -> Engine:
    return Engine(derain, model_id="opening", task="derain")


def make_clip(
    path: Path,
    rainy: Collection[int],
    *,
    frames: int = 3 * GROUP,
    codec: str = "libx264",
    options: Mapping[str, str] = X264,
    pts: Mapping[int, int] | None = None,
    tick: int = 1000,
    pixel_format: str = "yuv420p",
) -> Path:
    """Write a clip with a tone.

    Args:
        path: the file.
        rainy: numbers of the rainy frames.
        frames: how many.
        codec: the video encoder.
        options: its options.
        pts: in ticks, by frame; None: `RATE` frames a second.
        tick: ticks per second.
        pixel_format: of the encoded frames.
    """
    random = np.random.default_rng(1)
    with av.open(path, "w") as container:
        video = container.add_stream(codec, RATE, options=dict(options))
        audio = container.add_stream("aac" if path.suffix != ".webm" else "libopus", 48_000)
        assert isinstance(video, VideoStream)
        assert isinstance(audio, AudioStream)
        audio.layout = "mono"
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, pixel_format
        video.codec_context.time_base = Fraction(1, tick)
        heard = 0
        for number in range(frames):
            image = _draw(number)
            if number in rainy:
                for column in random.integers(3, WIDTH_PX - 3, 60):
                    row = random.integers(0, HEIGHT_PX - 20)
                    image[row : row + 18, column : column + 2] = 235
            frame = VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = pts[number] if pts is not None else number * tick // RATE
            frame.time_base = Fraction(1, tick)
            container.mux(video.encode(frame))
            while heard < (number + 1) * 48_000 // RATE:
                container.mux(audio.encode(_tone(heard)))
                heard += 960
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def read_packets(path: Path, kind: str = "video") -> dict[Fraction, bytes]:
    """Return the content of a stream's packets by their times in seconds."""
    with av.open(path) as container:
        stream = next(each for each in container.streams if each.type == kind)
        packets = [packet for packet in container.demux(stream) if packet.size]
        dts = [packet.dts for packet in packets if packet.dts is not None]
        assert path.suffix == ".mkv" or dts == sorted(set(dts))  # Matroska stores none
        return {(p.pts or 0) * p.time_base: bytes(p) for p in packets}


def _draw(number: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """A smooth picture that moves."""
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    waves = [
        90 + 40 * np.sin((columns + 2 * number) / 17 + phase) * np.cos((rows + number) / 13)
        for phase in (0, 1, 2)
    ]
    return np.stack(waves, -1).round().astype(np.uint8)


def _tone(start: int) -> AudioFrame:
    samples = 0.3 * np.sin(2 * np.pi * 440 * (start + np.arange(960)) / 48_000)
    frame = AudioFrame.from_ndarray(samples.astype(np.float32)[None], "flt", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
    return frame
