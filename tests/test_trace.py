"""The trace of a run: the stages overlap, and their bars match the clocks."""

import json
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from lfdn_video.errors import OutputError
from lfdn_video.options import EncodeOptions, Temporal
from lfdn_video.pipeline import restore
from lfdn_video.trace import Trace
from tests.support.clips import Clip
from tests.support.fakes import FakeRunner, NetworkFailureError, fail_after
from tests.support.rain import noisy, rain, still, timid_engine, to_frames, write

FRAMES = 12
RAINY = to_frames(rain(noisy(still())))
NETWORK_S = 0.03
ROUNDING_US = 1.0


def slow(batch: Tensor) -> Tensor:
    """Stand in for a network on another device: it takes time, but no CPU core."""
    time.sleep(NETWORK_S)
    return batch


def bars(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return [event for event in events if event["ph"] == "X"]


def most_at_once(path: Path) -> set[str]:
    """Return the stages at work at the moment when most of them are."""
    found = bars(path)
    at_once = (
        {bar["name"] for bar in found if bar["ts"] <= moment < bar["ts"] + bar["dur"]}
        for moment in (bar["ts"] for bar in found)
    )
    return max(at_once, key=len)


def restored(folder: Path, network: Any = slow, temporal: Temporal = "auto") -> Path:
    clip = Clip(size=(640, 480), pts=range(FRAMES)).make(folder / "clip.mkv")
    trace = folder / "trace.json"
    options = EncodeOptions(codec="ffv1")
    runner = FakeRunner(network)
    target = folder / "after.mkv"
    restore(clip, target, engine=runner, encode=options, trace=trace, temporal=temporal)
    return trace


def test_trace_shows_all_stages_running_at_once(tmp_path: Path) -> None:
    # Off, as it works too shortly on these frames to be met by all others at one moment.
    assert most_at_once(restored(tmp_path, temporal="off")) == {"decode", "model", "encode"}


def test_trace_has_a_bar_for_every_frame_in_every_stage(tmp_path: Path) -> None:
    found = bars(restored(tmp_path))
    for stage in ("decode", "model", "temporal", "encode"):
        items = {bar["args"]["item"] for bar in found if bar["name"] == stage}
        assert items >= set(range(FRAMES))


def test_trace_bars_of_one_stage_do_not_overlap(tmp_path: Path) -> None:
    found = bars(restored(tmp_path))
    for row in range(4):
        of_row = sorted((bar["ts"], bar["ts"] + bar["dur"]) for bar in found if bar["tid"] == row)
        gaps = [begin - end for (_, end), (begin, _) in pairwise(of_row)]
        assert min(gaps) >= -ROUNDING_US


def test_trace_bars_add_up_to_the_seconds_of_the_summary(tmp_path: Path) -> None:
    clip = Clip(pts=range(FRAMES)).make(tmp_path / "clip.mkv")
    trace = tmp_path / "trace.json"
    summary = restore(clip, tmp_path / "after.mkv", engine=FakeRunner(slow), trace=trace)
    for stage, times in summary.stages.items():
        shown_s = sum(bar["dur"] for bar in bars(trace) if bar["name"] == stage) / 1e6
        assert shown_s == pytest.approx(times.busy_s, abs=1e-3)


def test_trace_is_written_after_a_failed_run(tmp_path: Path) -> None:
    with pytest.raises(NetworkFailureError):
        restored(tmp_path, fail_after(3))
    assert len([b for b in bars(tmp_path / "trace.json") if b["name"] == "decode"]) >= 3


def test_unwritable_trace_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        Trace(tmp_path / "no folder" / "trace.json")


def test_trace_rows_are_named_after_the_stages(tmp_path: Path) -> None:
    events = json.loads(restored(tmp_path).read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["ph"] == "M"]
    assert names == ["decode", "model", "temporal", "encode"]


def test_trace_tells_what_neighbouring_frames_did(tmp_path: Path) -> None:
    clip, trace = write(tmp_path / "clip.mkv", RAINY), tmp_path / "trace.json"
    with timid_engine() as engine:
        summary = restore(clip, tmp_path / "after.mkv", engine=engine, trace=trace)
    notes = json.loads(trace.read_text())["otherData"]
    assert summary.temporal is not None
    assert notes == {"temporal": asdict(summary.temporal), "temporal_off": None}
    assert notes["temporal"]["frames"] > 0


def test_trace_tells_why_neighbouring_frames_were_not_used(tmp_path: Path) -> None:
    notes = json.loads(restored(tmp_path, temporal="off").read_text())["otherData"]
    assert notes == {"temporal_off": "not asked for"}


def test_trace_of_a_failed_run_tells_what_was_done_until_then(tmp_path: Path) -> None:
    clip, trace = write(tmp_path / "clip.mkv", RAINY), tmp_path / "trace.json"
    with pytest.raises(NetworkFailureError):
        restore(clip, tmp_path / "after.mkv", engine=FakeRunner(fail_after(7)), trace=trace)
    temporal = json.loads(trace.read_text())["otherData"]["temporal"]
    assert 0 < temporal["frames"] + sum(temporal["left"].values()) < len(RAINY)


@pytest.mark.parametrize("name", ["clip.mkv", "link.mkv", "hard.mkv", "after.mkv", "net.st"])
def test_trace_never_replaces_what_the_run_reads_or_writes(tmp_path: Path, name: str) -> None:
    clip = Clip(pts=range(FRAMES)).make(tmp_path / "clip.mkv")
    (tmp_path / "link.mkv").symlink_to(clip)
    (tmp_path / "hard.mkv").hardlink_to(clip)
    (tmp_path / "net.st").write_bytes(b"weights")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="itself"):
        restore(
            clip,
            tmp_path / "after.mkv",
            weights=tmp_path / "net.st",
            engine=FakeRunner(slow),
            encode=EncodeOptions(overwrite=True),
            trace=tmp_path / name,
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_existing_trace_is_replaced_with_permission_alone(tmp_path: Path) -> None:
    clip = Clip(pts=range(2)).make(tmp_path / "clip.mkv")
    trace = tmp_path / "trace.json"
    trace.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        restore(clip, tmp_path / "a.mkv", engine=FakeRunner(slow), trace=trace)
    assert trace.read_text() == "precious"
    options = EncodeOptions(overwrite=True)
    restore(clip, tmp_path / "a.mkv", engine=FakeRunner(slow), encode=options, trace=trace)
    assert bars(trace)


def test_refused_run_writes_no_trace(tmp_path: Path) -> None:
    clip = Clip(pts=range(2)).make(tmp_path / "clip.mkv")
    (tmp_path / "after.mkv").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        restore(clip, tmp_path / "after.mkv", engine=FakeRunner(slow), trace=tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()
