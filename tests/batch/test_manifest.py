"""The manifest of a target folder: kills, locks, fingerprints."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lfdn_video.batch import manifest as module
from lfdn_video.batch.manifest import Entry, Manifest, find_place, fingerprint, is_same_source
from lfdn_video.errors import OutputError

ENTRY = Entry(
    target="tue/a.mp4",
    source="card/tue/a.mp4",
    state="restored",
    fingerprint={"bytes": 3},
    made_with={"crf": 20},
    frames=7,
    warnings=["a warning"],
)


def lines(folder: Path) -> list[bytes]:
    return (folder / module.FOLDER_NAME / module.MANIFEST_NAME).read_bytes().splitlines()


def write(folder: Path, *entries: Entry) -> Path:
    with Manifest(folder) as manifest:
        for entry in entries:
            manifest.record(entry)
    return folder / module.FOLDER_NAME / module.MANIFEST_NAME


def read(folder: Path) -> dict[str, Entry]:
    with Manifest(folder) as manifest:
        return manifest.entries


def test_last_entry_of_a_target_counts(tmp_path: Path) -> None:
    write(tmp_path / "dry", replace(ENTRY, state="started"), ENTRY)
    assert read(tmp_path / "dry") == {"tue/a.mp4": ENTRY}


@pytest.mark.parametrize("cut", [1, 10])
def test_line_that_was_cut_off_costs_nothing_else(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, ENTRY, replace(ENTRY, target="b.mp4"))
    path.write_bytes(path.read_bytes()[:-cut])
    other = replace(ENTRY, target="c.mp4")
    write(tmp_path, other)
    known = read(tmp_path)
    assert (known["tue/a.mp4"], known["c.mp4"]) == (ENTRY, other)
    assert ("b.mp4" in known) == (cut == 1)  # there only the end of the line was missing


def test_stale_lines_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_LINES", 5)
    write(tmp_path, *[ENTRY] * 20)
    assert read(tmp_path) == {"tue/a.mp4": ENTRY}
    assert len(lines(tmp_path)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_second_run_into_a_folder_is_refused(tmp_path: Path) -> None:
    with Manifest(tmp_path), pytest.raises(OutputError, match="another run is writing into it"):
        Manifest(tmp_path).__enter__()
    assert read(tmp_path) == {}


def test_manifest_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(json.dumps({"format": module.FORMAT + 1}).encode() + b"\n")
    with pytest.raises(OutputError, match="was written by a later version"):
        read(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        read(tmp_path)


class TestFingerprint:
    def test_copy_is_the_same_source(self, tmp_path: Path) -> None:
        (source := tmp_path / "a.mp4").write_bytes(b"video")
        known = fingerprint(source)
        os.utime(source, (1, 1))
        assert is_same_source(source, known)

    def test_other_content_of_the_same_size_is_another(self, tmp_path: Path) -> None:
        (source := tmp_path / "a.mp4").write_bytes(b"video")
        known = fingerprint(source)
        source.write_bytes(b"VIDEO")
        os.utime(source, (1, 1))
        assert not is_same_source(source, known)

    def test_known_time_and_size_are_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (source := tmp_path / "a.mp4").write_bytes(b"video")
        known = fingerprint(source)
        monkeypatch.delattr(module, "fingerprint_file")
        assert is_same_source(source, known)

    def test_folder_changes_with_its_images(self, tmp_path: Path) -> None:
        for name in ("1.png", "2.png"):
            (tmp_path / name).write_bytes(b"image")
        known = fingerprint(tmp_path)
        assert is_same_source(tmp_path, known)
        (tmp_path / "3.png").write_bytes(b"image")
        assert not is_same_source(tmp_path, known)


def test_place_tells_a_file_from_its_successor(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    assert find_place(target) is None
    target.write_bytes(b"old")
    before = find_place(target)
    assert before == find_place(target)
    (tmp_path / "new").write_bytes(b"new")
    os.utime(tmp_path / "new", ns=(0, before[1] + 1_000_000 if before else 0))
    (tmp_path / "new").replace(target)
    assert find_place(target) != before
