"""Long runs: segments, the journal, and resuming after an interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lfdn_video.cli.formatting import format_summary
from lfdn_video.errors import OutputError
from lfdn_video.inference.engine import Engine
from lfdn_video.media import FrameFormat, PixelFormat
from lfdn_video.options import EncodeOptions, SpanOptions, Temporal
from lfdn_video.output import choices, segments
from lfdn_video.output.journal import Journal
from lfdn_video.pipeline import Summary, restore
from tests.support.fakes import NetworkFailureError, fail_after, identity
from tests.support.rain import derain_timidly, noisy, rain, still, to_frames, write

SAMPLES = Path(__file__).parents[2] / "samples"
CLIP = SAMPLES / "variable_rate.mp4"  # 60 frames at a variable rate, B-frames, audio
FAST = EncodeOptions(codec="libx264", preset="ultrafast")
RESUME = EncodeOptions(codec="libx264", preset="ultrafast", resume=True)


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 13)


def run(target: Path, options: EncodeOptions = FAST, *, fail: int | None = None,
        source: Path = CLIP, span: SpanOptions | None = None,
        temporal: Temporal = "off") -> Summary:  # fmt: skip
    alone = identity if temporal == "off" else derain_timidly
    with Engine(alone if fail is None else fail_after(fail, alone)) as engine:
        return restore(source, target, encode=options, engine=engine, span=span, temporal=temporal)


def frames(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(path) as container:
        clock = container.streams.video[0].time_base or Fraction(1)
        return [
            ((frame.pts or 0) * clock, frame.to_ndarray().tobytes())
            for frame in container.decode(video=0)
        ]


def audio_packets(path: Path) -> list[tuple[int | None, bytes]]:
    with av.open(path) as container:
        return [(p.pts, bytes(p)) for p in container.demux(audio=0) if p.size]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov", "ts"])
def test_segmented_run_gives_the_frames_and_audio_of_a_direct_one(
    tmp_path: Path, ending: str
) -> None:
    lossless = EncodeOptions(codec="libx264", crf=0, preset="ultrafast", codec_options={"bf": "3"})
    whole, joined = tmp_path / f"whole.{ending}", tmp_path / f"joined.{ending}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choices, "MAX_DIRECT_SEGMENTS", 1000)
        run(whole, lossless)
    run(joined, lossless)
    assert frames(joined) == frames(whole)
    assert audio_packets(joined) == audio_packets(whole)
    assert left_in(tmp_path) == [joined.name, whole.name]


@pytest.mark.parametrize("fail", [14, 26, 41, 59])
def test_resumed_run_gives_the_frames_and_audio_of_an_uninterrupted_one(
    tmp_path: Path, fail: int
) -> None:
    target, straight = tmp_path / "out.mp4", tmp_path / "straight.mp4"
    with pytest.raises(NetworkFailureError) as failed:
        run(target, fail=fail)
    kept = fail // 13 * 13
    assert failed.value.__notes__ == [f"{kept} frames are kept; resume the run"]
    assert not target.exists()
    summary = run(target, RESUME)
    run(straight)
    assert summary.frames == 60
    assert frames(target) == frames(straight)
    assert audio_packets(target) == audio_packets(straight)
    assert left_in(tmp_path) == ["out.mp4", "straight.mp4"]


@pytest.mark.parametrize("fail", [17, 32, 45])
def test_run_with_neighbouring_frames_is_resumed(tmp_path: Path, fail: int) -> None:
    target, straight = tmp_path / "out.mp4", tmp_path / "straight.mp4"
    source = write(tmp_path / "rainy.mkv", to_frames(rain(noisy(still(60)))))
    with pytest.raises(NetworkFailureError):
        run(target, fail=fail, source=source, temporal="auto")
    resumed = run(target, RESUME, source=source, temporal="auto")
    whole = run(straight, source=source, temporal="auto")
    assert resumed.temporal is not None
    assert whole.temporal is not None
    assert whole.temporal.frames > resumed.temporal.frames > 0
    assert frames(target) == frames(straight)


def test_run_with_neighbouring_frames_is_not_resumed_without_them(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with pytest.raises(NetworkFailureError):
        run(target, fail=30, temporal="auto")
    with pytest.raises(
        OutputError, match=r'another network \(temporal: "auto", not "off"\); repeat'
    ):
        run(target, RESUME)


def test_run_on_a_span_is_resumed(tmp_path: Path) -> None:
    target, straight, span = tmp_path / "out.mkv", tmp_path / "straight.mkv", SpanOptions(start_s=1)
    with pytest.raises(NetworkFailureError):
        run(target, fail=20, span=span)
    run(target, RESUME, span=span)
    run(straight, span=span)
    assert frames(target) == frames(straight)
    assert audio_packets(target) == audio_packets(straight)


def test_run_without_a_finished_segment_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NetworkFailureError) as failed:
        run(tmp_path / "out.mp4", fail=5)
    assert not hasattr(failed.value, "__notes__")
    assert left_in(tmp_path) == []


def interrupted(target: Path) -> Path:
    with pytest.raises(NetworkFailureError):
        run(target, fail=30)
    return Journal(target).folder


def test_interrupted_run_is_not_overwritten_without_permission(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    folder = interrupted(target)
    with pytest.raises(OutputError, match="an interrupted run left 26 finished frames beside it"):
        run(target)
    assert left_in(folder) == ["00000.packets", "00001.packets", "journal.json", "lock"]


def test_overwrite_starts_afresh(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    interrupted(target)
    options = EncodeOptions(codec="libx264", preset="ultrafast", overwrite=True)
    assert run(target, options).frames == 60
    assert left_in(tmp_path) == ["out.mp4"]


def test_resume_with_nothing_to_resume_is_a_normal_run(tmp_path: Path) -> None:
    assert run(tmp_path / "out.mp4", RESUME).frames == 60


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"options": EncodeOptions(codec="libx264", preset="medium", resume=True)}, "encoding"),
        ({"span": SpanOptions(end_s=2)}, "span"),
        ({"source": SAMPLES / "rainy_dashcam.mp4"}, "source"),
    ],
)
def test_run_with_another_manifest_is_not_resumed(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    target = tmp_path / "out.mp4"
    folder = interrupted(target)
    with pytest.raises(OutputError, match=f"the interrupted run had another {named}"):
        run(target, **{"options": RESUME, **change})  # type: ignore[arg-type]
    assert "00001.packets" in left_in(folder)


def test_run_with_another_network_is_not_resumed(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    interrupted(target)
    with (
        Engine(identity, model_id="another") as engine,
        pytest.raises(OutputError, match="the interrupted run had another network"),
    ):
        restore(CLIP, target, encode=RESUME, engine=engine)


def test_corrupt_segment_is_encoded_again(tmp_path: Path) -> None:
    target, straight = tmp_path / "out.mp4", tmp_path / "straight.mp4"
    folder = interrupted(target)
    content = bytearray((folder / "00001.packets").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "00001.packets").write_bytes(content)
    run(target, RESUME)
    run(straight)
    assert frames(target) == frames(straight)


def test_unreadable_journal_starts_afresh(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    folder = interrupted(target)
    (folder / "journal.json").write_text('{"format": 1, "told"')
    assert run(target, RESUME).frames == 60


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_killed_run_is_resumed(tmp_path: Path) -> None:
    """From the command line, with the network; `benchmarks/kills.py` does it twenty times."""
    target = tmp_path / "out.mp4"
    script = (
        "from lfdn_video import cli\n"
        "from lfdn_video.output import segments\n"
        "segments.SEGMENT_FRAMES = 4\n"
        "cli.main()"
    )
    words = [sys.executable, "-c", script, "derain", str(SAMPLES / "many_streams.mkv"), "-o",
             str(target), "--json"]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = Journal(target).folder
    for _ in range(600):
        if (folder / "00001.packets").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = json.loads((folder / "journal.json").read_text())
    assert len(found["segments"]) >= 1
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frames"] == 40
    assert len(frames(target)) == 40
    assert left_in(tmp_path) == ["out.mp4"]


def test_timestamps_are_continuous_over_segments(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    run(target)
    assert [time for time, _ in frames(target)] == [time for time, _ in frames(CLIP)]


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """Mount a small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])
def test_full_disk_costs_no_finished_frame(tmp_path: Path, disk: Path, share: float) -> None:
    """In a segment, between segments, or while they are joined, which needs twice the space."""
    straight, target = tmp_path / "straight.mp4", disk / "out.mp4"
    run(straight)
    leave_free(disk, round(share * straight.stat().st_size))
    with pytest.raises(OutputError, match="cannot be written: No space left on device") as failed:
        run(target)
    kept = Journal(target)
    journal = json.loads((kept.folder / "journal.json").read_text())
    finished = sum(segment["frames"] for segment in journal["segments"])
    assert finished >= (13 if share < 1 else 60)
    assert failed.value.__notes__ == [f"{finished} frames are kept; resume the run"]
    assert not target.exists()
    (disk / "filler").unlink()
    run(target, RESUME)
    assert frames(target) == frames(straight)
    assert audio_packets(target) == audio_packets(straight)
    assert left_in(disk) == ["out.mp4"]


def test_disk_full_from_the_start_is_reported(tmp_path: Path, disk: Path) -> None:
    leave_free(disk, 0)
    with pytest.raises(OutputError, match="No space left on device"):
        run(disk / "out.mp4")
    assert left_in(disk) == ["filler"]


def leave_free(disk: Path, size_bytes: int) -> None:
    status = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - size_bytes))


@pytest.mark.parametrize(
    ("size", "frames"),
    [((64, 48), 250), ((640, 360), 217), ((1280, 720), 54), ((1920, 1080), 25), ((3840, 2160), 25)],
)
def test_segment_is_half_a_minute_of_work_within_bounds(
    size: tuple[int, int], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 250)
    width, height = size
    pixel_format = PixelFormat.parse("yuv420p")
    chosen = segments.choose_segment_frames(
        FrameFormat(width=width, height=height, format=pixel_format)
    )
    assert chosen == frames


def test_rate_of_a_resumed_run_counts_its_own_frames(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    interrupted(target)
    summary = run(target, RESUME)
    assert (summary.frames, summary.kept_frames) == (60, 26)
    shown = format_summary(replace(summary, seconds=34.0))
    assert "60 frames in 0:34 (1.0 fps)" in shown
    assert "26 frames kept from before" in shown
