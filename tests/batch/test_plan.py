"""What is left to do for an item."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lfdn_video.batch.items import Item
from lfdn_video.batch.manifest import Entry, find_place
from lfdn_video.batch.plan import Restore, Skip, Tell, Wishes, decide

WISHES = Wishes(made_with={"task": "derain", "crf": 20, "weights": "abc"})
OTHER = replace(WISHES, made_with={**WISHES.made_with, "crf": 30})


@pytest.fixture
def item(tmp_path: Path) -> Item:
    (tmp_path / "a.mp4").write_bytes(b"source")
    return Item(tmp_path / "a.mp4", "a.mkv")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a.mkv"


@pytest.fixture
def started(item: Item, target: Path) -> Entry:
    decision = decide(item, target, None, WISHES)
    assert isinstance(decision, Restore)
    return decision.entry


def test_unknown_file_is_restored(item: Item, target: Path) -> None:
    decision = decide(item, target, None, WISHES)
    assert isinstance(decision, Restore)
    assert (decision.entry.state, decision.overwrite, decision.resume) == ("started", False, True)


def test_missing_file_is_told(item: Item, target: Path) -> None:
    item.source.unlink()
    assert decide(item, target, None, WISHES) == Tell(
        f"{item.source}: no such file; check the name"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_pipe_is_told_and_not_read(tmp_path: Path, target: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    decision = decide(Item(tmp_path / "pipe.mp4", "a.mkv"), target, None, WISHES)
    assert decision == Tell(f"{tmp_path}/pipe.mp4: is a device or a pipe; give a file")


class TestKilledRun:
    def test_is_resumed(self, item: Item, target: Path, started: Entry) -> None:
        decision = decide(item, target, started, WISHES)
        assert isinstance(decision, Restore)
        assert (decision.overwrite, decision.resume) == (False, True)

    def test_target_in_place_is_finished(self, item: Item, target: Path, started: Entry) -> None:
        target.write_bytes(b"restored")
        decision = decide(item, target, started, WISHES)
        assert decision == Skip(replace(started, state="restored"))

    def test_old_target_is_not_taken_for_the_new_one(
        self, item: Item, target: Path, started: Entry
    ) -> None:
        target.write_bytes(b"made in another way")
        known = replace(started, replaces=find_place(target))
        decision = decide(item, target, known, replace(WISHES, overwrite=True))
        assert isinstance(decision, Restore)
        assert (decision.overwrite, decision.resume) == (True, True)

    def test_other_options_drop_what_is_half_done(
        self, item: Item, target: Path, started: Entry
    ) -> None:
        decision = decide(item, target, started, OTHER)
        assert isinstance(decision, Restore)
        assert (decision.overwrite, decision.resume) == (True, False)

    def test_images_are_finished_when_all_are_there(self, tmp_path: Path) -> None:
        source, target = tmp_path / "film", tmp_path / "dry"
        for folder in (source, target):
            folder.mkdir()
            (folder / "1.png").touch()
        (source / "2.png").touch()
        item = Item(source, "dry")
        first = decide(item, tmp_path / "none", None, WISHES)
        assert isinstance(first, Restore)
        decision = decide(item, target, first.entry, WISHES)
        assert isinstance(decision, Restore)
        assert decision.overwrite
        (target / "2.png").touch()
        assert isinstance(decide(item, target, first.entry, WISHES), Skip)


class TestFinishedFile:
    @pytest.fixture
    def known(self, started: Entry, target: Path) -> Entry:
        target.write_bytes(b"restored")
        return replace(started, state="restored")

    def test_is_skipped(self, item: Item, target: Path, known: Entry) -> None:
        assert decide(item, target, known, WISHES) == Skip(known)

    def test_without_its_target_is_restored(self, item: Item, target: Path, known: Entry) -> None:
        target.unlink()
        assert isinstance(decide(item, target, known, WISHES), Restore)

    def test_other_option_is_told(self, item: Item, target: Path, known: Entry) -> None:
        assert decide(item, target, known, OTHER) == Tell(
            f"{target}: was made with another crf; choose another folder or allow overwriting"
        )

    def test_other_source_is_told(self, item: Item, target: Path, known: Entry) -> None:
        item.source.write_bytes(b"a later recording")
        assert decide(item, target, known, WISHES) == Tell(
            f"{target}: was made from another source; choose another folder or allow overwriting"
        )

    @pytest.mark.parametrize("wishes", [OTHER, replace(WISHES, made_with={})])
    def test_is_replaced_if_that_is_allowed(
        self, item: Item, target: Path, known: Entry, wishes: Wishes
    ) -> None:
        decision = decide(item, target, known, replace(wishes, overwrite=True))
        assert isinstance(decision, Restore)
        assert (decision.overwrite, decision.resume) == (True, False)

    def test_that_is_up_to_date_is_not_replaced(
        self, item: Item, target: Path, known: Entry
    ) -> None:
        assert decide(item, target, known, replace(WISHES, overwrite=True)) == Skip(known)


class TestFailedFile:
    @pytest.fixture
    def known(self, started: Entry) -> Entry:
        return replace(started, state="failed", message="a.mp4: no video", kind="InputError")

    def test_is_told_again(self, item: Item, target: Path, known: Entry) -> None:
        assert decide(item, target, known, WISHES) == Tell("a.mp4: no video")

    def test_is_tried_if_asked_to(self, item: Item, target: Path, known: Entry) -> None:
        assert isinstance(decide(item, target, known, replace(WISHES, retry=True)), Restore)

    def test_is_tried_with_other_options(self, item: Item, target: Path, known: Entry) -> None:
        assert isinstance(decide(item, target, known, OTHER), Restore)

    def test_is_tried_when_the_source_has_changed(
        self, item: Item, target: Path, known: Entry
    ) -> None:
        item.source.write_bytes(b"copied to its end")
        assert isinstance(decide(item, target, known, WISHES), Restore)

    def test_is_tried_when_the_target_was_the_cause(
        self, item: Item, target: Path, known: Entry
    ) -> None:
        known = replace(known, kind="OutputError")
        assert isinstance(decide(item, target, known, WISHES), Restore)
