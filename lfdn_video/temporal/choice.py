"""Whether a run has a temporal stage, and if not, why."""

from typing import Literal, TypeAlias, get_args

from lfdn_video.errors import OptionError
from lfdn_video.options import Temporal

Off: TypeAlias = Literal[
    "not asked for", "not for this task", "a single image", "images not numbered in a row"
]
"""Why a run has no temporal stage."""


def find_reason_off(
    temporal: Temporal, task: str, *, consecutive: bool = True, frames: int | None = None
) -> Off | None:
    """Say why a run has no temporal stage; None: it has one.

    Args:
        temporal: what the user asked for.
        task: what the network does. Only rain is in one frame and not in its neighbours.
        consecutive: the frames follow each other in time.
        frames: how many there are, if known; for those that are not consecutive.

    Raises:
        OptionError: `temporal` is neither `auto` nor `off`.
    """
    if temporal not in get_args(Temporal):
        raise OptionError(f"temporal: {temporal!r} is neither auto nor off")
    if temporal == "off":
        return "not asked for"
    if task != "derain":
        return "not for this task"
    if not consecutive:
        return "a single image" if frames == 1 else "images not numbered in a row"
    return None
