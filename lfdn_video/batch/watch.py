"""Folders that are watched: their files, when they are complete.

A file is complete when its size and its time of change stay the same for a while, and no program
has it open for writing, where the system tells. If one was taken too early nevertheless, it fails,
and is tried again when it has changed. Nothing is remembered here: after a restart all files are
looked at again, and the manifest knows which are finished.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from lfdn_video.batch.items import Found, Item, Template, find_items, list_images
from lfdn_video.errors import InputError, OptionError

if sys.platform == "linux":
    import fcntl

SCAN_S = 10.0
"""Seconds between two looks at all files, without being told of a change. Network drives and some
cards do not tell."""

PENDING_SCAN_S = 1.0
"""The same while a file is not complete."""

AGAIN_S = 60.0
"""Seconds until an item that was offered again is taken."""

_State = tuple[int, int]
"""Size in bytes and time of change in ns; of a folder, their sum and the latest."""

logger = logging.getLogger(__name__)


class WatchedFolders:
    """Gives the complete files of some folders as they appear. A context manager.

    Args:
        sources: the folders.
        target: the target folder, which is left out.
        template: the names of the targets.
        settle_s: seconds for which a file must not change.

    Raises:
        OptionError: watchfiles is not installed, or a source is not a folder.
        InputError: a folder does not exist.
    """

    is_over = False

    def __init__(
        self, sources: Sequence[str], target: Path, template: Template, *, settle_s: float
    ) -> None:
        try:
            import watchfiles  # noqa: F401 (told before anything is made)
        except ImportError as error:
            raise OptionError(
                "watch: watchfiles is not installed; run pip install 'lfdn-video[watch]'"
            ) from error
        for source in sources:
            if not Path(source).exists():
                raise InputError(f"{source}: no such folder; check the name")
            if not Path(source).is_dir():
                raise OptionError(f"watch: {source} is not a folder; give folders alone")
        self._sources = tuple(sources)
        self._target = target
        self._template = template
        self._settle_s = settle_s
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._next_scan_s = float("-inf")
        self._seen: dict[Path, tuple[_State, float]] = {}
        """State of each source, and since when it has been the same."""
        self._taken: dict[Path, _State] = {}
        """State of each source when it was given."""
        self._again: list[tuple[float, Item]] = []
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def poll(self) -> Found:
        """Return the items that have become complete."""
        now_s = time.monotonic()
        found = Found()
        for due_s, item in list(self._again):
            if due_s <= now_s:
                self._again.remove((due_s, item))
                self._taken.pop(item.source, None)
                self._next_scan_s = now_s
        if not self._changed.is_set() and now_s < self._next_scan_s:
            return found
        self._changed.clear()
        present = [source for source in self._sources if Path(source).is_dir()]
        self._tell_missing(set(self._sources) - set(present), found)
        self._keep_watching(present)
        looked = find_items(present, (), self._target, self._template)
        found.notes += [note for note in looked.notes if note not in self._told]
        self._told.update(looked.notes)
        waiting = False
        for item in looked.items:
            is_complete, is_new = self._look_at(item.source, now_s)
            if is_new and is_complete:
                found.items.append(item)
            waiting = waiting or (is_new and not is_complete)
        self._next_scan_s = now_s + (PENDING_SCAN_S if waiting else SCAN_S)
        return found

    def offer_again(self, item: Item) -> None:
        """Give an item again after a while."""
        self._again.append((time.monotonic() + AGAIN_S, item))

    def _look_at(self, source: Path, now_s: float) -> tuple[bool, bool]:
        """Tell whether a source is complete, and whether it is new or has changed."""
        try:
            state = _read_state(source)
        except OSError:  # gone again
            return False, False
        known, since_s = self._seen.get(source, (None, now_s))
        if known != state:
            since_s = now_s
        self._seen[source] = (state, since_s)
        if self._taken.get(source) == state:
            return True, False
        if now_s - since_s < self._settle_s or not state[0] or is_being_written(source):
            return False, True
        self._taken[source] = state
        return True, True

    def _tell_missing(self, missing: set[str], found: Found) -> None:
        for source in sorted(missing):
            if source not in self._told:
                found.notes.append(f"{source}: the folder is gone; waiting for it")
        self._told = {told for told in self._told if told not in self._sources} | missing

    def _keep_watching(self, present: Sequence[str]) -> None:
        if present and (self._watcher is None or not self._watcher.is_alive()):
            self._watcher = threading.Thread(
                target=self._watch, args=(present,), name="watch", daemon=True
            )
            self._watcher.start()

    def _watch(self, folders: Sequence[str]) -> None:
        from watchfiles import watch

        # Whatever goes wrong here, all files are looked at every few seconds.
        with suppress(OSError, RuntimeError):
            for _ in watch(
                *folders,
                watch_filter=None,
                stop_event=self._stop,
                raise_interrupt=False,
                rust_timeout=500,
                ignore_permission_denied=True,
            ):
                self._changed.set()
                if not all(Path(folder).is_dir() for folder in folders):
                    return  # started again when they are back


def is_being_written(source: Path) -> bool:
    """Tell whether a program has a file open for writing.

    Args:
        source: a file; of a folder nothing is known.

    Returns:
        True if so; False also where the system does not tell: elsewhere than on Linux, on network
        drives, and for files of another user.
    """
    if sys.platform != "linux" or source.is_dir():
        return False
    try:
        file = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # A read lease is granted only if nobody has the file open for writing. Who opens it in this
        # very moment sends a signal to its holder: SIGURG, which does nothing by default.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _read_state(source: Path) -> _State:
    files = list_images(source) if source.is_dir() else [source]
    found = [file.stat() for file in files]
    return sum(each.st_size for each in found), max(each.st_mtime_ns for each in found)
