"""What is left to do for an item, from what the manifest and the disk say of it.

never seen                        restore
started, and the target is there  finished, though the run was killed before it could say so
started                           restore, resuming
restored, same source and recipe  nothing
restored, another of them         refuse, unless overwriting is allowed
failed                            tell again; restore if asked to, or if anything has changed
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lfdn_video.batch.items import Item, list_images
from lfdn_video.batch.manifest import Entry, find_place, fingerprint, is_same_source

PASSING = ("OutputError", "Stopped")
"""Errors that say nothing about the source: the next run tries again without being asked."""


@dataclass(frozen=True, slots=True)
class Restore:
    """The item has to be restored."""

    entry: Entry
    """What the manifest is to say before that."""
    overwrite: bool
    """Replace an existing target."""
    resume: bool
    """Continue what an interrupted run left."""


@dataclass(frozen=True, slots=True)
class Skip:
    """An earlier run finished the item."""

    entry: Entry
    """What the manifest is to say; it may say so already."""


@dataclass(frozen=True, slots=True)
class Tell:
    """The item is not restored, and the user is told why."""

    message: str
    """One line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for."""

    made_with: Mapping[str, Any]
    """The recipe, as `Recipe.describe` gives it."""
    overwrite: bool = False
    """Replace targets that were made in another way."""
    retry: bool = False
    """Try again what failed in an earlier run."""


def decide(item: Item, target: Path, known: Entry | None, wishes: Wishes) -> Restore | Skip | Tell:
    """Decide what to do with an item.

    Args:
        item: the item.
        target: its target.
        known: what the manifest says of the target; None: nothing.
        wishes: what the user asked for.

    Returns:
        The decision.
    """
    if item.source.exists() and not (item.source.is_file() or item.source.is_dir()):
        return Tell(f"{item.source}: is a device or a pipe; give a file")
    try:
        same_source = known is not None and is_same_source(item.source, known.fingerprint)
        found = known.fingerprint if known and same_source else fingerprint(item.source)
    except FileNotFoundError:
        return Tell(f"{item.source}: no such file; check the name")
    except OSError as error:
        return Tell(f"{item.source}: cannot be read: {error.strerror}; check its permissions")
    new = Entry(
        target=item.key,
        source=str(item.source),
        state="started",
        fingerprint=found,
        made_with=dict(wishes.made_with),
        replaces=find_place(target),
    )
    if known is None:
        return Restore(new, overwrite=wishes.overwrite, resume=True)
    known = _find_out_end(item, target, known)
    changes = _list_changes(known, wishes) if same_source else ["source"]
    if known.state == "restored" and target.exists():
        if not changes:
            return Skip(known)
        if not wishes.overwrite:
            return Tell(
                f"{target}: was made from another {changes[0]}; choose another folder or allow "
                "overwriting"
                if changes[0] == "source"
                else f"{target}: was made with another {changes[0]}; choose another folder or "
                "allow overwriting"
            )
    if known.state == "failed" and not changes and not wishes.retry and known.kind not in PASSING:
        return Tell(known.message)
    # What is half done in another way is of no use; no target is lost by dropping it.
    overwrite = wishes.overwrite or (bool(changes) and not target.exists())
    if known.state == "started" and item.source.is_dir() and not changes:
        overwrite = True  # images were being renamed into place one by one
    return Restore(new, overwrite=overwrite, resume=not changes)


def _find_out_end(item: Item, target: Path, known: Entry) -> Entry:
    """Find out whether a run that was killed had put its target in place."""
    if known.state != "started" or not target.exists():
        return known
    if item.source.is_dir():
        complete = len(list_images(target)) >= len(list_images(item.source))
    else:
        # Targets are renamed into place when they are complete, so a new one is complete.
        complete = find_place(target) != known.replaces
    return replace(known, state="restored") if complete else known


def _list_changes(known: Entry, wishes: Wishes) -> list[str]:
    """List the names of what was different when an entry was made."""
    now, before = wishes.made_with, known.made_with
    names = sorted(now.keys() | before.keys(), key=lambda name: (name != "task", name))
    return [name.replace("_", " ") for name in names if now.get(name) != before.get(name)]
