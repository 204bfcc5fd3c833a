"""One frame among its neighbours: the tasks that refine it.

    paths ─▶ neighbours, aligned ─▶ evidence ─┬─▶ switch ─▶ gate ─┬─▶ frame
                                              └───── texture ─────┘

Aligning, looking, finding texture, and switch and gate together, are tasks. Who its neighbours are,
`stage.py` decides.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2

from lfdn_video.media import Frame, FrameFormat, Plane
from lfdn_video.temporal.align import Aligned, Levels, Places
from lfdn_video.temporal.copies import is_copy
from lfdn_video.temporal.correct import correct, give_back
from lfdn_video.temporal.evidence import LEAST_SAMPLES, Evidence, Picture, look
from lfdn_video.temporal.flow import Floats, Path, is_large_enough, to_flow_image
from lfdn_video.temporal.gate import Gate
from lfdn_video.temporal.motion import Motion
from lfdn_video.temporal.rule import Reason, weigh
from lfdn_video.temporal.tasks import Tasks
from lfdn_video.temporal.texture import find_texture

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

LEAST_SHARE_VALID = 0.1
"""A neighbour with a valid flow in less of the frame shows another scene."""


@dataclass(slots=True, eq=False)
class Entry:
    """A frame in the window."""

    number: int
    """Counts the frames of the run from 0."""
    frame: Frame
    decoded: Frame
    levels: Levels
    luma: Plane
    decoded_luma: Plane
    image: Plane
    """What flows are computed on."""
    copies: dict[int, bool] = field(default_factory=dict)
    """Whether it repeats earlier frames, by their numbers, as far as it was asked."""

    @classmethod
    def of(cls, number: int, decoded: Frame, restored: Frame, info: FrameFormat) -> "Entry":
        """Describe a frame.

        Args:
            number: of the frame in its run.
            decoded: the frame before the network.
            restored: what the network made of it.
            info: how it is stored if it does not say so itself.
        """
        levels = Levels(restored.info or info)
        luma = levels.luma_of(restored.planes)
        return cls(
            number=number,
            frame=restored,
            decoded=decoded,
            levels=levels,
            luma=luma,
            decoded_luma=levels.luma_of(decoded.planes),
            image=to_flow_image(luma, levels.depth),
        )

    def is_like(self, other: "Entry") -> bool:
        """Tell whether both have one size and format."""
        mine, theirs = self.frame, other.frame
        if (mine.format, mine.planes[0].shape) != (theirs.format, theirs.planes[0].shape):
            return False
        return _orientation(mine) == _orientation(theirs)

    def repeats(self, other: "Entry") -> bool:
        """Tell whether this was decoded as a copy of the other, which is like it."""
        one, two = (self, other) if self.number > other.number else (other, self)
        if two.number not in one.copies:
            copy = is_copy(one.decoded_luma, two.decoded_luma, one.levels.unit)
            one.copies[two.number] = copy
        return one.copies[two.number]


@dataclass(frozen=True, slots=True)
class Refined:
    """A frame that is done."""

    frame: Frame
    reason: Reason | None = None
    """Why no rain was taken out of it."""
    change: float = 0.0
    """Mean absolute change of its luma where rain was, in codes of 8 bits."""
    given_back: bool = False
    """Whether texture was."""


@dataclass(frozen=True, slots=True)
class _Corrected:
    """What was taken out of a frame."""

    planes: tuple[Plane, ...]
    reason: Reason | None
    change: float = 0.0


def refine(
    entry: Entry, sides: Sequence[Sequence[Entry]], gate: Gate, motion: Motion, tasks: Tasks
) -> "Future[Refined]":
    """Begin to refine a frame.

    Args:
        entry: the frame.
        sides: its neighbours before and after it, the nearest first.
        gate: decides how far samples move.
        motion: knows the paths between frames.
        tasks: where the work is done.
    """
    aligned: list[Future[Aligned]] = []
    if sum(map(len, sides)) >= LEAST_SAMPLES and is_large_enough(entry.image):
        for side in sides:
            if side:
                motion.prepare(entry, side[0])
        paths = [path for side in sides for path in motion.follow(entry, side)]
        others = [other for side in sides for other in side]
        aligned = [
            tasks.run(partial(_align, entry, other), path)
            for other, path in zip(others, paths, strict=True)
        ]
    evidence = tasks.run(partial(_look, entry), *aligned)
    texture = tasks.run(_find_texture, evidence)
    corrected = tasks.run(partial(_correct, gate), evidence)
    return tasks.run(partial(_finish, entry), corrected, texture)


def _align(entry: Entry, other: Entry, path: Path) -> Aligned:
    return Aligned(
        other.frame,
        other.luma,
        other.decoded_luma,
        path,
        reference=entry.luma,
        levels=entry.levels,
        after=other.number > entry.number,
    )


def _look(entry: Entry, *aligned: Aligned) -> Evidence | None:
    """Find out what the neighbours show; None: there are too few."""
    # The others show another scene, after a cut.
    neighbours = [each for each in aligned if each.share_valid >= LEAST_SHARE_VALID]
    if len(neighbours) < LEAST_SAMPLES:
        return None
    picture = Picture(
        restored=entry.frame.planes,
        decoded=entry.decoded.planes,
        luma=entry.luma,
        decoded_luma=entry.decoded_luma,
        levels=entry.levels,
    )
    return look(picture, neighbours)


def _find_texture(evidence: Evidence | None) -> tuple[Places, Floats] | None:
    return None if evidence is None else find_texture(evidence)


def _correct(gate: Gate, evidence: Evidence | None) -> _Corrected | None:
    if evidence is None:
        return None
    picture = evidence.picture
    verdict = weigh(evidence)
    if verdict.reason is not None:
        return _Corrected(picture.restored, verdict.reason)
    planes = correct(evidence, verdict, gate)
    difference = cv.absdiff(picture.levels.luma_of(planes), picture.luma)
    return _Corrected(planes, None, cv.mean(difference)[0] / picture.levels.unit)


def _finish(
    entry: Entry, corrected: _Corrected | None, texture: tuple[Places, Floats] | None
) -> Refined:
    if corrected is None or texture is None:
        return Refined(entry.frame, "too few neighbours")
    own, planes = entry.frame.planes, corrected.planes
    whole = give_back(entry.levels, entry.decoded.planes, texture, planes)
    frame = entry.frame if whole is own else replace(entry.frame, planes=whole)
    return Refined(frame, corrected.reason, corrected.change, given_back=whole is not planes)


def _orientation(frame: Frame) -> tuple[object, ...]:
    info = frame.info
    return () if info is None else (info.rotation, info.flip, info.colour)
