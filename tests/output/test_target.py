"""Targets: refused before any work, and either complete or absent."""

import _thread
import secrets
import sys
import time
from pathlib import Path

import pytest

from lfdn_video.errors import OutputError
from lfdn_video.files import temporary_name
from lfdn_video.output import target as target_module
from lfdn_video.output.target import (
    create_temporary,
    lock_temporary,
    remove_stale_temporaries,
    remove_temporary,
    rename_into_place,
    sync_to_disk,
)


def test_unwritable_folder_is_reported_in_the_systems_words() -> None:
    with pytest.raises(OutputError, match="cannot be written: "):
        create_temporary(Path("/proc/out.mp4"))


def test_temporary_file_is_hidden_and_keeps_the_ending(tmp_path: Path) -> None:
    temporary = create_temporary(tmp_path / "out.mp4")
    assert temporary.name.startswith(".out.partial-")
    assert temporary.suffix == ".mp4"
    remove_temporary(temporary)
    remove_temporary(temporary)
    assert list(tmp_path.iterdir()) == []


def test_complete_file_is_renamed(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    temporary = create_temporary(target)
    temporary.write_bytes(b"done")
    rename_into_place({target: temporary}, overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_file_that_appeared_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    temporary = create_temporary(target)
    target.write_bytes(b"theirs")
    with pytest.raises(OutputError, match="was created meanwhile"):
        rename_into_place({target: temporary}, overwrite=False)
    assert target.read_bytes() == b"theirs"


def test_existing_file_is_replaced_with_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    temporary = create_temporary(target)
    temporary.write_bytes(b"new")
    rename_into_place({target: temporary}, overwrite=True)
    assert target.read_bytes() == b"new"


def several(folder: Path, count: int = 40) -> dict[Path, Path]:
    files = {
        folder / f"{number}.png": create_temporary(folder / f"{number}.png")
        for number in range(count)
    }
    for target, temporary in files.items():
        temporary.write_text(target.name)
    return files


def test_interruption_during_renaming_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = several(tmp_path)
    rename = target_module._rename

    def interrupted(temporary: Path, target: Path, *, overwrite: bool) -> None:
        if target.name == "7.png":
            time.sleep(0.1)
            _thread.interrupt_main()
            time.sleep(0.1)
        rename(temporary, target, overwrite=overwrite)

    monkeypatch.setattr(target_module, "_rename", interrupted)
    rename_into_place(files, overwrite=False)
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_several_files_are_renamed_all_or_none(tmp_path: Path) -> None:
    files = several(tmp_path, 3)
    (tmp_path / "1.png").write_text("theirs")
    with pytest.raises(OutputError, match=r"1\.png: was created meanwhile"):
        rename_into_place(files, overwrite=False)
    for temporary in files.values():
        remove_temporary(temporary)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["theirs"]


def test_temporary_file_is_new_each_time(tmp_path: Path) -> None:
    assert create_temporary(tmp_path / "out.mp4") != create_temporary(tmp_path / "out.mp4")


def test_temporary_file_is_never_an_existing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0")
    (tmp_path / temporary_name(tmp_path / "out.mp4", "0")).symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="File exists"):
        create_temporary(tmp_path / "out.mp4")
    assert not (tmp_path / "precious").exists()


@pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "雨" * 83 + ".mp4"])
def test_longest_name_is_accepted(tmp_path: Path, name: str) -> None:
    temporary = create_temporary(tmp_path / name)
    sync_to_disk(temporary, tmp_path / name)
    rename_into_place({tmp_path / name: temporary}, overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_temporary_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    assert (
        create_temporary(tmp_path / "out.mp4").stat().st_mode == (tmp_path / "usual").stat().st_mode
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of this kind there")
def test_stale_temporaries_are_removed_but_not_locked_ones(tmp_path: Path) -> None:
    target = tmp_path / "out [1].mp4"
    other = tmp_path / "out.mp4"
    stale = create_temporary(target)
    own = create_temporary(target)
    others = create_temporary(other)
    with lock_temporary(own):
        remove_stale_temporaries(target, own)
        assert sorted(tmp_path.iterdir()) == sorted([own, others])
    remove_stale_temporaries(target)
    assert list(tmp_path.iterdir()) == [others]
    assert not stale.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of this kind there")
def test_target_that_another_run_writes_is_refused_and_no_longer_name(tmp_path: Path) -> None:
    names = [f"{'n' * 60}{number}.mp4" for number in (1, 2)]
    with lock_temporary(create_temporary(tmp_path / names[0])):
        with pytest.raises(OutputError, match="another run is writing it"):
            remove_stale_temporaries(tmp_path / names[0])
        remove_stale_temporaries(tmp_path / names[1])
    assert len(list(tmp_path.iterdir())) == 1
