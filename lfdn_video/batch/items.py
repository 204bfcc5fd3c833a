"""Which files a batch restores, and the target of each.

    a folder          all videos and images below it; the tree is kept
    a pattern         'card/**/*.mp4': the tree below the first wildcard is kept
    a file            its target is in the target folder itself
    a line of a list  as a file; folders of a relative path are kept

A folder that holds images numbered without gaps is one sequence, as it is for a single run; other
images are restored one by one. Hidden files and folders are left out, and so is the target folder.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

from lfdn_video.errors import InputError, OptionError, OutputError
from lfdn_video.image_files import ENCODERS, are_numbered, is_image_file, natural_key

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "m2t", "m2ts", "m2v", "m4v"),
        *("mkv", "mod", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "ogm", "ogv", "ts"),
        *("vob", "webm", "wmv"),
    )
)
"""Suffixes of the files that are looked for in folders, in lower case."""

MOST_SUFFIXES = 5
"""Suffixes that a note on files left out names."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file to restore, or a folder of numbered images."""

    source: Path
    """The file, or the folder."""
    key: str
    """Path of the target in the target folder, with slashes."""


@dataclass(slots=True)
class Found:
    """What was found for some sources."""

    items: list[Item] = field(default_factory=list)
    """In the order in which they are restored; no two have the same source."""
    notes: list[str] = field(default_factory=list)
    """What a user may not expect, one line each."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of the files that are neither videos nor images, by suffix."""


class Template:
    """The name of a target, made from that of its source.

    Args:
        text: a file name with the fields `{stem}`, `{ext}`, without its dot, and `{task}`. A folder
            of numbered images keeps its name.

    Raises:
        OptionError: a field is unknown, `{stem}` is missing, or the name has folders.
    """

    def __init__(self, text: str, task: str) -> None:
        self._text = text
        self._task = task
        unknown = re.sub(r"\{(stem|ext|task)\}", "", text)
        if "{" in unknown or "}" in unknown:
            raise OptionError(
                f"name: {text!r} may only have the fields {{stem}}, {{ext}}, {{task}}"
            )
        if "{stem}" not in text:
            raise OptionError(f"name: {text!r} lacks {{stem}}; all targets would have one name")
        if "/" in text or "\\" in text or text.startswith("."):
            raise OptionError(f"name: {text!r} is not the name of a visible file; folders are kept")

    def apply(self, name: str) -> str:
        """Return the target's name for the name of a source."""
        path = PurePosixPath(name)
        values = {"stem": path.stem, "ext": path.suffix[1:], "task": self._task}
        filled = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], self._text)
        return filled if path.suffix else filled.rstrip(".")


def is_batch_source(source: str) -> bool:
    """Tell whether a single source stands for several files, rather than for one sequence.

    Args:
        source: a folder, a file or a pattern.

    Returns:
        True for a folder that holds no images directly or a video at any depth, and for a pattern
        with wildcards that does not name images.
    """
    path = Path(source)
    if path.is_dir():
        has_images = any(is_image_file(file) for file in path.iterdir())
        return not has_images or any(_is_video(file) for file in _walk_files(path))
    return has_magic(source) and not path.exists() and path.suffix.lower() not in ENCODERS


def check_folder(folder: Path, sources: Sequence[str]) -> None:
    """Check a target folder before anything is made.

    Raises:
        OutputError: it is a file, or one of the source folders.
        OptionError: it is named like a file, and does not exist.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; several files need a folder")
    if not folder.exists() and folder.suffix.lower() in VIDEO_SUFFIXES | set(ENCODERS):
        raise OptionError(
            f"output: {folder} is named like a file; several files need a folder, and a sequence "
            "of images its pattern in quotes"
        )
    for source in sources:
        if Path(source).is_dir() and os.path.realpath(source) == os.path.realpath(folder):
            raise OutputError(f"{folder}: is the source folder itself; choose another folder")


def find_items(
    sources: Sequence[str], listed: Iterable[str], folder: Path, template: Template
) -> Found:
    """Find every file that some sources stand for.

    Args:
        sources: folders, files and patterns. Several folders keep their own names in the target
            folder; a single one does not.
        listed: paths of files.
        folder: the target folder.
        template: the names of the targets.

    Returns:
        The items, sorted within each source. A file that does not exist is an item, too, so that
        it is told when its turn comes.
    """
    found = Found()
    skipped = os.path.realpath(folder)
    several = len(sources) > 1
    pairs: list[tuple[Path, PurePosixPath]] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            name = PurePosixPath(path.resolve().name if several else ".")
            pairs += _walk(path, name, skipped, found)
        elif has_magic(source) and not path.exists():
            pairs += _match(source, skipped)
        else:
            pairs.append((path, PurePosixPath(path.name)))
    for line in listed:
        path = Path(line)
        kept = not path.is_absolute() and ".." not in path.parts
        pairs.append((path, PurePosixPath(path.as_posix() if kept else path.name)))
    known: set[str] = set()
    for path, relative in pairs:
        if (place := os.path.realpath(path)) not in known:
            known.add(place)
            renamed = relative if path.is_dir() else _rename(relative, template)
            found.items.append(Item(path, str(renamed)))
    if found.left_out:
        found.notes.append(_describe_left_out(found.left_out))
    return found


def read_list(text: str, name: str) -> list[str]:
    """Read a list of files: one a line, or separated by NUL as `find -print0` does.

    Raises:
        InputError: it names no file.
    """
    lines = text.split("\0") if "\0" in text else text.splitlines()
    paths = [line for line in lines if line.strip()]
    if not paths:
        raise InputError(f"{name}: the list is empty; write one file a line")
    return paths


def list_images(folder: Path) -> list[Path]:
    """List the images that a folder holds directly, in natural order."""
    return sorted((file for file in folder.iterdir() if is_image_file(file)), key=natural_key)


def _rename(relative: PurePosixPath, template: Template) -> PurePosixPath:
    return relative.with_name(template.apply(relative.name)) if relative.name else relative


def _walk(
    folder: Path, root: PurePosixPath, skipped: str, found: Found
) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield the items of a folder and those below it, with their paths from the root."""
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if _is_wanted(here / name, skipped))
        relative = root / here.relative_to(folder).as_posix()
        files = sorted((here / name for name in names if not name.startswith(".")), key=natural_key)
        images = [file for file in files if is_image_file(file)]
        videos = [file for file in files if _is_video(file)]
        found.left_out.update(
            file.suffix.lower() or "no suffix" for file in set(files) - {*images, *videos}
        )
        if are_numbered(images):
            # The root's own images need a folder in the target folder as well.
            name = relative if relative.name else PurePosixPath(here.resolve().name)
            if videos:
                found.notes.append(
                    f"{here}: holds videos and {len(images)} numbered images, which are taken as "
                    "one sequence; move them apart if they are none"
                )
            yield here, name
            images = []
        for file in sorted([*images, *videos], key=natural_key):
            yield file, relative / file.name


def _match(pattern: str, skipped: str) -> Iterator[tuple[Path, PurePosixPath]]:
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if has_magic(part))
    root = Path(*parts[:fixed])
    # A pattern that names a suffix means it, known or not.
    any_suffix = bool(Path(pattern).suffix) and not has_magic(Path(pattern).suffix)
    matches = [Path(name) for name in glob(pattern, recursive=True)]  # noqa: PTH207 (leaves out hidden files)
    files = [
        file
        for file in sorted(matches, key=lambda file: [natural_key(Path(p)) for p in file.parts])
        if file.is_file() and (any_suffix or _is_video(file) or is_image_file(file))
    ]
    for file in files:
        if not os.path.realpath(file).startswith(skipped + os.sep):
            yield file, PurePosixPath(file.relative_to(root).as_posix())
    if not files:
        yield Path(pattern), PurePosixPath(Path(pattern).name)  # told when its turn comes


def _walk_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _is_wanted(folder: Path, skipped: str) -> bool:
    # A folder cannot be seen twice: os.walk follows no links.
    return not folder.name.startswith(".") and os.path.realpath(folder) != skipped


def _is_video(file: Path) -> bool:
    named = file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
    return named and file.is_file()  # reading a pipe would wait for ever


def _describe_left_out(left_out: Counter[str]) -> str:
    count = sum(left_out.values())
    named = [suffix for suffix, _ in left_out.most_common(MOST_SUFFIXES)]
    more = ", …" if len(left_out) > MOST_SUFFIXES else ""
    files = "1 other file is" if count == 1 else f"{count} other files are"
    return f"{files} left out ({', '.join(named)}{more})"
