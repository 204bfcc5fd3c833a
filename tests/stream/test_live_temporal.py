"""Neighbouring frames in a live session: delay, pairs of source and result, and the account."""

from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from lfdn_video.inference.engine import Engine
from lfdn_video.media import Frame
from lfdn_video.options import Delay, InferenceOptions, LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.capture.capture import CapturedFrame
from lfdn_video.stream.live import live
from lfdn_video.stream.network import OwnNetwork
from lfdn_video.stream.restoration import Restoration, RestoredCapture
from lfdn_video.stream.session import LiveFrame, Session
from tests.support.fakes import identity, identity_engine
from tests.support.rain import (
    describe,
    is_same,
    noisy,
    pan,
    push,
    rain,
    timid_engine,
    to_frames,
    write,
)

DELAYS: tuple[Delay, ...] = (0, 1)
COUNT = 9
INFO = describe("yuv420p")
FRAMES = [replace(frame, info=INFO) for frame in to_frames(rain(noisy(pan())))]


def capture(frames: list[Frame], connection: int = 0) -> list[CapturedFrame]:
    return [CapturedFrame(f, n, float(n), float(n), connection) for n, f in enumerate(frames, 1)]


def restore(
    captures: list[CapturedFrame],
    delay: Delay,
    scales: list[float] | None = None,
    *,
    refines: bool = True,
) -> list[list[RestoredCapture]]:
    """Return what each capture made ready, and at last what waited."""
    options = InferenceOptions(batch=4)
    with (
        timid_engine() as engine,
        closing(Restoration(OwnNetwork(engine, options), delay=delay)) as restoration,
    ):
        pairs = zip(captures, scales or [1.0] * len(captures), strict=True)
        ready = [restoration.push(each, scale=scale, refines=refines) for each, scale in pairs]
        return [*ready, restoration.finish()]


def expect(frames: list[Frame], delay: Delay, scale: float = 1.0) -> list[Frame]:
    """Pass what the network alone makes of a sequence through a stage of its own."""
    alone = chain(*restore(capture(frames), 0, [scale] * len(frames), refines=False))
    return list(chain(*push(frames, [each.frame for each in alone], ahead=delay)))


def test_stage_is_blind_only_where_frames_were_dropped() -> None:
    """The same far-off frames, numbered with gaps and without."""
    cuts = [replace(frame, planes=tuple(np.roll(p, 37 * n, 1) for p in frame.planes))
            for n, frame in enumerate(FRAMES)]  # fmt: skip
    for step in (1, 3):
        captures = [
            CapturedFrame(f, step * n, float(n), float(n), 0) for n, f in enumerate(cuts, 1)
        ]
        with (
            timid_engine() as engine,
            closing(Restoration(OwnNetwork(engine, InferenceOptions(batch=4)), delay=0)) as made,
        ):
            seen = []
            for each in captures:
                made.push(each, scale=1.0, refines=True)
                seen.append(made.is_blind)
            assert made.account()["temporal_left"] == {"too few neighbours": COUNT}
            made.push(captures[-1], scale=1.0, refines=False)
            assert not made.is_blind
        assert seen[1:] == [step > 1] * (COUNT - 1)


def run(path: Path, options: LiveOptions, task: str = "derain") -> tuple[list[LiveFrame], Status]:
    board = Board(Status(source="test", task=task))
    session = Session(parse_source(str(path)), board, options, shows=True)
    with identity_engine() as engine:
        return list(session.frames(engine, InferenceOptions(batch=4))), board.status


@pytest.mark.parametrize("delay", DELAYS)
def test_results_are_those_of_the_stage_with_these_neighbours(delay: Delay) -> None:
    ready = restore(capture(FRAMES), delay)
    assert [len(each) for each in ready] == [0] * delay + [1] * (COUNT - delay) + [delay]
    results = list(chain(*ready))
    assert [each.captured.number for each in results] == list(range(1, COUNT + 1))
    wanted = expect(FRAMES, delay)
    assert all(is_same(one.frame, other) for one, other in zip(results, wanted, strict=True))


@pytest.mark.parametrize("delay", DELAYS)
def test_another_connection_starts_a_new_sequence(delay: Delay) -> None:
    ready = restore([*capture(FRAMES[:5]), *capture(FRAMES[5:], connection=1)], delay)
    wanted = expect(FRAMES[:5], delay) + expect(FRAMES[5:], delay)
    results = [each.frame for each in chain(*ready)]
    assert all(is_same(*pair) for pair in zip(results, wanted, strict=True))


@pytest.mark.parametrize("delay", DELAYS)
def test_another_scale_starts_a_new_sequence(delay: Delay) -> None:
    ready = restore(capture(FRAMES), delay, [1.0] * 5 + [0.5] * 4)
    wanted = expect(FRAMES[:5], delay) + expect(FRAMES[5:], delay, scale=0.5)
    results = [each.frame for each in chain(*ready)]
    assert all(is_same(*pair) for pair in zip(results, wanted, strict=True))


def test_pause_of_the_stage_loses_no_frame() -> None:
    with (
        identity_engine() as engine,
        closing(Restoration(OwnNetwork(engine), delay=1)) as restoration,
    ):
        ready = [
            restoration.push(each, scale=1.0, refines=each.number not in (4, 5))
            for each in capture(FRAMES)
        ]
        ready.append(restoration.finish())
    assert [each.captured.number for each in chain(*ready)] == list(range(1, COUNT + 1))
    assert is_same([*chain(*ready)][3].frame, FRAMES[3])


def test_account_is_that_of_the_stage() -> None:
    with (
        timid_engine() as engine,
        closing(Restoration(OwnNetwork(engine), delay=0)) as restoration,
    ):
        assert restoration.account() == {}
        for each in capture(FRAMES):
            restoration.push(each, scale=1.0, refines=True)
        status = replace(Status(source="test", task="derain"), **restoration.account())  # type: ignore[arg-type]
    assert status.temporal_frames > 0
    assert status.temporal_mean_change > 0
    assert status.temporal_frames + sum(status.temporal_left.values()) == COUNT


def test_engine_that_deblurs_has_no_stage(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.mkv", FRAMES)
    with Engine(identity, task="deblur") as engine:
        frames = list(live(clip, engine=engine, options=LiveOptions(scale=1.0)))
    assert all(np.array_equal(frame.image, frame.raw) for frame in frames)


@pytest.mark.parametrize("delay", DELAYS)
def test_session_pairs_each_result_with_its_source(tmp_path: Path, delay: Delay) -> None:
    clip = write(tmp_path / "clip.mkv", FRAMES)
    frames, status = run(clip, LiveOptions(scale=1.0, delay=delay))
    assert status.frames_in == status.frames_out + status.frames_dropped == COUNT
    assert [frame.number for frame in frames] == sorted({frame.number for frame in frames})
    for frame in frames:
        # Only streaks differ, which are in few places.
        assert (np.abs(frame.image.astype(int) - frame.raw) > 3).mean() < 0.15
    assert status.temporal == "on"
    assert status.temporal_frames + sum(status.temporal_left.values()) == len(frames)
    assert set(status.stage_s) == {"decode", "model", "temporal", "encode"}


def test_frame_is_shown_if_the_next_one_does_not_come(tmp_path: Path) -> None:
    source = "lavfi:testsrc2=size=64x48:rate=1/3:duration=6"
    board = Board(Status(source="test", task="derain"))
    options = LiveOptions(scale=1.0, delay=1, max_latency_s=1.5)
    session = Session(parse_source(source), board, options)
    with identity_engine() as engine:
        frames = list(session.frames(engine))
    assert frames[0].latency_s < 3
    assert board.status.frames_in == len(frames) + board.status.frames_dropped


@pytest.mark.parametrize(
    ("options", "task"), [(LiveOptions(temporal="off"), "derain"), (LiveOptions(), "deblur")]
)
def test_session_without_the_stage_changes_nothing(
    tmp_path: Path, options: LiveOptions, task: str
) -> None:
    frames, status = run(write(tmp_path / "clip.mkv", FRAMES), replace(options, scale=1.0), task)
    assert (status.temporal, status.temporal_frames, status.temporal_left) == ("off", 0, {})
    assert all(np.array_equal(frame.image, frame.raw) for frame in frames)
