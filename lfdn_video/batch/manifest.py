"""The manifest of a target folder: what was made from what, and how; one JSON object a line.

    TARGET/.lfdn-video/
        manifest.jsonl   of each target the last line counts
        lock             locked by the run that works here

Lines are appended and synced to the disk, so a kill costs at most the line that was being written,
and a folder of thousands of files costs no more than one of ten. Knows files and plain values.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Self

from lfdn_video.batch.items import list_images
from lfdn_video.errors import OutputError
from lfdn_video.files import take_lock
from lfdn_video.output.journal import fingerprint_file

if sys.platform != "win32":  # on Windows, a second run into the same folder is not detected
    pass

FORMAT = 1
FOLDER_NAME = ".lfdn-video"
MANIFEST_NAME = "manifest.jsonl"
LOCK_NAME = "lock"
STALE_LINES = 1000
"""Lines that were replaced by later ones, above which the file is written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of one target; JSON values."""

    target: str
    """Path in the target folder, with slashes."""
    source: str
    """The source as it was named; for people."""
    state: Literal["started", "restored", "failed"]
    fingerprint: dict[str, Any]
    """Of the source; see `fingerprint`."""
    made_with: dict[str, Any]
    """What else the target depends on; see `values.Recipe.describe`."""
    replaces: list[int] | None = None
    """`find_place` of the target when the run started; None: there was none."""
    message: str = ""
    """Why it failed."""
    kind: str = ""
    """Class of that error."""
    frames: int = 0
    """Frames in the target."""
    seconds: float = 0.0
    """Seconds spent."""
    warnings: list[str] = field(default_factory=list)
    """What was corrupt or not carried over."""


class Manifest:
    """The manifest of a target folder, open and locked. A context manager.

    Args:
        folder: the target folder; created if it does not exist.

    Raises:
        OutputError: on entering: another run works in the folder, or it cannot be written, or was
            written by a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        """The last entry of each target, by its path."""
        self._home = folder / FOLDER_NAME
        self._lock: IO[bytes] | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            lines = self._load()
            if lines > len(self.entries) + STALE_LINES:
                self._compact()
            self._file = self._open_end()
        except OSError as error:
            self._close()
            raise OutputError(
                f"{self.folder}: cannot be written: {error.strerror}; choose another folder"
            ) from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def record(self, entry: Entry) -> None:
        """Append an entry, and wait until it is on the disk.

        Raises:
            OutputError: it cannot be written.
        """
        assert self._file is not None, "the manifest is open"
        try:
            self._file.write(_encode(asdict(entry)))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self._home / MANIFEST_NAME}: cannot be written: {error.strerror}; run again "
                "when there is space"
            ) from error
        self.entries[entry.target] = entry

    def _take_lock(self) -> None:
        self._lock = take_lock(self._home / LOCK_NAME)
        if self._lock is None:
            raise OutputError(
                f"{self.folder}: another run is writing into it; wait for it, or choose another "
                "folder"
            )

    def _load(self) -> int:
        """Read the entries. Returns the number of lines."""
        path = self._home / MANIFEST_NAME
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines:
            # A line that a kill or a power cut left incomplete: its file is looked at again.
            with suppress(ValueError, TypeError):
                values = json.loads(line)
                if values.get("format", FORMAT) > FORMAT:
                    raise OutputError(
                        f"{path}: was written by a later version; update lfdn-video, or choose "
                        "another folder"
                    )
                if "target" in values:
                    entry = Entry(**values)
                    self.entries[entry.target] = entry
        return len(lines)

    def _compact(self) -> None:
        partial = self._home / f"{MANIFEST_NAME}.partial"
        with partial.open("wb") as file:
            file.write(_encode({"format": FORMAT}))
            file.writelines(_encode(asdict(entry)) for entry in self.entries.values())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._home / MANIFEST_NAME)

    def _open_end(self) -> IO[bytes]:
        path = self._home / MANIFEST_NAME
        if not path.exists():
            path.write_bytes(_encode({"format": FORMAT}))
        file = path.open("r+b")
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line that was cut off must not swallow the next one
                file.write(b"\n")
        return file

    def _close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None


def fingerprint(source: Path) -> dict[str, Any]:
    """Identify a source without reading all of it.

    Returns:
        For a file its size, time of change in ns, and SHA-256 of its first and last MiB. For a
        folder the number of its images, and a digest of their names, sizes and times.

    Raises:
        OSError: it cannot be read.
    """
    if source.is_dir():
        images = list_images(source)
        about = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in images]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return {"images": len(images), "sha256_of_list": digest}
    return {**fingerprint_file(source), "mtime_ns": source.stat().st_mtime_ns}


def is_same_source(source: Path, known: Mapping[str, Any]) -> bool:
    """Tell whether a source is still what a fingerprint says.

    A file of the same size and time of change is, without being read; one of another time is if
    its size and its ends are the same, as after a copy.

    Raises:
        OSError: it cannot be read.
    """
    if not source.is_dir():
        found = source.stat()
        if (found.st_size, found.st_mtime_ns) == (known.get("bytes"), known.get("mtime_ns")):
            return True
    return _without_time(fingerprint(source)) == _without_time(known)


def find_place(target: Path) -> list[int] | None:
    """Return size and time of change of a target, which tell it from its successor.

    The file's number would not do: on some cards and network drives it is another after each mount.

    Returns:
        Bytes and ns, or None if there is no target.
    """
    try:
        found = target.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _without_time(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "mtime_ns"}


def _encode(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"
