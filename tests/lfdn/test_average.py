"""`lfdn average`: one weights file of several."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from lfdn import LFDN, LFDNConfig, load
from lfdn.cli import main
from lfdn.weights import read_header, save_weights

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write(path: Path, value: float, *, task: str = "deblur", config: LFDNConfig = SMALL) -> Path:
    """Write a network whose parameters are all one value."""
    network = LFDN(config)
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, value)
    save_weights(network, path, task=task, half=False)
    return path


def test_each_parameter_is_the_mean(tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    write(run_folder / "best.safetensors", 0.5)
    others = [write(tmp_path / f"{value}.safetensors", value) for value in (0.25, 0.0)]
    target = tmp_path / "mean.safetensors"
    done = run("average", run_folder, *others, "-o", target)
    assert done.exit_code == 0, done.output
    assert all(torch.all(each == 0.25) for each in load(target).parameters())
    header = read_header(target)
    assert header["task"] == "deblur"
    digests = json.loads(json.loads(header["notes"])["averaged"])
    assert digests[1:] == [read_header(path)["digest"] for path in others]


@pytest.mark.parametrize(
    "other",
    [{"task": "derain"}, {"config": LFDNConfig(widths=(4, 4, 4, 4, 8), blocks=1)}],
)
def test_files_of_another_task_or_network_are_refused(
    tmp_path: Path, other: dict[str, str | LFDNConfig]
) -> None:
    one = write(tmp_path / "one.safetensors", 1.0)
    strange = write(tmp_path / "strange.safetensors", 1.0, **other)  # type: ignore[arg-type]
    done = run("average", one, strange, "-o", tmp_path / "mean.safetensors")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {strange}: trained for another task or network")
    assert not (tmp_path / "mean.safetensors").exists()


def test_one_file_alone_is_a_mistake(tmp_path: Path) -> None:
    one = write(tmp_path / "one.safetensors", 1.0)
    assert run("average", one, "-o", tmp_path / "mean.safetensors").exit_code == 2


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
def test_an_input_is_never_replaced(tmp_path: Path, words: tuple[str, ...]) -> None:
    one, other = (write(tmp_path / f"{n}.safetensors", float(n)) for n in (1, 2))
    before = other.read_bytes()
    done = run("average", one, other, "-o", other, *words)
    assert (done.exit_code, "is an input itself" in done.stderr) == (1, True)
    assert other.read_bytes() == before
