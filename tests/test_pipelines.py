"""The recipes of `pipelines/`, run as a user would, on tiny input."""

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from lfdn import LFDN, LFDNConfig
from lfdn.weights import read_packaged_gate, save_weights
from lfdn_video.cli.doctor import make_clip
from lfdn_video.output import segments
from lfdn_video.output.journal import Journal, Segment
from tests.support import datasets
from tests.support.scripts import load


def recipe(name: str, *words: str | Path) -> Result:
    command: click.Command = load(f"pipelines/{name}").main
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)), path, task="derain")
    return path


@pytest.fixture
def dashcam(tmp_path: Path) -> Path:
    """Two valid clips, one of them in a subfolder, and a file that is not a video."""
    folder = tmp_path / "dashcam"
    (folder / "monday").mkdir(parents=True)
    make_clip(folder / "b.mkv")
    make_clip(folder / "monday" / "c.mkv")
    (folder / "a.mp4").write_text("no video")
    return folder


class TestDashcamFolder:
    def test_good_clips_are_restored_and_a_bad_one_is_reported(
        self, dashcam: Path, weights: Path, tmp_path: Path
    ) -> None:
        done = recipe("dashcam_folder.py", dashcam, tmp_path / "dry", "--weights", weights)
        assert done.exit_code == 1
        assert "2 restored, 0 skipped, 1 failed" in done.stdout
        assert "a.mp4" in done.stderr
        made = sorted(p.name for p in (tmp_path / "dry").rglob("*") if p.is_file())
        assert made == ["b.mkv", "c.mkv"]

    def test_existing_target_is_skipped(self, dashcam: Path, weights: Path, tmp_path: Path) -> None:
        (dashcam / "a.mp4").unlink()
        (dashcam / "monday" / "c.mkv").unlink()
        (tmp_path / "dry").mkdir()
        (tmp_path / "dry" / "b.mkv").write_text("done before")
        again = recipe("dashcam_folder.py", dashcam, tmp_path / "dry", "--weights", weights)
        assert (again.exit_code, again.stdout) == (0, "0 restored, 1 skipped, 0 failed\n")

    def test_interrupted_clip_is_resumed(
        self, dashcam: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (dashcam / "a.mp4").unlink()
        monkeypatch.setattr(segments, "SEGMENT_FRAMES", 2)
        (tmp_path / "dry").mkdir()
        words = (dashcam, tmp_path / "dry", "--weights", weights)
        finish = Journal.append_segment
        finished: list[Segment] = []

        def killed(journal: Journal, segment: Segment) -> None:
            finish(journal, segment)
            finished.append(segment)
            if len(finished) == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append_segment", killed)
            assert recipe("dashcam_folder.py", *words).exit_code == 1
        assert Journal(tmp_path / "dry" / "b.mkv").folder.is_dir()
        again = recipe("dashcam_folder.py", *words)
        assert again.exit_code == 0, again.stderr
        assert "2 restored, 0 skipped, 0 failed" in again.stdout

    def test_target_inside_the_source_is_refused(self, dashcam: Path) -> None:
        done = recipe("dashcam_folder.py", dashcam, dashcam / "dry")
        assert done.exit_code == 2
        assert "choose a folder outside" in done.stderr

    def test_missing_weights_are_one_line(self, dashcam: Path, tmp_path: Path) -> None:
        done = recipe("dashcam_folder.py", dashcam, tmp_path / "dry", "--weights", "none.st")
        assert (done.exit_code, done.stderr) == (
            1,
            "Error: none.st: no such weight file; check the path\n",
        )


def test_gopro_recipe_trains_and_evaluates(tmp_path: Path) -> None:
    for part in ("train", "test"):
        datasets.make_gopro(tmp_path / "GOPRO" / part)
    words = ("-o", tmp_path / "run", "--steps", "2", "--width", "4")
    done = recipe("train_gopro.py", tmp_path / "GOPRO", *words)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "run" / "deblur.safetensors").is_file()


@pytest.mark.parametrize("task", ["derain", "deblur"])
def test_every_ablation_is_trained_once_and_listed(tmp_path: Path, task: str) -> None:
    pairs = datasets.make_rain100(tmp_path / "pairs")
    sets = ("--data", f"rain100={pairs}", "--test", f"rain100={pairs}")
    budget = ("--steps", "1", "--patch-px", "16", "--batch", "1")
    words = ("--task", task, *sets, *budget, "-o", tmp_path / "runs")
    done = recipe("ablations.py", *words)
    assert done.exit_code == 0, done.stderr
    rows = json.loads((tmp_path / "runs" / f"{task}.json").read_text())
    assert [row["name"] for row in rows][:2] == ["LFDN", "without MSHF"]
    assert len({row["parameters"] for row in rows}) == len(rows)
    table = (tmp_path / "runs" / f"{task}.md").read_text()
    assert table.count("\n| ") == len(rows)

    run = tmp_path / "runs" / task / "LFDN"
    trained = (run / "best.safetensors").stat().st_mtime_ns
    again = recipe("ablations.py", *words)
    assert again.exit_code == 0, again.stderr
    assert (run / "best.safetensors").stat().st_mtime_ns == trained
    assert (tmp_path / "runs" / f"{task}.md").read_text() == table


class TestGate:
    def test_layers_are_trained_on_clips_that_were_drawn(
        self, weights: Path, tmp_path: Path
    ) -> None:
        for index in range(2):
            image = datasets.draw_image(index, 240, 320)
            datasets.write_image(tmp_path / "stills" / f"{index}.png", image)
            streaks = np.zeros((240, 320, 3), np.uint8)
            streaks[20:60:3, 40 + 9 * index :: 24] = 255
            datasets.write_image(tmp_path / "bank" / f"{index}.png", streaks)
        sources = ("--still", tmp_path / "stills", "--bank", tmp_path / "bank")
        clips, layers = tmp_path / "clips", tmp_path / "gate.safetensors"
        words = (clips, *sources, "--weights", weights, "--clips", "8")
        assert recipe("draw_gate_clips.py", *words).exit_code == 0
        first = (clips / "00001.npz").read_bytes()
        (clips / "00001.npz").unlink()
        assert recipe("draw_gate_clips.py", *words).exit_code == 0
        assert (clips / "00001.npz").read_bytes() == first
        done = recipe("train_gate.py", clips, "-o", layers, "--steps", "2", "--places", "50")
        assert done.exit_code == 0, done.output
        shapes = {name: layer.shape for name, layer in load_file(layers).items()}
        assert shapes == {name: x.shape for name, x in read_packaged_gate("derain").items()}

    def test_folder_without_rainy_clips_is_refused(self, tmp_path: Path) -> None:
        done = recipe("train_gate.py", tmp_path, "-o", tmp_path / "gate.safetensors")
        assert done.exit_code == 1
        assert "draw more of them" in done.output
