"""Target files: either complete or absent.

A file is written under a temporary name in its target's folder and renamed when it is complete.
Knows names, folders and errors; `writer.py` and `images.py` know the content. What may be written
at all is in `lfdn_video/files.py`.
"""

import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, NoReturn

from av.error import FFmpegError

from lfdn_video import files
from lfdn_video.errors import OutputError
from lfdn_video.ffmpeg import ffmpeg_message

if sys.platform != "win32":
    import fcntl


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
    try:
        return files.create_temporary(target)
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror}; choose another folder"
        ) from error


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


def remove_stale_temporaries(target: Path, own: Path | None = None) -> None:
    """Remove the target's temporary files that no process has locked: their runs were killed.

    Args:
        target: the target.
        own: the temporary file of this run, which stays.

    Raises:
        OutputError: another run is writing the target.
    """
    if sys.platform == "win32":
        return
    before, after = (escape(part) for part in files.temporary_name(target, "\0").split("\0"))
    for other in target.parent.glob(f"{before}*{after}"):
        if other == own:
            continue
        # A lock ends with its process, however that ends, so an unlocked file has no owner.
        with suppress(FileNotFoundError, PermissionError), other.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(
                    f"{target}: another run is writing it; wait for it, or choose another name"
                ) from error
            except OSError:  # this file system has no locks
                continue
            other.unlink()


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
    with output_errors(target):
        files.sync_to_disk(temporary)


def rename_into_place(targets: Mapping[Path, Path], *, overwrite: bool) -> None:
    """Rename complete temporary files to their targets: all of them or, on an error, none.

    Files that were overwritten before an error stay overwritten.

    Args:
        targets: `{target: temporary}`.
        overwrite: replace targets that exist.

    Raises:
        OutputError: a target was created in the meantime, or a file cannot be renamed.
    """
    # An interruption between two renames would leave only some of the targets. Python raises
    # KeyboardInterrupt in the main thread only, so another thread renames while this one waits.
    with ThreadPoolExecutor(max_workers=1) as other_thread:
        other_thread.submit(bool).result()  # an interruption up to here still cancels
        renaming = other_thread.submit(_rename_all, targets, overwrite=overwrite)
        while not renaming.done():
            with suppress(KeyboardInterrupt):
                wait([renaming])
        renaming.result()


def _rename_all(targets: Mapping[Path, Path], *, overwrite: bool) -> None:
    renamed: list[Path] = []
    try:
        for target, temporary in targets.items():
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
        files.replace_target(temporary, target, overwrite=overwrite)
    except FileExistsError as error:
        raise OutputError(f"{target}: was created meanwhile; choose another name") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be renamed into place: {error.strerror}") from error
