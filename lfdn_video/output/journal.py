"""What a long run has done so far, on the disk, so that the next one can go on from there.

Beside the target lies a work folder while a run is not complete:

    .NAME.unfinished-DIGEST/
        journal.json      what the run is, and its finished segments; replaced as a whole
        00000.packets     a segment's encoded frames (`packets.py`)
        lock              held by the process that works here

Knows files and plain values. What a segment is made of is `segments.py`'s.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from lfdn_video.errors import OutputError
from lfdn_video.output.packets import file_sha256
from lfdn_video.output.target import STEM_CHARACTERS

if sys.platform != "win32":  # where two runs on one target are not told apart
    import fcntl

FORMAT = 1
FINGERPRINT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """So many frames, encoded on their own. `pts` on the encoder's clock."""

    frames: int
    first_pts: int
    last_pts: int
    sha256: str


class Journal:
    """The work folder of a target. `open` it; then `add` segments, and `remove` it at the end."""

    def __init__(self, target: Path) -> None:
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
        name = f".{target.stem[:STEM_CHARACTERS]}.unfinished-{digest}"
        self.folder = target.with_name(name)
        self.segments: list[Segment] = []
        self._target = target
        self.told: dict[str, Any] = {}
        """What the run is: its source, encoding, span, network."""
        self._lock: IO[bytes] | None = None

    @property
    def frames(self) -> int:
        """In all finished segments."""
        return sum(segment.frames for segment in self.segments)

    def open(self, told: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or take up what an interrupted run left in it.

        `told`: what the run is, as JSON has it. Raises OutputError if there is an unfinished run
        and neither `resume` nor `overwrite` is wanted, if it was another one, or if it is running.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            self._acquire()
            found = self._read()
            if found is not None and found["segments"] and (resume or not overwrite):
                self._take_up(found, told, resume=resume)
            else:
                self._clear()
            self.told = {**self.told, **told}
            self._write()
        except OSError as error:
            self.close()
            raise OutputError(
                f"{self._target}: cannot be written: {error.strerror}; choose another folder"
            ) from error
        except OutputError:
            self._release()
            raise

    def agree(self, told: Mapping[str, Any]) -> None:
        """More of what the run is, known only now. OutputError if it was something else."""
        if self.segments:
            self._compare(told)
        self.told.update(told)
        self._write()

    def file(self, number: int) -> Path:
        """Of a segment's packets."""
        return self.folder / f"{number:05}.packets"

    def add(self, segment: Segment) -> None:
        """The next one is complete, and its file on the disk."""
        self.segments.append(segment)
        try:
            self._write()
        except OSError:
            self.segments.pop()
            raise

    def close(self) -> None:
        """Leave what is complete for the next run, or nothing if nothing is."""
        kept = {self.file(number) for number in range(len(self.segments))}
        kept |= {self.folder / "journal.json", self.folder / "lock"}
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path not in kept:
                    _remove(path)
        if not self.segments:
            self.remove()
        self._release()

    def remove(self) -> None:
        """The target is in place; never an error."""
        with suppress(OSError):
            shutil.rmtree(self.folder)
        self._release()

    def _take_up(self, found: dict[str, Any], told: Mapping[str, Any], *, resume: bool) -> None:
        if not resume:
            frames = sum(segment["frames"] for segment in found["segments"])
            raise OutputError(
                f"{self._target}: an interrupted run left {frames} finished frames beside it; "
                f"go on by resuming, or allow to overwrite it"
            )
        self.told = found["told"]
        self._compare(told)
        self.segments = segments = [Segment(**each) for each in found["segments"]]
        for number, segment in enumerate(segments):
            file = self.file(number)
            if not file.is_file() or file_sha256(file) != segment.sha256:
                self.segments = segments[:number]  # what is damaged, and what follows, is redone
                break

    def _compare(self, told: Mapping[str, Any]) -> None:
        for name, value in told.items():
            before = self.told.get(name)
            if before is not None and before != value:
                raise OutputError(
                    f"{self._target}: the interrupted run had another {name} ({_short(before)}, "
                    f"not {_short(value)}); repeat its command, or allow to overwrite it"
                )

    def _read(self) -> dict[str, Any] | None:
        """What is in the journal; None if there is none, or none that can be used."""
        try:
            found = json.loads((self.folder / "journal.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("format") == FORMAT else None

    def _write(self) -> None:
        segments = [asdict(segment) for segment in self.segments]
        content = {"format": FORMAT, "told": self.told, "segments": segments}
        partial = self.folder / "journal.partial"
        with partial.open("w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / "journal.json")

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "lock":
                _remove(path)

    def _acquire(self) -> None:
        self._lock = (self.folder / "lock").open("wb")
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{self._target}: another run is writing it; wait for that, or choose another name"
            ) from error

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def fingerprint(path: Path) -> dict[str, Any]:
    """What tells a source from another one: its size, and a digest of its first and last MiB."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        sha256.update(file.read(FINGERPRINT_BYTES))
        file.seek(max(0, size - FINGERPRINT_BYTES))
        sha256.update(file.read())
    return {"bytes": size, "sha256_of_ends": sha256.hexdigest()}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
