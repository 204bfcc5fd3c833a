"""The `lfdn` command, through click, on tiny folders."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lfdn import LFDN, LFDNConfig, load
from lfdn.cli import main
from lfdn.weights import file_sha256, save_weights
from tests.support import pictures

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(LFDN(SMALL), path := tmp_path / "small.safetensors", task="derain")
    return path


def test_train_then_export_gives_weights_that_load(tmp_path: Path) -> None:
    pairs = pictures.rain800(tmp_path / "pairs")
    trained = run("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--steps", "1",
                  "--stages", "1:16x1")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    exported = run("export", tmp_path / "run", "-o", tmp_path / "out.safetensors")
    assert exported.exit_code == 0, exported.output
    assert load(tmp_path / "out.safetensors").config == LFDNConfig()


def test_a_registered_export_is_in_the_index(tmp_path: Path, weights: Path) -> None:
    target = tmp_path / "package" / "derain.safetensors"
    target.parent.mkdir()
    assert run("export", weights, "-o", target, "--register").exit_code == 0
    index = json.loads((target.parent / "index.json").read_text())
    assert index == {"derain": {"file": target.name, "sha256": file_sha256(target)}}


def test_evaluate_says_in_json_what_was_measured_and_how(tmp_path: Path, weights: Path) -> None:
    data = pictures.rain100(tmp_path / "data")
    result = run("evaluate", "--weights", weights, "--data", f"rain100={data}", "--json")
    told = json.loads(result.stdout)
    assert {"input_psnr_y", "output_psnr_y", "parameters", "protocol"} <= set(told)
    assert told["weights"]["sha256"] == file_sha256(weights)
    assert told["pictures"] == 2


def test_evaluate_can_replace_a_learnt_scalar(tmp_path: Path, weights: Path) -> None:
    words = ("--weights", weights, "--data", f"rain100={pictures.rain100(tmp_path / 'data')}")
    told = json.loads(run("evaluate", *words, "--set", "alpha=0.5", "--json").stdout)
    assert told["scalars_learnt"] == {"theta": 0, "alpha": 0}
    assert told["scalars_used"] == {"theta": 0, "alpha": 0.5}
    assert run("evaluate", *words, "--set", "alpha=much").exit_code == 2
    assert run("evaluate", *words, "--set", "beta=1").exit_code == 1


def test_evaluate_overwrites_nothing(tmp_path: Path, weights: Path) -> None:
    words = ("--weights", weights, "--data", f"rain100={pictures.rain100(tmp_path / 'data')}")
    assert run("evaluate", *words, "--csv", tmp_path / "rows.csv").exit_code == 0
    again = run("evaluate", *words, "--csv", tmp_path / "rows.csv")
    assert (again.exit_code, "rows.csv: exists" in again.stderr) == (1, True)


def test_evaluate_names_the_protocol_in_its_table(tmp_path: Path, weights: Path) -> None:
    data = pictures.rain100(tmp_path / "data")
    result = run("evaluate", "--weights", weights, "--data", f"rain100={data}")
    assert "PSNR dB, Y" in result.stdout
    assert "SSIM, RGB" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--data", "kitti=/nowhere"], 2, "is not LAYOUT=PATH"),
        (["--data", "rain100=/nowhere"], 1, "no such folder; rain100 wants rainy/"),
    ],
)
def test_bad_input_gets_one_clear_line(arguments: list[str], code: int, words: str) -> None:
    result = run("evaluate", "--weights", "derain", *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_task_without_weights_is_named(tmp_path: Path) -> None:
    data = pictures.rain100(tmp_path / "data")
    result = run("evaluate", "--weights", "dehaze", "--data", f"rain100={data}")
    assert result.exit_code == 1
    assert "dehaze: no weights ship for this task" in result.stderr


def test_a_bad_stage_is_explained(tmp_path: Path) -> None:
    result = run("train", "--data", f"clean={tmp_path}", "-o", tmp_path, "--stages", "112")
    assert result.exit_code == 2
    assert "0.5:112x16" in result.stderr


def test_a_pack_can_be_measured_and_is_not_overwritten(tmp_path: Path, weights: Path) -> None:
    pairs = pictures.rain100(tmp_path / "data")
    words = ("--data", f"rain100={pairs}", "-o", tmp_path / "data.zip")
    packed = run("pack", *words)
    assert packed.exit_code == 0, packed.output
    assert "data.zip: 2 samples, 0 streak layers" in packed.stdout
    measured = run("evaluate", "--weights", weights, "--data", f"pack={tmp_path}/data.zip")
    assert measured.exit_code == 0, measured.output
    again = run("pack", *words)
    assert again.exit_code == 1
    assert "data.zip: exists; choose another name or add --force" in again.stderr
    assert run("pack", *words, "--force").exit_code == 0


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    pairs = pictures.rain800(tmp_path / "pairs")
    words = ("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--steps", "1",
             "--stages", "1:16x1")  # fmt: skip
    assert run(*words).exit_code == 0
    other = run(*words, "--preset", "paper")
    assert other.exit_code == 1
    assert "was started with" in other.stderr


def test_a_missing_tensorboard_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    pairs = pictures.rain800(tmp_path / "pairs")
    done = run("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--tensorboard")
    assert done.exit_code == 1
    assert "pip install 'lfdn-video[tensorboard]'" in done.stderr
