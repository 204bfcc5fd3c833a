"""The temporal stage on drawn frames: what it removes, what it leaves, and on what it depends."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from lfdn_video.media import Frame
from lfdn_video.temporal.flow import find_valid
from lfdn_video.temporal.stage import REACH, TemporalStage
from tests.support.rain import (
    COUNT,
    Luma,
    describe,
    error,
    is_same,
    noisy,
    pan,
    rain,
    refine,
    scene,
    still,
    to_frames,
)

FORMATS = ("yuv420p", "yuv422p10le", "yuv444p", "gray", "gray16le", "gbrp", "gbrp10le", "yuva420p")


def changed(after: list[Frame], before: list[Frame]) -> list[int]:
    pairs = zip(after, before, strict=True)
    return [index for index, (one, other) in enumerate(pairs) if not is_same(one, other)]


@pytest.mark.parametrize("name", FORMATS)
def test_streaks_before_a_still_camera_are_removed(name: str) -> None:
    dry = noisy(still())
    frames = to_frames(rain(dry), name)
    after, _ = refine(frames)
    assert error(after, dry) < error(frames, dry) / 4


def test_streaks_before_a_moving_camera_are_removed() -> None:
    dry = noisy(pan())
    frames = to_frames(rain(dry))
    after, _ = refine(frames)
    assert error(after, dry) < error(frames, dry) / 3


@pytest.mark.parametrize("size", [(121, 177), (97, 131)])
def test_odd_sizes_are_refined(size: tuple[int, int]) -> None:
    dry = noisy(still(6, *size))
    frames = to_frames(rain(dry))
    after, _ = refine(frames)
    assert error(after, dry) < error(frames, dry) / 3


def test_large_frames_are_refined_by_a_flow_at_half_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfdn_video.temporal.flow.HALF_FROM_PX", 240)
    dry = noisy(still(5, 301, 403))
    frames = to_frames(rain(dry, count=300))
    after, _ = refine(frames)
    assert error(after, dry) < error(frames, dry) / 3


@pytest.mark.parametrize("coarse_from_px", [1, 1000])
def test_large_frames_are_refined_by_joined_flows(
    monkeypatch: pytest.MonkeyPatch, coarse_from_px: int
) -> None:
    monkeypatch.setattr("lfdn_video.temporal.flow.HALF_FROM_PX", 64)
    monkeypatch.setattr("lfdn_video.temporal.flow.COARSE_FROM_PX", coarse_from_px)
    checked: list[None] = []

    def count(*arguments: Any) -> Any:
        checked.append(None)
        return find_valid(*arguments)

    monkeypatch.setattr("lfdn_video.temporal.motion.find_valid", count)
    dry = noisy(pan())
    frames = to_frames(rain(dry))
    after, _ = refine(frames)
    assert error(after, dry) < error(frames, dry) / 3
    assert len(checked) == 2 * (len(frames) - 1), "both ways, once, although frames share them"
    assert is_same(refine(frames[1 : 2 * REACH + 2])[0][REACH], after[REACH + 1])


@pytest.mark.parametrize("name", ["yuv420p", "gbrp"])
@pytest.mark.parametrize(
    "lumas", [noisy(still()), noisy(pan()), still()], ids=["still", "pan", "copies"]
)
def test_dry_frames_keep_every_bit(lumas: list[Luma], name: str) -> None:
    frames = to_frames(lumas, name)
    after, summary = refine(frames, frames)
    assert changed(after, frames) == []
    assert summary.frames == 0


def test_samples_that_are_no_streak_stay_but_for_noise() -> None:
    dry = noisy(still())
    before, after = to_frames(rain(dry)), refine(to_frames(rain(dry)))[0]
    drawn = to_frames(dry)
    for one, other, clean in zip(after, before, drawn, strict=True):
        wet = (other.planes[0] != clean.planes[0]).astype(np.uint8)
        near = cv2.dilate(wet, np.ones((9, 9), np.uint8)) > 0
        change = cv2.absdiff(one.planes[0], other.planes[0])
        assert ((change > 0) & ~near).mean() < 0.02
        assert ((change > 4) & ~near).mean() < 2e-3
        assert (one.planes[0] == other.planes[0]).mean() > 0.6


def test_frames_come_in_order_with_their_times() -> None:
    frames = [replace(frame, pts=7 * frame.pts**2) for frame in to_frames(rain(still()))]
    after, _ = refine(frames)
    assert [frame.pts for frame in after] == [frame.pts for frame in frames]


def test_times_between_frames_are_irrelevant() -> None:
    frames = to_frames(rain(noisy(still())))
    late = [replace(frame, pts=7 * frame.pts**2) for frame in frames]
    assert all(is_same(*pair) for pair in zip(refine(frames)[0], refine(late)[0], strict=True))


def test_results_are_repeatable() -> None:
    frames = to_frames(rain(noisy(pan())))
    assert all(is_same(*pair) for pair in zip(refine(frames)[0], refine(frames)[0], strict=True))


def test_results_do_not_depend_on_the_number_of_cores() -> None:
    frames = to_frames(rain(noisy(pan())))
    threads = cv2.getNumThreads()
    after, _ = refine(frames)
    cv2.setNumThreads(1)
    try:
        alone, _ = refine(frames)
    finally:
        cv2.setNumThreads(threads)
    assert all(is_same(*pair) for pair in zip(after, alone, strict=True))


@pytest.mark.parametrize("at", [4, 7, 11])
def test_frame_depends_on_its_reach_alone(at: int) -> None:
    frames = to_frames(rain(noisy(pan(16))))
    part = frames[at - REACH : at + REACH + 1]
    assert is_same(refine(part)[0][REACH], refine(frames)[0][at])


def test_frames_that_are_not_wanted_are_neighbours_alone() -> None:
    frames = to_frames(rain(noisy(pan(12))))
    first = frames[2 + REACH].pts
    resumed, summary = refine(frames[2:], wants=lambda frame: frame.pts >= first)
    assert all(is_same(*pair) for pair in zip(resumed, refine(frames)[0][2 + REACH :], strict=True))
    assert summary.frames + sum(summary.left.values()) == 12 - 2 - REACH


def test_copies_are_no_neighbours() -> None:
    dry = noisy(still())
    single = to_frames(rain(dry))
    double = [frame for frame in single for _ in range(2)]
    double = [replace(frame, pts=index) for index, frame in enumerate(double)]
    after, _ = refine(double)
    assert error(after[4:-4], [each for each in dry for _ in range(2)][4:-4]) < 0.3 * error(
        single, dry
    )


def test_frames_beyond_a_cut_are_no_neighbours() -> None:
    scenes = [scene(seed, 256, 384) for seed in (1, 9)]
    frames = to_frames(rain(noisy([scenes[0]] * 5 + [scenes[1]] * 5), count=250))
    after, _ = refine(frames)
    assert len(changed(after, frames)) >= 8
    alone = refine(frames[:5])[0] + refine(frames[5:])[0]
    assert all(is_same(*pair) for pair in zip(after, alone, strict=True))


def test_change_of_size_ends_a_scene() -> None:
    small, large = to_frames(rain(noisy(still(5)))), to_frames(rain(noisy(still(5, 144, 208))))
    large = [replace(f, pts=5 + f.pts, info=describe("yuv420p", 144, 208)) for f in large]
    after, _ = refine(small + large)
    assert all(is_same(*pair) for pair in zip(after[:5], refine(small)[0], strict=True))
    assert [frame.height for frame in after[5:]] == [144] * 5


def test_slow_change_of_exposure_is_followed() -> None:
    dry = [luma * (1 + 0.02 * index) for index, luma in enumerate(noisy(still()))]
    frames = to_frames(rain(dry))
    after, _ = refine(frames)
    assert error(after, dry) < error(frames, dry) / 3
    bright = to_frames(dry)
    assert changed(refine(bright, bright)[0], bright) == []


def test_glints_that_the_network_does_not_know_stay() -> None:
    frames = to_frames(rain(noisy(still())))
    after, summary = refine(frames, frames)
    assert changed(after, frames) == []
    assert summary.left == {"nothing taken for rain": COUNT}


def test_flash_stays() -> None:
    lumas = [luma * (1.5 if index == 4 else 1) for index, luma in enumerate(noisy(still()))]
    frames = to_frames(lumas)
    assert changed(refine(frames, frames)[0], frames) == []


@pytest.mark.parametrize("speed_px", [5, 11, 19])
def test_moving_bright_ball_stays(speed_px: int) -> None:
    lumas = [luma.copy() for luma in noisy(still())]
    for index, luma in enumerate(lumas):
        cv2.circle(luma, (10 + speed_px * index, 40 + 5 * index), 6, (235.0,), -1)
    frames = to_frames(lumas)
    after, summary = refine(frames, frames)
    assert changed(after, frames) == []
    assert sum(summary.left.values()) == COUNT


def test_dark_hole_that_the_network_left_is_filled() -> None:
    dry = noisy(still())
    decoded, restored = to_frames(rain(dry)), to_frames(rain(dry, count=30))
    hole = np.s_[50:53, 60:64]
    restored[4].planes[0][hole] -= 20
    decoded[4].planes[0][hole] += 40
    after, _ = refine(decoded, restored)
    # The network left it 20 codes too dark; the layers mix in some of the decoded, 40 too bright.
    assert abs(float(after[4].planes[0][hole].mean()) - dry[4][hole].mean()) < 15
    assert float(restored[4].planes[0][hole].mean()) < dry[4][hole].mean() - 10


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_frames_stay(count: int) -> None:
    frames = to_frames(rain(still(count)))
    after, summary = refine(frames, frames)
    assert changed(after, frames) == []
    assert summary.left == {"too few neighbours": count}


@pytest.mark.parametrize("size", [(2, 2), (15, 40), (16, 16)])
def test_tiny_frames_stay(size: tuple[int, int]) -> None:
    frames = to_frames(noisy(still(5, *size)))
    after, _ = refine(frames, frames)
    assert changed(after, frames) == []


def test_alpha_stays() -> None:
    frames = to_frames(rain(noisy(still())), "yuva420p")
    after, summary = refine(frames)
    assert summary.frames > 0
    assert all(a.planes[3] is b.planes[3] for a, b in zip(after, frames, strict=True))


def test_summary_counts_what_was_changed() -> None:
    _, summary = refine(to_frames(rain(noisy(still()))))
    assert summary.frames + sum(summary.left.values()) == COUNT
    assert summary.frames > COUNT // 2
    assert 0 < summary.mean_change < 10


def test_leaving_early_ends_all_threads() -> None:
    frames = to_frames(rain(noisy(still())))
    stage = TemporalStage(describe("yuv420p"))
    assert len(list(stage.record(frames))) == COUNT
    refined = stage.refine(iter(frames))
    next(refined)
    refined.close()
    assert stage.summary.frames + sum(stage.summary.left.values()) == 1
