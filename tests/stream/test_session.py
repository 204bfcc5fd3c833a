"""A live session: which frames are restored, and the account of all of them."""

import itertools
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn_video import LiveFrame, LiveOptions, live
from lfdn_video.errors import InputError
from lfdn_video.inference.engine import Engine
from lfdn_video.media import Frame
from lfdn_video.options import Prefer
from lfdn_video.stream.adaptation import LEAST_SCALE_DERAINED
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.load import LoadMeter
from lfdn_video.stream.session import Session
from lfdn_video.stream.wire import AudioHeader, AudioPacket
from tests.support.clips import Clip
from tests.support.fakes import NetworkFailureError, brighten, fail_after, identity, identity_engine
from tests.support.waiting import threads

SIZE = (64, 48)
INTERVAL_S = 1 / 50


def source(seconds: float = 60) -> str:
    """A test source that lasts this long from its first frame on."""
    return f"lavfi:testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=50:duration={seconds:g}"


@pytest.fixture(autouse=True)
def _no_thread_left() -> Generator[None]:
    yield
    assert threads() == set()


@pytest.fixture
def board() -> Board:
    return Board(Status(source="test", task="derain"))


def slow(seconds: float) -> Callable[[Tensor], Tensor]:
    """A network that takes this long at full scale, and less for smaller inputs."""

    def network(batch: Tensor) -> Tensor:
        time.sleep(seconds * batch.shape[2] * batch.shape[3] / (SIZE[0] * SIZE[1]))
        return batch

    return network


def run_session(
    board: Board, network: Callable[[Tensor], Tensor], options: LiveOptions, address: str
) -> list[LiveFrame]:
    session = Session(parse_source(address), board, options, shows=True)
    with Engine(network) as engine:
        return list(session.frames(engine))


def test_every_frame_is_accounted_for(board: Board) -> None:
    """A source four times faster than the network."""
    frames = run_session(board, slow(4 * INTERVAL_S), LiveOptions(scale=1.0), source(4))
    status = board.status
    assert status.frames_in == status.frames_out + status.frames_dropped
    assert status.frames_out == len(frames) == sum(status.latency_counts)
    assert status.frames_dropped > status.frames_out


def test_newest_frame_is_restored_and_older_ones_are_dropped(board: Board) -> None:
    frames = run_session(board, slow(10 * INTERVAL_S), LiveOptions(scale=1.0), source(3))
    numbers = [frame.number for frame in frames]
    steps = np.diff(numbers)
    assert numbers == sorted(set(numbers))
    assert np.median(steps) >= 3


def test_frame_is_about_as_old_as_one_pass_of_the_network(board: Board) -> None:
    frames = run_session(board, slow(0.2), LiveOptions(scale=1.0), source(4))
    assert 0.2 <= np.median([frame.latency_s for frame in frames]) < 0.2 + 0.5  # for a busy machine


def test_network_that_is_too_slow_gets_a_smaller_scale(board: Board) -> None:
    frames = run_session(board, slow(4.0), LiveOptions(max_latency_s=1.0), source(8))
    assert board.status.inference_scale < 1
    assert frames[0].image.shape == (*SIZE[::-1], 3)
    assert np.median([frame.latency_s for frame in frames]) < 1.0


def test_board_shows_raw_and_restored_images(board: Board) -> None:
    run_session(board, brighten(0.2), LiveOptions(scale=1.0), source(1))
    assert board.view is not None
    change = board.view.restored.astype(int).mean() - board.view.raw.astype(int).mean()
    assert 20 < change < 60
    assert board.view.latency_s > 0
    assert board.status.size == SIZE


def test_end_of_a_file_ends_the_session_and_loses_no_frame(board: Board, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=tuple(range(10))).make(tmp_path / "clip.mkv")
    run_session(board, identity, LiveOptions(scale=1.0), str(clip))
    assert (board.status.state, board.status.frames_in, board.closed) == ("ended", 10, True)


def test_loop_plays_a_file_again(board: Board, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=tuple(range(5))).make(tmp_path / "clip.mkv")
    run_session(board, identity, LiveOptions(duration_s=8, loop=True), str(clip))
    assert board.status.frames_in > 5


def test_source_that_cannot_be_opened_is_an_error(board: Board) -> None:
    with pytest.raises(InputError, match="no such file"):
        run_session(board, identity, LiveOptions(), "nothing.mp4")
    assert board.status.state == "failed"
    assert "no such file" in board.status.message


def test_network_that_fails_ends_the_session(board: Board) -> None:
    with pytest.raises(NetworkFailureError):
        run_session(board, fail_after(3), LiveOptions(scale=1.0), source())
    status = board.status
    assert status.state == "failed"
    assert status.frames_in == status.frames_out + status.frames_dropped


def test_duration_ends_a_session_without_frames(board: Board) -> None:
    run_session(board, identity, LiveOptions(duration_s=2), "rtsp://127.0.0.1:9/1")
    assert (board.status.state, board.status.frames_in) == ("ended", 0)


def test_stop_ends_a_session(board: Board) -> None:
    session = Session(parse_source(source()), board, LiveOptions(scale=1.0))
    with identity_engine() as engine:
        for frame in session.frames(engine):
            if frame.number >= 3:
                session.stop()
    assert board.status.state == "ended"


def test_sinks_get_every_restored_frame_with_its_stamp(board: Board) -> None:
    class Sink:
        def __init__(self) -> None:
            self.stamps: list[float] = []

        def write_frame(self, frame: Frame, stamp_s: float, captured_at: float) -> None:
            assert frame.info is not None
            self.stamps.append(stamp_s)

        def add_audio(self, message: AudioHeader | AudioPacket) -> None:
            pass

    sink = Sink()
    session = Session(parse_source(source(1)), board, LiveOptions(scale=1.0), sinks=[sink])
    with identity_engine() as engine:
        frames = list(session.frames(engine))
    assert len(sink.stamps) == len(frames) > 0
    assert sink.stamps == sorted(set(sink.stamps))


def test_live_yields_images_with_times_of_capture() -> None:
    began = time.time()
    with closing(live(source(), engine=identity_engine())) as frames:
        first = next(frames)
    assert first.image.shape == (*SIZE[::-1], 3)
    assert np.array_equal(first.image, first.raw)
    assert began - 1 < first.captured_at < time.time()


def test_images_of_a_rotated_source_are_upright(board: Board, tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=tuple(range(10)), rotation=90).make(tmp_path / "clip.mp4")
    frames = run_session(board, identity, LiveOptions(scale=1.0), str(clip))
    assert frames[0].image.shape == (*SIZE, 3)
    assert board.status.size == SIZE[::-1]


def test_network_runs_without_gradients(board: Board) -> None:
    seen: list[bool] = []

    def network(batch: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return batch

    run_session(board, network, LiveOptions(), source(1))
    assert set(seen) == {False}


def restore_with_lighter(board: Board, seconds: float) -> list[LiveFrame]:
    """Restore by a network that takes `seconds` at full scale; the lighter one brightens."""
    session = Session(parse_source(source(2)), board, LiveOptions(max_latency_s=0.5), shows=True)
    with Engine(slow(seconds)) as engine, Engine(brighten(0.25)) as lighter:
        return list(session.frames(engine, lighter=lambda: lighter))


def is_brighter(frame: LiveFrame) -> bool:
    return bool(frame.image.mean() > frame.raw.mean() + 10)


def test_lighter_network_runs_where_the_full_one_would_need_a_smaller_image(board: Board) -> None:
    frames = restore_with_lighter(board, 1.0)
    assert frames
    assert all(is_brighter(frame) for frame in frames)
    assert board.status.inference_scale == 1


def test_lighter_network_takes_over_when_the_full_one_becomes_too_slow(board: Board) -> None:
    """Fast in the trial and for five frames, then above the bound."""
    calls = itertools.count()

    def slows_down(batch: Tensor) -> Tensor:
        return slow(0 if next(calls) < 8 else 1.0)(batch)

    session = Session(parse_source(source(4)), board, LiveOptions(max_latency_s=0.5), shows=True)
    with Engine(slows_down) as engine, Engine(brighten(0.25)) as lighter:
        frames = list(session.frames(engine, lighter=lambda: lighter))
    assert not is_brighter(frames[0])
    assert is_brighter(frames[-1])
    assert board.status.inference_scale == 1


def test_lighter_network_is_not_loaded_where_the_full_one_keeps_up(board: Board) -> None:
    frames = restore_with_lighter(board, 0)
    assert frames
    assert not any(is_brighter(frame) for frame in frames)


@pytest.mark.parametrize(("prefer", "too_small"), [("latency", True), ("quality", False)])
def test_slow_network_says_when_it_removes_no_rain_unless_quality_is_preferred(
    board: Board, prefer: Prefer, too_small: bool
) -> None:
    options = LiveOptions(max_latency_s=0.5, prefer=prefer)
    run_session(board, slow(4.0), options, source(6))
    assert board.status.too_small is too_small
    assert (board.status.inference_scale < LEAST_SCALE_DERAINED) is too_small
    assert board.status.prefer == prefer


def test_preference_may_change_while_the_session_runs(board: Board) -> None:
    session = Session(parse_source(source(8)), board, LiveOptions(max_latency_s=0.5))
    scales = []
    with Engine(slow(4.0)) as engine:
        for frame in session.frames(engine):
            scales.append(board.status.inference_scale)
            if frame.number > 1:
                board.update(prefer="quality")
    assert (scales[0], scales[-1]) == (0.25, LEAST_SCALE_DERAINED)


def test_load_is_a_share_and_unknown_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = LoadMeter()
    assert meter.measure() == (None, None)  # nothing was measured yet
    meter._due_s = 0.001
    cpu, gpu = meter.measure()
    assert cpu is not None
    assert 0 <= cpu <= 1
    assert gpu is None
    monkeypatch.setattr("lfdn_video.stream.load.find_spec", lambda _: None)
    meter._due_s = 0.001
    assert meter.measure() == (None, None)


def test_fixed_scale_leaves_no_choice(board: Board) -> None:
    run_session(board, identity, LiveOptions(scale=0.5, prefer="quality"), source(1))
    assert board.status.prefer is None
