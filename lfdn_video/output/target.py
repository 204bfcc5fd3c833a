"""Where the result goes: refused before any work if it cannot be right, complete or not at all.

A file is written under a hidden name in the folder of its target and takes the target's name only
when it is complete. Knows names and folders; what is in a file is `writer.py`'s and `images.py`'s.
"""

import errno
import os
import secrets
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import IO

from lfdn_video.errors import OutputError

if sys.platform != "win32":
    import fcntl

LOST = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOENT}
"""What says that a file is not on the disk."""

STEM_CHARACTERS = 40
"""So much of the target's name is in the hidden one: names have a limit, 255 bytes as a rule."""


def check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """OutputError unless `target` can become a file next to what is already there."""
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; make it first")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file")
    if _same_file(target, source):
        raise OutputError(f"{target}: is the source itself; choose another target")
    if os.path.lexists(target) and not overwrite:
        raise OutputError(f"{target}: exists already; choose another name or allow to overwrite it")


def reserve(target: Path) -> Path:
    """Make the hidden file next to `target` that is to become it. OutputError if that fails."""
    hidden = target.with_name(_hidden_name(target, secrets.token_hex(4)))
    try:
        hidden.open("xb").close()  # a new one: no file of somebody else's, and through no link
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror}; choose another folder"
        ) from error
    return hidden


def hold(hidden: Path) -> IO[bytes]:
    """Mark a hidden file as somebody's, until what this gives is closed or the process ends."""
    file = hidden.open("rb")
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def sweep(target: Path) -> None:
    """Remove the hidden files of earlier runs that were killed: those that nobody holds."""
    if sys.platform == "win32":
        return
    for left in target.parent.glob(_hidden_name(Path(escape(str(target))), "*")):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def settle(hidden: Path, target: Path) -> None:
    """Bring a complete file to the disk, lest after a power cut its name be there without it."""
    try:
        with hidden.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in LOST:  # else the file system just does not have this
            raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def publish(files: Mapping[Path, Path], *, overwrite: bool) -> None:
    """Give complete files their names, `{target: hidden}`: all of them or, on an error, none.

    A signal that asks to stop comes too late here. Its exception is raised in the main thread, so
    the work is done in another one. What was overwritten before an error stays so.
    """
    with ThreadPoolExecutor(max_workers=1) as other_thread:
        other_thread.submit(bool).result()  # it runs: what stops us until now stops us in time
        published = other_thread.submit(_publish_all, files, overwrite=overwrite)
        while not published.done():
            with suppress(KeyboardInterrupt):
                wait([published])
        published.result()


def discard(hidden: Path) -> None:
    """Remove what is not wanted any more; never an error."""
    with suppress(OSError):
        hidden.unlink(missing_ok=True)


def _hidden_name(target: Path, token: str) -> str:
    return f".{target.stem[:STEM_CHARACTERS]}.partial-{token}{target.suffix}"


def _publish_all(files: Mapping[Path, Path], *, overwrite: bool) -> None:
    done: list[Path] = []
    try:
        for target, hidden in files.items():
            _publish(hidden, target, overwrite=overwrite)
            done.append(target)
    except OutputError:
        for target in done if not overwrite else ():
            discard(target)
        raise


def _publish(hidden: Path, target: Path, *, overwrite: bool) -> None:
    """In one step, and without replacing what appeared since."""
    try:
        if overwrite:
            hidden.replace(target)
        else:
            _rename_unless_exists(hidden, target)
    except FileExistsError as error:
        raise OutputError(f"{target}: appeared meanwhile; choose another name") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be put in place: {error.strerror}") from error


def _rename_unless_exists(hidden: Path, target: Path) -> None:
    try:
        target.hardlink_to(hidden)  # unlike a rename, it fails if the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        hidden.rename(target)
    else:
        hidden.unlink()


def _same_file(target: Path, source: Path) -> bool:
    """Also through links of both kinds."""
    with suppress(OSError):
        return target.samefile(source)
    return False
