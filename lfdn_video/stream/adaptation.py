"""How large a live picture is in the network: as large as the bound on its latency allows.

Arithmetic only. The time of a network grows with the area of what it is given, so the time at
another scale can be told from the time at this one. Down it goes at once, up only when there is
room to spare and after a while, and the less often the less it lasted: what is watched must not
flicker between two sizes. The picture itself is never smaller, see `scaling.py`.
"""

from collections.abc import Mapping

from lfdn_video.options import SMALLEST_SCALE

SCALES = (SMALLEST_SCALE, 0.375, 0.5, 0.75, 1.0)
"""Of the picture's sides, when chosen here."""

TIGHT, ROOMY = 0.75, 0.5
"""Shares of the bound: a latency above the first is too much; with a scale that promises less than
the second there is room."""

PATIENCE_FRAMES = 5
FIRST_REST_S, LONGEST_REST_S = 5.0, 600.0
"""Between going up and the last change; doubled when it had to be taken back."""
TAKEN_BACK_S = 60.0
"""Going down so soon after going up means that going up was wrong."""
OF_NEWEST = 0.3
"""Weight of the newest cost in the average."""


class Adaptation:
    """Chooses `scale` from what frames cost. `fixed`: it is this and stays."""

    def __init__(self, max_latency_s: float, *, fixed: float | None = None) -> None:
        self._max_s, self._fixed = max_latency_s, fixed
        self.scale = fixed or 1.0
        self.beyond_help = False
        """Whether even the smallest scale is too slow."""
        self._cost_s = 0.0
        """On average, at this scale; 0 if none is known yet."""
        self._tight = self._frames = 0
        self._rest_s = FIRST_REST_S
        self._changed_s = self._went_up_s = float("-inf")

    @property
    def adapts(self) -> bool:
        return self._fixed is None

    def begin(self, costs_s: Mapping[float, float], now_s: float) -> None:
        """Choose the scale for pictures of a new size, by what one took at some of `SCALES`."""
        if self.adapts:
            self._go_to(_largest(*_law(costs_s), ROOMY * self._max_s), now_s)

    def note(self, latency_s: float, cost_s: float, now_s: float) -> None:
        """A frame took `cost_s` in the network and `latency_s` in all."""
        if not self.adapts:
            return
        # The first one at a new size pays for preparations.
        if self._frames == 0 and latency_s <= self._max_s:
            self._frames = 1
            return
        self._frames += 1
        self._cost_s += (OF_NEWEST if self._cost_s else 1.0) * (cost_s - self._cost_s)
        self._tight = self._tight + 1 if latency_s > TIGHT * self._max_s else 0
        if self._tight >= 2 or latency_s > self._max_s:
            self._go_down(max(cost_s, self._cost_s), now_s)
        elif self._frames >= PATIENCE_FRAMES and now_s - self._changed_s >= self._rest_s:
            self._go_up(latency_s, now_s)

    def _go_down(self, cost_s: float, now_s: float) -> None:
        smaller = [scale for scale in SCALES if scale < self.scale]
        if not smaller:
            self.beyond_help = True
            return
        if now_s - self._went_up_s < TAKEN_BACK_S:
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
        promised = _largest(0.0, cost_s / self.scale**2, ROOMY * self._max_s)
        self._go_to(min(promised, smaller[-1]), now_s)

    def _go_up(self, latency_s: float, now_s: float) -> None:
        larger = next((scale for scale in SCALES if scale > self.scale), None)
        if larger is None:
            return
        more_s = self._cost_s * ((larger / self.scale) ** 2 - 1)
        if latency_s + more_s <= ROOMY * self._max_s:
            if now_s - self._went_up_s > 2 * TAKEN_BACK_S:  # the last time it had lasted
                self._rest_s = max(FIRST_REST_S, self._rest_s / 2)
            self._went_up_s = now_s
            self._go_to(larger, now_s)

    def _go_to(self, scale: float, now_s: float) -> None:
        self.scale, self._changed_s, self.beyond_help = scale, now_s, False
        self._cost_s, self._tight, self._frames = 0.0, 0, 0


def _law(costs_s: Mapping[float, float]) -> tuple[float, float]:
    """What does not depend on the scale, and what a whole picture takes beside that."""
    (small, least_s), (large, most_s) = min(costs_s.items()), max(costs_s.items())
    if small == large:
        return 0.0, least_s / small**2
    whole_s = max(0.0, (most_s - least_s) / (large**2 - small**2))
    return max(0.0, least_s - whole_s * small**2), whole_s


def _largest(fixed_s: float, whole_s: float, limit_s: float) -> float:
    """The largest scale whose cost is within the limit; the smallest if none is."""
    fitting = [scale for scale in SCALES if fixed_s + whole_s * scale**2 <= limit_s]
    return fitting[-1] if fitting else SCALES[0]
