"""Files that are written: never over a file that is read, and complete or not there at all.

Every writer of both packages asks `Inputs` before it writes, and writes small files by
`write_beside`. Knows names, links and permissions; the standard library alone, so that names can be
checked before anything slow is loaded.
"""

import errno
import hashlib
import io
import os
import secrets
import stat
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

if sys.platform != "win32":
    import fcntl

STEM_CHARACTERS = 40
"""Longest stem in a temporary name; most file systems allow 255 bytes a name."""

DATA_LOSS_ERRORS = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOENT}
"""Errors of fsync that mean the data is not on the disk."""


class TargetError(ValueError):
    """A file cannot be written under the name that was given for it."""


class _Input(NamedTuple):
    path: Path
    what: str


class Inputs:
    """The files that a command reads; a file to be written is refused if it is one of them.

    A file is recognized by its place on the disk, not by its name: symbolic and hard links, and
    another spelling on a file system that ignores case, are the same file.

    Args:
        paths: the files and folders that are read. Those that do not exist are known by name.
        what: what they are, for messages.
    """

    def __init__(self, paths: Iterable[Path] = (), what: str = "the source") -> None:
        self._by_place: dict[tuple[int, int], _Input] = {}
        self._by_name: dict[str, _Input] = {}
        for path in paths:
            self.add(path, what)

    def add(self, path: Path, what: str = "the source") -> None:
        """Add a file or a folder that is read, or that another writer writes.

        Args:
            path: its name.
            what: what it is, for messages.
        """
        entry = _Input(path, what)
        if (place := _find_place(path)) is not None:
            self._by_place[place] = entry
        self._by_name[_full_name(path)] = entry

    def __contains__(self, path: Path) -> bool:
        return self._find(path) is not None

    def refuse(self, target: Path) -> None:
        """Refuse to write a file that is read.

        Args:
            target: the file, or the folder, that is to be written.

        Raises:
            TargetError: it is one of the inputs.
        """
        if (found := self._find(target)) is None:
            return
        name = "" if found.path.absolute() == target.absolute() else f", {found.path}"
        raise TargetError(f"{target}: is {found.what} itself{name}; choose another target")

    def refuse_around(self, folder: Path) -> None:
        """Refuse to write into, or to empty, a folder that holds a file that is read.

        Raises:
            TargetError: an input is in it, or in a folder below it.
        """
        if (place := _find_place(folder)) is None:
            return
        above = {Path(name): entry for name, entry in self._by_name.items()}
        above |= {parent: entry for path, entry in above.items() for parent in path.parents}
        for path, entry in above.items():
            if _find_place(path) == place:
                raise TargetError(
                    f"{folder}: holds {entry.what}, {entry.path}; choose another target"
                )

    def _find(self, target: Path) -> _Input | None:
        place = _find_place(target)
        if place is not None and place in self._by_place:
            return self._by_place[place]
        return self._by_name.get(_full_name(target))


def check_target(target: Path, inputs: Inputs, *, overwrite: bool, renamed: bool = True) -> None:
    """Check that a file can be created at `target`, and that nothing is lost by it.

    Args:
        target: the file to be written.
        inputs: the files that are read, which are never overwritten.
        overwrite: accept a target that exists.
        renamed: a new file is renamed to the target, which would replace a device or a pipe too.

    Raises:
        TargetError: the name is empty, the folder is missing, or the target is a folder, something
            else than a file, an input, or exists.
    """
    if not target.name:
        raise TargetError(f"{str(target)!r}: is not the name of a file; give one")
    with _system_errors(target):
        if not target.parent.is_dir():
            raise TargetError(f"{target}: the folder {target.parent} does not exist; make it first")
        if target.is_dir():
            raise TargetError(f"{target}: is a folder; give the name of a file")
        inputs.refuse(target)
        if renamed and target.exists() and not target.is_file():
            raise TargetError(f"{target}: is a device or a pipe; give the name of a file")
        if os.path.lexists(target) and not overwrite:
            raise TargetError(f"{target}: exists already; choose another name or allow overwriting")


def follow_link(target: Path) -> Path:
    """Return the file that a symbolic link stands for; any other path unchanged.

    A target that is a link stays one: the file it points to is replaced.
    """
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def try_target(target: Path) -> None:
    """Create and remove a file beside `target`, to learn before the work whether that is possible.

    Raises:
        TargetError: the file system refuses.
    """
    with _system_errors(target):
        create_temporary(follow_link(target)).unlink()


def create_temporary(target: Path) -> Path:
    """Create an empty temporary file, which `replace_target` renames to its target.

    Args:
        target: the target; the temporary file is created in its folder. If it exists, the
            temporary file is no more accessible to others than it is.

    Returns:
        The path of the temporary file.

    Raises:
        OSError: the file system refuses.
    """
    temporary = target.with_name(temporary_name(target, secrets.token_hex(4)))
    temporary.open("xb").close()  # "x": never an existing file, and never through a link
    with suppress(OSError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode) | stat.S_IRUSR | stat.S_IWUSR)
    return temporary


def temporary_name(target: Path, token: str) -> str:
    """Return the hidden name of a temporary file of `target`; it keeps the extension."""
    # The digest keeps long names apart that share their first characters.
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
    return f".{target.stem[:STEM_CHARACTERS]}.partial-{digest}-{token}{target.suffix}"


def take_lock(path: Path) -> IO[bytes] | None:
    """Lock a file, which is created if there is none, against other processes.

    The lock ends when the file is closed, and with the process, however that ends. On Windows
    nothing is locked.

    Args:
        path: the lock file; its contents stay.

    Returns:
        The open file; None if another process has the lock.

    Raises:
        OSError: the file cannot be opened, or the file system has no locks.
    """
    file = path.open("ab")
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
    return file


def sync_to_disk(file: Path) -> None:
    """Flush a complete file to the disk, so that a power cut cannot leave its name without it.

    Raises:
        OSError: the data could not be written.
    """
    try:
        with file.open("rb+") as content:
            os.fsync(content.fileno())
    except OSError as error:
        if error.errno in DATA_LOSS_ERRORS:  # any other: this file system has no fsync
            raise


def replace_target(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a complete temporary file to its target atomically.

    Args:
        temporary: the file, in the target's folder.
        target: a target that exists passes on its permissions.
        overwrite: replace a target that exists.

    Raises:
        FileExistsError: the target exists, and `overwrite` is False.
        OSError: the file system refuses.
    """
    if overwrite:
        _copy_permissions(target, temporary)
        temporary.replace(target)
    else:
        _rename_unless_exists(temporary, target)


@contextmanager
def write_beside(target: Path, *, overwrite: bool) -> Generator[Path]:
    """Write a file beside its target; at the end of the block it gets the target's name.

    Args:
        target: the file to be written; a link is followed.
        overwrite: replace a file that exists.

    Yields:
        The temporary file to write, which is removed if the block raises.

    Raises:
        TargetError: the file system refuses, also in the block, or the target exists.
    """
    file = follow_link(target)
    with _system_errors(target):
        temporary = create_temporary(file)
        try:
            yield temporary
            sync_to_disk(temporary)
            replace_target(temporary, file, overwrite=overwrite)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def open_standard_streams() -> None:
    """Open stdin, stdout and stderr where the parent process closed them. Call it first of all.

    Otherwise the next file to be opened would take their place, and get what libraries print. What
    is written to a closed or full stderr is lost, and changes nothing else; writing to a closed
    stdout is an error, as it should be.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None or _is_file(sys.stderr, 2):
        lossy = io.BufferedWriter(_LossyFile(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(lossy, errors="backslashreplace", line_buffering=True)


def silence_stdout() -> None:
    """Redirect stdout, which cannot be written, to nowhere: Python would fail on it at the end."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)


class _LossyFile(io.FileIO):
    """A file whose errors are ignored: messages, without which the work is worth as much."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _is_file(stream: Any, number: int) -> bool:
    """Tell whether a stream is this file of the process, and no replacement of a test."""
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def _system_errors(target: Path) -> Generator[None]:
    """Turn errors of the system into a TargetError that names the target."""
    try:
        yield
    except FileExistsError as error:
        raise TargetError(f"{target}: was created meanwhile; choose another name") from error
    except OSError as error:
        raise TargetError(
            f"{target}: cannot be written: {error.strerror or error}; choose another folder"
        ) from error


def _find_place(path: Path) -> tuple[int, int] | None:
    """Return device and number of the file that a path leads to; None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None  # some systems have no numbers


def _full_name(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _copy_permissions(source: Path, target: Path) -> None:
    """Give a new file the permissions of the one that it replaces, as far as the system lets us."""
    with suppress(OSError):
        found = source.stat()
        with suppress(OSError, AttributeError):  # only root may give files away; Windows cannot
            os.chown(target, found.st_uid, found.st_gid)
        target.chmod(stat.S_IMODE(found.st_mode))


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
