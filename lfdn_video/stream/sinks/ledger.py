"""The list of recordings in a folder that this program wrote, so that it removes no other file.

A name says little: a copy, a file that was put back or edited may have that of a recording. So each
recording is listed when it begins, and once more when it is complete, with its size and time. One
that has another size or time now, that is a link, or that lies behind one, is somebody else's.

    .lfdn-video.jsonl    {"file": "door/2026-11-27/door_101500.mkv"}
                         {"file": "door/2026-11-27/door_101500.mkv", "bytes": 52418, "time": 1.7e9}
                         {"file": "door/2026-11-27/door_101500.mkv", "removed": true}
    .lfdn-video.lock     held while a program records there
"""

import json
import logging
import os
import re
import stat
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lfdn_video.errors import OutputError
from lfdn_video.files import take_lock, write_beside

NAME = ".lfdn-video.jsonl"
LOCK = ".lfdn-video.lock"

FILE = re.compile(r"([a-z0-9][a-z0-9_-]*)/\d{4}-\d\d-\d\d/\1_\d{6}(-\d+)?\.[a-z0-9]{3,4}")
"""Recordings, relative to the folder; nothing else is listed, whatever the ledger says."""

TIME_STEP_S = 2.0
"""FAT keeps times in steps of two seconds."""

logger = logging.getLogger(__name__)


def name_pattern(camera: str, suffix: str) -> str:
    """Return the `strftime` pattern of a camera's recordings, relative to the folder.

    Args:
        camera: its name, of lower-case letters, digits, `-` and `_`.
        suffix: extension with its dot, such as `.mkv`.
    """
    return f"{camera}/%Y-%m-%d/{camera}_%H%M%S{suffix}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that is complete, and was this program's when it was looked at."""

    file: str
    """Its path, relative to the folder, with slashes."""
    size_bytes: int
    """Its size."""
    ended_at: float
    """When it was last written, in seconds since the epoch."""


class Ledger:
    """The recordings in a folder. A context manager; safe to use from any thread.

    Args:
        folder: the folder; it is made if it is missing.

    Raises:
        OutputError: on entering; the folder cannot be written, or another program records there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changed = threading.Lock()
        self._closed: dict[str, Recorded] = {}
        self._open: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        path = self.folder / NAME
        if path.is_symlink():
            raise OutputError(
                f"{path}: is a link, and recordings are removed by it; remove the link"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self.folder / LOCK)
            if lock is None:
                raise OutputError(f"{self.folder}: another lfdn-video records there; end it first")
            self._stack.enter_context(lock)
            self._read(path)
            # Without those that are gone, so that it does not grow for years.
            with write_beside(path, overwrite=True) as new:
                new.write_text("".join(_line(_values(each)) for each in self._closed.values()))
            self._file = self._stack.enter_context(path.open("a", encoding="utf-8"))
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_open(self, path: Path) -> None:
        """List a recording that begins; it is not removed before it is complete."""
        file = path.relative_to(self.folder).as_posix()
        with self._changed:
            self._open.add(file)
            self._write({"file": file})

    def add_complete(self, path: Path) -> None:
        """List that a recording is complete."""
        file = path.relative_to(self.folder).as_posix()
        with self._changed:
            self._open.discard(file)
            if (recorded := self._look_at(file)) is not None:
                self._closed[file] = recorded
                self._write(_values(recorded))

    def list_complete(self) -> list[Recorded]:
        """Return the recordings that are complete and still this program's, oldest first."""
        with self._changed:
            for file, listed in tuple(self._closed.items()):
                if (found := self._look_at(file)) is None:
                    del self._closed[file]
                elif not _is_same(found, listed):
                    logger.warning("%s: was changed since; it is kept", self.folder / file)
                    del self._closed[file]
            return sorted(self._closed.values(), key=lambda each: (each.ended_at, each.file))

    def measure_open_bytes(self) -> int:
        """Return the size of the recordings that are being written."""
        with self._changed:
            found = [self._look_at(file) for file in self._open]
        return sum(each.size_bytes for each in found if each is not None)

    def remove(self, recorded: Recorded) -> bool:
        """Remove a recording, and its day's folder with the last; False if it is kept."""
        with self._changed:
            listed = self._closed.get(recorded.file)
            found = self._look_at(recorded.file)
            if listed is None or found is None or not _is_same(found, listed):
                return False
            path = self.folder / recorded.file
            try:
                path.unlink()
            except OSError as error:
                logger.warning("%s: cannot be removed: %s", path, error.strerror)
                return False
            del self._closed[recorded.file]
            self._write({"file": recorded.file, "removed": True})
            with suppress(OSError):  # it has other files
                path.parent.rmdir()
        return True

    def _look_at(self, file: str) -> Recorded | None:
        """Describe a file; None if it is missing, no ordinary file, or behind a link."""
        path = self.folder / file
        try:
            about = path.lstat()
            if path.resolve(strict=True) != self.folder.resolve(strict=True) / file:
                return None
        except OSError:
            return None
        if not stat.S_ISREG(about.st_mode):
            return None
        return Recorded(file, about.st_size, about.st_mtime)

    def _read(self, path: Path) -> None:
        """Read the ledger; recordings that a killed program left are complete as they are."""
        if not path.exists():
            return
        begun: set[str] = set()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            values = _parse(line)
            file = str(values.get("file"))
            if FILE.fullmatch(file) is None:
                continue
            begun.add(file)
            self._closed.pop(file, None)
            if values.get("removed"):
                begun.discard(file)
            elif "bytes" in values:
                begun.discard(file)
                self._closed[file] = Recorded(file, int(values["bytes"]), float(values["time"]))
        looked_at = {file: self._look_at(file) for file in begun | set(self._closed)}
        listed = {file: self._closed.get(file) or found for file, found in looked_at.items()}
        self._closed = {
            file: each for file, each in listed.items() if each and looked_at[file] is not None
        }

    def _write(self, values: dict[str, Any]) -> None:
        try:
            self._file.write(_line(values))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:  # a full disk: what is not listed is not removed, no more
            logger.warning("%s: cannot be written: %s", self.folder / NAME, error.strerror)


def _is_same(found: Recorded, listed: Recorded) -> bool:
    is_as_old = abs(found.ended_at - listed.ended_at) <= TIME_STEP_S
    return found.size_bytes == listed.size_bytes and is_as_old


def _values(recorded: Recorded) -> dict[str, Any]:
    return {"file": recorded.file, "bytes": recorded.size_bytes, "time": recorded.ended_at}


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"


def _parse(line: str) -> dict[str, Any]:
    """Parse a line; a torn one, which a power cut leaves, is empty."""
    try:
        values = json.loads(line)
        float(values.get("bytes", 0)), float(values.get("time", 0))
    except (ValueError, AttributeError, TypeError):
        return {}
    return dict(values) if "time" in values or "bytes" not in values else {}
