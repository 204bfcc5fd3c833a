"""`restore` and `restored_frames` from file to file, with simple networks in place of LFDN."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lfdn_video.errors import InputError, OutputError, WeightsError
from lfdn_video.inference import engine as engine_module
from lfdn_video.inference.engine import Engine
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions
from lfdn_video.pipeline import WRITE_BEHIND_FRAMES, restore, restored_frames
from lfdn_video.progress import Progress
from tests.support.clips import Clip
from tests.support.fakes import (
    FakeRunner,
    NetworkFailureError,
    brighten,
    fail_after,
    identity_engine,
    video_info,
)

COUNT, WIDTH, HEIGHT = 10, 64, 48
LOSSLESS = EncodeOptions(codec="ffv1")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames of noise at a variable rate, ffv1 in Matroska."""
    path = tmp_path / "clip.mkv"
    random = np.random.default_rng(1)
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=WIDTH, height=HEIGHT)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(COUNT):
            pixels = random.integers(0, 256, (HEIGHT * 3 // 2, WIDTH), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "yuv420p")
            frame.pts, frame.time_base = 40 * index + 9 * (index % 2), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _frames(path: Path) -> list[Frame]:
    with open_reader(path) as reader:
        return list(reader.frames())


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()} & {"decode", "model", "temporal"}


def _left_behind(clip: Path) -> list[str]:
    return [path.name for path in clip.parent.iterdir() if path != clip]


def test_restore_with_an_identity_network_is_lossless(clip: Path) -> None:
    target = clip.with_name("after.mkv")
    restore(clip, target, engine=identity_engine(), encode=LOSSLESS)
    for after, before in zip(_frames(target), _frames(clip), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(after.planes, before.planes, strict=True))


def test_restore_keeps_the_pts(clip: Path) -> None:
    target = clip.with_name("after.mkv")
    restore(clip, target, engine=identity_engine())
    assert [frame.pts for frame in _frames(target)] == [frame.pts for frame in _frames(clip)]


def test_restore_writes_the_output_of_the_network(clip: Path) -> None:
    target = clip.with_name("after.mkv")
    restore(clip, target, engine=Engine(brighten(0.1)), encode=LOSSLESS)
    before, after = _frames(clip)[0], _frames(target)[0]
    assert after.planes[0].mean() > before.planes[0].mean() + 5


def test_summary_states_frames_target_and_stages(clip: Path) -> None:
    target = clip.with_name("after.mkv")
    summary = restore(clip, target, engine=identity_engine())
    assert (summary.frames, summary.target, summary.corrupt_packets) == (COUNT, target, 0)
    assert list(summary.stages) == ["decode", "model", "temporal", "encode"]


def test_summary_names_the_bottleneck(clip: Path) -> None:
    def network(batch: Tensor) -> Tensor:
        time.sleep(0.03)
        return batch

    summary = restore(clip, clip.with_name("after.mkv"), engine=FakeRunner(network))
    assert summary.bottleneck == "model"
    assert summary.stages["model"].busy_s >= 0.03 * COUNT


def test_on_progress_is_called_after_every_frame(clip: Path) -> None:
    updates: list[Progress] = []
    target = clip.with_name("after.mkv")
    restore(clip, target, engine=identity_engine(), on_progress=updates.append)
    assert [progress.frames_done for progress in updates] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("resumable", [True, False])
def test_progress_says_what_runs_where_and_whether_it_can_be_resumed(
    resumable: bool, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfdn_video.output.choices.MAX_DIRECT_SEGMENTS", 0 if resumable else 2)
    updates: list[Progress] = []
    target = clip.with_name("after.mkv")
    restore(clip, target, engine=identity_engine(), on_progress=updates.append)
    with open_reader(clip) as reader:
        size = (reader.info.width, reader.info.height)
    last = updates[-1]
    assert (last.size, last.device, last.precision) == (size, "cpu", "float32")
    assert last.resumable is resumable


def test_progress_drops_a_frame_total_that_was_too_low(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfdn_video.media.VideoInfo.expected_frames", lambda *_: 4)
    updates: list[Progress] = []
    target = clip.with_name("after.mkv")
    restore(clip, target, engine=identity_engine(), on_progress=updates.append)
    assert [progress.frames_total for progress in updates] == [4] * 4 + [None] * (COUNT - 4)


def test_restore_of_a_span_writes_its_frames(clip: Path) -> None:
    target = clip.with_name("after.mkv")
    span = SpanOptions(start_s=0.1, end_s=0.3)
    summary = restore(clip, target, engine=identity_engine(), span=span)
    assert summary.frames == len(_frames(target)) == 5


@pytest.mark.parametrize("frames", [0, 3, COUNT - 1])
def test_failing_network_leaves_no_file_and_no_thread(clip: Path, frames: int) -> None:
    runner = FakeRunner(network=fail_after(frames))
    with pytest.raises(NetworkFailureError):
        restore(clip, clip.with_name("after.mkv"), engine=runner)
    assert (_left_behind(clip), _threads()) == ([], set())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, LookupError])
def test_interruption_leaves_no_file_and_no_thread(clip: Path, kind: type[BaseException]) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.frames_done == 3:
            raise kind

    target = clip.with_name("after.mkv")
    with pytest.raises(kind):
        restore(clip, target, engine=identity_engine(), on_progress=interrupt)
    assert (_left_behind(clip), _threads()) == ([], set())


def test_interruption_does_not_restore_the_remaining_frames(clip: Path) -> None:
    def network(batch: Tensor) -> Tensor:
        time.sleep(0.05)
        return batch

    runner = FakeRunner(network=network)

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(
            clip,
            clip.with_name("after.mkv"),
            engine=runner,
            temporal="off",
            on_progress=interrupt,
        )
    # One frame was written, some were ready, and one was in progress.
    assert len(runner.batches) <= 1 + WRITE_BEHIND_FRAMES + 1 < COUNT


def test_failing_encoder_leaves_no_file_and_no_thread(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> None:
        raise OutputError("after.mkv: no space; make room")

    monkeypatch.setattr("lfdn_video.output.writer.Writer.write", write)
    with pytest.raises(OutputError, match="no space"):
        restore(clip, clip.with_name("after.mkv"), engine=identity_engine())
    assert (_left_behind(clip), _threads()) == ([], set())


def test_engine_of_the_caller_stays_open(clip: Path) -> None:
    runner = FakeRunner()
    restore(clip, clip.with_name("after.mkv"), engine=runner)
    assert not runner.closed


def test_engine_loaded_for_the_run_is_closed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = FakeRunner(network=fail_after(2))
    monkeypatch.setattr(engine_module, "load_engine", lambda *_, **__: runner)
    with pytest.raises(NetworkFailureError):
        restore(clip, clip.with_name("after.mkv"))
    assert runner.closed


@pytest.mark.parametrize(("frames", "lanes"), [(1, 1), (6, engine_module.MAX_LANES)])
def test_single_frame_gets_all_cores(
    frames: int, lanes: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def load(*_: object, lanes: int, **__: object) -> FakeRunner:
        asked.append(lanes)
        return FakeRunner()

    monkeypatch.setattr(engine_module, "load_engine", load)
    restore(clip, clip.with_name("pictures_%d.png"), span=SpanOptions(end_s=frames / 25))
    assert asked == [lanes]


def test_missing_weights_leave_no_file(clip: Path) -> None:
    with pytest.raises(WeightsError):
        restore(clip, clip.with_name("after.mkv"), weights=clip.with_name("no.safetensors"))
    assert _left_behind(clip) == []


def test_bad_source_fails_before_the_engine_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    monkeypatch.setattr(engine_module, "load_engine", lambda *_, **__: made.append(True))
    with pytest.raises(InputError):
        restore(tmp_path / "absent.mp4", tmp_path / "after.mp4")
    assert made == []


def test_bad_source_fails_without_importing_torch(tmp_path: Path) -> None:
    program = """
import sys
from lfdn_video import InputError, restore
try:
    restore(sys.argv[1] + "/absent.mp4", sys.argv[1] + "/after.mp4")
except InputError:
    sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == 0


def test_restored_frames_are_rgb_arrays(clip: Path) -> None:
    frames = list(restored_frames(clip, engine=identity_engine()))
    assert [frame.pts for frame in frames] == [frame.pts for frame in _frames(clip)]
    assert {(frame.image.shape, str(frame.image.dtype)) for frame in frames} == {
        ((HEIGHT, WIDTH, 3), "uint8")
    }


def test_restored_frames_state_their_time(clip: Path) -> None:
    frames = list(restored_frames(clip, engine=identity_engine()))
    assert frames[1].time_s == pytest.approx(0.049)


def test_closing_restored_frames_early_leaves_no_thread(clip: Path) -> None:
    frames = restored_frames(clip, engine=identity_engine())
    next(frames)
    frames.close()
    assert _threads() == set()


def test_inference_options_reach_the_network(clip: Path) -> None:
    runner = FakeRunner()
    list(restored_frames(clip, engine=runner, inference=InferenceOptions(batch=4)))
    assert [shape[0] for shape in runner.batches] == [4, 4, 2]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (SpanOptions(), 250),
        (SpanOptions(start_s=4), 150),
        (SpanOptions(end_s=2.5), 63),
        (SpanOptions(end_s=0.9), 23),
        (SpanOptions(start_s=0.9), 227),
        (SpanOptions(start_s=0.1, end_s=0.11), 0),
        (SpanOptions(start_s=9, end_s=99), 25),
    ],
)
def test_expected_frames_follow_the_span(span: SpanOptions, expected: int) -> None:
    info = replace(video_info(), duration_s=10.0, average_rate=Fraction(25), frame_count=250)
    assert info.expected_frames(span) == expected


@pytest.mark.parametrize("span", [SpanOptions(end_s=0.19), SpanOptions(start_s=0.05, end_s=0.25)])
def test_expected_frames_are_those_that_are_read(span: SpanOptions, tmp_path: Path) -> None:
    clip = Clip(pts=range(8)).make(tmp_path / "clip.mkv")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(8):
        Image.new("RGB", (32, 24)).save(images / f"{number}.png")
    for source in (clip, images):
        with open_reader(source, span) as reader:
            assert reader.info.expected_frames(span) == len(list(reader.frames()))


def test_expected_frames_are_unknown_without_a_duration() -> None:
    assert video_info().expected_frames(SpanOptions(end_s=5)) is None


@pytest.mark.needs_cuda
def test_restore_on_cuda_with_an_identity_network_is_lossless(clip: Path) -> None:
    target = clip.with_name("after.mkv")
    with Engine(lambda batch: batch, device=torch.device("cuda"), precision="float16") as engine:
        restore(clip, target, engine=engine, encode=LOSSLESS)
    for after, before in zip(_frames(target), _frames(clip), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(after.planes, before.planes, strict=True))
