"""Texture that the network took for rain comes back, and rain that it took does not."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from lfdn_video.media import Frame
from lfdn_video.temporal.stage import Ahead
from tests.support.rain import (
    COUNT,
    Luma,
    error,
    is_same,
    noisy,
    pan,
    push,
    rain,
    refine,
    still,
    to_frames,
)


def specks(lumas: Sequence[Luma], step_px: int = 0) -> list[Luma]:
    """Bright specks that belong to the scene, which moves to the left."""
    random = np.random.default_rng(7)
    height, width = lumas[0].shape
    wide = np.zeros((height, width + step_px * len(lumas)), np.float32)
    for _ in range(80):
        at = int(random.integers(0, wide.shape[1])), int(random.integers(0, height))
        cv2.circle(wide, at, 1, (60,), -1)
    return [luma + wide[:, step_px * index :][:, :width] for index, luma in enumerate(lumas)]


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gray", "gbrp", "yuva444p"])
def test_specks_of_a_still_scene_come_back(name: str) -> None:
    dry = noisy(still())
    truth = specks(dry)
    decoded, restored = to_frames(truth, name), to_frames(dry, name)
    after, summary = refine(decoded, restored)
    assert error(after, truth) < 0.02 * error(restored, truth)
    assert (summary.frames, summary.given_back) == (0, COUNT)


def test_specks_of_a_moving_scene_come_back() -> None:
    dry = noisy(pan())
    truth = specks(dry, 2)
    restored = to_frames(dry)
    after, _ = refine(to_frames(truth), restored)
    assert error(after, truth) < 0.2 * error(restored, truth)


@pytest.mark.parametrize("ahead", [0, 1])
def test_live_frames_get_them_back_as_soon_as_two_neighbours_are_there(ahead: Ahead) -> None:
    dry = noisy(still())
    truth = specks(dry)
    restored = to_frames(dry)
    steps = push(to_frames(truth), restored, ahead=ahead)
    after = [frame for ready in steps for frame in ready]
    assert is_same(after[0], restored[0])
    assert error(after[2:], truth[2:]) < 0.05 * error(restored[2:], truth[2:])


@pytest.mark.parametrize("count", [20, 60, 120])
def test_rain_that_the_network_took_stays_away(count: int) -> None:
    dry = noisy(still())
    wet = rain(dry, count=count)
    after, _ = refine(to_frames(wet), to_frames(dry))
    assert error(after, dry) < 0.02 * error(to_frames(wet), dry)


def test_of_both_together_the_specks_come_back_alone() -> None:
    dry = noisy(still())
    truth = specks(dry)
    restored = to_frames(dry)
    after, _ = refine(to_frames(rain(truth, count=40)), restored)
    assert error(after, truth) < 0.15 * error(restored, truth)


def test_what_two_neighbours_do_not_agree_on_stays_away() -> None:
    """Three frames in all: one neighbour that has the speck as well is not enough."""
    dry = noisy(still(3))
    truth = specks(dry)
    decoded, restored = to_frames([truth[0], truth[1], dry[2]]), to_frames(dry)
    after, _ = refine(decoded, restored)
    assert _mean(after[1]) == pytest.approx(_mean(restored[1]), abs=0.05)


def test_alpha_and_chroma_that_the_network_left_stay() -> None:
    dry = noisy(still())
    restored = to_frames(dry, "yuva444p")
    after, _ = refine(to_frames(specks(dry), "yuva444p"), restored)
    for one, other in zip(after, restored, strict=True):
        for index in (1, 2, 3):
            assert np.array_equal(one.planes[index], other.planes[index])


def test_colour_comes_back_with_the_light() -> None:
    dry = noisy(still())
    decoded, restored = to_frames(specks(dry)), to_frames(dry)
    where = (specks(still())[0] - still()[0])[::2, ::2] > 30
    for frame in decoded:
        frame.planes[1][where] += 40
    after, _ = refine(decoded, restored)
    gained = after[4].planes[1][where].astype(float) - restored[4].planes[1][where]
    assert gained.mean() > 20


def _mean(frame: Frame) -> float:
    return float(frame.planes[0].mean())
