"""Is it dry? What the restoration took away from a few frames, weighed by a small classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lfdn_video.media import Frame

DETECTOR = "1"
"""Changes when the same frames may be judged otherwise: a run that is resumed keeps its plan."""

NO_BLUR = "only when needed: is for derain"


@dataclass(frozen=True, slots=True)
class Measures:
    """What was taken away from a burst."""

    removed: float


def measure(decoded: Sequence[Frame], restored: Sequence[Frame]) -> Measures:
    worst = 0.0
    for before, after in zip(decoded, restored, strict=True):
        down = before.planes[0].astype(np.int32) - after.planes[0]
        worst = max(worst, float((down > 4).mean()))
    return Measures(worst)


class Detector:
    def score(self, measures: Measures) -> float:
        return measures.removed - 2e-3
