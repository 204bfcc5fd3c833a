"""Weight files: round trips, and refusal of changed or foreign files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lfdn import LFDN, LFDNConfig, WeightsError, available, load
from lfdn.config import NETWORKS
from lfdn.weights import (
    FOLDER,
    compute_digest,
    file_sha256,
    find_packaged,
    name_network,
    name_packaged,
    read_header,
    read_packaged_gate,
    register_weights,
    save_weights,
)

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_weights(LFDN(SMALL), path, task="derain", notes={"from": "a test"})
    return path


def test_saved_weights_load_unchanged(tmp_path: Path) -> None:
    network, path = LFDN(SMALL), tmp_path / "exact.safetensors"
    save_weights(network, path, task="derain", half=False)
    loaded = load(path)
    assert loaded.config == SMALL
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_half_precision_files_load_as_float32(file: Path) -> None:
    assert {p.dtype for p in load(file).parameters()} == {torch.float32}


def test_header_holds_task_and_notes(file: Path) -> None:
    assert read_header(file)["task"] == "derain"
    assert "a test" in read_header(file)["notes"]


def test_changed_tensor_is_refused(file: Path) -> None:
    metadata, tensors = read_header(file), load_file(file)
    tensors["head.bias"] += 1
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(WeightsError, match="do not match their SHA-256"):
        load(file)


def test_flipped_byte_is_refused(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        load(file)


def test_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not written by lfdn"):
        load(path)


@pytest.mark.parametrize("config", [None, "{}", '{"depth": 3}', "not JSON"])
def test_invalid_header_is_refused(tmp_path: Path, config: str | None) -> None:
    path, tensors = tmp_path / "odd.safetensors", {"weight": torch.zeros(2)}
    metadata = {"format": "lfdn-1"}
    if config is not None:
        metadata |= {"config": config, "digest": compute_digest(config, tensors)}
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"odd\.safetensors"):
        load(path)


def test_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors: no such weight file"):
        load(tmp_path / "nowhere.safetensors")


def test_unknown_task_is_refused() -> None:
    with pytest.raises(WeightsError, match="dehaze: no packaged weights for this task"):
        load("dehaze")


@pytest.mark.parametrize("task", available())
def test_packaged_weights_match_the_index(task: str) -> None:
    path, expected = find_packaged(task)
    assert file_sha256(path) == expected
    network = name_network(path)
    assert network is not None
    assert name_packaged(read_header(path)["task"], network) == task
    assert load(task).config == NETWORKS[network]


@pytest.mark.parametrize(
    ("config", "network"),
    [
        (NETWORKS["full"], "full"),
        (NETWORKS["lite"], "lite"),
        (LFDNConfig(widths=(4, 4, 4, 4, 4)), None),
    ],
)
def test_network_of_a_file_is_named(
    tmp_path: Path, config: LFDNConfig, network: str | None
) -> None:
    save_weights(LFDN(config), path := tmp_path / "some.safetensors", task="derain")
    assert name_network(path) == network


def test_lite_weights_do_not_replace_the_full_ones_in_the_index(tmp_path: Path) -> None:
    for network in ("full", "lite"):
        path = tmp_path / f"{network}.safetensors"
        save_weights(LFDN(NETWORKS[network]), path, task="derain")
        register_weights(path)
    index = json.loads((tmp_path / "index.json").read_text())
    files = {name: entry["file"] for name, entry in index.items()}
    assert files == {"derain": "full.safetensors", "derain_lite": "lite.safetensors"}


def test_index_lists_derain_and_every_packaged_file() -> None:
    assert "derain" in available()
    listed = {find_packaged(task)[0] for task in available()}
    gate = FOLDER / "derain.gate.safetensors"
    assert set(FOLDER.glob("*.safetensors")) == listed | {gate}


def test_packaged_gate_is_read() -> None:
    layers = read_packaged_gate("derain")
    assert sorted(layers) == ["bias0", "bias1", "bias2", "weight0", "weight1", "weight2"]


def test_changed_gate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("index.json", "derain.gate.safetensors"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    monkeypatch.setattr("lfdn.weights.FOLDER", tmp_path)
    with (tmp_path / "derain.gate.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(WeightsError, match="changed since it was packaged"):
        read_packaged_gate("derain")
    (tmp_path / "derain.gate.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        read_packaged_gate("derain")


def test_new_weights_keep_the_gate_of_their_task(tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    gate = {"file": "some.gate.safetensors", "sha256": "0"}
    index.write_text(json.dumps({"derain": {"file": "old", "sha256": "0", "gate": gate}}))
    save_weights(LFDN(NETWORKS["full"]), path := tmp_path / "new.safetensors", task="derain")
    register_weights(path)
    assert json.loads(index.read_text())["derain"]["gate"] == gate
