"""Target files: checked before any work starts, and either complete or absent.

A file is written under a temporary name in its target's folder and renamed when it is complete.
Knows names, folders and errors; `writer.py` and `images.py` know the content.
"""

import errno
import os
import secrets
import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, NoReturn

from av.error import FFmpegError

from lfdn_video.errors import OutputError
from lfdn_video.ffmpeg import ffmpeg_message

if sys.platform != "win32":
    import fcntl

DATA_LOSS_ERRORS = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOENT}
"""Errors of fsync that mean the data is not on the disk."""

STEM_CHARACTERS = 40
"""Longest stem in a temporary name; most file systems allow 255 bytes a name."""


def check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Check that a file can be created at `target`.

    Args:
        target: the file to be written.
        source: the source file, which is never overwritten.
        overwrite: accept a target that exists.

    Raises:
        OutputError: the folder is missing, the target is a folder, the source itself, or exists.
    """
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; make it first")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file")
    if _is_same_file(target, source):
        raise OutputError(f"{target}: is the source itself; choose another target")
    if os.path.lexists(target) and not overwrite:
        refuse_existing(target)


def refuse_existing(target: Path, choose: str = "another name") -> NoReturn:
    """Raise the OutputError for a target that exists and may not be overwritten.

    Args:
        target: the existing file.
        choose: what the user can choose instead.
    """
    raise OutputError(f"{target}: exists already; choose {choose} or allow overwriting")


@contextmanager
def output_errors(target: Path) -> Generator[None]:
    """Turn FFmpeg's and the system's errors into an OutputError that names the target.

    Args:
        target: the target's final name.
    """
    try:
        yield
    except FFmpegError as error:
        raise OutputError(f"{target}: cannot be written: {ffmpeg_message(error)}") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def create_temporary(target: Path) -> Path:
    """Create an empty temporary file, which `rename_into_place` renames to its target.

    Args:
        target: the target; the temporary file is created in its folder.

    Returns:
        The path of the temporary file.

    Raises:
        OutputError: the file system refuses.
    """
    temporary = target.with_name(_temporary_name(target, secrets.token_hex(4)))
    try:
        temporary.open("xb").close()  # "x": never an existing file, and never through a link
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror}; choose another folder"
        ) from error
    return temporary


def lock_temporary(temporary: Path) -> IO[bytes]:
    """Lock a temporary file, so that no other run removes it as stale.

    Returns:
        The open file. The lock ends when the caller closes it, or with the process.
    """
    # On a handle of its own: the muxer opens and closes the file by name.
    file = temporary.open("rb")
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def remove_stale_temporaries(target: Path) -> None:
    """Remove the target's temporary files that no process has locked: their runs were killed."""
    if sys.platform == "win32":
        return
    # A lock ends with its process, however that ends, so an unlocked file has no owner.
    for stale in target.parent.glob(_temporary_name(Path(escape(str(target))), "*")):
        with suppress(OSError), stale.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()


def remove_temporary(temporary: Path) -> None:
    """Remove a temporary file if it is there. Raises nothing."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def sync_to_disk(temporary: Path, target: Path) -> None:
    """Flush a complete file to the disk, so that a power cut cannot leave its name without it.

    Args:
        temporary: the complete file.
        target: the name to show in an error message.

    Raises:
        OutputError: the data could not be written.
    """
    try:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in DATA_LOSS_ERRORS:  # any other: this file system has no fsync
            raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def rename_into_place(files: Mapping[Path, Path], *, overwrite: bool) -> None:
    """Rename complete temporary files to their targets: all of them or, on an error, none.

    Files that were overwritten before an error stay overwritten.

    Args:
        files: `{target: temporary}`.
        overwrite: replace targets that exist.

    Raises:
        OutputError: a target was created in the meantime, or a file cannot be renamed.
    """
    # An interruption between two renames would leave only some of the targets. Python raises
    # KeyboardInterrupt in the main thread only, so another thread renames while this one waits.
    with ThreadPoolExecutor(max_workers=1) as other_thread:
        other_thread.submit(bool).result()  # an interruption up to here still cancels
        renaming = other_thread.submit(_rename_all, files, overwrite=overwrite)
        while not renaming.done():
            with suppress(KeyboardInterrupt):
                wait([renaming])
        renaming.result()


def _temporary_name(target: Path, token: str) -> str:
    return f".{target.stem[:STEM_CHARACTERS]}.partial-{token}{target.suffix}"


def _rename_all(files: Mapping[Path, Path], *, overwrite: bool) -> None:
    renamed: list[Path] = []
    try:
        for target, temporary in files.items():
            _rename(temporary, target, overwrite=overwrite)
            renamed.append(target)
    except OutputError:
        # With `overwrite`, the old files are gone already: removing the new ones would lose both.
        for target in renamed if not overwrite else ():
            remove_temporary(target)
        raise


def _rename(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Rename atomically; without `overwrite`, not over a file created in the meantime."""
    try:
        if overwrite:
            temporary.replace(target)
        else:
            _rename_unless_exists(temporary, target)
    except FileExistsError as error:
        raise OutputError(f"{target}: was created meanwhile; choose another name") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be renamed into place: {error.strerror}") from error


def _rename_unless_exists(temporary: Path, target: Path) -> None:
    try:
        target.hardlink_to(temporary)  # unlike a rename, this fails if the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        temporary.rename(target)
    else:
        temporary.unlink()


def _is_same_file(target: Path, source: Path) -> bool:
    """Compare the files themselves, following symbolic and hard links."""
    with suppress(OSError):
        return target.samefile(source)
    return False
