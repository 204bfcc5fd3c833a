"""Flicker and warping error on clips whose right answer is known."""

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn.datasets.images import to_tensor
from lfdn.metrics import luma
from lfdn.video_metrics import Motion, estimate_motion, flicker, warping_error

EXACT = 1e-9  # positions in the grid are rounded in float64
FLOW_ERROR = 0.2  # codes that DIS's errors leave of a smooth texture in motion


def make_clip(count: int, *, step_px: int = 0) -> list[Tensor]:
    """Cut frames out of a smooth texture that moves by whole px."""
    coarse = np.random.default_rng(1).integers(40, 200, (20, 30, 3), dtype=np.uint8)
    texture = cv2.resize(coarse, (300, 200), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    places = [20 + index * step_px for index in range(count)]
    return [to_tensor(texture[20 : 20 + 96, x : x + 128]) for x in places]


def lumas(frames: list[Tensor]) -> list[Tensor]:
    return [luma(frame) for frame in frames]


def motions(frames: list[Tensor]) -> list[Motion]:
    return [estimate_motion(a, b) for a, b in pairwise(frames)]


def alternate(frames: list[Tensor], codes: float) -> list[Tensor]:
    """Make every second frame brighter."""
    return [frame + codes / 255 * (index % 2) for index, frame in enumerate(frames)]


def streaks(frames: list[Tensor], count: int) -> list[Tensor]:
    """Put white streaks into the middle frame."""
    frames = [frame.clone() for frame in frames]
    for index in range(count):
        frames[len(frames) // 2][..., 20:60, 10 + 12 * index] = 1
    return frames


def test_static_clip_has_no_flicker_and_no_warping_error() -> None:
    clip = make_clip(3)
    assert flicker(lumas(clip), lumas(clip)) == 0
    assert warping_error(lumas(clip), motions(clip)) == pytest.approx(0, abs=EXACT)


def test_steady_error_does_not_flicker() -> None:
    clip = lumas(make_clip(3, step_px=3))
    assert flicker([frame + 0.1 for frame in clip], clip) == pytest.approx(0, abs=1e-5)


def test_moving_clip_has_next_to_no_warping_error() -> None:
    clip = make_clip(4, step_px=3)
    unmoved = [Motion(torch.zeros_like(m.flow), m.valid) for m in motions(clip)]
    assert warping_error(lumas(clip), motions(clip)) < FLOW_ERROR
    assert warping_error(lumas(clip), unmoved) > 10 * FLOW_ERROR


@pytest.mark.parametrize("codes", [2, 4, 8])
def test_alternating_brightness_counts_in_proportion(codes: float) -> None:
    clip = lumas(make_clip(4, step_px=3))
    brighter = alternate(clip, codes)
    assert flicker(brighter, clip) == pytest.approx(codes, abs=1e-3)
    motion = motions(make_clip(4, step_px=3))
    assert warping_error(brighter, motion) == pytest.approx(codes, abs=FLOW_ERROR)


def test_streaks_in_one_frame_count_in_proportion() -> None:
    clip = make_clip(5, step_px=3)
    truth, motion = lumas(clip), motions(clip)
    one, four = (lumas(streaks(clip, count)) for count in (2, 8))
    assert flicker(four, truth) == pytest.approx(4 * flicker(one, truth), rel=0.2)
    floor = warping_error(truth, motion)
    added = [warping_error(frames, motion) - floor for frames in (one, four)]
    assert added[1] == pytest.approx(4 * added[0], rel=0.3)


def test_flow_points_back_to_the_previous_frame() -> None:
    (motion,) = motions(make_clip(2, step_px=3))
    x, y = motion.flow[0, :, 10:-10, 10:-10].flatten(1).median(dim=1).values
    assert (x.item(), y.item()) == pytest.approx((3, 0), abs=0.3)


def test_what_enters_the_frame_is_not_valid() -> None:
    first, second = make_clip(2, step_px=12)
    motion = estimate_motion(second, first)  # moves left: new at the left edge
    assert motion.valid[..., 20:-20, 40:-40].double().mean() > 0.9
    assert not motion.valid[..., :6].any()


def test_without_a_valid_px_there_is_no_warping_error() -> None:
    clip = make_clip(2)
    nowhere = Motion(torch.zeros(1, 2, 96, 128), torch.zeros(1, 1, 96, 128, dtype=torch.bool))
    assert math.isnan(warping_error(clip, [nowhere]))


def test_frames_smaller_than_the_flow_needs_are_measured() -> None:
    clip = [frame[..., :12, :11] for frame in make_clip(2)]
    assert warping_error(lumas(clip), motions(clip)) == pytest.approx(0, abs=EXACT)


def test_single_frame_is_refused() -> None:
    (frame,) = make_clip(1)
    with pytest.raises(ValueError, match="two or more frames"):
        flicker([frame], [frame])
    with pytest.raises(ValueError, match="two or more frames"):
        warping_error([frame], [])
