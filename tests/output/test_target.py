"""Targets: refused before any work, complete or not there at all."""

import _thread
import secrets
import sys
import time
from pathlib import Path

import pytest

from lfdn_video.errors import OutputError
from lfdn_video.output import target as target_module
from lfdn_video.output.target import check_target, discard, hold, publish, reserve, settle, sweep


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
    publish({target: hidden}, overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    hidden = reserve(target)
    target.write_bytes(b"theirs")
    with pytest.raises(OutputError, match="appeared meanwhile"):
        publish({target: hidden}, overwrite=False)
    assert target.read_bytes() == b"theirs"


def test_with_permission_the_old_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    hidden = reserve(target)
    hidden.write_bytes(b"new")
    publish({target: hidden}, overwrite=True)
    assert target.read_bytes() == b"new"


def several(folder: Path, count: int = 40) -> dict[Path, Path]:
    files = {folder / f"{number}.png": reserve(folder / f"{number}.png") for number in range(count)}
    for target, hidden in files.items():
        hidden.write_text(target.name)
    return files


def test_an_interruption_while_files_get_their_names_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = several(tmp_path)
    rename = target_module._publish

    def interrupted(hidden: Path, target: Path, *, overwrite: bool) -> None:
        if target.name == "7.png":
            time.sleep(0.1)
            _thread.interrupt_main()
            time.sleep(0.1)
        rename(hidden, target, overwrite=overwrite)

    monkeypatch.setattr(target_module, "_publish", interrupted)
    publish(files, overwrite=False)
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_of_several_files_all_appear_or_none(tmp_path: Path) -> None:
    files = several(tmp_path, 3)
    (tmp_path / "1.png").write_text("theirs")
    with pytest.raises(OutputError, match=r"1\.png: appeared meanwhile"):
        publish(files, overwrite=False)
    for hidden in files.values():
        discard(hidden)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["theirs"]


def test_the_hidden_file_is_a_new_one_each_time(tmp_path: Path) -> None:
    assert reserve(tmp_path / "out.mp4") != reserve(tmp_path / "out.mp4")


def test_the_hidden_file_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0")
    (tmp_path / ".out.partial-0.mp4").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="File exists"):
        reserve(tmp_path / "out.mp4")
    assert not (tmp_path / "precious").exists()


@pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "雨" * 83 + ".mp4"])
def test_the_longest_name_is_fine(tmp_path: Path, name: str) -> None:
    hidden = reserve(tmp_path / name)
    settle(hidden, tmp_path / name)
    publish({tmp_path / name: hidden}, overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_others_may_read_the_file_as_they_may_any_other(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    assert reserve(tmp_path / "out.mp4").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of this kind there")
def test_what_a_killed_run_left_is_swept_but_not_what_is_held(tmp_path: Path) -> None:
    target, other = tmp_path / "out [1].mp4", tmp_path / "out.mp4"
    left, used, others = reserve(target), reserve(target), reserve(other)
    with hold(used):
        sweep(target)
        assert sorted(tmp_path.iterdir()) == sorted([used, others])
    sweep(target)
    assert list(tmp_path.iterdir()) == [others]
    assert not left.exists()
