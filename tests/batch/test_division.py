"""Long videos in parts: joined, they are what an undivided run makes."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
import pytest
from torch import Tensor

from lfdn_video import parts as dividing
from lfdn_video.batch import division
from lfdn_video.batch.division import Division, Piece
from lfdn_video.batch.jobs import do_job
from lfdn_video.batch.join import join as join_parts
from lfdn_video.batch.join import parts_folder
from lfdn_video.batch.messages import Failed, Finished, Job, Progressed
from lfdn_video.batch.values import Recipe
from lfdn_video.inference.engine import Engine
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.output import segments
from lfdn_video.output.journal import Journal
from lfdn_video.pipeline import restore
from tests.support import clips, rain

FRAMES, SEGMENT, PART = 70, 10, 20

Work = Callable[[Job], Any]


def darken(batch: Tensor) -> Tensor:
    return 0.98 * batch + 0.01


class Inline:
    """A pool that does a job when it is waited for."""

    def __init__(self, recipe: Recipe, places: int = 2) -> None:
        self.jobs: list[Job] = []
        self.fail: dict[int, Failed] = {}
        """What comes of parts, by number, instead of being restored."""
        self._recipe = recipe
        self._places = places
        self._queue: deque[tuple[Job, Piece[str]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def busy(self) -> int:
        return len(self._queue)

    @property
    def free(self) -> int:
        return self._places - len(self._queue)

    def give(self, job: Job, tag: Piece[str]) -> None:
        assert self.free
        self.jobs.append(job)
        self._queue.append((job, tag))

    def wait(self, timeout_s: float) -> tuple[Piece[str], Any] | None:
        if not self._queue:
            return None
        job, tag = self._queue.popleft()
        if job.part is not None and job.part.number in self.fail:
            return tag, self.fail[job.part.number]
        with Engine(darken) as engine:
            return tag, do_job(job, self._recipe, engine, None)


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", SEGMENT)
    monkeypatch.setattr(segments, "MIN_SEGMENT_FRAMES", SEGMENT)
    monkeypatch.setattr(dividing, "PART_FRAMES", PART)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Audio, B-frames, a variable rate, keyframes that are not where parts begin."""
    pts = np.cumsum([0, *([40, 20, 60] * FRAMES)])[:FRAMES]
    return clips.Clip(
        codec="libx264",
        options={"g": "16", "bf": "2", "preset": "ultrafast", "crf": "20"},
        pts=[int(each) for each in pts],
        time_base=Fraction(1, 1000),
        audio="aac",
    ).make(tmp_path / "clip.mkv")


def whole(clip: Path, recipe: Recipe, suffix: str = ".mkv") -> Path:
    target = clip.with_name(f"whole{suffix}")
    with Engine(darken) as engine:
        summary = restore(clip, target, engine=engine, encode=recipe.encode, span=recipe.span)
    assert summary.temporal_off is None
    return target


def run(pool: Division[str], *jobs: Job) -> tuple[dict[str, Any], Sequence[int]]:
    """Do jobs; return how each ended, and the frames done along the way."""
    ends: dict[str, Any] = {}
    done = []
    left = deque(jobs)
    while left or pool.busy:
        while left and pool.free:
            job = left.popleft()
            pool.give(job, Path(job.target).name)
        if (found := pool.wait(0.1)) is not None:
            tag, message = found
            if isinstance(message, Progressed):
                done.append(message.progress.frames_done)
            else:
                ends[tag] = message
    return ends, done


def make_job(clip: Path, name: str = "out") -> Job:
    target = clip.with_name(f"{name}{clip.suffix}")
    return Job(str(clip), str(target), overwrite=False, resume=True)


def packets(path: Path) -> list[tuple[Any, ...]]:
    """Every packet of every stream, with its times."""
    with av.open(str(path)) as container:
        return [(each.stream.index, each.pts, each.dts, bytes(each)) for each in container.demux()]


def litter(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_parts_make_the_file_of_an_undivided_run(clip: Path, suffix: str) -> None:
    recipe = Recipe()
    pool = Inline(recipe)
    job = replace(make_job(clip), target=str(clip.with_name(f"out{suffix}")))
    ends, done = run(Division(pool, recipe), job)
    finished = ends[f"out{suffix}"]
    assert isinstance(finished, Finished), finished
    assert (finished.summary.frames, str(finished.summary.target)) == (FRAMES, job.target)
    assert [each.part and len(each.part.pts) for each in pool.jobs] == [None, 20, 20, 20, 10]
    assert list(done) == [20, 40, 60]
    assert packets(Path(job.target)) == packets(whole(clip, recipe, suffix))
    assert litter(clip.parent) == []


def test_neighbours_across_the_borders_of_parts_are_seen(tmp_path: Path) -> None:
    """Rain in single frames: a part that lacked its neighbours would keep some of it."""
    lumas = rain.still(count=FRAMES)
    source = rain.write(tmp_path / "clip.mkv", rain.to_frames(rain.rain(lumas)))
    recipe = Recipe(encode=EncodeOptions(codec="ffv1"))
    ends, _ = run(Division(Inline(recipe), recipe), make_job(source))
    assert isinstance(ends["out.mkv"], Finished), ends
    assert clips.planes(tmp_path / "out.mkv") == clips.planes(whole(source, recipe))
    assert clips.planes(tmp_path / "out.mkv") != clips.planes(source)


@pytest.mark.parametrize(
    "recipe",
    [Recipe(span=SpanOptions(end_s=2.0)), Recipe(deinterlace=True), Recipe(only_when_needed=True)],
)
def test_some_runs_are_not_divided(clip: Path, recipe: Recipe) -> None:
    pool = Inline(recipe)
    ends, _ = run(Division(pool, recipe), make_job(clip))
    assert isinstance(ends["out.mkv"], Finished), ends
    assert [job.part for job in pool.jobs] == [None]


def test_constant_rate_and_short_videos_are_not_divided(clip: Path, tmp_path: Path) -> None:
    recipe = Recipe()
    pool = Inline(recipe)
    short = clips.Clip(pts=range(2 * SEGMENT)).make(tmp_path / "short.mkv")
    avi = replace(make_job(clip), target=str(tmp_path / "out.avi"))
    ends, _ = run(Division(pool, recipe), avi, make_job(short, "short_out"))
    assert [type(end) for end in ends.values()] == [Finished, Finished]
    assert [job.part for job in pool.jobs] == [None, None]


def test_corrupt_video_is_restored_as_a_whole(clip: Path) -> None:
    with av.open(str(clip)) as container:
        packet = bytes([each for each in container.demux(video=0) if each.size][33])
    content = clip.read_bytes()
    assert content.count(packet) == 1
    zeros = packet[:8] + bytes(len(packet) - 8)  # its unit looks whole until it is decoded
    clip.write_bytes(content.replace(packet, zeros))
    recipe = Recipe()
    pool = Inline(recipe)
    ends, _ = run(Division(pool, recipe), make_job(clip))
    assert isinstance(ends["out.mkv"], Finished), ends
    assert any(job.part for job in pool.jobs)
    assert pool.jobs[-1].part is None
    assert clips.planes(clip.with_name("out.mkv")) == clips.planes(whole(clip, recipe))
    assert litter(clip.parent) == []


@pytest.mark.parametrize("kind", ["OutputError", "Lost"])
def test_finished_parts_outlast_a_failure(clip: Path, kind: str) -> None:
    recipe = Recipe()
    pool = Inline(recipe, places=1)
    pool.fail = {2: Failed(kind, "out.mkv: no space")}
    ends, _ = run(Division(pool, recipe), make_job(clip))
    assert ends["out.mkv"] == Failed(kind, "out.mkv: no space")
    assert not clip.with_name("out.mkv").exists()
    assert [path.name for path in clip.parent.iterdir() if "out.parts" in path.name]
    ends, _ = run(Division(Inline(recipe), recipe), make_job(clip))
    assert ends["out.mkv"].summary.kept_frames == 2 * PART
    assert clips.planes(clip.with_name("out.mkv")) == clips.planes(whole(clip, recipe))
    assert litter(clip.parent) == []


def test_parts_of_other_options_are_not_joined(clip: Path) -> None:
    first, second = Recipe(), Recipe(encode=EncodeOptions(crf=30))
    pool = Inline(first, places=1)
    pool.fail = {2: Failed("Lost", "gone")}
    run(Division(pool, first), make_job(clip))
    ends, _ = run(Division(Inline(second), second), make_job(clip))
    assert ends["out.mkv"].kind == "OutputError"
    assert "another encoding" in ends["out.mkv"].message
    fresh = replace(make_job(clip), overwrite=True, resume=False)
    ends, _ = run(Division(Inline(second), second), fresh)
    assert ends["out.mkv"].summary.kept_frames == 0
    assert clips.planes(clip.with_name("out.mkv")) == clips.planes(whole(clip, second))


def test_parts_of_different_networks_are_not_joined(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe()
    pool = Inline(recipe, places=1)

    def join(job: Job, recipe: Recipe, parts: Any, summaries: Any) -> Any:
        other = replace(summaries[1], network={"model": "another"})
        return join_parts(job, recipe, parts, [summaries[0], other, *summaries[2:]])

    monkeypatch.setattr(division, "join", join)
    ends, _ = run(Division(pool, recipe), make_job(clip))
    assert "restored in different ways" in ends["out.mkv"].message


def test_lost_part_is_told_and_nothing_is_joined(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that another machine does not see."""
    recipe = Recipe()

    def join(job: Job, recipe: Recipe, parts: Any, summaries: Any) -> Any:
        folder = parts_folder(Path(job.target))
        Journal(folder / "00001.mkv").remove()
        return join_parts(job, recipe, parts, summaries)

    monkeypatch.setattr(division, "join", join)
    ends, _ = run(Division(Inline(recipe), recipe), make_job(clip))
    assert f"{PART} of {FRAMES} frames are not in" in ends["out.mkv"].message
    assert not clip.with_name("out.mkv").exists()


def test_interrupted_undivided_run_is_resumed_as_such(clip: Path) -> None:
    recipe = Recipe()

    def stop(progress: Any) -> None:
        if progress.frames_done > 2 * SEGMENT + 1:
            raise KeyboardInterrupt

    job = make_job(clip)
    with Engine(darken) as engine, pytest.raises(KeyboardInterrupt):
        restore(clip, job.target, engine=engine, on_progress=stop)
    pool = Inline(recipe)
    ends, _ = run(Division(pool, recipe), job)
    assert ends["out.mkv"].summary.kept_frames == 2 * SEGMENT
    assert [each.part for each in pool.jobs] == [None]
    assert clips.planes(clip.with_name("out.mkv")) == clips.planes(whole(clip, recipe))
