"""Messages between a batch and its workers; `lfdn_video/child.py` sends them."""

from dataclasses import dataclass

from lfdn_video.batch.values import Recipe
from lfdn_video.parts import Part
from lfdn_video.pipeline import Summary
from lfdn_video.progress import Progress


@dataclass(frozen=True, slots=True)
class Setup:
    """First message to a worker."""

    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Job:
    """Message to a worker: restore this."""

    source: str
    target: str
    overwrite: bool
    resume: bool
    divide: bool = False
    """If it is a long video, divide it instead."""
    part: Part | None = None
    """Restore this part alone."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Message of a worker: the network is loaded."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Message of a worker: the network cannot be loaded, so no file can be restored."""

    kind: str
    """Name of the error's class in `errors`."""
    message: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """Message of a worker: the state of its job."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Warned:
    """Message of a worker: a line of its log."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Message of a worker: its job is done."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class Divided:
    """Message of a worker: its job is to be done in parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Message of a worker: its job failed."""

    kind: str
    """Name of the error's class."""
    message: str
