"""Files that are written: never one that is read, and complete or not there."""

import os
import stat
import sys
from pathlib import Path

import pytest

from lfdn import files
from lfdn.files import Inputs, TargetError, check_target, try_target, write_beside

NAMES = ["in.mp4", "../{folder}/in.mp4", "symbolic.mp4", "hard.mp4", "linked/in.mp4"]
"""Other names of `in.mp4`; the last one is in a folder that is a link."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.mp4"
    file.write_bytes(b"source")
    file.with_name("symbolic.mp4").symlink_to(file)
    file.with_name("hard.mp4").hardlink_to(file)
    file.with_name("linked").symlink_to(tmp_path)
    return file


def test_free_name_is_accepted(source: Path) -> None:
    check_target(source.with_name("out.mp4"), Inputs([source]), overwrite=False)


@pytest.mark.parametrize("name", NAMES)
def test_source_is_refused_as_target_by_any_name(source: Path, name: str) -> None:
    target = source.parent / name.format(folder=source.parent.name)
    with pytest.raises(TargetError, match="is the source itself"):
        check_target(target, Inputs([source]), overwrite=True)


@pytest.mark.parametrize("name", NAMES)
def test_source_given_by_another_name_is_refused_as_target(source: Path, name: str) -> None:
    read = source.parent / name.format(folder=source.parent.name)
    with pytest.raises(TargetError, match="is the source itself"):
        check_target(source, Inputs([read]), overwrite=True)


def test_source_is_known_by_its_place_where_case_does_not_matter(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that ignores case gives the same place for both spellings."""
    found = Path.stat
    monkeypatch.setattr(
        Path,
        "stat",
        lambda path, **words: found(Path(str(path).replace("IN.MP4", "in.mp4")), **words),
    )
    with pytest.raises(TargetError, match=r"is the source itself, .*in\.mp4"):
        check_target(source.with_name("IN.MP4"), Inputs([source]), overwrite=True)


def test_file_that_does_not_exist_yet_is_known_by_name(tmp_path: Path) -> None:
    inputs = Inputs()
    inputs.add(tmp_path / "out.mp4", "the target")
    with pytest.raises(TargetError, match="is the target itself"):
        check_target(tmp_path / "." / "out.mp4", inputs, overwrite=True)


@pytest.mark.parametrize("above", [".", ".."])
def test_folder_that_holds_the_source_is_not_emptied(source: Path, above: str) -> None:
    folder = source.parent / above
    with pytest.raises(TargetError, match="holds the source"):
        Inputs([source]).refuse_around(folder)


def test_existing_file_is_refused_without_overwrite(source: Path) -> None:
    target = source.with_name("out.mp4")
    target.touch()
    with pytest.raises(TargetError, match="exists already"):
        check_target(target, Inputs([source]), overwrite=False)
    check_target(target, Inputs([source]), overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/out.mp4", "nowhere does not exist"),
        (".", "is a folder"),
        ("in.mp4/out.mp4", "does not exist"),
        ("pipe.mp4", "is a device or a pipe"),
    ],
)
def test_place_where_no_file_can_be_is_refused(source: Path, name: str, message: str) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes of this kind here")
    os.mkfifo(source.with_name("pipe.mp4"))
    with pytest.raises(TargetError, match=message):
        check_target(source.parent / name, Inputs(), overwrite=True)


def test_empty_name_is_refused() -> None:
    with pytest.raises(TargetError, match="is not the name of a file"):
        check_target(Path(), Inputs(), overwrite=True)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_folder_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be written"):
        try_target(Path("/proc/out.json"))
    try_target(tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_file_is_there_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with write_beside(target, overwrite=False) as temporary:
        temporary.write_text("done")
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert target.read_text() == "done"


def test_failed_block_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")

    def fail() -> None:
        with write_beside(target, overwrite=True) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert target.read_text() == "old"


def test_file_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with pytest.raises(TargetError, match="meanwhile"), write_beside(target, overwrite=False):
        target.write_text("theirs")
    assert target.read_text() == "theirs"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_permissions_of_an_overwritten_file_are_kept(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    target.chmod(mode)
    with write_beside(target, overwrite=True) as temporary:
        unfinished = stat.S_IMODE(temporary.stat().st_mode)
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert unfinished & ~(mode | stat.S_IRUSR | stat.S_IWUSR) == 0


def test_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    real = tmp_path / "disk" / "real.json"
    real.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(real)
    with write_beside(link, overwrite=True) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_file_without_a_number_is_known_by_name(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some systems number no files."""
    monkeypatch.setattr(files, "_find_place", lambda path: None)
    with pytest.raises(TargetError, match="is the source itself"):
        check_target(source.with_name("symbolic.mp4"), Inputs([source]), overwrite=True)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked there")
def test_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = files.take_lock(path)
    assert first is not None
    assert files.take_lock(path) is None
    first.close()
    again = files.take_lock(path)
    assert again is not None
    again.close()


def test_lock_in_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.take_lock(tmp_path / "absent" / "lock")
