"""The scale of live frames in the network, and whether the temporal stage acts, within the bound.

A controller with a low and a high watermark; arithmetic only, with the time passed in. The
network's cost grows with the area of its input, so the cost at one scale predicts that at another:

    cost(scale) = fixed + whole · scale²

- Down at once, and as far as needed. While the scale is too large, every frame is late; going down
  step by step would show several late frames in a row.
- Up after a hold, and only to a scale whose predicted latency is below the low watermark. The gap
  between the watermarks prevents oscillation under constant load.
- The hold doubles when going up has to be reverted soon after, since a load that depends on the
  scale itself defeats the prediction. It halves when going up lasts, and starts anew when the cost
  at this scale falls: then another load is gone, which had nothing to do with the scale.
- The first scale comes from a trial (`start_from_trial`). Starting at full size would show a frame
  that is seconds late on a slow device; starting small, a coarse result on a fast one.
- The temporal stage costs the same at any scale. It finds what the network leaves, so it goes
  before the network's input becomes so small that thin streaks vanish (`LEAST_SCALE_REFINED`), and
  not sooner. It comes back like a step up, at the largest scale that leaves it time, before the
  scale itself goes up.
- It is also paused while it tells nothing because frames are dropped (`observe_stage`): what it
  costs is then why its neighbours are too far away.
- There may be a floor (`set_floor`), below which a slow device breaks the bound instead.
- With a delay a frame waits for the next one, which needs a pass of its own: two passes of latency.

Only the network's input is scaled; frames keep their size (`scaling.py`).
"""

from collections.abc import Mapping

from lfdn_video.options import MIN_SCALE, Delay, Prefer

SCALES = (MIN_SCALE, 0.375, 0.5, 0.75, 1.0)
"""Scales to choose from, ascending: sides of the network's input over those of the frame."""

LEAST_SCALE_REFINED = 0.5
"""Below this scale there is no temporal stage: at less, the network removes hardly any rain, and
with it the stage has to do without both its time and the network's work."""

LEAST_SCALE_DERAINED = 0.5
"""Below this scale hardly any rain is removed (`python -m benchmarks.rain_probe --scale`)."""

HIGH_WATERMARK = 0.75
"""Share of the latency bound; after two consecutive frames above it, the scale goes down."""
LOW_WATERMARK = 0.5
"""Share of the latency bound; the predicted latency at a new scale must be below it."""

MIN_FRAMES_UP = 5
"""Frames to observe at a scale before it may go up."""
FIRST_HOLD_S = 3.0
MAX_HOLD_S = 120.0
"""Bounds of the hold: the time from a change of scale until it may go up."""
REVERTED_WITHIN_S = 60.0
"""A step down within this time after a step up reverts it."""
RELIEF = 0.75
"""A cost below this share of the first ones at the same scale means that a load is gone."""
BLIND_FRAMES = 25
"""Frames in a row to which the temporal stage adds nothing, before it is paused."""
BLIND_HOLD_S = 30.0
"""First time of such a pause; it doubles each time, up to `MAX_HOLD_S`."""
STAGE_COST_KEPT = 0.98
"""What a frame leaves of the remembered cost of a paused stage."""
EMA_WEIGHT = 0.3
"""Weight of the newest cost in the moving average."""


class Adaptation:
    """Chooses `scale`, unless it is fixed, and `refines` from costs and latencies of frames."""

    def __init__(
        self, max_latency_s: float, *, fixed: float | None = None, delay: Delay | None = None
    ) -> None:
        """Start at full size, or at `fixed`.

        Args:
            max_latency_s: the bound on a frame's latency, in seconds, above 0.
            fixed: a constant scale in `MIN_SCALE`…1; None: adapt.
            delay: frames that the temporal stage waits for; None: there is no such stage.
        """
        self._max_latency_s = max_latency_s
        self._fixed = fixed
        self._delay = delay
        self._scales: tuple[float, ...] = SCALES
        self.scale = fixed or 1.0
        self.refines = delay is not None
        """True if the temporal stage is to act."""
        self.saturated = False
        """True if even the smallest scale is too slow."""
        self._average_cost_s = 0.0
        """Moving average of the cost at this scale; 0: none yet."""
        self._settled_cost_s = 0.0  # that average after the first frames
        self._stage_s = 0.0
        """Moving average of the temporal stage's cost, kept while it is paused."""
        self._sight = _Sight()
        self._frames_above_high = 0
        self._frames = 0
        """Observed at this scale."""
        self._hold = _Hold()

    @property
    def adapts(self) -> bool:
        """False if the scale is fixed."""
        return self._fixed is None

    def set_floor(self, floor: float, now_s: float) -> None:
        """Change the smallest scale to choose.

        Args:
            floor: the scale, up to 1.
            now_s: the time by `time.monotonic`.
        """
        self._scales = tuple(scale for scale in SCALES if scale >= floor)
        if self.adapts and self.scale < self._scales[0]:
            self._set_scale(self._scales[0], now_s)

    @property
    def paused(self) -> bool:
        """True if there is a temporal stage that is not to act."""
        return self._delay is not None and not self.refines

    def start_from_trial(
        self, costs_s: Mapping[float, float], now_s: float, stage_s: float = 0.0
    ) -> None:
        """Choose the scale for frames of a new size from measured costs.

        Args:
            costs_s: seconds in the network by scale, of one frame at one or more of `SCALES`.
            now_s: the time by `time.monotonic`.
            stage_s: seconds in the temporal stage.
        """
        if not self.adapts:
            return
        limit_s = LOW_WATERMARK * self._max_latency_s
        fixed_s, whole_s = _fit_cost(costs_s)
        self._stage_s = stage_s
        self.refines = self._delay is not None
        scale = self._largest_scale(limit_s, fixed_s, whole_s)
        if self.refines and (scale is None or scale < LEAST_SCALE_REFINED):
            self.refines = False
            scale = self._largest_scale(limit_s, fixed_s, whole_s)
        self._set_scale(scale or self._scales[0], now_s)

    def observe_frame(
        self, latency_s: float, cost_s: float, now_s: float, stage_s: float = 0.0
    ) -> None:
        """Observe a finished frame; `scale` and `refines` may change.

        Args:
            latency_s: seconds from its capture to its display.
            cost_s: seconds in the network of the newest frame.
            now_s: the time by `time.monotonic`.
            stage_s: seconds in the temporal stage of the newest frame.
        """
        if not self.adapts and self._delay is None:
            return
        # The first frame at a scale pays for warming up, so its cost says nothing about the next
        # ones. It is ignored, unless it breaks the bound: then waiting for another would be worse.
        if self._frames == 0 and latency_s <= self._max_latency_s:
            self._frames = 1
            return
        self._frames += 1
        self._average_cost_s = _follow(self._average_cost_s, cost_s)
        if self.refines:
            self._stage_s = _follow(self._stage_s, stage_s)
        self._notice_relief()
        is_above = latency_s > HIGH_WATERMARK * self._max_latency_s
        self._frames_above_high = self._frames_above_high + 1 if is_above else 0
        # One frame above the watermark may be an outlier; one above the bound breaks the promise.
        if self._frames_above_high >= 2 or latency_s > self._max_latency_s:
            # The larger of both: the average lags behind a load that rises.
            self._go_down(max(cost_s, self._average_cost_s), now_s)
        elif self._frames >= MIN_FRAMES_UP and self._hold.is_over(now_s):
            self._try_to_go_up(latency_s, now_s)

    def observe_stage(self, *, blind: bool, now_s: float) -> None:
        """Observe what the temporal stage saw; it may be paused.

        Args:
            blind: frames were dropped between a frame and its neighbours, and these told nothing.
            now_s: the time by `time.monotonic`.
        """
        if self.refines and self._sight.is_lost(blind=blind, now_s=now_s):
            self.refines = False
            self._set_scale(self.scale, now_s)

    def _notice_relief(self) -> None:
        """Forget the doubled hold when the cost at this scale falls: another load is gone."""
        if self._frames <= MIN_FRAMES_UP:
            self._settled_cost_s = self._average_cost_s
        elif self._average_cost_s < RELIEF * self._settled_cost_s:
            self._hold.forget()
            if self.paused:  # a stage that is paused cannot be measured; it shared the load
                self._stage_s *= self._average_cost_s / self._settled_cost_s
            self._settled_cost_s = self._average_cost_s

    def _go_down(self, cost_s: float, now_s: float) -> None:
        """Go down to a scale predicted to be below the low watermark, at least by one step."""
        smaller = [scale for scale in self._scales if scale < self.scale] if self.adapts else []
        if not smaller and not self.refines:
            self.saturated = self.adapts
            return
        self._hold.note_step_down(now_s)
        limit_s = LOW_WATERMARK * self._max_latency_s
        # Without the fixed part, which is unknown under the new load. If it is large, this predicts
        # too little, and the scale goes down again after the next frames.
        whole_s = cost_s / self.scale**2
        predicted = self._largest_scale(limit_s, 0.0, whole_s) or self._scales[0]
        largest = smaller[-1] if smaller else self.scale
        if self.refines and (not smaller or min(predicted, largest) < LEAST_SCALE_REFINED):
            self.refines = False
            predicted = self._largest_scale(limit_s, 0.0, whole_s) or self._scales[0]
            largest = self.scale  # without the stage this one may do
        self._set_scale(min(predicted, largest) if self.adapts else self.scale, now_s)

    def _try_to_go_up(self, latency_s: float, now_s: float) -> None:
        """Go up as far as the latency is predicted to stay below the low watermark."""
        limit_s = LOW_WATERMARK * self._max_latency_s
        may_act = self.paused and now_s >= self._sight.back_s
        if may_act and (refined := self._find_scale_refined(latency_s, limit_s)):
            self.refines = True
            self._hold.note_step_up(now_s)
            self._set_scale(refined, now_s)
            return
        # What the stage costs is unknown while it is paused; without this, one busy minute would
        # keep it off for good. Tries that fail become rare, as for the scale.
        self._stage_s *= STAGE_COST_KEPT if self.paused else 1.0
        # As if all of the cost grew with the area: too pessimistic rather than too late.
        unit_s = max(1e-9, self._passes * self._average_cost_s / self.scale**2)
        room = self.scale**2 + (limit_s - latency_s) / unit_s
        fitting = [scale for scale in self._scales if self.scale < scale and scale**2 <= room]
        if fitting and self.adapts:
            self._hold.note_step_up(now_s)
            self._set_scale(fitting[-1], now_s)

    def _find_scale_refined(self, latency_s: float, limit_s: float) -> float | None:
        """Return the largest scale, up to this one, with time for the paused stage; None: none."""
        for scale in reversed(self._scales) if self.adapts else (self.scale,):
            if scale > self.scale or (self.adapts and scale < LEAST_SCALE_REFINED):
                continue
            cost_s = self._average_cost_s * (scale / self.scale) ** 2
            saved_s = self._average_cost_s - cost_s
            if latency_s - saved_s + (self._delay or 0) * cost_s + self._stage_s <= limit_s:
                return scale
        return None

    @property
    def _passes(self) -> int:
        """Passes of the network in a frame's latency: its own, and those that it waits for."""
        return 1 + (self._delay or 0) if self.refines else 1

    def _largest_scale(self, limit_s: float, fixed_s: float, whole_s: float) -> float | None:
        """Return the largest scale at which network and stage fit the limit; None: none does."""
        limit_s = (limit_s - (self._stage_s if self.refines else 0.0)) / self._passes
        return max((s for s in self._scales if fixed_s + whole_s * s**2 <= limit_s), default=None)

    def _set_scale(self, scale: float, now_s: float) -> None:
        self.scale = scale
        self.saturated = False
        self._hold.begin(now_s)
        # Observations at another scale do not apply to this one.
        self._average_cost_s = 0.0
        self._settled_cost_s = 0.0
        self._frames_above_high = 0
        self._frames = 0


class _Hold:
    """The time from a change of scale until it may go up."""

    def __init__(self) -> None:
        self.seconds = FIRST_HOLD_S
        self._changed_s = float("-inf")
        self._went_up_s = float("-inf")

    def begin(self, now_s: float) -> None:
        self._changed_s = now_s

    def is_over(self, now_s: float) -> bool:
        return now_s - self._changed_s >= self.seconds

    def note_step_up(self, now_s: float) -> None:
        if now_s - self._went_up_s > 2 * REVERTED_WITHIN_S:  # the last step up lasted
            self.seconds = max(FIRST_HOLD_S, self.seconds / 2)
        self._went_up_s = now_s

    def note_step_down(self, now_s: float) -> None:
        if now_s - self._went_up_s < REVERTED_WITHIN_S:
            self.seconds = min(2 * self.seconds, MAX_HOLD_S)

    def forget(self) -> None:
        """Forget what was reverted before."""
        self.seconds = FIRST_HOLD_S


class _Sight:
    """Notices a temporal stage that tells nothing, and when it may be tried again."""

    def __init__(self) -> None:
        self.back_s = float("-inf")
        self._blind = 0
        self._hold_s = BLIND_HOLD_S

    def is_lost(self, *, blind: bool, now_s: float) -> bool:
        """Count frames in a row; too many end its turn."""
        self._blind = self._blind + 1 if blind else 0
        if self._blind < BLIND_FRAMES:
            return False
        self._blind = 0
        self.back_s = now_s + self._hold_s
        self._hold_s = min(2 * self._hold_s, MAX_HOLD_S)
        return True


def is_too_small(task: str, scale: float) -> bool:
    """Tell whether the network's input is too small to remove rain, at a scale in 0…1."""
    return task == "derain" and scale < LEAST_SCALE_DERAINED


def choose_floor(task: str, prefer: Prefer | None) -> float:
    """Choose the smallest scale.

    Args:
        task: `derain` or `deblur`.
        prefer: what to keep on a slow device; None: the scale is fixed.

    Returns:
        For rain the smallest scale that removes it, if that is preferred; else `MIN_SCALE`.
    """
    keeps = task == "derain" and prefer == "quality"
    return LEAST_SCALE_DERAINED if keeps else MIN_SCALE


def _follow(average: float, newest: float) -> float:
    # The first one is the average; starting from 0 would predict too little for long.
    return average + (EMA_WEIGHT if average else 1.0) * (newest - average)


def _fit_cost(costs_s: Mapping[float, float]) -> tuple[float, float]:
    """Fit `fixed` and `whole` of the law above, in seconds, to the two outermost scales."""
    small, small_cost_s = min(costs_s.items())
    large, large_cost_s = max(costs_s.items())
    if small == large:
        return 0.0, small_cost_s / small**2
    # Noise may make the larger scale cheaper; with a negative `whole`, every scale would fit.
    whole_s = max(0.0, (large_cost_s - small_cost_s) / (large**2 - small**2))
    return max(0.0, small_cost_s - whole_s * small**2), whole_s
