"""The manifest of `docs/pictures`: what each picture was made from, so that a stale one is found.

A picture is stale when one of its inputs or of the weights that made it has changed since. The
program's own code is not compared: every commit would make every picture stale.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pictures"
MANIFEST = FOLDER / "manifest.json"
INDEX = ROOT / "lfdn" / "weights" / "index.json"
OUTSIDE = "D/"
"""Beginning of the names of inputs that are not in the repository; only their digest is kept."""

Entry = dict[str, Any]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_digests(names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of packaged weights, and of the gate that belongs to them, by name."""
    index = json.loads(INDEX.read_text(encoding="utf-8"))
    found = {name: index[name]["sha256"] for name in names}
    gates = {
        f"{name}.gate": index[name]["gate"]["sha256"] for name in found if "gate" in index[name]
    }
    return found | gates


def describe(picture: Path, command: str, inputs: dict[str, Path], weights: Iterable[str]) -> Entry:
    """Describe a picture that was just written.

    Args:
        picture: its file.
        command: the command that made it.
        inputs: what it was made from: name in the manifest to file.
        weights: names of the packaged weights that made it, keys of `lfdn/weights/index.json`.
    """
    return {
        "command": command,
        "sha256": digest(picture),
        "inputs": {name: digest(path) for name, path in sorted(inputs.items())},
        "weights": weights_digests(weights),
    }


def load(manifest: Path = MANIFEST) -> dict[str, Entry]:
    """Read the manifest: entries by the name of the picture's file."""
    if not manifest.is_file():
        return {}
    return dict(json.loads(manifest.read_text(encoding="utf-8")))


def save(entries: dict[str, Entry], manifest: Path = MANIFEST) -> None:
    """Write the manifest."""
    manifest.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def find_stale(entries: dict[str, Entry], folder: Path = FOLDER) -> Iterator[str]:
    """Yield a line for everything that differs from what the manifest says."""
    for name, entry in entries.items():
        if not (folder / name).is_file() or digest(folder / name) != entry["sha256"]:
            yield f"{name}: is not the picture that {entry['command']} wrote"
        for path, known in entry["inputs"].items():
            if path.startswith(OUTSIDE):
                continue
            if not (ROOT / path).is_file() or digest(ROOT / path) != known:
                yield f"{name}: {path} has changed; run {entry['command']}"
        if (
            weights_digests(each for each in entry["weights"] if "." not in each)
            != entry["weights"]
        ):
            yield f"{name}: the weights have changed; run {entry['command']}"
    pictures = {path.name for path in folder.iterdir()} - {MANIFEST.name}
    yield from (f"{name}: no command made it" for name in sorted(pictures - set(entries)))
