"""Which frames are restored, and which of these are written."""

from collections.abc import Generator, Sequence

import numpy as np
import pytest

from lfdn_video.copying import CopyPlan, Finding, Segment
from lfdn_video.gate.selection import Selection
from lfdn_video.media import Frame, PixelFormat

GRAY = PixelFormat.parse("gray")


def make_plan(*findings: Finding) -> CopyPlan:
    """Segments of ten frames each."""
    return CopyPlan(
        tuple(
            Segment(
                start_s=number,
                end_s=number + 1,
                start_pts=10 * number,
                end_pts=10 * number + 10,
                first=10 * number,
                packets=10,
                finding=finding,
            )
            for number, finding in enumerate(findings)
        )
    )


def frames(count: int) -> Generator[Frame]:
    for pts in range(count):
        yield Frame((np.zeros((2, 2), np.uint8),), GRAY, pts)


def select(plan: CopyPlan | None, count: int, done: int, reach: int) -> tuple[list[int], list[int]]:
    """The frames that are picked, and those of them that are wanted."""
    selection = Selection(plan, done=done, reach=reach)
    picked = list(selection.pick(frames(count)))
    return [f.pts for f in picked], [f.pts for f in picked if selection.wants(f)]


@pytest.mark.parametrize(
    ("findings", "picked", "wanted"),
    [
        (("rain", "dry"), range(12), range(10)),
        (("dry", "rain"), range(8, 20), range(10, 20)),
        (("dry", "rain", "dry"), range(8, 22), range(10, 20)),
        (("dry", "dry"), (), ()),
        (("cut by the span", "cannot be decoded"), range(20), range(20)),
    ],
)
def test_neighbours_of_wanted_frames_are_picked(
    findings: Sequence[Finding], picked: Sequence[int], wanted: Sequence[int]
) -> None:
    found = select(make_plan(*findings), 10 * len(findings), done=0, reach=2)
    assert found == (list(picked), list(wanted))


def test_finished_frames_are_neighbours_alone() -> None:
    assert select(None, 10, done=6, reach=2) == ([4, 5, 6, 7, 8, 9], [6, 7, 8, 9])
    assert select(None, 10, done=6, reach=0) == ([6, 7, 8, 9], [6, 7, 8, 9])
    assert select(None, 10, done=10, reach=4) == ([], [])


def test_finished_frames_are_counted_outside_of_copied_segments() -> None:
    plan = make_plan("rain", "dry", "rain")
    assert select(plan, 30, done=13, reach=2) == ([*range(21, 30)], [*range(23, 30)])
