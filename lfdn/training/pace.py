"""How fast a run is, and how long it will take. Knows no clock: times are given to it."""

import math

from lfdn.datasets.crops import select_stage
from lfdn.training.recipe import TrainOptions, compute_position

MEMORY_S = 120.0
"""What was measured longer ago than this counts little."""
FORWARD_SHARE = 1 / 3
"""Time for restoring a px, as a share of that for training on it: there is no backward pass."""


class Pace:
    """The speed of this session's steps, and the time left.

    The time of a step is taken to be proportional to the px of its crops, so that later stages are
    foreseen in the first one. Validations are counted apart: until one was measured, by their px.

    Args:
        options: Of the run.
        validation_px: Px that a validation restores.
    """

    def __init__(self, options: TrainOptions, *, validation_px: int) -> None:
        self._options = options
        self._validation_px = validation_px
        self._validation_s: float | None = None
        self._mark: tuple[int, float] | None = None
        self._px = 0.0
        self._s = 0.0
        self.measured_s = 0.0
        """Time of the steps that were measured."""
        self.measured_steps = 0

    def note_step(self, step: int, now_s: float) -> None:
        """Note that `step` steps are done. The first call begins: what was before is not counted.

        Args:
            step: Steps of the run that are done.
            now_s: Time on any clock, in seconds.
        """
        if self._mark is not None and step > self._mark[0]:
            before, then_s = self._mark
            took_s = now_s - then_s
            fading = math.exp(-took_s / MEMORY_S)
            self._px = self._px * fading + (step - before) * self._count_px(step - 1)
            self._s = self._s * fading + took_s
            self.measured_s += took_s
            self.measured_steps += step - before
        self._mark = (step, now_s)

    def note_validation(self, now_s: float) -> None:
        """Note the end of a validation, and of what is done with it, that began after a step."""
        if self._mark is not None:
            step, then_s = self._mark
            self._validation_s = now_s - then_s
            self._mark = (step, now_s)

    @property
    def steps_per_s(self) -> float:
        """Steps in a second of training, of the stage that is being trained; 0 if unknown."""
        if self._mark is None or not self._s:
            return 0.0
        return self._px / self._s / self._count_px(self._mark[0])

    def foresee(self, seconds: float, *, validated: float = 1.0) -> float | None:
        """Foresee the time left, from the last step on.

        Args:
            seconds: Time spent on training over all sessions, of which `options.seconds` is a
                limit.
            validated: Share of the validation that runs now which is done; 1 if none runs.

        Returns:
            Seconds, with the validations to come; None if nothing was measured yet.
        """
        options = self._options
        if options.seconds is not None:
            return max(0.0, options.seconds - seconds)
        if self._mark is None or not self._s:
            return None
        step = self._mark[0]
        px_per_s = self._px / self._s
        every = options.validate_every
        to_come = max(0, math.ceil(options.steps / every) - step // every) + 1 - validated
        each_s = self._validation_s
        if each_s is None:
            each_s = self._validation_px * FORWARD_SHARE / px_per_s
        return self._count_px_left(step) / px_per_s + to_come * each_s

    def _count_px(self, step: int) -> int:
        """Return the px of a step's crops; in a run for a time, of its first stage."""
        options = self._options
        if options.seconds is not None:
            return 1
        stage = select_stage(options.stages, compute_position(options, step, 0.0) / options.steps)
        return stage.batch * stage.patch_px**2

    def _count_px_left(self, step: int) -> float:
        """Count the px of the steps after `step`."""
        options, begin, px = self._options, float(step), 0.0
        for stage in options.stages:
            last = stage is options.stages[-1]
            end = float(options.steps if last else min(stage.until, 1.0) * options.steps)
            px += max(0.0, end - begin) * stage.batch * stage.patch_px**2
            begin = max(begin, end)
        return px
