"""The journal: what it keeps of a run, and which runs it refuses."""

from pathlib import Path

import pytest

from lfdn_video.errors import OutputError
from lfdn_video.output.journal import Journal, Segment, fingerprint_file
from lfdn_video.output.packets import file_sha256

MANIFEST = {"source": {"bytes": 1}}


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted_journal(target: Path) -> Journal:
    """Leave the journal of a run that finished one segment."""
    journal = Journal(target)
    journal.open(MANIFEST, resume=False, overwrite=False)
    journal.extend_manifest({"first_pts": 7})
    journal.segment_path(0).write_bytes(b"packets")
    sha256 = file_sha256(journal.segment_path(0))
    journal.append_segment(Segment(frames=13, first_pts=7, last_pts=19, sha256=sha256))
    journal.segment_path(1).write_bytes(b"unfinished")
    journal.close()
    return journal


def test_finished_segments_are_adopted_with_the_manifest(tmp_path: Path) -> None:
    before = interrupted_journal(tmp_path / "out.mp4")
    journal = Journal(tmp_path / "out.mp4")
    journal.open(MANIFEST, resume=True, overwrite=False)
    assert journal.segments == before.segments
    assert journal.frames == 13
    assert journal.manifest == {**MANIFEST, "first_pts": 7}
    journal.close()


def test_unfinished_segment_is_not_kept(tmp_path: Path) -> None:
    journal = interrupted_journal(tmp_path / "out.mp4")
    assert left_in(journal.folder) == ["00000.packets", "journal.json", "lock"]


def test_manifest_entry_that_differs_is_refused_later_too(tmp_path: Path) -> None:
    interrupted_journal(tmp_path / "out.mp4")
    journal = Journal(tmp_path / "out.mp4")
    journal.open(MANIFEST, resume=True, overwrite=False)
    with pytest.raises(OutputError, match=r"had another first_pts \(7, not 8\)"):
        journal.extend_manifest({"first_pts": 8})
    journal.close()


def test_fingerprint_tells_changed_ends_and_sizes(tmp_path: Path) -> None:
    file = tmp_path / "in.mp4"
    found = []
    for content in (b"abc", b"abd", b"abcc"):
        file.write_bytes(content)
        found.append(fingerprint_file(file))
    assert [each["bytes"] for each in found] == [3, 3, 4]
    assert len({each["sha256_of_ends"] for each in found}) == 3


def test_second_run_on_the_same_target_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    first, second = Journal(target), Journal(target)
    first.open({}, resume=False, overwrite=False)
    with pytest.raises(OutputError, match="another run is writing it"):
        second.open({}, resume=True, overwrite=False)
    first.close()
    second.open({}, resume=False, overwrite=False)
    second.close()
    assert left_in(tmp_path) == []
