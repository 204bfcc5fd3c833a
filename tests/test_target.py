"""Targets: refused before any work, complete or not there at all."""

from pathlib import Path

import pytest

from lfdn_video.errors import OutputError
from lfdn_video.target import check_target, discard, publish, reserve


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.mp4"
    file.write_bytes(b"source")
    return file


def test_a_free_name_is_fine(source: Path) -> None:
    check_target(source.with_name("out.mp4"), source, overwrite=False)


@pytest.mark.parametrize("name", ["in.mp4", "../{folder}/in.mp4", "symbolic.mp4", "hard.mp4"])
def test_the_source_is_never_a_target(source: Path, name: str) -> None:
    source.with_name("symbolic.mp4").symlink_to(source)
    source.with_name("hard.mp4").hardlink_to(source)
    target = source.parent / name.format(folder=source.parent.name)
    with pytest.raises(OutputError, match="is the source itself"):
        check_target(target, source, overwrite=True)


def test_an_existing_file_needs_permission(source: Path) -> None:
    target = source.with_name("out.mp4")
    target.touch()
    with pytest.raises(OutputError, match="exists already"):
        check_target(target, source, overwrite=False)
    check_target(target, source, overwrite=True)


def test_a_missing_folder_is_named(source: Path) -> None:
    with pytest.raises(OutputError, match="nowhere does not exist"):
        check_target(source.parent / "nowhere" / "out.mp4", source, overwrite=False)


def test_a_folder_is_no_file(source: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check_target(source.parent, source, overwrite=True)


def test_an_unwritable_folder_is_said_in_the_systems_words() -> None:
    with pytest.raises(OutputError, match="cannot be written: "):
        reserve(Path("/proc/out.mp4"))


def test_the_unfinished_file_is_hidden_and_keeps_its_ending(tmp_path: Path) -> None:
    hidden = reserve(tmp_path / "out.mp4")
    assert hidden.name.startswith(".out.partial-")
    assert hidden.suffix == ".mp4"
    discard(hidden)
    discard(hidden)
    assert list(tmp_path.iterdir()) == []


def test_a_complete_file_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    hidden = reserve(target)
    hidden.write_bytes(b"done")
    publish(hidden, target, overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    hidden = reserve(target)
    target.write_bytes(b"theirs")
    with pytest.raises(OutputError, match="appeared meanwhile"):
        publish(hidden, target, overwrite=False)
    assert target.read_bytes() == b"theirs"


def test_with_permission_the_old_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    hidden = reserve(target)
    hidden.write_bytes(b"new")
    publish(hidden, target, overwrite=True)
    assert target.read_bytes() == b"new"
