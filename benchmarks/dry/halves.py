"""Whole clips of which every other part is rainy, as files: what the gate makes of each part.

    test clip ─▶ parts of 4 s, dry and rainy in turn ─▶ H.264 ─▶ `gate.survey` ─▶ a finding each

Each clip is made twice, so that every part is dry in one and rainy in the other. A keyframe starts
each part, as in a recording that is cut there; the rain is `FallingRain` with seeds of its own.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from benchmarks.clips import RATE, write_clip
from benchmarks.dry.bursts import Image
from lfdn.degrade import FallingRain
from lfdn_video.copying import Segment
from lfdn_video.gate.survey import Survey
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.input.bursts import read_burst
from lfdn_video.input.open import open_reader
from lfdn_video.input.packets import index_packets
from lfdn_video.media import Frame
from lfdn_video.options import SpanOptions
from lfdn_video.temporal.rainfall import measure_rainfall

PART = 4 * RATE
"""Frames of a part: `gate.segments` joins no more than 4 s."""

DENSITIES = (0.1, 0.3, 1.0)


def list_labels(frames: int, first_rains: bool) -> list[str]:
    """Say for each whole part of a clip whether it rains: `dry`, or the density."""
    labels = []
    for part in range(frames // PART):
        rains = (part % 2 == 0) == first_rains
        labels.append(f"fallen, {DENSITIES[part % len(DENSITIES)]:g}" if rains else "dry")
    return labels


def write_half_dry(path: Path, images: Sequence[Image], labels: Sequence[str], seed: int) -> Path:
    """Write a clip with rain in some of its parts."""
    return write_clip(
        path, _draw(images, labels, seed), g=str(PART), sc_threshold="0", crf="18", preset="fast"
    )


def judge(clip: Path, engine: Engine) -> tuple[Segment, ...]:
    """Judge the segments of a clip, as `derain --only-when-needed` does."""
    with open_reader(clip) as reader:
        info = reader.info
    converter = PlaneConverter(info)

    def measure(frames: Sequence[Frame]) -> float:
        (restored,) = restore_frames([frames[len(frames) // 2]], converter, engine)
        return measure_rainfall(frames, restored, info)

    index = index_packets(info)
    survey = Survey(info, index, partial(read_burst, info, index), measure)
    return survey.plan(SpanOptions(), lambda *_: None).segments


def _draw(images: Sequence[Image], labels: Sequence[str], seed: int) -> Iterator[VideoFrame]:
    height, width = images[0].shape[:2]
    for part, label in enumerate(labels):
        _, _, density = label.partition(", ")
        falling = None
        if density:
            falling = FallingRain(height, width, seed=seed + part, density=float(density))
        for number, image in enumerate(images[part * PART : (part + 1) * PART]):
            picture: Any = image
            if falling is not None:
                wet = falling.fall(image.astype(np.float32) / np.float32(255), number)
                picture = (wet * 255).round().clip(0, 255).astype(np.uint8)
            yield VideoFrame.from_ndarray(picture, format="rgb24")
