"""What a network takes away is rain where neighbours lack it."""

import pytest

from lfdn_video.temporal.rainfall import measure_rainfall
from tests.support.rain import Luma, describe, noisy, pan, rain, still, to_frames


def rainfall(shown: list[Luma], restored: Luma) -> float:
    frames = to_frames(shown)
    return measure_rainfall(frames, to_frames([restored])[0], describe("yuv420p"))


def darkened(luma: Luma) -> Luma:
    """As a network darkens that takes a structure for streaks: in lines all over the frame."""
    changed = luma.copy()
    changed[:, ::9] -= 30
    return changed


def test_rain_that_was_taken_away_is_found() -> None:
    dry = noisy(pan(5))
    assert rainfall(rain(dry), dry[2]) > 0.5


def test_nothing_taken_away_is_dry() -> None:
    dry = noisy(pan(5))
    assert rainfall(dry, dry[2]) == 0


@pytest.mark.parametrize("scene", [still, pan])
def test_what_neighbours_show_too_is_no_rain(scene: object) -> None:
    dry = noisy(scene(5))  # type: ignore[operator]
    assert rainfall(dry, darkened(dry[2])) < 0.06


def test_without_neighbours_it_is_rain_in_doubt() -> None:
    dry = noisy(pan(1))
    assert rainfall(dry, darkened(dry[0])) > 0.9


def test_copies_are_no_witnesses() -> None:
    """A repeated frame has the same rain."""
    dry = noisy(pan(5))
    rainy = rain(dry)
    shown = [rainy[2]] * 5
    assert rainfall(shown, dry[2]) > 0.5
