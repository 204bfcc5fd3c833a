"""The scale in the network: as large as the bound allows, and steady."""

import pytest

from lfdn_video.stream.adaptation import SCALES, Adaptation

BOUND_S = 1.0


class Clock:
    """A network whose time grows with the area, and the time that goes by with it."""

    def __init__(self, adaptation: Adaptation, full_cost_s: float) -> None:
        self.adaptation, self.full_cost_s, self.now_s = adaptation, full_cost_s, 0.0
        self.scales: list[float] = []

    def run(self, frames: int, *, waited_s: float = 0.02) -> None:
        for _ in range(frames):
            scale = self.adaptation.scale
            cost_s = self.full_cost_s * scale**2
            self.now_s += cost_s + waited_s
            self.scales.append(scale)
            self.adaptation.note(cost_s + waited_s, cost_s, self.now_s)


def test_a_fast_network_gets_whole_pictures() -> None:
    clock = Clock(Adaptation(BOUND_S), full_cost_s=0.1)
    clock.run(100)
    assert set(clock.scales) == {1.0}


def test_a_slow_network_gets_smaller_ones_at_once() -> None:
    clock = Clock(Adaptation(BOUND_S), full_cost_s=3.0)
    clock.run(2)
    assert 3.0 * clock.adaptation.scale**2 <= 0.5 * BOUND_S


def test_the_first_scale_is_chosen_by_a_trial() -> None:
    adaptation = Adaptation(BOUND_S)
    adaptation.begin({SCALES[0]: 0.125}, now_s=0.0)  # 2 s at full size
    assert adaptation.scale == 0.5


def test_what_costs_the_same_at_every_scale_is_told_apart() -> None:
    adaptation = Adaptation(BOUND_S)
    adaptation.begin({0.25: 0.10, 0.5: 0.13}, now_s=0.0)  # 0.09 s and 0.16 s for the whole
    assert adaptation.scale == 1.0
    adaptation.begin({0.25: 0.2, 0.5: 0.1}, now_s=0.0)  # the machine was busy in between
    assert adaptation.scale == 1.0


def test_what_became_faster_is_used_after_a_while() -> None:
    clock = Clock(Adaptation(BOUND_S), full_cost_s=3.0)
    clock.run(20)
    clock.full_cost_s = 0.1
    clock.run(1000)
    assert clock.adaptation.scale == 1.0


@pytest.mark.parametrize("full_cost_s", [0.2, 0.5, 0.9, 1.3, 2.0, 5.0, 12.0])
def test_an_even_network_is_left_alone(full_cost_s: float) -> None:
    clock = Clock(Adaptation(BOUND_S), full_cost_s)
    clock.run(2000)
    settled = clock.scales[200:]
    assert len(set(settled)) == 1


def test_going_up_in_vain_is_tried_less_and_less() -> None:
    """A load that comes whenever the pictures are large."""
    clock = Clock(Adaptation(BOUND_S), full_cost_s=0.4)
    for _ in range(3000):
        clock.full_cost_s = 2.0 if clock.adaptation.scale == 1.0 else 0.4
        clock.run(1)
    changes = sum(a != b for a, b in zip(clock.scales, clock.scales[1:], strict=False))
    assert changes < 30


def test_a_single_late_frame_within_the_bound_changes_nothing() -> None:
    clock = Clock(Adaptation(BOUND_S), full_cost_s=0.3)
    clock.run(20)
    clock.adaptation.note(0.9, 0.88, clock.now_s)
    clock.run(20)
    assert clock.adaptation.scale == 1.0


def test_a_fixed_scale_stays() -> None:
    clock = Clock(Adaptation(BOUND_S, fixed=0.5), full_cost_s=40.0)
    clock.run(20)
    assert set(clock.scales) == {0.5}


def test_what_is_too_slow_for_any_scale_is_known() -> None:
    clock = Clock(Adaptation(BOUND_S), full_cost_s=40.0)
    clock.run(20)
    assert clock.adaptation.scale == SCALES[0]
    assert clock.adaptation.beyond_help
