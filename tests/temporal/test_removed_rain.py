"""Frames whose rain the network took, which neighbours confirm though much else moves by itself."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from lfdn_video.temporal.align import Aligned
from lfdn_video.temporal.evidence import Evidence, Picture, look
from lfdn_video.temporal.rule import Verdict, weigh
from lfdn_video.temporal.shapes import find_lines, find_tracks
from tests.support.rain import (
    COUNT,
    Luma,
    error,
    noisy,
    push,
    rain,
    refine,
    still,
    to_frames,
)


def restless(lumas: list[Luma]) -> list[Luma]:
    """With spots that are brighter or darker for one frame, as where motion is not understood."""
    changed = []
    for seed, luma in enumerate(lumas):
        random = np.random.default_rng(500 + seed)
        layer = np.zeros_like(luma)
        for sign in (-50, -50, 50):
            for _ in range(12):
                x, y = random.integers(0, luma.shape[1]), random.integers(0, luma.shape[0])
                cv2.circle(layer, (int(x), int(y)), 3, (sign,), -1)
        changed.append(luma + layer)
    return changed


def partly(rainy: list[Luma], dry: list[Luma]) -> list[Luma]:
    """What a network makes of it that leaves streaks in one quarter and takes the others."""
    mixed = []
    for wet, clean in zip(rainy, dry, strict=True):
        result = clean.copy()
        height, width = wet.shape
        result[: height // 2, : width // 2] = wet[: height // 2, : width // 2]
        mixed.append(result)
    return mixed


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    found: list[Verdict] = []

    def note(evidence: Evidence) -> Verdict:
        found.append(weigh(evidence))
        return found[-1]

    monkeypatch.setattr("lfdn_video.temporal.refine.weigh", note)
    return found


def test_rain_that_the_network_took_tells_that_the_rest_is_rain(verdicts: list[Verdict]) -> None:
    dry = restless(noisy(still()))
    wet = rain(dry, count=90)
    decoded, restored = to_frames(wet), to_frames(partly(wet, dry))
    after, summary = refine(decoded, restored)
    # In any order: frames are refined side by side. The first and the last have one side alone.
    assert sum(each.reason is None and each.by_input for each in verdicts) >= COUNT - 6
    assert summary.frames >= COUNT - 6
    assert error(after, dry) < 0.8 * error(restored, dry)


def test_texture_that_the_network_takes_in_every_frame_is_no_rain(verdicts: list[Verdict]) -> None:
    dry = restless(noisy(still()))
    textured = [luma + each for luma, each in zip(dry, _same_streaks(), strict=True)]
    decoded, restored = to_frames(textured), to_frames(dry)
    after, _ = refine(decoded, restored)
    assert not any(each.by_input for each in verdicts)
    assert error(after, textured) < 0.2 * error(restored, textured)


def test_without_frames_ahead_the_network_s_rain_is_no_witness(verdicts: list[Verdict]) -> None:
    dry = restless(noisy(still()))
    wet = rain(dry, count=90)
    push(to_frames(wet), to_frames(partly(wet, dry)), ahead=0)
    assert verdicts
    assert not any(each.by_input for each in verdicts)


def _same_streaks() -> list[Luma]:
    blank = np.zeros_like(still(1)[0])
    return rain([blank], count=90) * COUNT


def test_a_thing_that_moves_has_a_track_and_a_streak_has_none() -> None:
    lumas = [luma.copy() for luma in noisy(still(7))]
    for t, luma in enumerate(lumas):
        cv2.circle(luma, (40 + 7 * t, 60), 2, (240,), -1)
    x, y = 130, 60
    cv2.line(lumas[3], (x, y - 6), (x, y + 6), (240,), 2)
    evidence = _look_at_the_middle(lumas)
    where = (evidence.places.rows, evidence.places.columns)
    peak, *tracks = find_tracks(evidence)
    ball = (abs(where[0] - 60) < 2) & (abs(where[1] - 61) < 2)
    streak = (abs(where[0] - y) < 4) & (abs(where[1] - x) < 2)
    second_within_16_px, middle_within_32_px = tracks[2], tracks[5]
    assert ball.any()
    assert streak.any()
    assert (peak[ball] > 60).all()
    assert (second_within_16_px[ball] > -30).all()
    assert (second_within_16_px[streak] < -50).all()
    assert (middle_within_32_px[ball] > -30).all()
    assert (middle_within_32_px[streak] < -50).all()


def test_lines_follow_the_direction_of_the_rain() -> None:
    lumas = noisy(still(7))
    lumas[3] = rain([lumas[3]], count=60, streak_px=(12, 12))[0]
    evidence = _look_at_the_middle(lumas)
    near_along, near_across, *_ = find_lines(evidence)
    bright = evidence.luma - evidence.median > 30
    assert near_along[bright].mean() > 2 * near_across[bright].mean()


def _look_at_the_middle(lumas: list[Luma]) -> Evidence:
    """What the middle frame's neighbours show."""
    found: list[Evidence] = []

    def note(picture: Picture, neighbours: Sequence[Aligned]) -> Evidence:
        found.append(look(picture, neighbours))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lfdn_video.temporal.refine.look", note)
        frames = to_frames(lumas)
        refine(frames, frames)
    middle = frames[len(lumas) // 2].planes[0]
    (evidence,) = (each for each in found if np.array_equal(each.picture.luma, middle))
    return evidence
