"""A folder with good and bad files, run after run: nothing is lost, nothing is done twice.

    LFDN_BATCH_CLIPS=40 pytest tests/batch/test_acceptance.py

runs it with that many files.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lfdn_video.batch.manifest import FOLDER_NAME, MANIFEST_NAME
from lfdn_video.output.segments import SEGMENT_FRAMES
from tests.support.batches import BatchProgram, make_card, run_batch
from tests.support.clips import Clip, planes

FILES = int(os.environ.get("LFDN_BATCH_CLIPS", "8"))
BAD = 3
KILLS = FILES // 4

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


def count(events: list[dict[str, Any]]) -> tuple[int, int, int]:
    done = events[-1]
    assert done["event"] == "batch_done"
    return done["restored"], done["finished"], done["failed"]


def times(folder: Path) -> dict[str, int]:
    """Time of change of every target."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*.mkv")
        if not path.name.startswith(".")
    }


def restored_lines(folder: Path) -> Counter[str]:
    lines = (folder / FOLDER_NAME / MANIFEST_NAME).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return Counter(entry["target"] for entry in entries if entry.get("state") == "restored")


def litter(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != FOLDER_NAME]


def test_bad_files_are_told_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", FILES - BAD, BAD)
    dry = tmp_path / "dry"
    code, events, stderr = run_batch(tmp_path, "card", "-o", "dry")
    assert (code, count(events)) == (1, (FILES - BAD, 0, BAD)), stderr
    bad = {e["input"] for e in events if e["event"] == "file_done" and e["state"] == "failed"}
    assert len(bad) == BAD
    assert all(name in stderr for name in bad)
    first = times(dry)
    assert first.keys() == times(card).keys() - {name.removeprefix("card/") for name in bad}

    code, events, _ = run_batch(tmp_path, "card", "-o", "dry")
    assert (code, count(events)) == (1, (0, FILES - BAD, BAD))
    assert not [event for event in events if event["event"] == "file_start"]

    code, events, _ = run_batch(tmp_path, "card", "-o", "dry", "--retry")
    assert (code, count(events)) == (1, (0, FILES - BAD, BAD))
    assert {event["input"] for event in events if event["event"] == "file_start"} == bad
    assert times(dry) == first


def test_killed_run_is_continued(tmp_path: Path) -> None:
    """SIGKILL in the middle of a clip of several segments, with others finished and left."""
    frames = 3 * SEGMENT_FRAMES + 10
    make_card(tmp_path / "card", FILES - 1, 0)
    long = Clip(pts=range(frames)).make(tmp_path / "card" / "monday" / f"clip{FILES}.mkv")
    dry = tmp_path / "dry"
    with BatchProgram(tmp_path, "card", "-o", "dry") as program:
        for event in program.events("batch_progress"):
            state = event["current"].get("card/monday/" + long.name, {})
            if SEGMENT_FRAMES < state.get("frames_done", 0) < frames:
                break
        program.signal(signal.SIGKILL)
        code, _ = program.wait()
    assert code == -signal.SIGKILL
    before = times(dry)
    assert 0 < len(before) < FILES

    code, events, stderr = run_batch(tmp_path, "card", "-o", "dry")
    assert (code, count(events)) == (0, (FILES - len(before), len(before), 0)), stderr
    kept = {e["input"]: e["kept_frames"] for e in events if e["event"] == "file_done"}
    assert kept["card/monday/" + long.name] >= SEGMENT_FRAMES
    after = times(dry)
    assert {name: after[name] for name in before} == before
    assert after.keys() == times(tmp_path / "card").keys()
    assert len(planes(dry / "monday" / long.name)) == frames
    assert set(restored_lines(dry).values()) == {1}
    assert litter(dry) == []


def test_run_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    make_card(tmp_path / "card", FILES - BAD, BAD)
    random.seed(1)
    for _ in range(KILLS):
        with BatchProgram(tmp_path, "card", "-o", "dry") as program:
            told = program.events("file_start", "file_done")
            new = (event for event in told if not event.get("earlier"))
            list(islice(new, random.randint(1, 5)))
            time.sleep(random.uniform(0, 0.3))
            program.signal(signal.SIGKILL)
    code, events, stderr = run_batch(tmp_path, "card", "-o", "dry")
    restored, finished, failed = count(events)
    assert (code, restored + finished, failed) == (1, FILES - BAD, BAD), stderr
    assert set(restored_lines(tmp_path / "dry").values()) == {1}
    assert len(restored_lines(tmp_path / "dry")) == FILES - BAD
    assert litter(tmp_path / "dry") == []


def test_interruption_cleans_up_and_says_how_to_go_on(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    for number in range(3):
        Clip(pts=range(100)).make(card / f"{number}.mkv")
    with BatchProgram(tmp_path, "card", "-o", "dry") as program:
        next(event for event in program.events("batch_progress") if event["current"])
        program.signal(signal.SIGINT)
        list(program.events())
        code, stderr = program.wait()
    assert code == 130
    assert "of 3 files are done; the same command continues" in stderr
    assert [path.name for path in litter(tmp_path / "dry") if ".partial-" in path.name] == []
    code, events, stderr = run_batch(tmp_path, "card", "-o", "dry")
    assert (code, sum(count(events)[:2])) == (0, 3), stderr
    assert litter(tmp_path / "dry") == []
