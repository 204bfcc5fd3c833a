"""Files that are written, as `lfdn.files` checks and writes them; its errors become ours."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lfdn import files
from lfdn.files import (
    STEM_CHARACTERS,
    Inputs,
    create_temporary,
    follow_link,
    open_standard_streams,
    replace_target,
    silence_stdout,
    sync_to_disk,
    take_lock,
    temporary_name,
)
from lfdn_video.errors import OutputError

__all__ = [
    "STEM_CHARACTERS",
    "Inputs",
    "check_target",
    "create_temporary",
    "follow_link",
    "open_standard_streams",
    "refuse_around",
    "refuse_input",
    "replace_target",
    "silence_stdout",
    "sync_to_disk",
    "take_lock",
    "temporary_name",
    "try_target",
    "write_beside",
]


def check_target(target: Path, inputs: Inputs, *, overwrite: bool, renamed: bool = True) -> None:
    """Check that a file can be created at `target`, and that nothing is lost by it.

    Args:
        target: the file to be written.
        inputs: the files that are read, which are never overwritten.
        overwrite: accept a target that exists.
        renamed: a new file is renamed to the target, which would replace a device or a pipe too.

    Raises:
        OutputError: the folder is missing, or the target is a folder, an input, or exists.
    """
    with _target_errors():
        files.check_target(target, inputs, overwrite=overwrite, renamed=renamed)


def refuse_input(target: Path, inputs: Inputs) -> None:
    """Refuse to write a file, or into a folder, that is read.

    Raises:
        OutputError: `target` is one of the inputs.
    """
    with _target_errors():
        inputs.refuse(target)


def refuse_around(folder: Path, inputs: Inputs) -> None:
    """Refuse a folder for temporary files that is a link, or that holds a file that is read.

    Raises:
        OutputError: it is.
    """
    if folder.is_symlink():
        raise OutputError(f"{folder}: is a link, and files are removed there; remove the link")
    with _target_errors():
        inputs.refuse_around(folder)


def try_target(target: Path) -> None:
    """Learn before the work whether a file can be written.

    Raises:
        OutputError: the file system refuses.
    """
    with _target_errors():
        files.try_target(target)


@contextmanager
def write_beside(target: Path, *, overwrite: bool) -> Generator[Path]:
    """Write a file beside its target; at the end of the block it gets the target's name.

    Args:
        target: the file to be written; a link is followed.
        overwrite: replace a file that exists.

    Yields:
        The temporary file to write.

    Raises:
        OutputError: the file system refuses, also in the block, or the target exists.
    """
    with _target_errors(), files.write_beside(target, overwrite=overwrite) as temporary:
        yield temporary


@contextmanager
def _target_errors() -> Generator[None]:
    try:
        yield
    except files.TargetError as error:
        raise OutputError(str(error)) from error
