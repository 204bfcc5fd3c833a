"""Which frames count as the one before again."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lfdn_video.media import Frame, Plane
from lfdn_video.temporal.copies import is_copy
from tests.support.rain import Luma, error, noisy, pan, rain, refine, still, to_frames

Samples = np.ndarray[Any, Any]
STREAKS = 3
"""In a frame of 360p: the fewest, spread over it, that a stage could act on."""


def encode(path: Path, lumas: Sequence[Luma], crf: int) -> list[Plane]:
    """Encode frames with x264 and decode them again."""
    frames = to_frames(lumas)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": f"{crf}"})
        stream.height, stream.width = lumas[0].shape
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            planes = [plane.reshape(-1, lumas[0].shape[1]) for plane in frame.planes]
            video = av.VideoFrame.from_ndarray(np.vstack(planes), "yuv420p")
            video.pts, video.time_base = frame.pts, Fraction(1, 25)
            container.mux(stream.encode(video))
        container.mux(stream.encode(None))
    with av.open(path) as container:
        height = lumas[0].shape[0]
        return [f.to_ndarray(format="yuv420p")[:height] for f in container.decode(video=0)]


def copies(lumas: Sequence[Plane]) -> list[int]:
    pairs = pairwise(lumas)
    return [index for index, pair in enumerate(pairs, 1) if is_copy(*pair, unit=1.0)]


def to_samples(lumas: Sequence[Luma], depth: int = 8) -> list[Plane]:
    name = "gray" if depth == 8 else f"gray{depth}le"
    return [frame.planes[0] for frame in to_frames(lumas, name)]


@pytest.mark.parametrize("crf", [12, 18, 23])
def test_repeated_frames_of_a_compressed_video_are_copies(tmp_path: Path, crf: int) -> None:
    # Ten textured frames of a moving camera, each twice.
    doubled = [luma for luma in rain(noisy(pan(10))) for _ in range(2)]
    decoded = encode(tmp_path / "clip.mkv", doubled, crf)
    assert any((a != b).any() for a, b in zip(decoded[::2], decoded[1::2], strict=True))
    assert copies(decoded) == list(range(1, 20, 2))


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("crf", [18, 28])
def test_sparse_rain_before_a_still_camera_makes_no_copies(
    tmp_path: Path, crf: int, sigma: float
) -> None:
    dry = noisy(still(8, 360, 640), sigma)
    assert copies(encode(tmp_path / "clip.mkv", rain(dry, STREAKS * 2), crf)) == []


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_noise_of_a_sensor_makes_no_copies(depth: int) -> None:
    lumas = to_samples(noisy(still(4), 0.5), depth)
    unit = ((1 << depth) - 1) / 255
    assert not any(is_copy(lumas[0], other, unit) for other in lumas[1:])


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_change_is_measured_in_codes_of_eight_bits(depth: int) -> None:
    unit = ((1 << depth) - 1) / 255
    luma = to_samples(still(1), depth)[0]
    other = luma.copy()
    other[:2, :2] += luma.dtype.type(round(7 * unit))
    assert is_copy(luma, other, unit)
    other[:2, :10] += luma.dtype.type(round(9 * unit))
    assert not is_copy(luma, other, unit)


def test_small_thing_that_moves_makes_no_copies() -> None:
    lumas = to_samples(still(2))
    lumas[0][20:24, 30:34] = 255
    assert not is_copy(lumas[0], lumas[1], 1.0)


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gray", "gbrp"])
def test_near_copies_are_no_neighbours(name: str) -> None:
    dry = noisy(still())
    single = to_frames(rain(dry), name)
    double = [frame for frame in single for _ in range(2)]
    double = [touch(replace(frame, pts=index)) for index, frame in enumerate(double)]
    after, _ = refine(double)
    twice = [each for each in dry for _ in range(2)]
    assert error(after[4:-4], twice[4:-4]) < 0.3 * error(single, dry)


def touch(frame: Frame) -> Frame:
    """Change a few samples by a little, at places that differ from frame to frame."""
    random = np.random.default_rng(frame.pts)
    planes = [plane.copy() for plane in frame.planes]
    for plane in planes[: 3 if frame.format.family == "rgb" else 1]:
        places = random.integers(0, plane.size, 40)
        plane.flat[places] ^= plane.dtype.type(2 << (frame.format.depth - 8))
    return replace(frame, planes=tuple(planes))
