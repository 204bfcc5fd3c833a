"""Files of weights: the only reader and writer of them. Knows nothing of training or of pictures.

A file is safetensors, so reading one never executes anything. Its header says what the network is:

    config   the `LFDNConfig`, as JSON
    digest   SHA-256 over the configuration and every tensor's name, type, shape and bytes
    task     what it was trained for, free text in `notes`

The weights in the package are listed in `weights/index.json` with the SHA-256 of the whole file.
A file that does not match its digest, or was not written by `save`, is refused.
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
from safetensors.torch import save as serialize
from torch import Tensor

from lfdn.model import LFDN, LFDNConfig

FOLDER = Path(__file__).parent / "weights"
INDEX = "index.json"
FORMAT = "lfdn-1"


class WeightsError(ValueError):
    """A file of weights is missing, damaged, changed, or of another network."""


def available() -> tuple[str, ...]:
    """The tasks whose weights ship in the package, sorted."""
    return tuple(sorted(_index()))


def shipped(task: str) -> tuple[Path, str]:
    """Path and expected SHA-256 of the packaged weights of `task`, or WeightsError."""
    entry = _index().get(task)
    if entry is None:
        known = ", ".join(available()) or "none"
        raise WeightsError(
            f"{task}: no weights ship for this task (there are: {known}); pass a file"
        )
    return FOLDER / entry["file"], entry["sha256"]


def shipped_int8(task: str) -> tuple[Path, str]:
    """The same for their 8-bit form (`quantized.py`)."""
    shipped(task)
    entry = _index()[task].get("int8")
    if entry is None:
        raise WeightsError(f"{task}: does not ship in 8 bit; use another precision")
    return FOLDER / entry["file"], entry["sha256"]


def load(task_or_path: str | os.PathLike[str]) -> LFDN:
    """The network with its weights, float32, in eval mode, on the CPU.

    `task_or_path`: a task of `available()`, or a file written by `save` or `lfdn train`.
    Raises WeightsError with the file's name and what to do.
    """
    if isinstance(task_or_path, str) and task_or_path in _index():
        path, expected = shipped(task_or_path)
        if path.is_file() and file_sha256(path) != expected:
            raise WeightsError(
                f"{path}: the packaged weights were changed; install lfdn-video again"
            )
    else:
        path = Path(task_or_path)
        if not path.exists() and path.suffix == "":
            shipped(str(task_or_path))  # a word, not a file: say which tasks there are
    return read(path)


def read(path: Path) -> LFDN:
    """The network of one file, its digest verified. See `load`."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file of weights; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    if header.get("format") != FORMAT or "config" not in header:
        raise WeightsError(f"{path}: not written by lfdn; convert it, or train with `lfdn train`")
    if digest(header["config"], tensors) != header.get("digest"):
        raise WeightsError(f"{path}: contents do not match their SHA-256; fetch or train it again")
    try:
        network = LFDN(config_from_json(header["config"]))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: tensors do not fit this version's network ({error})"
        ) from error
    return network.eval()


def header(path: Path) -> dict[str, str]:
    """The header of a file: format, config, digest, task, notes. Empty if it has none."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error


def save(
    network: LFDN,
    path: Path,
    *,
    task: str,
    notes: Mapping[str, str] | None = None,
    half: bool = True,
) -> str:
    """Write `network` to `path`, in float16 unless `half` is off, by rename. Returns the digest."""
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    config = json.dumps(dataclasses.asdict(network.config), sort_keys=True)
    value = digest(config, tensors)
    metadata = {"format": FORMAT, "config": config, "digest": value, "task": task}
    metadata["notes"] = json.dumps(dict(notes or {}), sort_keys=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(serialize(tensors, metadata=metadata))  # with the usual permissions
    partial.replace(path)
    return value


def register(path: Path) -> None:
    """Enter a file in the `index.json` beside it, as the weights of its task."""
    index = path.with_name(INDEX)
    entries = json.loads(index.read_text()) if index.is_file() else {}
    entries[header(path)["task"]] = {"file": path.name, "sha256": file_sha256(path)}
    index.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")


def register_int8(task: str, path: Path) -> None:
    """Enter the 8-bit form of the weights of a task in the `index.json` beside it."""
    index = path.with_name(INDEX)
    entries = json.loads(index.read_text()) if index.is_file() else {}
    if task not in entries:
        raise WeightsError(f"{index}: has no weights for {task}; register them first")
    entries[task]["int8"] = {"file": path.name, "sha256": file_sha256(path)}
    index.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")


def digest(config: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the configuration and the tensors, in the order of their names."""
    sha = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_from_json(text: str) -> LFDNConfig:
    fields = json.loads(text)
    fields["widths"] = tuple(fields["widths"])
    return LFDNConfig(**fields)


def _index() -> dict[str, dict[str, Any]]:
    path = FOLDER / INDEX
    if not path.is_file():
        return {}
    index: dict[str, dict[str, Any]] = json.loads(path.read_text())
    return index
