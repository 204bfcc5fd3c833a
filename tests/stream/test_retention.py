"""Retention removes recordings of this program that are too old or too many, and nothing else."""

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from lfdn_video.errors import OutputError
from lfdn_video.stream.sinks.ledger import FILE, LOCK, NAME, Ledger, name_pattern
from lfdn_video.stream.sinks.retention import Keep, Retention

NOW = 1_800_000_000.0
DAY_S = 86_400.0
SIZE = 1000


def write(path: Path, *, age_s: float = 0.0, size: int = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


def record(ledger: Ledger, number: int, *, age_s: float = 0.0, camera: str = "door") -> Path:
    """Write a recording as the service does."""
    path = ledger.folder / camera / "2026-11-27" / f"{camera}_{number:06}.mkv"
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger.add_open(path)
    write(path, age_s=age_s)
    ledger.add_complete(path)
    return path


def apply(ledger: Ledger, *, seconds: float | None = None, size: int | None = None) -> set[str]:
    removed = Retention(ledger, Keep(seconds=seconds, size_bytes=size)).apply(NOW)
    return {Path(each.file).name for each in removed}


def test_old_recordings_are_removed(ledger: Ledger) -> None:
    old, new = record(ledger, 1, age_s=2 * DAY_S), record(ledger, 2, age_s=0.5 * DAY_S)
    assert apply(ledger, seconds=DAY_S) == {old.name}
    assert (old.exists(), new.exists()) == (False, True)


def test_oldest_of_all_cameras_go_while_all_take_too_much(ledger: Ledger) -> None:
    files = [
        record(ledger, number, age_s=100.0 - number, camera=("door", "yard")[number % 2])
        for number in range(4)
    ]
    assert apply(ledger, size=2 * SIZE) == {files[0].name, files[1].name}
    assert [file.exists() for file in files] == [False, False, True, True]


def test_recording_that_is_written_counts_and_stays(ledger: Ledger) -> None:
    done = record(ledger, 1)
    growing = write(ledger.folder / "door/2026-11-27/door_000002.mkv", age_s=9 * DAY_S)
    ledger.add_open(growing)
    assert apply(ledger, seconds=DAY_S, size=SIZE) == {done.name}
    assert growing.exists()


def test_without_a_limit_nothing_is_removed(ledger: Ledger) -> None:
    record(ledger, 1, age_s=1e9)
    assert apply(ledger) == set()


def test_files_of_others_stay_whatever_their_names(ledger: Ledger) -> None:
    record(ledger, 1, age_s=9 * DAY_S)
    others = [
        write(ledger.folder / name, age_s=9 * DAY_S)
        for name in ("notes.txt", "door/2026-11-27/door_000002.mkv", "door/film.mkv")
    ]
    apply(ledger, seconds=DAY_S, size=1)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_recording_that_was_changed_is_kept(
    ledger: Ledger, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    edited = record(ledger, 1, age_s=9 * DAY_S)
    write(edited, age_s=8 * DAY_S if size == SIZE else 9 * DAY_S, size=size)
    assert apply(ledger, seconds=DAY_S) == set()
    assert edited.exists()
    assert "was changed since; it is kept" in caplog.text


def test_links_are_not_followed(ledger: Ledger, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    file = record(ledger, 1, age_s=9 * DAY_S)
    file.parent.rename(outside)
    file.parent.symlink_to(outside)  # the same file, behind a link
    assert apply(ledger, seconds=DAY_S) == set()
    assert (outside / file.name).exists()


def test_link_in_place_of_a_recording_stays(ledger: Ledger, tmp_path: Path) -> None:
    file = record(ledger, 1, age_s=9 * DAY_S)
    target = file.rename(tmp_path / "moved.mkv")
    file.symlink_to(target)
    assert apply(ledger, seconds=DAY_S) == set()
    assert target.exists()


def test_empty_folder_of_a_day_goes_and_one_with_notes_stays(ledger: Ledger) -> None:
    alone = record(ledger, 1, age_s=9 * DAY_S, camera="alone")
    beside = record(ledger, 1, age_s=9 * DAY_S, camera="beside")
    notes = write(beside.with_name("notes.txt"))
    apply(ledger, seconds=DAY_S)
    assert not alone.parent.exists()
    assert alone.parent.parent.exists()
    assert notes.exists()


def test_recordings_of_earlier_runs_are_known(tmp_path: Path) -> None:
    with Ledger(tmp_path) as first:
        old = record(first, 1, age_s=9 * DAY_S)
        killed = write(tmp_path / "door/2026-11-27/door_000002.mkv", age_s=9 * DAY_S)
        first.add_open(killed)  # and no end: the program was killed
        gone = record(first, 3)
        gone.unlink()
    with Ledger(tmp_path) as second:
        assert apply(second, seconds=DAY_S) == {old.name, killed.name}
    with Ledger(tmp_path):
        assert (tmp_path / NAME).read_text() == ""  # it does not grow for ever


@pytest.mark.parametrize(
    "line",
    [
        '{"file": "../outside.mkv", "bytes": 1000, "time": 1.0}',
        '{"file": "door/2026-11-27/../../notes.txt", "bytes": 1000, "time": 1.0}',
        '{"file": "/etc/passwd", "bytes": 1000, "time": 1.0}',
        '{"file": "door/2026-11-27/door_000001.mkv", "bytes": "much", "time": 1.0}',
        '{"file": "door/2026-11-27/door_0000',
        "[]",
        "nonsense",
    ],
)
def test_torn_or_forged_lines_name_nothing(tmp_path: Path, line: str) -> None:
    (tmp_path / NAME).write_text(f"{line}\n")
    with Ledger(tmp_path) as ledger:
        assert ledger.list_complete() == []


def test_second_program_in_the_same_folder_is_refused(ledger: Ledger) -> None:
    with (
        pytest.raises(OutputError, match="another lfdn-video records there"),
        Ledger(ledger.folder),
    ):
        pass


def test_ledger_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"), Ledger(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_names_of_recordings_match_what_is_removed() -> None:
    name = name_pattern("yard-2", ".mkv").replace("%Y-%m-%d", "2026-11-27")
    name = name.replace("%H%M%S", "235959")
    assert FILE.fullmatch(name)
    assert FILE.fullmatch(name.replace(".mkv", "-2.mp4"))
    assert not FILE.fullmatch(name.replace("yard-2_", "door_"))


def test_every_change_is_on_disk_at_once(ledger: Ledger) -> None:
    file = record(ledger, 1, age_s=9 * DAY_S)
    apply(ledger, seconds=DAY_S)
    lines = [json.loads(line) for line in (ledger.folder / NAME).read_text().splitlines()]
    name = file.relative_to(ledger.folder).as_posix()
    assert lines[0] == {"file": name}
    assert lines[1]["bytes"] == SIZE
    assert lines[2] == {"file": name, "removed": True}
