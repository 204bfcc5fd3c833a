"""Many files on the command line; the workers have no network."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lfdn_video.batch import workers
from lfdn_video.cli.batch import ManyOptions, is_batch
from lfdn_video.cli.commands import main
from lfdn_video.errors import OptionError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes that end by signals")


@pytest.fixture(autouse=True)
def _fake_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MODULE", "tests.support.fake_worker")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "bad.mp4", "tue/c.mp4"):
        (tmp_path / "card" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "card" / name).write_text(name)
    return tmp_path / "card"


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["derain", *words], input=stdin)


def made(folder: Path) -> list[str]:
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if not path.parts[0].startswith("."))


def test_folder_is_restored_and_a_bad_file_told(card: Path) -> None:
    done = run("card", "-o", "dry")
    assert done.exit_code == 1
    assert made(card.parent / "dry") == ["a.mp4", "tue/c.mp4"]
    lines = done.stderr.splitlines()
    assert lines[0] == "derain: 3 of 3 files to restore into dry"
    assert "dry/a.mp4: 85 frames in 0:10 (8.5 fps)" in lines
    assert "failed: card/bad.mp4: no video; convert it" in lines
    assert lines[-3].split() == ["failed", "why"]
    assert lines[-2].split() == ["card/bad.mp4", "no", "video;", "convert", "it"]
    assert lines[-1].startswith("dry: 2 restored, 0 finished before, 1 failed in ")

    again = run("card", "-o", "dry")
    assert again.exit_code == 1
    assert again.stderr.splitlines()[-1].endswith("; --retry tries 1 again that failed before")
    assert len(again.stderr.splitlines()) == 4
    (card / "bad.mp4").unlink()
    assert run("card", "-o", "dry", "--retry").exit_code == 0


def test_quiet_tells_failures_alone(card: Path) -> None:
    done = run("card", "-o", "dry", "-q")
    assert done.stderr == "failed: card/bad.mp4: no video; convert it\n"


def test_folder_without_a_target_has_one_beside_it(card: Path) -> None:
    run("card")
    assert made(card.parent / "card-derained") == ["a.mp4", "tue/c.mp4"]


def test_list_comes_from_stdin_or_a_file(card: Path) -> None:
    assert run("--from-list", "-", "-o", "dry", stdin="card/tue/c.mp4\n").exit_code == 0
    (card.parent / "list.txt").write_text("card/a.mp4\n")
    assert run("--from-list", "list.txt", "-o", "dry").exit_code == 0
    assert made(card.parent / "dry") == ["card/a.mp4", "card/tue/c.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_names_need_not_be_text(card: Path) -> None:
    (card / os.fsdecode(b"\xff.mp4")).write_text("video")
    done = CliRunner().invoke(
        main, ["derain", "--from-list", "-", "-o", "dry", "--json"], input=b"card/\xff.mp4\n"
    )
    assert done.exit_code == 0, done.stderr
    assert made(card.parent / "dry") == [os.fsdecode(b"card/\xff.mp4")]


def test_pattern_and_template(card: Path) -> None:
    done = run("card/**/?.mp4", "-o", "dry", "--name", "{stem}_{task}.mkv")
    assert done.exit_code == 0, done.stderr
    assert made(card.parent / "dry") == ["a_derain.mkv", "tue/c_derain.mkv"]


def test_report_has_every_file(card: Path) -> None:
    run("card", "-o", "dry", "--report-json", "report.json")
    report = json.loads((card.parent / "report.json").read_text())
    assert (report["restored"], report["finished"], report["failed"]) == (2, 0, 1)
    assert [Path(each["source"]).name for each in report["files"]] == ["a.mp4", "bad.mp4", "c.mp4"]
    assert report["files"][1]["message"] == "card/bad.mp4: no video; convert it"
    refused = run("card", "-o", "dry2", "--report-json", "report.json")
    assert "report.json: exists already" in refused.stderr
    assert not (card.parent / "dry2").exists()


def test_events_are_as_documented(card: Path) -> None:
    done = run("card", "-o", "dry", "--json")
    events: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0] == {
        "event": "batch_start", "task": "derain", "output": "dry", "files": 3, "left": 3
    }  # fmt: skip
    assert done.stderr == "failed: card/bad.mp4: no video; convert it\n"
    documented = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    for event in events:
        assert f"`{event['event']}`" in documented
        assert all(f"`{name}`" in documented for name in event if name != "event")
    ends = {event["event"] for event in events}
    assert ends >= {"file_start", "file_done", "batch_progress", "batch_done"}
    assert {key: events[-1][key] for key in ("restored", "finished", "failed")} == {
        "restored": 2, "finished": 0, "failed": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ([], 2, "input: nothing to restore"),
        (["card/a.mp4", "card/b.mp4"], 2, "output: several files need a folder"),
        (["card/a.mp4", "card/b.mp4", "-o", "out.mp4"], 2, "out.mp4 is named like a file"),
        (["card/a.mp4", "card/b.mp4", "-o", "card/a.mp4"], 1, "card/a.mp4: is a file"),
        (["card", "-o", "card"], 1, "card: is the source folder itself"),
        (["card", "-o", "dry", "--trace", "t.json"], 2, "trace: is for a single file"),
        (["card", "-o", "dry", "--name", "{x}"], 2, "name: '{x}' may only have the fields"),
        (["card", "-o", "dry", "--jobs", "99"], 2, "jobs: must be from 1 to 64"),
        (["card/none.*", "-o", "dry", "--watch"], 1, "no such folder"),
        (["card", "-o", "d", "--watch", "--from-list", "-"], 2, "leave out --from-list"),
        (["--from-list", "none.txt", "-o", "dry"], 1, "none.txt: cannot be read"),
        (["rtsp://camera/1", "card", "-o", "dry"], 1, "is an address"),
    ],
)
def test_wrong_usage_is_one_line(card: Path, words: list[str], code: int, problem: str) -> None:
    done = run(*words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert problem in done.stderr
    assert not (card.parent / "dry").exists()


def test_any_option_for_several_files_makes_a_batch(card: Path) -> None:
    assert not is_batch(["card/a.mp4"], ManyOptions())
    assert is_batch(["card/a.mp4"], ManyOptions(name="{stem}.mkv"))
    assert is_batch(["card"], ManyOptions())
    with pytest.raises(OptionError):
        is_batch([], ManyOptions())


def test_numbered_images_stay_a_sequence(card: Path) -> None:
    for path in card.rglob("*.mp4"):
        path.rename(path.with_suffix(".txt"))
    for number in (1, 2):
        (card / f"{number}.png").touch()
    assert not is_batch(["card"], ManyOptions())
