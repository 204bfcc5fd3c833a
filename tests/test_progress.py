"""The time that is left of a run, by a clock of the test."""

import pytest

from lfdn_video.progress import ProgressMeter, RunSetting, StageClocks


class Run:
    """A run whose frames take the time that the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, setting: RunSetting) -> None:
        self.now_s = 100.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now_s)
        self.clocks = StageClocks()
        self.meter = ProgressMeter(setting, self.clocks)

    def finish(self, frames: int, seconds_each: float) -> float | None:
        """Finish frames; return the seconds that are left."""
        eta_s = None
        for _ in range(frames):
            self.now_s += seconds_each
            self.meter.frames_done += 1
            eta_s = self.meter.progress().eta_s
        return eta_s


def test_slow_start_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RunSetting(expected=101))
    run.now_s += 8  # stages start and fill up
    assert run.finish(1, 0.0) is None
    assert run.finish(10, 0.5) == pytest.approx(90 * 0.5, rel=0.005)


@pytest.mark.parametrize("frames", [9, 10, 11, 12])
def test_lanes_that_finish_together_do_not_change_the_pace(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four frames every two seconds, of 100 frames, after the first, third and later ones."""
    run = Run(monkeypatch, RunSetting(expected=100))
    eta_s = None
    for frame in range(frames):
        eta_s = run.finish(1, 2.0 if frame % 4 == 0 else 0.001)
    bursts = -(-frames // 4)
    assert eta_s == pytest.approx((25 - bursts) * 2.0, rel=0.01)


def test_frames_of_an_earlier_run_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RunSetting(expected=1000, kept=900))
    assert run.finish(11, 2.0) == pytest.approx(89 * 2.0, rel=0.005)


def test_pace_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RunSetting(expected=1000))
    run.finish(100, 1.0)
    assert run.finish(20, 4.0) == pytest.approx(880 * 4.0, rel=0.05)


def test_reading_the_target_again_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    eta_s = []
    for audited in (False, True):
        run = Run(monkeypatch, RunSetting(expected=100, audited=audited))
        run.clocks.decode.add_busy(5.0)
        eta_s.append(run.finish(50, 1.0))
    assert eta_s[0] is not None
    assert eta_s[1] == pytest.approx(eta_s[0] + 10.0)


def test_frames_that_have_left_the_slowest_stage_cost_no_more_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 30 frames the network has done 13, and 8 are written; the others wait for neighbours."""
    run = Run(monkeypatch, RunSetting(expected=30))
    for _ in range(13):
        with run.clocks.model.working():
            run.now_s += 2.0
    run.meter.frames_through = 8
    eta_s = run.finish(8, 2.0)
    assert eta_s == pytest.approx((30 - 13) * 2.0, rel=0.005)


def test_stages_after_the_slowest_finish_what_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch, RunSetting(expected=30))
    for clock, seconds in ((run.clocks.model, 2.0), (run.clocks.encode, 0.5)):
        for _ in range(10):
            with clock.working():
                run.now_s += seconds
    run.meter.frames_through = 6
    assert run.finish(6, 2.0) == pytest.approx((30 - 10) * 2.0 + 4 * 0.5, rel=0.005)


def test_work_before_the_first_frame_is_not_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network was used to look for rain."""
    monkeypatch.setattr("time.perf_counter", lambda: 100.0)
    clocks = StageClocks()
    for _ in range(20):
        with clocks.model.working():
            pass
    run = Run(monkeypatch, RunSetting(expected=101))
    run.clocks = clocks
    run.meter = ProgressMeter(RunSetting(expected=101), clocks)
    assert run.finish(11, 0.5) == pytest.approx(90 * 0.5, rel=0.005)


def test_source_that_is_longer_than_stated_has_no_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Run(monkeypatch, RunSetting(expected=5)).finish(6, 1.0) is None
