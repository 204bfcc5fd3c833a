"""Weights files: this module alone reads and writes them. It knows nothing of training or images.

A file is in safetensors format, so reading it never executes code. Its header describes the
network:

    format   `lfdn-1`
    config   the `LFDNConfig`, as JSON
    digest   SHA-256 over the configuration and every tensor's name, type, shape and bytes
    task     what the network was trained for
    notes    free text by name, as JSON

`weights/index.json` lists the packaged weights with the SHA-256 of the whole file. Files that do
not match their digest, or were not written by `save_weights`, are refused.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from lfdn.config import NETWORKS, LFDNConfig, NetworkName
from lfdn.files import write_beside
from lfdn.model import LFDN

FOLDER = Path(__file__).parent / "weights"
INDEX = "index.json"
WEIGHTS_FORMAT = "lfdn-1"


class WeightsError(ValueError):
    """A weights file is missing, corrupt, changed, or of another network."""


def available() -> tuple[str, ...]:
    """List the packaged weights.

    Returns:
        Their names, such as `derain` and `derain_lite`, sorted; each is an argument of `load`.
    """
    return tuple(sorted(_read_index()))


def name_packaged(task: str, network: NetworkName) -> str:
    """Name the packaged weights of a task for a network: `derain`, or `derain_lite`.

    Args:
        task: `derain` or `deblur`.
        network: A name in `NETWORKS`.

    Returns:
        The name by which `load` and the index know them, whether or not there are such weights.
    """
    return task if network == "full" else f"{task}_{network}"


def name_network(path: Path) -> NetworkName | None:
    """Name the network of a weights file; None if its configuration has no name.

    Raises:
        WeightsError: The file is not readable safetensors, or was not written by lfdn.
    """
    text = read_header(path).get("config")
    if text is None:
        raise WeightsError(f"{path}: not written by lfdn; convert it, or train with `lfdn train`")
    config = _parse_config(text)
    return next((name for name, known in NETWORKS.items() if known == config), None)


def find_packaged(task: str) -> tuple[Path, str]:
    """Look up the packaged weights of a task.

    Returns:
        The path, and the SHA-256 of the whole file according to the index. The file is not opened.

    Raises:
        WeightsError: The task has no packaged weights.
    """
    entry = _read_index().get(task)
    if entry is None:
        known = ", ".join(available()) or "none"
        raise WeightsError(
            f"{task}: no packaged weights for this task (there are: {known}); pass a file"
        )
    return FOLDER / entry["file"], entry["sha256"]


def find_packaged_int8(task: str) -> tuple[Path, str]:
    """Look up the 8-bit form (`lfdn.int8`) of a task's packaged weights.

    Returns:
        As for `find_packaged`.

    Raises:
        WeightsError: The task has no packaged weights, or they have no 8-bit form.
    """
    find_packaged(task)
    entry = _read_index()[task].get("int8")
    if entry is None:
        raise WeightsError(f"{task}: has no packaged 8-bit form; use another precision")
    return FOLDER / entry["file"], entry["sha256"]


def read_packaged_gate(task: str) -> dict[str, Tensor]:
    """Read the dense layers that decide what neighbouring frames add to a task's results.

    Returns:
        `weight0`, `bias0`, and so on, float32: `[inputs, outputs]` and `[outputs]` of each layer.

    Raises:
        WeightsError: The task has no packaged weights or no such layers, or their file is missing,
            or was changed.
    """
    find_packaged(task)
    entry = _read_index()[task].get("gate")
    if entry is None:
        raise WeightsError(f"{task}: has no packaged gate")
    path = FOLDER / entry["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error}); install the package again") from None
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise WeightsError(f"{path}: changed since it was packaged; install the package again")
    return deserialize(content)


def load(task_or_path: str | os.PathLike[str]) -> LFDN:
    """Load a trained network.

    Args:
        task_or_path: A task of `available()`, or a weights file that `lfdn train` or `lfdn export`
            wrote.

    Returns:
        The network with its weights in float32, in eval mode, on the CPU.

    Raises:
        WeightsError: There is no such task or file, or the file does not match its SHA-256, was
            not written by lfdn, or holds a network of another version.
    """
    if isinstance(task_or_path, str) and task_or_path in _read_index():
        path, expected = find_packaged(task_or_path)
        if path.is_file() and file_sha256(path) != expected:
            raise WeightsError(
                f"{path}: the packaged weights were changed; install lfdn-video again"
            )
    else:
        path = Path(task_or_path)
        if not path.exists() and path.suffix == "":
            # Rather a misspelt task than a file: this raises, and lists the known ones.
            find_packaged(str(task_or_path))
    return read_weights(path)


def read_weights(path: Path) -> LFDN:
    """Read the network of a weights file and verify its digest.

    Args:
        path: The file.

    Returns:
        The network with its weights in float32, in eval mode, on the CPU.

    Raises:
        WeightsError: As for `load`.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    if header.get("format") != WEIGHTS_FORMAT or "config" not in header:
        raise WeightsError(f"{path}: not written by lfdn; convert it, or train with `lfdn train`")
    if compute_digest(header["config"], tensors) != header.get("digest"):
        raise WeightsError(f"{path}: contents do not match their SHA-256; fetch or train it again")
    try:
        network = LFDN(_parse_config(header["config"]))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: tensors do not fit this version's network ({error})"
        ) from error
    return network.eval()


def read_header(path: Path) -> dict[str, str]:
    """Read the header of a weights file: format, config, digest, task, notes. Verifies nothing.

    Args:
        path: The file.

    Returns:
        The header's fields; none for a safetensors file without a header.

    Raises:
        WeightsError: The file is not readable safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error


def save_weights(
    network: LFDN,
    path: Path,
    *,
    task: str,
    notes: Mapping[str, str] | None = None,
    half: bool = True,
    overwrite: bool = True,
) -> str:
    """Write the weights of a network to a temporary file, and rename it to `path`.

    Args:
        network: On any device.
        path: The file to write.
        task: The task that the network was trained for, such as `derain`.
        notes: Free text by name, such as the recipe.
        half: Write float16 instead of float32.
        overwrite: Replace a file that exists.

    Returns:
        The digest of configuration and tensors, hexadecimal.

    Raises:
        TargetError: The file cannot be written, or exists.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    config = json.dumps(dataclasses.asdict(network.config), sort_keys=True)
    digest = compute_digest(config, tensors)
    metadata = {"format": WEIGHTS_FORMAT, "config": config, "digest": digest, "task": task}
    metadata["notes"] = json.dumps(dict(notes or {}), sort_keys=True)
    # Not by safetensors' save_file, whose files lack a new file's usual permissions.
    with write_beside(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(serialize(tensors, metadata=metadata))
    return digest


def register_weights(path: Path) -> None:
    """Enter a weights file in the `index.json` beside it, as those of its task and network.

    The task's gate stays: it fits what any network leaves. An 8-bit form does not.

    Raises:
        WeightsError: The file is not readable safetensors, or was not written by lfdn.
    """
    name = name_packaged(read_header(path)["task"], name_network(path) or "full")
    index = path.with_name(INDEX)
    entries = _read_entries(index)
    gate = {key: entry for key, entry in entries.get(name, {}).items() if key == "gate"}
    entries[name] = {"file": path.name, "sha256": file_sha256(path), **gate}
    _write_entries(index, entries)


def register_int8(task: str, path: Path) -> None:
    """Enter the 8-bit form of a task's weights in the `index.json` beside it.

    Args:
        task: A task that the index lists.
        path: The file with the 8-bit form.

    Raises:
        WeightsError: The index has no weights for the task.
    """
    index = path.with_name(INDEX)
    entries = _read_entries(index)
    if task not in entries:
        raise WeightsError(f"{index}: has no weights for {task}; register them first")
    entries[task]["int8"] = {"file": path.name, "sha256": file_sha256(path)}
    _write_entries(index, entries)


def compute_digest(config: str, tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 over the configuration and the tensors, sorted by name.

    Args:
        config: The `LFDNConfig`, as the JSON text of the header.
        tensors: On the CPU, by name.

    Returns:
        The digest, hexadecimal.
    """
    sha = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a whole file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_config(text: str) -> LFDNConfig:
    fields = json.loads(text)
    fields["widths"] = tuple(fields["widths"])
    return LFDNConfig(**fields)


def _read_index() -> dict[str, dict[str, Any]]:
    return _read_entries(FOLDER / INDEX)


def _read_entries(index: Path) -> dict[str, dict[str, Any]]:
    if not index.is_file():
        return {}
    try:
        entries: dict[str, dict[str, Any]] = json.loads(index.read_text())
    except ValueError as error:
        raise WeightsError(f"{index}: is not JSON ({error}); install lfdn-video again") from error
    return entries


def _write_entries(index: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    with write_beside(index, overwrite=True) as temporary:
        temporary.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
