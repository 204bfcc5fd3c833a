"""Where the result goes: refused before any work if it cannot be right, complete or not at all.

A file is written under a hidden name in the folder of its target and takes the target's name only
when it is complete. Knows names and folders; what is in a file is `writer.py`'s and `images.py`'s.
"""

import os
from contextlib import suppress
from pathlib import Path

from lfdn_video.errors import OutputError


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
    hidden = target.with_name(f".{target.stem}.partial-{os.getpid()}{target.suffix}")
    try:
        hidden.open("wb").close()
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror}; choose another folder"
        ) from error
    return hidden


def publish(hidden: Path, target: Path, *, overwrite: bool) -> None:
    """Give the complete file its name, in one step and without replacing what appeared since."""
    try:
        if overwrite:
            hidden.replace(target)
        else:
            _rename_unless_exists(hidden, target)
    except FileExistsError as error:
        raise OutputError(f"{target}: appeared meanwhile; choose another name") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be put in place: {error.strerror}") from error


def discard(hidden: Path) -> None:
    """Remove what is not wanted any more; never an error."""
    with suppress(OSError):
        hidden.unlink(missing_ok=True)


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
