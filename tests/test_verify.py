"""`verify` passes for a restored video and finds every kind of difference."""

import json
import shutil
from pathlib import Path

import av
import pytest
from click.testing import CliRunner, Result

from lfdn_video.checks import Check
from lfdn_video.cli import main
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.pipeline import restore
from lfdn_video.verify import verify
from tests.support.clips import Clip
from tests.support.fakes import identity_engine

FAST = EncodeOptions(codec="libx264", preset="ultrafast")
RICH = Clip(
    codec="libx264",
    audio="aac",
    subtitles=True,
    chapters=True,
    pts=(0, 1, 2, 4, 7, 8, 9, 10, 15, 16, 20, 21, 25, 26),
    metadata={"title": "Rain", "artist": "Cloud"},
    colour=(1, 1, 1, 1),
)


def restored(source: Path, target: Path, span: SpanOptions | None = None) -> Path:
    with identity_engine() as engine:
        restore(source, target, encode=FAST, engine=engine, span=span)
    return target


def failed(source: Path, target: Path, span: SpanOptions | None = None) -> list[str]:
    return [check.name for check in verify(source, target, span) if check.state == "failed"]


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_verify_passes_for_a_restored_video(tmp_path: Path, ending: str) -> None:
    source = RICH.make(tmp_path / "in.mkv")
    checks = list(verify(source, restored(source, tmp_path / f"out.{ending}")))
    notes = [check.state for check in checks if check.state != "ok"]
    assert set(notes) <= ({"warning"} if ending == "mov" else set())  # it lacks tags of streams
    assert checks[0] == Check("frames", "ok", "14 of 14 frames, each at its time")
    assert sum(check.name == "stream" for check in checks) == 3


def test_verify_passes_for_the_samples(tmp_path: Path) -> None:
    samples = Path(__file__).parent.parent / "samples"
    for name in ("many_streams.mkv", "rotated.mp4", "variable_rate.mp4"):
        target = tmp_path / name
        with identity_engine() as engine:
            restore(samples / name, target, engine=engine, temporal="off")
        assert failed(samples / name, target) == []


def test_verify_compares_a_span_with_its_source(tmp_path: Path) -> None:
    source, span = RICH.make(tmp_path / "in.mkv"), SpanOptions(start_s=0.3, end_s=0.8)
    target = restored(source, tmp_path / "out.mp4", span)
    assert failed(source, target, span) == []
    assert "frames" in failed(source, target)


def test_verify_finds_missing_frames(tmp_path: Path) -> None:
    source = Clip(pts=range(20)).make(tmp_path / "in.mkv")
    target = Clip(pts=[pts for pts in range(20) if pts != 12]).make(tmp_path / "out.mkv")
    frames = next(verify(source, target))
    assert frames.text == "19 of 20 frames; the first difference is at 0.480 s"


def test_verify_finds_frames_at_other_times(tmp_path: Path) -> None:
    source = Clip(pts=range(10)).make(tmp_path / "in.mkv")
    target = Clip(pts=[0, 1, 2, 3, 5, 6, 7, 8, 9, 10]).make(tmp_path / "out.mkv")
    assert next(verify(source, target)).text == "10 of 10 frames, but up to 0.040 s off"


def test_verify_finds_missing_streams(tmp_path: Path) -> None:
    source, target = Clip(audio="aac").make(tmp_path / "a.mkv"), Clip().make(tmp_path / "b.mkv")
    assert failed(source, target) == ["stream", "stream"]


def test_verify_finds_missing_packets(tmp_path: Path) -> None:
    source = Clip(audio="flac", audio_s=2).make(tmp_path / "a.mkv")
    target = Clip(audio="flac", audio_s=1).make(tmp_path / "b.mkv")
    assert failed(source, target) == ["stream", "stream"]


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (Clip(colour=(1, 1, 1, 1)), Clip(colour=(6, 1, 1, 1)), "picture"),
        (Clip(), Clip(size=(48, 48)), "picture"),
        (Clip(pixel_format="yuv420p10le"), Clip(), "picture"),
        (Clip(chapters=True), Clip(), "chapters"),
        (Clip(metadata={"title": "Rain"}), Clip(), "tags"),
    ],
)
def test_verify_names_what_changed(tmp_path: Path, before: Clip, after: Clip, name: str) -> None:
    source, target = before.make(tmp_path / "a.mkv"), after.make(tmp_path / "b.mkv")
    assert failed(source, target) == [name]


def test_verify_finds_audio_out_of_sync(tmp_path: Path) -> None:
    source, target = Clip(audio="flac").make(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        streams = {s.index: after.add_stream_from_template(s) for s in before.streams}
        for packet in before.demux():
            if packet.size and packet.pts is not None and packet.dts is not None:
                late = 200 if packet.stream.type == "audio" else 0
                packet.pts, packet.dts = packet.pts + late, packet.dts + late
                packet.stream = streams[packet.stream.index]
                after.mux(packet)
    texts = [check.text for check in verify(source, target) if check.state == "failed"]
    assert len(texts) == 2
    assert all(text.endswith("+0.200 s out of sync with the video") for text in texts)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_verify_command_exits_with_1_on_a_failed_check(tmp_path: Path) -> None:
    source = RICH.make(tmp_path / "in.mkv")
    target = shutil.copy(source, tmp_path / "same.mkv")
    assert run("verify", source, target).exit_code == 0
    other = Clip(pts=range(5)).make(tmp_path / "other.mkv")
    result = run("verify", source, other, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert {"name": "frames", "state": "failed"}.items() <= report["checks"][0].items()


def test_verify_command_reports_a_file_that_is_no_video_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("Dear diary, it rained.")
    result = run("verify", tmp_path / "text.mp4", tmp_path / "text.mp4")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
