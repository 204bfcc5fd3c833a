"""Frames that come one by one: when each is ready, and on which others it depends."""

from contextlib import closing
from dataclasses import replace
from itertools import chain

import pytest

from lfdn_video.media import Frame
from lfdn_video.temporal.stage import REACH, Ahead, TemporalStage
from tests.support.rain import (
    COUNT,
    describe,
    error,
    is_same,
    noisy,
    pan,
    push,
    rain,
    refine,
    scene,
    still,
    to_frames,
)

AHEAD: tuple[Ahead, ...] = (0, 1, 3)


def are_same(some: list[Frame], others: list[Frame]) -> bool:
    return all(is_same(*pair) for pair in zip(some, others, strict=True))


@pytest.mark.parametrize("ahead", AHEAD)
def test_frame_is_ready_when_its_last_neighbour_is_pushed(ahead: Ahead) -> None:
    ready = push(to_frames(rain(noisy(still()))), ahead=ahead)
    assert [len(each) for each in ready] == [0] * ahead + [1] * (COUNT - ahead) + [ahead]
    assert [frame.pts for frame in chain(*ready)] == list(range(COUNT))


@pytest.mark.parametrize("ahead", AHEAD)
def test_streaks_are_removed_however_few_frames_are_ahead(ahead: Ahead) -> None:
    dry = noisy(pan())
    frames = to_frames(rain(dry))
    after = list(chain(*push(frames, ahead=ahead)))
    # The first two have no neighbours before them.
    assert error(after[2:], dry[2:]) < error(frames[2:], dry[2:]) / 2


@pytest.mark.parametrize("at", range(COUNT))
def test_one_ahead_is_what_the_next_frame_and_those_before_tell(at: int) -> None:
    frames = to_frames(rain(noisy(pan())))
    pushed = list(chain(*push(frames, ahead=1)))
    part = frames[max(0, at - REACH) : at + 2]
    assert is_same(pushed[at], refine(part)[0][min(at, REACH)])


@pytest.mark.parametrize("at", range(COUNT))
def test_none_ahead_is_what_the_frames_before_tell(at: int) -> None:
    frames = to_frames(rain(noisy(pan())))
    pushed = list(chain(*push(frames, ahead=0)))
    part = frames[max(0, at - REACH) : at + 1]
    assert is_same(pushed[at], refine(part)[0][-1])


def test_three_ahead_is_what_a_file_gets() -> None:
    frames = to_frames(rain(noisy(pan())))
    assert are_same(list(chain(*push(frames))), refine(frames)[0])


def test_one_ahead_never_waits_for_more_than_the_next_frame() -> None:
    single = to_frames(rain(noisy(still())))
    double = [frame for frame in single for _ in range(2)]
    double = [replace(frame, pts=index) for index, frame in enumerate(double)]
    ready = push(double, ahead=1)
    assert [len(each) for each in ready] == [0] + [1] * (2 * COUNT - 1) + [1]


@pytest.mark.parametrize("ahead", AHEAD)
def test_scenes_on_both_sides_of_a_cut_are_apart(ahead: Ahead) -> None:
    scenes = [scene(seed, 256, 384) for seed in (1, 9)]
    frames = to_frames(rain(noisy([scenes[0]] * 5 + [scenes[1]] * 5), count=250))
    alone = chain(*push(frames[:5], ahead=ahead), *push(frames[5:], ahead=ahead))
    assert are_same(list(chain(*push(frames, ahead=ahead))), list(alone))


@pytest.mark.parametrize("ahead", AHEAD)
def test_frame_of_another_size_is_no_neighbour(ahead: Ahead) -> None:
    small, large = to_frames(rain(noisy(still(5)))), to_frames(rain(noisy(still(5, 144, 208))))
    large = [replace(f, pts=5 + f.pts, info=describe("yuv420p", 144, 208)) for f in large]
    alone = list(chain(*push(small, ahead=ahead), *push(large, ahead=ahead)))
    assert are_same(list(chain(*push(small + large, ahead=ahead))), alone)


@pytest.mark.parametrize("ahead", AHEAD)
def test_frames_after_finish_start_anew(ahead: Ahead) -> None:
    frames = to_frames(rain(noisy(still())))
    with closing(TemporalStage(describe("yuv420p"), ahead=ahead)) as stage:
        first = [*chain(*(stage.push(frame, frame) for frame in frames)), *stage.finish()]
        again = [*chain(*(stage.push(frame, frame) for frame in frames)), *stage.finish()]
        assert stage.finish() == []
    assert are_same(first, again)


def test_close_discards_what_waits_and_may_be_called_again() -> None:
    frames = to_frames(rain(noisy(still(3))))
    stage = TemporalStage(describe("yuv420p"), ahead=3)
    for frame in frames:
        stage.push(frame, frame)
    stage.close()
    stage.close()
    assert stage.finish() == []
