"""The processes of a batch: what they report, and how they end."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.batch.messages import Failed, Finished, Job, Progressed, Warned
from lfdn_video.batch.values import Recipe
from lfdn_video.batch.workers import Workers, count_jobs
from lfdn_video.errors import DeviceError
from lfdn_video.options import InferenceOptions

pytestmark = [
    pytest.mark.usefixtures("fake_workers"),
    pytest.mark.skipif(sys.platform == "win32", reason="processes that end by signals"),
]


def make_job(folder: Path, name: str) -> Job:
    (folder / name).write_text(name)
    return Job(str(folder / name), str(folder / f"{name}.out"), overwrite=False, resume=True)


def messages(pool: Workers[str]) -> list[tuple[str, Any]]:
    """Wait for all jobs that were given."""
    found = []
    while pool.busy:
        if (message := pool.wait(60)) is not None:
            found.append(message)
    return found


def test_job_reports_and_ends(tmp_path: Path) -> None:
    with Workers[str](1, Recipe()) as pool:
        pool.give(make_job(tmp_path, "a"), "first")
        assert pool.free == 0
        found = messages(pool)
        assert pool.free == 1
    assert [(tag, type(message)) for tag, message in found] == [
        ("first", Progressed),
        ("first", Warned),
        ("first", Finished),
    ]
    assert (tmp_path / "a.out").read_text() == "a"


def test_one_process_does_one_job_after_the_other(tmp_path: Path) -> None:
    with Workers[str](1, Recipe()) as pool:
        ends = []
        for name in ("a", "b"):
            pool.give(make_job(tmp_path, name), name)
            worker = pool._busy[0]
            ends += [
                (tag, worker.child) for tag, each in messages(pool) if isinstance(each, Finished)
            ]
    assert [tag for tag, _ in ends] == ["a", "b"]
    assert ends[0][1] is ends[1][1]


def test_file_that_kills_the_process_fails_alone(tmp_path: Path) -> None:
    with Workers[str](2, Recipe()) as pool:
        pool.give(make_job(tmp_path, "crash"), "crash")
        pool.give(make_job(tmp_path, "slow"), "slow")
        found = dict(messages(pool))
        pool.give(make_job(tmp_path, "b"), "b")
        found |= dict(messages(pool))
    assert found["crash"] == Failed("Lost", "the process that restored it ended by SIGSEGV")
    assert isinstance(found["slow"], Finished)
    assert isinstance(found["b"], Finished)


def test_process_that_is_asked_to_end_says_nothing_about_its_file(tmp_path: Path) -> None:
    with Workers[str](1, Recipe()) as pool:
        pool.give(make_job(tmp_path, "stop"), "stop")
        end = messages(pool)[-1]
    assert end == ("stop", Failed("Stopped", "the process that restored it ended by SIGTERM"))


@pytest.mark.parametrize(
    ("batch", "problem"),
    [(13, "cuda: no such device"), (14, "ended by SIGSEGV while it loaded the network")],
)
def test_network_that_cannot_be_loaded_ends_the_batch(
    tmp_path: Path, batch: int, problem: str
) -> None:
    recipe = Recipe(inference=InferenceOptions(batch=batch))
    with Workers[str](1, recipe) as pool:
        pool.give(make_job(tmp_path, "a"), "a")
        with pytest.raises(DeviceError, match=problem):
            messages(pool)


def test_leaving_ends_the_processes(tmp_path: Path) -> None:
    with Workers[str](2, Recipe()) as pool:
        for name in ("a", "slow"):
            pool.give(make_job(tmp_path, name), name)
        children = [worker.child for worker in pool._busy]
    assert all(child.exit_code is not None for child in children)


@pytest.mark.parametrize(
    ("wanted", "device", "cores", "free_gib", "expected"),
    [
        (3, "cuda", 2, 1, 3),
        ("auto", "cuda", 64, 512, 1),
        ("auto", "cpu", 2, 64, 1),
        ("auto", "cpu", 32, 64, 8),
        ("auto", "cpu", 32, 7, 2),
        ("auto", "cpu", 32, 1, 1),
    ],
)
def test_number_of_jobs_follows_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Any,
    device: str,
    cores: int,
    free_gib: int,
    expected: int,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert count_jobs(wanted, device, free_gib << 30) == expected
