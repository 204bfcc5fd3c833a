"""How long a run will take: by the px of its stages, and its validations."""

from dataclasses import replace

import pytest

from lfdn.datasets.crops import CropStage
from lfdn.training.pace import FORWARD_SHARE, Pace
from lfdn.training.recipe import TrainOptions

OPTIONS = TrainOptions(
    steps=100, stages=(CropStage(0.5, 10, 2), CropStage(1.0, 20, 1)), validate_every=50
)
STEP_PX = 200


def run(pace: Pace, steps: int, each_s: float = 2.0) -> float:
    """Note some steps; the first one took longer, as the start of a run does."""
    now_s = 1000.0
    pace.note_step(1, now_s)
    for step in range(2, steps + 1):
        now_s += each_s
        pace.note_step(step, now_s)
    return now_s


def test_later_stages_are_foreseen_by_their_px() -> None:
    pace = Pace(OPTIONS, validation_px=0)
    run(pace, 10)
    assert pace.steps_per_s == pytest.approx(0.5)
    assert pace.foresee(0.0) == pytest.approx(40 * 2 + 50 * 4)  # twice the px, twice the time


def test_nothing_is_foreseen_before_a_step_was_measured() -> None:
    pace = Pace(OPTIONS, validation_px=0)
    pace.note_step(1, 0.0)
    assert (pace.foresee(0.0), pace.steps_per_s) == (None, 0.0)


def test_validations_are_foreseen_by_px_then_as_measured() -> None:
    pace = Pace(OPTIONS, validation_px=3 * STEP_PX)
    now_s = run(pace, 10)
    without = 40 * 2 + 50 * 4
    assert pace.foresee(0.0) == pytest.approx(without + 2 * 3 * FORWARD_SHARE * 2)
    pace.note_validation(now_s + 30)
    assert pace.foresee(0.0) == pytest.approx(without + 2 * 30)
    assert pace.foresee(0.0, validated=0.25) == pytest.approx(without + 2.75 * 30)


def test_time_of_a_validation_is_none_of_the_steps() -> None:
    pace = Pace(OPTIONS, validation_px=STEP_PX)
    now_s = run(pace, 50)
    pace.note_validation(now_s + 500)
    pace.note_step(51, now_s + 504)
    assert pace.steps_per_s == pytest.approx(0.25)
    assert pace.foresee(0.0) == pytest.approx(49 * 4 + 500)


def test_last_validation_is_still_to_come_after_the_last_step() -> None:
    pace = Pace(OPTIONS, validation_px=STEP_PX)
    pace.note_validation(run(pace, 100) + 10)
    assert pace.foresee(0.0, validated=0.5) == pytest.approx(5)
    assert pace.foresee(0.0) == 0


def test_run_for_a_time_ends_when_it_is_over() -> None:
    pace = Pace(replace(OPTIONS, resident=True, seconds=60.0), validation_px=STEP_PX)
    run(pace, 10)
    assert pace.foresee(45.0) == 15.0
    assert pace.steps_per_s == pytest.approx(0.5)
    assert pace.foresee(61.0) == 0


def test_what_is_long_ago_counts_little() -> None:
    pace = Pace(OPTIONS, validation_px=0)
    now_s = run(pace, 10, each_s=60.0)
    for step in range(11, 40):
        now_s += 20
        pace.note_step(step, now_s)
    assert pace.steps_per_s == pytest.approx(1 / 20, rel=0.15)
