"""The `lfdn` command, run through click on tiny data sets."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest
from click.testing import CliRunner, Result

from lfdn import LFDN, LFDNConfig, load
from lfdn.cli import main
from lfdn.commands.train import _is_resident
from lfdn.commands.train_options import TrainValues
from lfdn.config import NETWORKS
from lfdn.training import recipe
from lfdn.training.checkpoint import lock_folder
from lfdn.weights import file_sha256, save_weights
from tests.support import datasets

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(LFDN(SMALL), path := tmp_path / "small.safetensors", task="derain")
    return path


def test_exported_weights_of_a_run_load(tmp_path: Path) -> None:
    pairs = datasets.make_rain800(tmp_path / "pairs")
    trained = run("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--steps", "1",
                  "--stages", "1:16x1")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    exported = run("export", tmp_path / "run", "-o", tmp_path / "out.safetensors")
    assert exported.exit_code == 0, exported.output
    assert load(tmp_path / "out.safetensors").config == LFDNConfig()


def test_export_never_replaces_what_it_reads_nor_a_file_unasked(
    tmp_path: Path, weights: Path
) -> None:
    before = weights.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(weights)
    for target in (weights, tmp_path / "link.safetensors"):
        refused = run("export", weights, "-o", target, "--overwrite")
        assert (refused.exit_code, "is an input itself" in refused.stderr) == (1, True)
    assert weights.read_bytes() == before
    other = tmp_path / "other.safetensors"
    other.write_text("precious")
    refused = run("export", weights, "-o", other)
    assert "exists already; choose another name or allow overwriting with --overwrite" in (
        refused.stderr
    )
    assert other.read_text() == "precious"
    assert run("export", weights, "-o", other, "--force").exit_code == 0
    assert load(other).config == SMALL


def test_registered_export_is_in_the_index(tmp_path: Path, weights: Path) -> None:
    target = tmp_path / "package" / "derain.safetensors"
    target.parent.mkdir()
    assert run("export", weights, "-o", target, "--register").exit_code == 0
    index = json.loads((target.parent / "index.json").read_text())
    assert index == {"derain": {"file": target.name, "sha256": file_sha256(target)}}


def test_evaluate_prints_means_and_protocol_as_json(tmp_path: Path, weights: Path) -> None:
    data = datasets.make_rain100(tmp_path / "data")
    result = run("evaluate", "--weights", weights, "--data", f"rain100={data}", "--json")
    printed = json.loads(result.stdout)
    assert {"input_psnr_y", "output_psnr_y", "parameters", "protocol"} <= set(printed)
    assert printed["weights"]["sha256"] == file_sha256(weights)
    assert printed["pictures"] == 2


def test_evaluate_replaces_a_learnt_scalar(tmp_path: Path, weights: Path) -> None:
    words = ("--weights", weights, "--data", f"rain100={datasets.make_rain100(tmp_path / 'data')}")
    printed = json.loads(run("evaluate", *words, "--set", "alpha=0.5", "--json").stdout)
    assert printed["scalars_learnt"] == {"theta": 0, "alpha": 0}
    assert printed["scalars_used"] == {"theta": 0, "alpha": 0.5}
    assert run("evaluate", *words, "--set", "alpha=much").exit_code == 2
    assert run("evaluate", *words, "--set", "beta=1").exit_code == 1


def test_evaluate_refuses_an_existing_target(tmp_path: Path, weights: Path) -> None:
    words = ("--weights", weights, "--data", f"rain100={datasets.make_rain100(tmp_path / 'data')}")
    assert run("evaluate", *words, "--csv", tmp_path / "rows.csv").exit_code == 0
    again = run("evaluate", *words, "--csv", tmp_path / "rows.csv")
    assert (again.exit_code, "rows.csv: exists already" in again.stderr) == (1, True)


def test_evaluate_checks_its_targets_before_the_work(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfdn.training.evaluate.evaluate", lambda *_, **__: pytest.fail("worked"))
    data = datasets.make_rain100(tmp_path / "data")
    words = ("--weights", weights, "--data", f"rain100={data}")
    image = next(path for path in data.rglob("*.png"))
    (tmp_path / "file").touch()
    cases: list[tuple[list[str | Path], str]] = [
        (["--csv", tmp_path / "none" / "x.csv"], "does not exist"),
        (["--csv", image, "--overwrite"], "is an input itself"),
        (["--csv", weights, "--overwrite"], "is the weights file itself"),
        (["--save", tmp_path / "file", "--overwrite"], "is not a folder"),
        (["--save", data / "rainy", "--overwrite"], "is an input itself"),
    ]
    for target, message in cases:
        refused = run("evaluate", *words, *target)
        assert (refused.exit_code, message in refused.stderr) == (1, True), refused.output


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "gpu"])
@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_device_that_is_not_here_is_one_error_line(
    tmp_path: Path, weights: Path, command: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    words = ("--weights", weights) if command == "evaluate" else ("-o", tmp_path / "run")
    data = datasets.make_rain100(tmp_path / "data")
    result = run(command, *words, "--data", f"rain100={data}", "--device", device)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "use --device cpu" in result.stderr or "is no device" in result.stderr


def test_evaluate_prints_a_table_with_the_protocol(tmp_path: Path, weights: Path) -> None:
    data = datasets.make_rain100(tmp_path / "data")
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
def test_bad_data_set_is_one_error_line(arguments: list[str], code: int, words: str) -> None:
    result = run("evaluate", "--weights", "derain", *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_task_without_packaged_weights_is_named(tmp_path: Path) -> None:
    data = datasets.make_rain100(tmp_path / "data")
    result = run("evaluate", "--weights", "dehaze", "--data", f"rain100={data}")
    assert result.exit_code == 1
    assert "dehaze: no packaged weights for this task" in result.stderr


def test_malformed_stage_is_a_usage_error(tmp_path: Path) -> None:
    result = run("train", "--data", f"clean={tmp_path}", "-o", tmp_path, "--stages", "112")
    assert result.exit_code == 2
    assert "0.5:112x16" in result.stderr


def test_pack_can_be_evaluated_and_is_not_overwritten(tmp_path: Path, weights: Path) -> None:
    pairs = datasets.make_rain100(tmp_path / "data")
    words = ("--data", f"rain100={pairs}", "-o", tmp_path / "data.zip")
    packed = run("pack", *words)
    assert packed.exit_code == 0, packed.output
    assert "data.zip: 2 samples, 0 streak layers" in packed.stdout
    measured = run("evaluate", "--weights", weights, "--data", f"pack={tmp_path}/data.zip")
    assert measured.exit_code == 0, measured.output
    again = run("pack", *words)
    assert again.exit_code == 1
    assert (
        "data.zip: exists already; choose another name or allow overwriting with --overwrite"
        in again.stderr
    )
    assert run("pack", *words, "--force").exit_code == 0


def test_different_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    pairs = datasets.make_rain800(tmp_path / "pairs")
    words = ("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--steps", "1",
             "--stages", "1:16x1")  # fmt: skip
    assert run(*words).exit_code == 0
    other = run(*words, "--preset", "paper")
    assert other.exit_code == 1
    assert "was started with" in other.stderr


@pytest.mark.parametrize(
    ("output", "init", "message"),
    [
        ("note.txt", None, "is not a folder"),
        (".", None, "holds an input"),
        ("run", "run/best.safetensors", "holds an input"),
    ],
)
def test_run_folder_that_would_harm_an_input_is_refused(
    tmp_path: Path, weights: Path, output: str, init: str | None, message: str
) -> None:
    pairs = datasets.make_rain800(tmp_path / "pairs")
    (tmp_path / "note.txt").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_bytes(weights.read_bytes())
    words: list[str | Path] = ["--init", tmp_path / init] if init else []
    refused = run("train", "--data", f"rain800={pairs}", "-o", tmp_path / output, *words)
    assert (refused.exit_code, message in refused.stderr) == (1, True), refused.output
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["best.safetensors"]
    assert (tmp_path / "note.txt").read_text() == "precious"


def test_one_pair_is_refused_with_the_reason(tmp_path: Path) -> None:
    pairs = datasets.make_rain800(tmp_path / "pairs")
    for path in sorted(pairs.iterdir())[1:]:
        path.unlink()
    words = ("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--steps", "1")
    refused = run(*words, "--stages", "1:16x1")
    assert (refused.exit_code, "is kept back for validation" in refused.stderr) == (1, True)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of this kind there")
def test_second_training_in_a_folder_is_refused(tmp_path: Path) -> None:
    pairs = datasets.make_rain800(tmp_path / "pairs")
    words = ("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--steps", "1")
    with lock_folder(tmp_path / "run"):
        refused = run(*words, "--stages", "1:16x1")
    assert refused.exit_code == 1
    assert "another training is at work in it" in refused.stderr


def test_version_is_printed() -> None:
    assert run("--version").stdout.startswith("lfdn ")


def test_help_shows_one_spelling_of_overwrite() -> None:
    shown = run("pack", "--help").stdout
    assert ("--overwrite" in shown, "--force" in shown) == (True, False)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_help_loads_no_torch(words: list[str]) -> None:
    probe = (
        "import sys; from lfdn.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_missing_tensorboard_is_an_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    pairs = datasets.make_rain800(tmp_path / "pairs")
    done = run("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", "--tensorboard")
    assert done.exit_code == 1
    assert "pip install 'lfdn-video[tensorboard]'" in done.stderr


def test_lite_network_is_trained_beside_a_teacher(tmp_path: Path, weights: Path) -> None:
    clean = datasets.make_clean(tmp_path / "clean")
    trained = run("train", "--data", f"clean={clean}", "-o", tmp_path / "run", "--steps", "1",
                  "--stages", "1:16x1", "--network", "lite", "--teacher", weights,
                  "--rain", "filmed", "--revive", "--loss", "relative")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert load(tmp_path / "run" / "best.safetensors").config == NETWORKS["lite"]
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["rain"] == "filmed"
    assert manifest["teacher"]


def test_training_for_a_time_draws_pairs_by_shares(tmp_path: Path) -> None:
    pairs = datasets.make_gopro(tmp_path / "pairs", frames=3)
    trained = run("train", "--task", "deblur", "--data", f"gopro={pairs}", "-o", tmp_path / "run",
                  "--network", "lite", "--stages", "1:16x1", "--resident", "on", "--seconds", "0.5",
                  "--pair-weights", "GOPR0=0.7,GOPR1=0.3")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert "crops/s" in trained.stdout
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["pair_weights"] == [["GOPR0", 0.7], ["GOPR1", 0.3]]
    assert (manifest["resident"], manifest["seconds"]) == (True, 0.5)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--seconds", "1"), "--seconds: the images must be on one device; add --resident on"),
        (("--pair-weights", "a"), "--pair-weights: 'a' is not NAME=SHARE"),
        (("--pair-weights", "a=0.7,b=0.4"), "the shares must be 0…1 in all, not 1.1"),
        (("--pair-weights", "x=1", "--resident", "on"), "no pair begins with 'x'"),
        (
            ("--stages", "1:999x1", "--resident", "on"),
            "no pair has sides of 999 px, the largest has 48 px",
        ),
    ],
)
def test_bad_options_of_resident_training_are_one_line(
    tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    pairs = datasets.make_rain800(tmp_path / "pairs")
    done = run("train", "--data", f"rain800={pairs}", "-o", tmp_path / "run", *words)
    assert done.exit_code in (1, 2)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_several_processes_train_on_crops_from_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not _is_resident("auto", "cuda")
    with pytest.raises(click.UsageError, match="one process"):
        _is_resident("on", "cuda")
    monkeypatch.delenv("WORLD_SIZE")
    assert [_is_resident("auto", device) for device in ("cuda:1", "cpu")] == [True, False]


def test_lite_network_is_begun_from_the_full_one(tmp_path: Path) -> None:
    save_weights(LFDN(), full := tmp_path / "full.safetensors", task="derain")
    clean, target = datasets.make_clean(tmp_path / "clean"), tmp_path / "lite.safetensors"
    begun = run("narrow", "--weights", full, "--data", f"clean={clean}", "--crops", "32x4",
                "-o", target)  # fmt: skip
    assert begun.exit_code == 0, begun.output
    assert load(target).config == NETWORKS["lite"]
    before = full.read_bytes()
    refused = run("narrow", "--weights", full, "--data", f"clean={clean}", "-o", full,
                  "--overwrite")  # fmt: skip
    assert (refused.exit_code, "is an input itself" in refused.stderr) == (1, True)
    assert full.read_bytes() == before
    unasked = run("narrow", "--weights", full, "--data", f"clean={clean}", "-o", target)
    assert "exists already" in unasked.stderr


@pytest.mark.parametrize("crops", ["100x4", "32x0", "32", "-32x1"])
def test_crops_that_cannot_be_fitted_to_are_refused(tmp_path: Path, crops: str) -> None:
    refused = run("narrow", "--data", f"clean={tmp_path}", "--crops", crops, "-o", tmp_path / "x")
    assert refused.exit_code == 2
    assert "--crops" in refused.output


def test_network_beside_weights_to_start_from_is_refused(tmp_path: Path, weights: Path) -> None:
    refused = run("train", "--data", f"clean={tmp_path}", "-o", tmp_path / "run", "--init", weights,
                  "--network", "lite")  # fmt: skip
    assert refused.exit_code == 2
    assert "--init has a network already" in refused.output


def test_teacher_that_does_not_exist_is_named(tmp_path: Path) -> None:
    clean = datasets.make_clean(tmp_path / "clean")
    refused = run("train", "--data", f"clean={clean}", "-o", tmp_path / "run", "--teacher", "no")
    assert refused.exit_code == 1
    assert refused.output.splitlines()[-1].startswith("Error: no: no packaged weights")


def test_train_values_have_the_types_of_train_options() -> None:
    types: dict[str, Any] = {field.name: field.type for field in fields(recipe.TrainOptions)}
    hints = get_type_hints(TrainValues, localns=vars(recipe))
    wrong = {name for name in hints if hints[name] not in (types[name], types[name] | None)}
    assert wrong == set()


def test_every_option_has_help() -> None:
    options = [
        option
        for command in main.commands.values()
        for option in command.params
        if isinstance(option, click.Option)
    ]
    assert [option.name for option in options if not option.help] == []


def test_evaluate_video_prints_each_sequence_as_json(tmp_path: Path, weights: Path) -> None:
    data = datasets.make_gopro(tmp_path / "data")
    words = ("evaluate", "--video", "--data", f"gopro={data}", "--json")
    printed = json.loads(run(*words, "--weights", weights, "--save", tmp_path / "out").stdout)
    assert [row["name"] for row in printed["sequences"]] == ["GOPR0", "GOPR1"]
    assert {"input_flicker", "output_warping_error", "weights", "protocol"} <= set(printed)
    restored = json.loads(run(*words, "--restored", tmp_path / "out").stdout)
    assert restored["output_flicker"] == printed["output_flicker"]
    assert "weights" not in restored


def test_evaluate_video_prints_a_table(tmp_path: Path, weights: Path) -> None:
    data = datasets.make_gopro(tmp_path / "data")
    result = run("evaluate", "--video", "--weights", weights, "--data", f"gopro={data}")
    assert "flicker" in result.stdout
    assert "mean of" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--video", "--data", "rain800=x"], 1, "no such folder"),
        (["--video", "--data", "pairs=/nowhere"], 1, "no such folder; pairs wants"),
        (["--video", "--data", "sequences=/nowhere"], 1, "/nowhere: no such folder"),
        (["--data", "pairs=x", "--restored", "x"], 2, "--restored needs --video"),
        (
            ["--video", "--data", "pairs=x", "--restored", "x", "--int8"],
            2,
            "--restored runs no network; leave out --int8",
        ),
    ],
)
def test_bad_video_is_one_error_line(arguments: list[str], code: int, words: str) -> None:
    result = run("evaluate", *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.output
