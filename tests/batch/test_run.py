"""The loop of a batch, with workers that have no network."""

import shutil
import sys
from pathlib import Path

import pytest

from lfdn_video.batch.manifest import Manifest
from lfdn_video.batch.run import restore_many
from lfdn_video.batch.values import (
    BatchListener,
    BatchOptions,
    BatchProgress,
    BatchSummary,
    FileResult,
    Recipe,
)
from lfdn_video.errors import DeviceError, InputError, OutputError, WeightsError
from lfdn_video.options import EncodeOptions, InferenceOptions

pytestmark = [
    pytest.mark.usefixtures("fake_workers"),
    pytest.mark.skipif(sys.platform == "win32", reason="processes that end by signals"),
]


class Recorder(BatchListener):
    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[FileResult] = []
        self.shares: list[float] = []
        self.notes: list[str] = []
        self.left = -1

    def batch_started(self, folder: Path, total: int, left: int) -> None:
        self.left = left

    def file_started(self, source: Path, target: Path) -> None:
        self.started.append(source.name)

    def file_ended(self, result: FileResult) -> None:
        self.ended.append(result)

    def progressed(self, progress: BatchProgress) -> None:
        self.shares.append(progress.share)

    def noted(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    for name in ("a", "b", "tue/c"):
        path = tmp_path / "card" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "card"


def counts(summary: BatchSummary) -> tuple[int, int, int]:
    return summary.count("restored"), summary.count("finished"), summary.count("failed")


def test_files_are_restored_once(card: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    first = restore_many([card], tmp_path / "dry", listener=recorder)
    assert counts(first) == (3, 0, 0)
    assert (tmp_path / "dry/tue/c.mp4").read_text() == "tue/c"
    assert recorder.started == ["a.mp4", "b.mp4", "c.mp4"]
    assert recorder.left == 3
    assert recorder.shares == sorted(recorder.shares)
    assert recorder.notes == ["a warning"] * 3
    again = Recorder()
    assert counts(restore_many([card], tmp_path / "dry", listener=again)) == (0, 3, 0)
    assert (again.started, again.left) == ([], 0)


def test_bad_and_crashing_files_stop_no_other(card: Path, tmp_path: Path) -> None:
    for name in ("a_first", "bad", "crash"):
        (card / f"{name}.mp4").write_text(name)
    summary = restore_many([card], tmp_path / "dry")
    assert counts(summary) == (4, 0, 2)
    messages = [result.message for result in summary.files if result.state == "failed"]
    assert messages == [
        f"{card}/bad.mp4: no video; convert it",
        f"{card}/crash.mp4: the process that restored it ended by SIGSEGV; try it alone",
    ]
    again = Recorder()
    assert counts(restore_many([card], tmp_path / "dry", listener=again)) == (0, 4, 2)
    assert again.started == []
    restore_many([card], tmp_path / "dry", options=BatchOptions(retry=True), listener=again)
    assert again.started == ["bad.mp4", "crash.mp4"]


def test_several_jobs_do_the_same(card: Path, tmp_path: Path) -> None:
    summary = restore_many([card], tmp_path / "dry", options=BatchOptions(jobs=3))
    assert counts(summary) == (3, 0, 0)


def test_two_sources_of_one_target_are_told(card: Path, tmp_path: Path) -> None:
    (card / "a.mov").write_text("another")
    options = BatchOptions(name="{stem}.mkv")
    summary = restore_many([card], tmp_path / "dry", options=options)
    assert counts(summary) == (3, 0, 1)
    (failed,) = (result for result in summary.files if result.state == "failed")
    assert f"its target {tmp_path}/dry/a.mkv is that of {card}/a.mov too" in failed.message
    assert (tmp_path / "dry/a.mkv").read_text() == "another"


def test_moved_card_is_known_again(card: Path, tmp_path: Path) -> None:
    restore_many([card], tmp_path / "dry")
    shutil.copytree(card, tmp_path / "copy")
    assert counts(restore_many([tmp_path / "copy"], tmp_path / "dry")) == (0, 3, 0)


def test_other_options_need_leave_to_overwrite(card: Path, tmp_path: Path) -> None:
    restore_many([card], tmp_path / "dry")
    recipe = Recipe(encode=EncodeOptions(crf=30))
    summary = restore_many([card], tmp_path / "dry", recipe=recipe)
    assert counts(summary) == (0, 0, 3)
    assert "was made with another crf" in summary.files[0].message
    recipe = Recipe(encode=EncodeOptions(crf=30, overwrite=True))
    assert counts(restore_many([card], tmp_path / "dry", recipe=recipe)) == (3, 0, 0)
    assert counts(restore_many([card], tmp_path / "dry", recipe=recipe)) == (0, 3, 0)


def test_missing_file_is_told_and_forgotten(card: Path, tmp_path: Path) -> None:
    summary = restore_many([card / "a.mp4", card / "gone.mp4"], tmp_path / "dry")
    assert counts(summary) == (1, 0, 1)
    with Manifest(tmp_path / "dry") as manifest:
        assert list(manifest.entries) == ["a.mp4"]


def test_full_disk_ends_the_run_and_the_next_one_goes_on(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card / "full.mp4").write_text("full")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    summary = restore_many([card], tmp_path / "dry")
    assert counts(summary) == (2, 0, 1)
    assert summary.stopped.startswith(f"{tmp_path}/dry: the disk is full")
    (card / "full.mp4").rename(card / "full2.mp4")
    (tmp_path / "dry/a.mp4").unlink()
    monkeypatch.undo()
    monkeypatch.setattr("lfdn_video.batch.workers.MODULE", "tests.support.fake_worker")
    assert counts(restore_many([card], tmp_path / "dry")) == (2, 1, 1)


def test_folder_that_cannot_be_made_costs_one_file(card: Path, tmp_path: Path) -> None:
    (tmp_path / "dry").mkdir()
    (tmp_path / "dry/tue").write_text("a file")
    summary = restore_many([card], tmp_path / "dry")
    assert counts(summary) == (2, 0, 1)
    assert "its folder cannot be made: File exists" in summary.files[-1].message


def test_nothing_to_restore_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no videos or images"):
        restore_many([tmp_path], tmp_path / "dry")


def test_locked_folder_is_an_error(card: Path, tmp_path: Path) -> None:
    with Manifest(tmp_path / "dry"), pytest.raises(OutputError, match="another run"):
        restore_many([card], tmp_path / "dry")


def test_device_that_fails_ends_the_run(card: Path, tmp_path: Path) -> None:
    recipe = Recipe(inference=InferenceOptions(batch=13))
    with pytest.raises(DeviceError, match="cuda"):
        restore_many([card], tmp_path / "dry", recipe=recipe)


def test_missing_weights_are_told_before_anything_is_made(card: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.safetensors"):
        restore_many([card], tmp_path / "dry", recipe=Recipe(weights=Path("none.safetensors")))
    assert not (tmp_path / "dry").exists()
