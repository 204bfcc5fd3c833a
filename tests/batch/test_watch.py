"""Watched folders: files are taken when they are complete, and once."""

import builtins
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.batch import watch
from lfdn_video.batch.items import Item, Template
from lfdn_video.batch.watch import WatchedFolders, is_being_written
from lfdn_video.errors import InputError, OptionError
from tests.support.batches import BatchProgram
from tests.support.clips import Clip, planes
from tests.support.waiting import wait_until

TEMPLATE = Template("{stem}.{ext}", "derain")


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "card").mkdir()
    return tmp_path / "card"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(WatchedFolders, "_keep_watching", lambda *_: None)
    return clock


class Clock:
    now_s = 1000.0

    def poll(self, folders: WatchedFolders, after_s: float = 0.0) -> list[str]:
        self.now_s += after_s
        return [item.key for item in folders.poll().items]


def open_folders(card: Path, settle_s: float = 5.0) -> WatchedFolders:
    return WatchedFolders([str(card)], card.parent / "dry", TEMPLATE, settle_s=settle_s)


class TestComplete:
    def test_file_is_taken_once_it_has_not_changed_for_a_while(
        self, card: Path, clock: Clock
    ) -> None:
        (card / "a.mp4").write_bytes(b"first part")
        folders = open_folders(card)
        assert clock.poll(folders) == []
        assert clock.poll(folders, 4) == []
        (card / "a.mp4").write_bytes(b"first part, second part")
        assert clock.poll(folders, 4) == []
        assert clock.poll(folders, 4) == []
        assert clock.poll(folders, 2) == ["a.mp4"]
        assert clock.poll(folders, 60) == []

    def test_empty_file_is_not_complete(self, card: Path, clock: Clock) -> None:
        (card / "a.mp4").touch()
        folders = open_folders(card)
        assert [clock.poll(folders, after_s) for after_s in (0, 6, 60)] == [[], [], []]

    def test_file_that_changes_later_is_given_again(self, card: Path, clock: Clock) -> None:
        (card / "a.mp4").write_bytes(b"a pause in the copy")
        folders = open_folders(card)
        assert (clock.poll(folders), clock.poll(folders, 6)) == ([], ["a.mp4"])
        (card / "a.mp4").write_bytes(b"a pause in the copy, and its end")
        assert (clock.poll(folders, 60), clock.poll(folders, 6)) == ([], ["a.mp4"])

    def test_item_that_is_offered_comes_again_later(self, card: Path, clock: Clock) -> None:
        (card / "a.mp4").write_bytes(b"video")
        folders = open_folders(card, settle_s=0)
        assert clock.poll(folders) == ["a.mp4"]
        folders.offer_again(Item(card / "a.mp4", "a.mp4"))
        assert clock.poll(folders, watch.AGAIN_S - 1) == []
        assert clock.poll(folders, 2) == ["a.mp4"]

    def test_folder_that_is_gone_is_told_once_and_waited_for(
        self, card: Path, clock: Clock
    ) -> None:
        folders = open_folders(card, settle_s=0)
        card.rmdir()
        notes = [folders.poll().notes]
        clock.now_s += 60
        notes.append(folders.poll().notes)
        assert notes == [[f"{card}: the folder is gone; waiting for it"], []]
        card.mkdir()
        (card / "a.mp4").write_bytes(b"video")
        assert clock.poll(folders, 60) == ["a.mp4"]

    @pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
    def test_file_that_is_open_for_writing_is_not_complete(self, card: Path) -> None:
        with (card / "a.mp4").open("wb") as file:
            file.write(b"a copy that takes its time")
            file.flush()
            assert is_being_written(card / "a.mp4")
        with (card / "a.mp4").open("rb"):
            assert not is_being_written(card / "a.mp4")
        assert not is_being_written(card)


def test_change_is_noticed_at_once(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before all files are looked at again."""
    monkeypatch.setattr(watch, "SCAN_S", 600.0)
    with open_folders(card, settle_s=0) as folders:
        assert folders.poll().items == []
        wait_until(lambda: folders._watcher is not None and folders._watcher.is_alive())
        time.sleep(0.5)  # until the system's watch is set up, which nothing tells
        (card / "a.mp4").write_bytes(b"video")
        wait_until(lambda: [item.key for item in folders.poll().items] == ["a.mp4"])


def test_missing_library_is_told(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = builtins.__import__

    def refuse(name: str, *words: Any, **more: Any) -> Any:
        if name == "watchfiles":
            raise ImportError(name)
        return find(name, *words, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(OptionError, match=r"pip install 'lfdn-video\[watch\]'"):
        open_folders(card)


def test_only_folders_are_watched(card: Path) -> None:
    (card / "a.mp4").touch()
    with pytest.raises(OptionError, match="is not a folder"):
        open_folders(card / "a.mp4")
    with pytest.raises(InputError, match="no such folder"):
        open_folders(card / "gone")


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
class TestProgram:
    """Acceptance: slowly copied files are taken when complete; a restart loses nothing."""

    @pytest.fixture
    def clip(self, tmp_path: Path) -> bytes:
        return Clip(pts=range(6)).make(tmp_path / "clip.mkv").read_bytes()

    def watch(self, folder: Path) -> BatchProgram:
        return BatchProgram(folder, "card", "-o", "dry", "--watch", "--settle", "1")

    def ends(self, program: BatchProgram) -> Iterator[tuple[str, str]]:
        for event in program.events("file_done"):
            yield Path(event["input"]).name, event["state"]

    def test_slow_copy_kill_and_restart(self, tmp_path: Path, card: Path, clip: bytes) -> None:
        (card / "before.mkv").write_bytes(clip)
        with self.watch(tmp_path) as program:
            ends = self.ends(program)
            assert next(ends) == ("before.mkv", "restored")
            (card / "day").mkdir()
            with (card / "day" / "slow.mkv").open("wb", buffering=0) as copy:
                for start in range(0, len(clip), len(clip) // 4):
                    copy.write(clip[start : start + len(clip) // 4])
                    time.sleep(0.6)
            assert next(ends) == ("slow.mkv", "restored")
            program.signal(signal.SIGKILL)
            assert program.wait()[0] == -signal.SIGKILL
        (card / "meanwhile.mkv").write_bytes(clip)
        with self.watch(tmp_path) as program:
            ends = self.ends(program)
            assert {next(ends) for _ in range(3)} == {
                ("before.mkv", "finished"),
                ("slow.mkv", "finished"),
                ("meanwhile.mkv", "restored"),
            }
            program.signal(signal.SIGTERM)
            list(ends)
            code, stderr = program.wait()
        assert code == 143
        assert "3 of 3 files are done; the same command continues" in stderr
        for name in ("before.mkv", "day/slow.mkv", "meanwhile.mkv"):
            assert len(planes(tmp_path / "dry" / name)) == 6

    def test_file_that_was_taken_too_early_is_taken_again(
        self, tmp_path: Path, card: Path, clip: bytes
    ) -> None:
        (card / "a.mkv").write_bytes(clip[:20])
        with self.watch(tmp_path) as program:
            ends = self.ends(program)
            assert next(ends) == ("a.mkv", "failed")
            (card / "a.mkv").write_bytes(clip)
            assert next(ends) == ("a.mkv", "restored")
        assert len(planes(tmp_path / "dry" / "a.mkv")) == 6
