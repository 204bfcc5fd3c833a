"""`compare`, `report`, `demo`, and the options of a run that do the same."""

import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lfdn_video import cli
from lfdn_video.cli.demo import CLIP
from lfdn_video.cli.doctor import CLIP_TIMES, make_clip
from lfdn_video.cli.program import StopRequested
from lfdn_video.cli.review import name_report
from lfdn_video.errors import InputError
from lfdn_video.inference import engine
from lfdn_video.review import report
from tests.support import clips, drawn
from tests.support.fakes import brighten, identity_engine
from tests.support.scripts import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight tiny frames at a variable rate, lossless."""
    make_clip(tmp_path / "clip.mkv")
    return tmp_path / "clip.mkv"


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every task with a network that changes nothing."""
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], prog_name="lfdn-video")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestCompare:
    def test_identity_is_said_plainly(self, clip: Path) -> None:
        result = run("compare", clip, clip)
        assert result.exit_code == 0, result.output
        count = len(CLIP_TIMES)
        assert f"{count} of {count} frames are identical, and their PSNR is infinite" in (
            result.stdout
        )
        psnr = next(line for line in result.stdout.splitlines() if line.startswith("PSNR-Y"))
        assert psnr.split()[1:4] == ["infinite"] * 3

    def test_json_has_figures_protocol_and_every_frame(self, clip: Path) -> None:
        found: dict[str, Any] = json.loads(run("compare", clip, clip, "--json").stdout)
        assert found["figures"]["change"]["mean"] == 0
        assert found["figures"]["psnr_y"]["mean"] is None  # JSON has no infinity
        assert len(found["per_frame"]) == found["identical_frames"] == len(CLIP_TIMES)
        assert "rgb2ycbcr" in found["protocol"]["psnr_y"]
        schema = (ROOT / "docs/json.md").read_text(encoding="utf-8")
        fields = {*found, *found["per_frame"][0], *found["figures"]["change"]}
        assert {name for name in fields if f"`{name}`" not in schema} == set()

    def test_frames_in_one_file_alone_are_named(self, tmp_path: Path) -> None:
        one = drawn.write(tmp_path / "a.mkv", drawn.still(5))
        other = drawn.write(tmp_path / "b.mkv", drawn.still(3))
        assert "2 frames in A alone" in run("compare", one, other).stdout

    def test_sizes_that_differ_are_an_error(self, clip: Path, tmp_path: Path) -> None:
        other = drawn.write(tmp_path / "b.mkv", drawn.still(3))
        result = run("compare", clip, other)
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert "compare frames of one size" in result.stderr

    def test_progress_is_shown(self, clip: Path) -> None:
        stderr = run("compare", clip, clip, "--json").stderr
        assert stderr.startswith(f"measuring: 1/{len(CLIP_TIMES)} frames")


class TestReport:
    def test_report_is_beside_the_target(self, clip: Path) -> None:
        result = run("report", clip, clip)
        assert result.exit_code == 0, result.stderr
        page = clip.with_name("clip.report.html").read_text(encoding="utf-8")
        assert "lfdn-video report" in page
        assert "8 of 8 frames, each at its time" in page  # the audit

    @pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
    def test_name_that_is_not_utf8_has_a_report(self, clip: Path) -> None:
        other = clip.with_name(os.fsdecode(b"bad\xff.mkv"))
        shutil.copy(clip, other)
        result = run("report", clip, other, "-o", clip.with_name("r.html"))
        assert result.exit_code == 0, result.stderr
        assert "bad\\udcff.mkv" in clip.with_name("r.html").read_text(encoding="utf-8")

    def test_existing_report_is_kept(self, clip: Path) -> None:
        target = clip.with_name("mine.html")
        target.write_text("mine")
        assert run("report", clip, clip, "-o", target).exit_code == 1
        assert target.read_text() == "mine"
        assert run("report", clip, clip, "-o", target, "--overwrite").exit_code == 0

    def test_at_shows_a_frame(self, clip: Path) -> None:
        assert run("report", clip, clip, "--at", "0.2").exit_code == 0
        page = clip.with_name("clip.report.html").read_text(encoding="utf-8")
        assert "0.2 s <em>asked for</em>" in page

    @pytest.mark.parametrize(
        ("target", "report_name"),
        [
            ("a/out.mp4", "a/out.report.html"),
            ("a/frames", "a/frames.report.html"),
            ("a/f_%05d.png", "a/report.html"),
        ],
    )
    def test_names(self, target: str, report_name: str) -> None:
        assert name_report(target) == Path(report_name)


class TestRun:
    def test_comparison_and_report_are_beside_the_target(self, clip: Path) -> None:
        target = clip.with_name("out.mkv")
        words = ["derain", str(clip), "-o", str(target), "--compare", "side", "--report"]
        result = run(*words)
        assert result.exit_code == 0, result.stderr
        assert names(clip.parent) == {"clip.mkv", "out.mkv", "out.compare.mp4", "out.report.html"}
        assert len(clips.times(clip.with_name("out.compare.mp4"))) == len(CLIP_TIMES)
        page = clip.with_name("out.report.html").read_text(encoding="utf-8")
        assert shlex.join(["lfdn-video", *words]) in page
        assert "Where the time went" in page

    def test_comparison_has_the_sources_times(self, clip: Path) -> None:
        assert run("derain", clip, "--compare", "split").exit_code == 0
        found = clips.times(clip.with_name("clip.derained.compare.mp4"))
        assert [float(1000 * time) for time in found] == list(CLIP_TIMES)

    def test_part_of_the_source_is_compared_with_its_result(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        brighter = engine.Engine(brighten(0.1))
        monkeypatch.setattr(engine, "load_engine", lambda *_, **__: brighter)
        result = run("derain", clip, "--start", "0.1", "--end", "0.245", "--report")
        assert result.exit_code == 0, result.stderr
        page = clip.with_name("clip.derained.report.html").read_text(encoding="utf-8")
        assert "3 frames<" in page

    def test_events_end_with_done(self, clip: Path) -> None:
        result = run("derain", clip, "--report", "--json")
        events = [json.loads(line) for line in result.stdout.splitlines()]
        assert [event["event"] for event in events][-2:] == ["note", "done"]
        assert events[-1]["network"]["precision"] == "float32"

    @pytest.mark.parametrize("error", [StopRequested(signal.SIGINT), InputError("a: is gone")])
    def test_what_fails_afterwards_says_that_the_target_is_complete(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(report, "write_report", fail)
        result = run("derain", clip, "--report")
        assert result.exit_code in (1, 130)
        assert result.stderr.rstrip().endswith("clip.derained.mkv is complete")
        assert clip.with_name("clip.derained.mkv").is_file()

    def test_images_have_a_report_and_no_comparison_video(self, clip: Path) -> None:
        folder = clip.with_name("frames")
        folder.mkdir()
        result = run("derain", clip, "-o", folder / "%03d.png", "--report")
        assert result.exit_code == 0, result.stderr
        assert (folder / "report.html").is_file()
        result = run("derain", clip, "-o", folder / "x%03d.png", "--compare", "split")
        assert result.exit_code == 2
        assert "is no video file" in result.stderr

    @pytest.mark.parametrize("option", [["--compare", "split"], ["--report"]])
    def test_existing_file_stops_the_run_before_it_begins(
        self, clip: Path, option: list[str]
    ) -> None:
        for name in ("clip.derained.compare.mp4", "clip.derained.report.html"):
            clip.with_name(name).write_text("mine")
        result = run("derain", clip, *option)
        assert result.exit_code == 1
        assert "allow overwriting with --overwrite" in result.stderr
        assert not clip.with_name("clip.derained.mkv").exists()
        assert run("derain", clip, *option, "--overwrite").exit_code == 0

    def test_missing_extra_stops_the_run_before_it_begins(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(report, "find_spec", lambda _: None)
        result = run("derain", clip, "--report")
        assert result.exit_code == 2
        assert "lfdn-video[report]" in result.stderr
        assert names(clip.parent) == {"clip.mkv"}


class TestDemo:
    def test_path_of_the_report_is_printed(self, tmp_path: Path) -> None:
        result = run("demo", "-o", tmp_path / "demo")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"{tmp_path / 'demo' / 'demo.derained.report.html'}\n"
        assert names(tmp_path / "demo") == {"demo.derained.mp4", "demo.derained.report.html"}

    def test_clip_is_the_start_of_the_sample(self, tmp_path: Path) -> None:
        script = load("samples/make_samples.py")
        script.make_demo(tmp_path / "demo.mp4", ROOT / "samples" / "rainy_dashcam.mp4")
        for kind in ("video", "audio"):
            made = clips.packets(tmp_path / "demo.mp4", kind)
            assert clips.packets(CLIP, kind) == made
        shown = clips.planes(CLIP)
        assert len(shown) >= 40
        assert shown == clips.planes(ROOT / "samples" / "rainy_dashcam.mp4")[: len(shown)]
