"""The journal of a long run: its finished segments on the disk, so that it can be resumed.

A work folder lies beside the target while the run is not complete:

    .NAME.unfinished-DIGEST/
        journal.json      the run manifest and the finished segments; replaced as a whole
        00000.packets     a segment's encoded frames (`packets.py`)
        lock              locked by the process that works here

The run manifest holds all that the encoded frames depend on: source, encoding, span and network.
Only a run with the same manifest is resumed, for half a video of each of two runs is neither. This
module knows files and plain values; `segments.py` knows what a segment is made of.
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

if sys.platform != "win32":  # on Windows, two runs with one target are not told apart
    import fcntl

FORMAT = 1
FINGERPRINT_BYTES = 1 << 20
JOURNAL_NAME = "journal.json"
LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A finished segment: frames that were encoded on their own. Pts are the encoder's ticks."""

    frames: int
    first_pts: int
    last_pts: int
    sha256: str
    """Of its file of packets."""


class Journal:
    """The work folder of a target: `open` it, `append_segment`, and `remove` it at the end.

    When the run ends early, `close` keeps the finished segments for the next one.
    """

    def __init__(self, target: Path) -> None:
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
        name = f".{target.stem[:STEM_CHARACTERS]}.unfinished-{digest}"
        self.folder = target.with_name(name)
        self.segments: list[Segment] = []
        self.manifest: dict[str, Any] = {}
        """The run manifest, as JSON values."""
        self._target = target
        self._lock: IO[bytes] | None = None

    @property
    def frames(self) -> int:
        """Number of frames in all finished segments."""
        return sum(segment.frames for segment in self.segments)

    def open(self, manifest: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the work folder, or adopt what an interrupted run left in it.

        Args:
            manifest: this run's manifest as far as it is known, as JSON values.
            resume: adopt the finished segments of an interrupted run.
            overwrite: without `resume`, delete them.

        Raises:
            OutputError: an interrupted run left segments and neither is allowed, its manifest
                differs, another process works in the folder, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock_folder()
            found = self._load()
            if found is not None and found["segments"] and (resume or not overwrite):
                self._adopt(found, manifest, resume=resume)
            else:
                self._empty_folder()
            self.manifest = {**self.manifest, **manifest}
            self._save()
        except OSError as error:
            self.close()
            raise OutputError(
                f"{self._target}: cannot be written: {error.strerror}; choose another folder"
            ) from error
        except OutputError:
            self._unlock_folder()
            raise

    def extend_manifest(self, entries: Mapping[str, Any]) -> None:
        """Add entries to the manifest that are known only now, as JSON values.

        Raises:
            OutputError: a run is being resumed and its entries differ.
            OSError: the journal cannot be written.
        """
        if self.segments:
            self._check_manifest(entries)
        self.manifest.update(entries)
        self._save()

    def segment_path(self, number: int) -> Path:
        """Path of a segment's packets. Numbers count from 0."""
        return self.folder / f"{number:05}.packets"

    def append_segment(self, segment: Segment) -> None:
        """Enter the next segment. Its file must be on the disk.

        Raises:
            OSError: the journal cannot be written; it is as it was before.
        """
        self.segments.append(segment)
        try:
            self._save()
        except OSError:
            self.segments.pop()
            raise

    def close(self) -> None:
        """Keep the finished segments for the next run; without any, remove the folder."""
        kept = {self.segment_path(number) for number in range(len(self.segments))}
        kept |= {self.folder / JOURNAL_NAME, self.folder / LOCK_NAME}
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path not in kept:
                    _remove(path)
        if not self.segments:
            self.remove()
        self._unlock_folder()

    def remove(self) -> None:
        """Remove the folder: the target is in place. Raises nothing."""
        with suppress(OSError):
            shutil.rmtree(self.folder)
        self._unlock_folder()

    def _adopt(self, found: dict[str, Any], manifest: Mapping[str, Any], *, resume: bool) -> None:
        if not resume:
            frames = sum(segment["frames"] for segment in found["segments"])
            raise OutputError(
                f"{self._target}: an interrupted run left {frames} finished frames beside it; "
                f"resume the run, or allow overwriting"
            )
        self.manifest = found["told"]
        self._check_manifest(manifest)
        segments = [Segment(**values) for values in found["segments"]]
        self.segments = segments
        for number, segment in enumerate(segments):
            path = self.segment_path(number)
            if not path.is_file() or file_sha256(path) != segment.sha256:
                self.segments = segments[:number]  # a corrupt one and all after it are made again
                break

    def _check_manifest(self, entries: Mapping[str, Any]) -> None:
        for name, value in entries.items():
            before = self.manifest.get(name)
            if before is not None and before != value:
                raise OutputError(
                    f"{self._target}: the interrupted run had another {name} "
                    f"({_abbreviate(before)}, not {_abbreviate(value)}); repeat its command, "
                    f"or allow overwriting"
                )

    def _load(self) -> dict[str, Any] | None:
        """Read the journal; None if there is none, or none of this format."""
        try:
            found = json.loads((self.folder / JOURNAL_NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("format") == FORMAT else None

    def _save(self) -> None:
        """Replace the journal in one step: a kill leaves the old one or the new one."""
        segments = [asdict(segment) for segment in self.segments]
        # "told" is format 1's name of the manifest.
        content = {"format": FORMAT, "told": self.manifest, "segments": segments}
        partial = self.folder / "journal.partial"
        with partial.open("w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / JOURNAL_NAME)

    def _empty_folder(self) -> None:
        for path in self.folder.iterdir():
            if path.name != LOCK_NAME:
                _remove(path)

    def _lock_folder(self) -> None:
        self._lock = (self.folder / LOCK_NAME).open("wb")
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{self._target}: another run is writing it; wait for that, or choose another name"
            ) from error

    def _unlock_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def fingerprint_file(path: Path) -> dict[str, Any]:
    """Identify a source without reading all of it.

    Returns:
        Its size and the SHA-256 of its first and last MiB, as JSON values.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        sha256.update(file.read(FINGERPRINT_BYTES))
        file.seek(max(0, size - FINGERPRINT_BYTES))
        sha256.update(file.read())
    return {"bytes": size, "sha256_of_ends": sha256.hexdigest()}


def _abbreviate(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
