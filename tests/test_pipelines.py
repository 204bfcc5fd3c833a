"""The recipes of `pipelines/`, run as a user would, on tiny input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from lfdn import LFDN, LFDNConfig
from lfdn.weights import read_packaged_gate, save_weights
from lfdn_video.cli import commands
from lfdn_video.cli.doctor import make_clip
from tests.support import datasets, onnx_model
from tests.support.scripts import load

ROOT = Path(__file__).parents[1]


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


class TestCardToArchive:
    def test_good_clips_are_restored_once_and_a_bad_one_is_reported(
        self, dashcam: Path, weights: Path, tmp_path: Path
    ) -> None:
        words = (dashcam, tmp_path / "dry", "--weights", weights)
        done = recipe("card_to_archive.py", *words)
        assert done.exit_code == 1
        assert done.stdout.splitlines()[-1] == "2 restored, 0 finished, 1 failed"
        assert "a.mp4" in done.stderr
        made = sorted(p.name for p in (tmp_path / "dry").rglob("*.mkv"))
        assert made == ["b.mkv", "c.mkv"]
        again = recipe("card_to_archive.py", *words)
        assert (again.exit_code, again.stdout) == (1, "0 restored, 2 finished, 1 failed\n")

    def test_missing_weights_are_one_line(self, dashcam: Path, tmp_path: Path) -> None:
        done = recipe("card_to_archive.py", dashcam, tmp_path / "dry", "--weights", "none.st")
        assert (done.exit_code, done.stderr) == (
            1,
            "Error: none.st: no such weight file; check the path\n",
        )


class TestRayFleet:
    def test_same_plan_runs_in_processes_of_this_machine(
        self, dashcam: Path, weights: Path, tmp_path: Path
    ) -> None:
        options = ("--weights", weights, "--device", "cpu", "--cluster", "local", "--jobs", "1")
        done = recipe("ray_fleet.py", dashcam, tmp_path / "dry", *options)
        assert done.exit_code == 1
        assert done.stdout.splitlines()[-1].startswith("2 restored, ")
        assert "a.mp4" in done.stderr
        assert sorted(p.name for p in (tmp_path / "dry").rglob("*.mkv")) == ["b.mkv", "c.mkv"]

    def test_missing_ray_or_cluster_is_one_line(
        self, dashcam: Path, weights: Path, tmp_path: Path
    ) -> None:
        done = recipe("ray_fleet.py", dashcam, tmp_path / "dry", "--weights", weights)
        assert done.exit_code == 1
        assert re.fullmatch(r"Error: cluster: .*; .*\n", done.stderr)


class TestBeforeDetector:
    def test_both_sides_are_shown_with_boxes(self, weights: Path, tmp_path: Path) -> None:
        clip, seen = tmp_path / "clip.mp4", tmp_path / "seen.mp4"
        make_clip(clip)
        model = onnx_model.write_detector(tmp_path / "tiny.onnx")
        options = ("--side", str(onnx_model.SIDE_PX), "--least", "0.1", "--weights", weights)
        done = recipe("before_detector.py", clip, model, "-o", seen, *options)
        assert done.exit_code == 0, done.output
        frames, before, after = map(int, re.findall(r"\d+", done.stdout))
        assert min(before, after) >= frames > 1
        source, shown = (cv2.VideoCapture(str(path)) for path in (clip, seen))
        assert shown.get(cv2.CAP_PROP_FRAME_COUNT) == frames
        widths = [each.get(cv2.CAP_PROP_FRAME_WIDTH) for each in (source, shown)]
        assert widths[1] == 2 * widths[0]

    def test_nothing_that_is_read_is_replaced(self, tmp_path: Path) -> None:
        clip = tmp_path / "clip.mp4"
        make_clip(clip)
        model = onnx_model.write_detector(tmp_path / "tiny.onnx")
        before = clip.read_bytes(), model.read_bytes()
        for target in (clip, model):
            done = recipe("before_detector.py", clip, model, "-o", target, "--overwrite")
            assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
            assert "choose another target" in done.stderr
        assert (clip.read_bytes(), model.read_bytes()) == before

    def test_model_that_is_none_is_one_line(self, tmp_path: Path) -> None:
        clip = tmp_path / "clip.mp4"
        make_clip(clip)
        done = recipe("before_detector.py", clip, clip, "-o", tmp_path / "seen.mp4")
        assert (done.exit_code, done.stderr) == (
            1,
            f"Error: {clip}: not an ONNX model that OpenCV can run\n",
        )

    def test_boxes_are_where_the_model_says(self, tmp_path: Path) -> None:
        model = onnx_model.write_detector(tmp_path / "tiny.onnx")
        detector = load("pipelines/before_detector.py").Detector(model, onnx_model.SIDE_PX, 0.5)
        image = np.zeros((48, 96, 3), np.uint8)
        image[:12, 24:48] = 255  # a sixteenth: one cell
        assert detector.find(image) == [(24, 0, 24, 12)]
        assert detector.find(np.zeros_like(image)) == []


def test_camera_is_recorded(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file for a camera, and a page at a free port."""
    text = (ROOT / "pipelines" / "camera_to_recording.toml").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:8080", "127.0.0.1:0")
    config = tmp_path / "camera.toml"
    config.write_text(f'{text}\n[network]\ndevice = "cpu"\nweights = "{weights}"\n')
    make_clip(tmp_path / "clip.mkv")
    monkeypatch.setenv("CAMERA", str(tmp_path / "clip.mkv"))
    done = CliRunner().invoke(commands.main, ["serve", str(config)])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "recordings" / "front").rglob("*.mkv"))) == 1


def test_gopro_recipe_trains_and_evaluates(tmp_path: Path) -> None:
    datasets.make_gopro(tmp_path / "GOPRO" / "train", sides=(320, 320))  # of its largest crops
    datasets.make_gopro(tmp_path / "GOPRO" / "test")
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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_service_of_a_recorder_is_valid(tmp_path: Path) -> None:
    """With a program that exists, since systemd looks for it; its command must parse, too."""
    text = (ROOT / "pipelines" / "watch_recorder.service").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=/opt/lfdn-video/bin/lfdn-video (.*)", text, re.MULTILINE)
    name, *words = command.split()
    commands.main.commands[name].make_context(name, words)
    unit = tmp_path / "watch_recorder.service"
    unit.write_text(text.replace("/opt/lfdn-video/bin/lfdn-video", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (
        0,
        [],
    )
