"""The scale of live frames in the network: as large as the bound allows, and steady."""

from itertools import pairwise

import pytest

from lfdn_video.stream.adaptation import BLIND_FRAMES, SCALES, Adaptation

BOUND_S = 1.0


class Simulation:
    """A simulated network whose cost grows with the area, and the time that passes meanwhile."""

    def __init__(self, adaptation: Adaptation, full_cost_s: float) -> None:
        self.adaptation, self.full_cost_s, self.now_s = adaptation, full_cost_s, 0.0
        self.scales: list[float] = []

    def run(self, frames: int, *, waited_s: float = 0.02) -> None:
        for _ in range(frames):
            scale = self.adaptation.scale
            cost_s = self.full_cost_s * scale**2
            self.now_s += cost_s + waited_s
            self.scales.append(scale)
            self.adaptation.observe_frame(cost_s + waited_s, cost_s, self.now_s)


def test_fast_network_keeps_full_scale() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=0.1)
    simulation.run(100)
    assert set(simulation.scales) == {1.0}


def test_slow_network_goes_down_at_once_and_far_enough() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=3.0)
    simulation.run(2)
    assert 3.0 * simulation.adaptation.scale**2 <= 0.5 * BOUND_S


def test_trial_chooses_the_first_scale() -> None:
    adaptation = Adaptation(BOUND_S)
    adaptation.start_from_trial({SCALES[0]: 0.125}, now_s=0.0)  # 2 s at full size
    assert adaptation.scale == 0.5


def test_trial_separates_fixed_cost_from_cost_by_area() -> None:
    adaptation = Adaptation(BOUND_S)
    # 0.09 s at any scale, and 0.16 s for the full area.
    adaptation.start_from_trial({0.25: 0.10, 0.5: 0.13}, now_s=0.0)
    assert adaptation.scale == 1.0
    # The machine was busy during the first pass.
    adaptation.start_from_trial({0.25: 0.2, 0.5: 0.1}, now_s=0.0)
    assert adaptation.scale == 1.0


def test_network_that_becomes_faster_goes_up_again() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=3.0)
    simulation.run(20)
    simulation.full_cost_s = 0.1
    simulation.run(1000)
    assert simulation.adaptation.scale == 1.0


@pytest.mark.parametrize("full_cost_s", [0.2, 0.5, 0.9, 1.3, 2.0, 5.0, 12.0])
def test_constant_cost_settles_at_one_scale(full_cost_s: float) -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s)
    simulation.run(2000)
    settled = simulation.scales[200:]
    assert len(set(settled)) == 1


def test_steps_up_that_are_reverted_become_rare() -> None:
    """A load that appears whenever the scale is 1."""
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=0.4)
    for _ in range(3000):
        simulation.full_cost_s = 2.0 if simulation.adaptation.scale == 1.0 else 0.4
        simulation.run(1)
    changes = sum(a != b for a, b in zip(simulation.scales, simulation.scales[1:], strict=False))
    assert changes < 30


def test_single_frame_above_the_high_watermark_changes_nothing() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=0.3)
    simulation.run(20)
    simulation.adaptation.observe_frame(0.9, 0.88, simulation.now_s)
    simulation.run(20)
    assert simulation.adaptation.scale == 1.0


def test_fixed_scale_never_changes() -> None:
    simulation = Simulation(Adaptation(BOUND_S, fixed=0.5), full_cost_s=40.0)
    simulation.run(20)
    assert set(simulation.scales) == {0.5}


def test_network_too_slow_for_every_scale_is_saturated() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=40.0)
    simulation.run(20)
    assert simulation.adaptation.scale == SCALES[0]
    assert simulation.adaptation.saturated


class StageSimulation(Simulation):
    """A network followed by a temporal stage, whose cost does not depend on the scale."""

    def __init__(self, adaptation: Adaptation, full_cost_s: float, stage_s: float) -> None:
        super().__init__(adaptation, full_cost_s)
        self.stage_s = stage_s

    def run(self, frames: int, *, waited_s: float = 0.02) -> None:
        for _ in range(frames):
            cost_s = self.full_cost_s * self.adaptation.scale**2
            stage_s = self.stage_s if self.adaptation.refines else 0.0
            self.now_s += cost_s + stage_s + waited_s
            self.scales.append(self.adaptation.scale)
            latency_s = cost_s + stage_s + waited_s
            self.adaptation.observe_frame(latency_s, cost_s, self.now_s, stage_s)


def test_stage_acts_while_there_is_time() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 0.1, 0.05)
    simulation.run(100)
    assert simulation.adaptation.refines
    assert set(simulation.scales) == {1.0}


def test_scale_goes_down_to_half_before_the_stage_is_paused() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 1.2, 0.05)
    simulation.run(30)
    assert (simulation.adaptation.scale, simulation.adaptation.refines) == (0.5, True)


def test_stage_is_paused_before_the_scale_falls_below_half() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 1.6, 0.7)
    simulation.run(30)
    assert (simulation.adaptation.scale, simulation.adaptation.paused) == (0.5, True)


def test_paused_stage_comes_back_when_there_is_time() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 1.6, 0.7)
    simulation.run(30)
    simulation.full_cost_s, simulation.stage_s = 0.1, 0.05
    simulation.run(1000)
    assert (simulation.adaptation.scale, simulation.adaptation.refines) == (1.0, True)


def test_tries_of_a_stage_that_costs_too_much_become_rare() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 0.1, 0.9)
    acted = []
    for _ in range(5000):
        simulation.run(1)
        acted.append(simulation.adaptation.refines)
    assert sum(acted) < 60


def test_trial_leaves_time_for_the_stage_and_for_the_frame_that_is_waited_for() -> None:
    now, later = Adaptation(BOUND_S, delay=0), Adaptation(BOUND_S, delay=1)
    for adaptation in (now, later):
        adaptation.start_from_trial({0.25: 0.025, 0.5: 0.1}, 0.0, stage_s=0.05)  # 0.4 s in all
    assert (now.scale, later.scale) == (1.0, 0.5)
    assert now.refines
    assert later.refines


def test_trial_pauses_a_stage_that_costs_more_than_the_bound() -> None:
    adaptation = Adaptation(BOUND_S, delay=0)
    adaptation.start_from_trial({0.25: 0.025, 0.5: 0.1}, 0.0, stage_s=0.9)
    assert (adaptation.scale, adaptation.paused) == (1.0, True)


def test_stage_that_sees_nothing_for_dropped_frames_is_paused_and_tried_again() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 0.1, 0.05)
    adaptation = simulation.adaptation
    acted = []
    for _ in range(6000):  # 14 minutes
        simulation.run(1)
        adaptation.observe_stage(blind=adaptation.refines, now_s=simulation.now_s)
        acted.append(adaptation.refines)
    assert adaptation.scale == 1.0
    assert sum(acted[:BLIND_FRAMES]) == BLIND_FRAMES - 1
    tries = sum(1 for one, two in pairwise(acted) if two > one)
    assert 3 <= tries <= 10
    for _ in range(3000):
        simulation.run(1)
        adaptation.observe_stage(blind=False, now_s=simulation.now_s)
    assert adaptation.refines


def test_stage_that_sees_now_and_then_goes_on() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 0.1, 0.05)
    for number in range(500):
        simulation.run(1)
        blind = number % BLIND_FRAMES != 0
        simulation.adaptation.observe_stage(blind=blind, now_s=simulation.now_s)
    assert simulation.adaptation.refines


def test_stage_is_paused_at_a_fixed_scale_too() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, fixed=1.0, delay=0), 0.4, 0.8)
    simulation.run(20)
    assert (simulation.adaptation.scale, simulation.adaptation.paused) == (1.0, True)


def seconds_until_full(simulation: Simulation, limit_s: float) -> float:
    """Run until the scale is 1; return the seconds of the simulated clock that it took."""
    began_s = simulation.now_s
    while simulation.adaptation.scale < 1.0 and simulation.now_s - began_s < limit_s:
        simulation.run(1)
    return simulation.now_s - began_s


@pytest.mark.parametrize("busy_s", [5.0, 60.0, 600.0])
@pytest.mark.parametrize("slowdown", [2.0, 4.0, 12.0])
def test_scale_is_back_within_ten_seconds_when_a_load_is_gone(
    busy_s: float, slowdown: float
) -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=0.4)
    simulation.run(20)
    simulation.full_cost_s *= slowdown
    until_s = simulation.now_s + busy_s
    while simulation.now_s < until_s:
        simulation.run(1)
    assert simulation.adaptation.scale < 1.0
    simulation.full_cost_s /= slowdown
    assert seconds_until_full(simulation, 100.0) <= 10.0


def test_scale_is_back_within_ten_seconds_after_a_load_that_comes_and_goes() -> None:
    """Every try to go up fails, so that the hold has grown; then the load is gone."""
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=0.4)
    while simulation.now_s < 600:
        simulation.full_cost_s = 2.0 if simulation.adaptation.scale == 1.0 else 0.44
        simulation.run(1)
    assert simulation.adaptation._hold.seconds > 60
    simulation.full_cost_s = 0.3
    assert seconds_until_full(simulation, 100.0) <= 10.0


def test_paused_stage_is_back_within_ten_seconds_when_a_load_is_gone() -> None:
    simulation = StageSimulation(Adaptation(BOUND_S, delay=0), 0.15, 0.1)
    simulation.run(20)
    simulation.full_cost_s, simulation.stage_s = 1.5, 1.0
    while simulation.now_s < 120:
        simulation.run(1)
    was_paused = simulation.adaptation.paused
    simulation.full_cost_s, simulation.stage_s = 0.15, 0.1
    began_s = simulation.now_s
    while simulation.now_s - began_s < 10.0:
        simulation.run(1)
    assert was_paused
    assert (simulation.adaptation.scale, simulation.adaptation.refines) == (1.0, True)


def test_scale_stays_above_the_floor() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=40.0)
    simulation.adaptation.set_floor(0.5, 0.0)
    simulation.run(20)
    assert simulation.adaptation.scale == 0.5
    assert simulation.adaptation.saturated


def test_floor_applies_at_once_and_can_be_taken_away() -> None:
    simulation = Simulation(Adaptation(BOUND_S), full_cost_s=12.0)
    simulation.run(20)
    assert simulation.adaptation.scale == SCALES[0]
    simulation.adaptation.set_floor(0.5, simulation.now_s)
    assert simulation.adaptation.scale == 0.5
    simulation.run(20)
    assert simulation.adaptation.scale == 0.5
    simulation.adaptation.set_floor(SCALES[0], simulation.now_s)
    simulation.run(20)
    assert simulation.adaptation.scale == SCALES[0]


def test_floor_applies_to_the_trial() -> None:
    adaptation = Adaptation(BOUND_S)
    adaptation.set_floor(0.5, 0.0)
    adaptation.start_from_trial({SCALES[0]: 2.0}, now_s=0.0)
    assert adaptation.scale == 0.5


def test_fixed_scale_ignores_the_floor() -> None:
    adaptation = Adaptation(BOUND_S, fixed=0.25)
    adaptation.set_floor(0.5, 0.0)
    assert adaptation.scale == 0.25
