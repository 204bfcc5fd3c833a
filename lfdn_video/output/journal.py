"""The journal of a long run: its finished segments on the disk, so that it can be resumed.

While a run is incomplete, a work folder is kept beside the target:

    .NAME.unfinished-DIGEST/
        journal.json      the run manifest and the finished segments; replaced as a whole
        00000.packets     a segment's encoded frames (`packets.py`)
        lock              locked by the process that works here

The run manifest holds everything that the encoded frames depend on: source, encoding, span and
network. Only a run with the same manifest is resumed, so that a target never mixes two settings.
This module knows files and plain values; `segments.py` encodes the segments.
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
from lfdn_video.files import STEM_CHARACTERS, take_lock
from lfdn_video.output.packets import file_sha256

if sys.platform != "win32":  # on Windows, a second run with the same target is not detected
    pass

FORMAT = 1
FINGERPRINT_BYTES = 1 << 20
JOURNAL_NAME = "journal.json"
LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A finished segment: frames that were encoded on their own."""

    frames: int
    """Number of frames."""
    first_pts: int
    """Pts of the first frame, in ticks of the encoder."""
    last_pts: int
    """Pts of the last frame, in ticks of the encoder."""
    sha256: str
    """SHA-256 of its packet file, in hexadecimal."""


class Journal:
    """The work folder of a target: `open` it, `append_segment`, and `remove` it at the end.

    When the run ends early, `close` keeps the finished segments for the next one.
    """

    def __init__(self, target: Path) -> None:
        # The digest keeps long names apart that share their first characters.
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
        """Create the work folder, or adopt the segments that an interrupted run left in it.

        Args:
            manifest: the entries of this run's manifest known so far, as JSON values.
            resume: adopt the finished segments of an interrupted run.
            overwrite: without `resume`, delete them.

        Raises:
            OutputError: an interrupted run left segments and neither option is set, its manifest
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
        """Add entries to the manifest that became known later, as JSON values.

        Raises:
            OutputError: a run is being resumed and its entries differ.
            OSError: the journal cannot be written.
        """
        if self.segments:
            self._check_manifest(entries)
        self.manifest.update(entries)
        self._save()

    def segment_path(self, number: int) -> Path:
        """Return the path of a segment's packet file. Numbers count from 0."""
        return self.folder / f"{number:05}.packets"

    def append_segment(self, segment: Segment) -> None:
        """Append a segment, whose file must be on the disk.

        Raises:
            OSError: the journal cannot be written; it is unchanged.
        """
        self.segments.append(segment)
        try:
            self._save()
        except OSError:
            self.segments.pop()
            raise

    def adopt(self, target: Path, manifest: Mapping[str, Any]) -> None:
        """Append the segments of another journal on the same disk, and remove that one.

        Args:
            target: the other journal's target.
            manifest: the entries of its manifest that must be these.

        Raises:
            OutputError: they are not, it belongs to another process, or a segment is corrupt.
            OSError: a file cannot be moved.
        """
        other = Journal(target)
        other.open({**manifest, "network": self.manifest["network"]}, resume=True, overwrite=False)
        try:
            for number, segment in enumerate(other.segments):
                other.segment_path(number).replace(self.segment_path(len(self.segments)))
                self.append_segment(segment)
        finally:
            other.remove()

    def close(self) -> None:
        """Keep the finished segments for the next run; without any, remove the folder."""
        kept = {self.segment_path(number) for number in range(len(self.segments))}
        kept |= {self.folder / JOURNAL_NAME, self.folder / LOCK_NAME}
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path not in kept:
                    _remove(path)
        if not self.segments:  # nothing to resume
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
                self.segments = segments[
                    :number
                ]  # a corrupt one and all after it are encoded again
                break

    def _check_manifest(self, entries: Mapping[str, Any]) -> None:
        for name, value in entries.items():
            before = self.manifest.get(name)
            if before is not None and before != value:
                raise OutputError(
                    f"{self._target}: the interrupted run had another {name} "
                    f"({_describe_difference(before, value)}); repeat its command, "
                    f"or allow overwriting"
                )

    def _load(self) -> dict[str, Any] | None:
        """Read the journal; None if it is missing, corrupt, or of another format version."""
        try:
            found = json.loads((self.folder / JOURNAL_NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("format") == FORMAT else None

    def _save(self) -> None:
        """Replace the journal atomically: a kill leaves the old one or the new one."""
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
        # The lock file stays when the folder is emptied: a new one would have another lock.
        self._lock = take_lock(self.folder / LOCK_NAME)
        if self._lock is None:
            raise OutputError(
                f"{self._target}: another run is writing it; wait for it, or choose another name"
            )

    def _unlock_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def fingerprint_file(path: Path) -> dict[str, Any]:
    """Identify a source without reading all of it.

    Returns:
        Size in bytes and SHA-256 of the first and last MiB, as JSON values.

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


def _describe_difference(before: Any, now: Any) -> str:
    """`precision: "float32", not "int8"`, for values with names; else `1, not 2`."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return f"{_abbreviate(before)}, not {_abbreviate(now)}"
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(
        f"{name}: {_describe_difference(before.get(name), now.get(name))}" for name in names
    )


def _abbreviate(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
