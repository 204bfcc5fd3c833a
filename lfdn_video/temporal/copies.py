"""Is a frame the one before again? Then it has the same rain and tells nothing.

A camera that repeats frames to keep up its rate hands them to an encoder, which seldom codes the
second as an exact copy. What it changes is little, in few places. Rain that the stage would act on
changes more: its streaks are at other places in each frame. Knows luma planes and nothing of flow.
"""

from typing import Any

import cv2
import numpy as np

from lfdn_video.media import Plane

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

MOST_MEAN_CHANGE = 0.1
"""In 8-bit codes, mean over the frame. Seen: copies to .04, noise of a sensor from .2."""

LARGE_CHANGE = 8
"""In 8-bit codes: about what the rule takes for a streak at its lowest threshold."""

MOST_LARGE_CHANGES = 3e-4
"""Share of samples that change by more than that. Seen: copies to 2.3e-4, and from 3.3e-4 with the
fewest streaks that the rule acts on; they count twice, where they are and where they were."""

SPARSE_STEP_PX = 8
SPARSE_MEAN_CHANGE = 1.0
"""Every eighth row and column tells most frames apart, which is ten times faster."""


def is_copy(luma: Plane, other: Plane, unit: float) -> bool:
    """Tell whether two frames show the same but for what an encoder changed.

    Args:
        luma: `[H, W]` of a decoded frame.
        other: of another one of the same size and depth.
        unit: codes of their samples for one 8-bit code of full range, as in `Levels`.
    """
    sparse = np.s_[::SPARSE_STEP_PX, ::SPARSE_STEP_PX]
    few = cv.absdiff(luma[sparse], other[sparse])
    if cv.mean(few)[0] > SPARSE_MEAN_CHANGE * unit:
        return False
    change = cv.absdiff(luma, other)
    if cv.mean(change)[0] > MOST_MEAN_CHANGE * unit:
        return False
    large = cv.countNonZero(cv.compare(change, LARGE_CHANGE * unit, cv.CMP_GT))
    return bool(large <= MOST_LARGE_CHANGES * luma.size)
