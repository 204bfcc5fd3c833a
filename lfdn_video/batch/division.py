"""`Division`: long videos are done in parts by a pool, and joined here.

    job ─ a worker divides it ─▶ parts ─ pool ─▶ segments ─ join ─▶ target

Whoever gives the jobs sees whole files. A video that a worker does not divide is restored by it at
once. If parts cannot be restored as such, as of a corrupt file, the file is restored as a whole.
"""

import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic

from lfdn_video.batch.join import (
    has_unfinished,
    join,
    part_target,
    parts_folder,
    remove_parts,
)
from lfdn_video.batch.messages import Divided, Failed, Finished, Job, Progressed, Warned
from lfdn_video.batch.pool import Pool, Tag
from lfdn_video.batch.values import Recipe
from lfdn_video.errors import LfdnVideoError
from lfdn_video.parts import Part
from lfdn_video.pipeline import Summary
from lfdn_video.progress import Progress, Stage

FINAL = ("OutputError", "Lost", "Stopped")
"""Errors of a part that would meet the whole file, too."""


@dataclass(slots=True, eq=False)
class _File(Generic[Tag]):
    """A job that was given and has not ended."""

    job: Job
    tag: Tag
    start_s: float = field(default_factory=time.perf_counter)
    parts: tuple[Part, ...] = ()
    pieces: int = 0
    """Number of its pieces that the pool has."""
    done: dict[int, int] = field(default_factory=dict)
    """Frames done of each part, by number."""
    summaries: dict[int, Summary] = field(default_factory=dict)
    failure: Failed | None = None
    """Why the first part failed that did."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece(Generic[Tag]):
    """What the pool does: a file, or a part of it."""

    file: _File[Tag]
    part: Part | None


class Division(Pool[Tag]):
    """A pool of whole files over a pool of files and parts.

    Args:
        pool: does the work; entered and left with this.
        recipe: how files are restored.
    """

    def __init__(self, pool: Pool[Piece[Tag]], recipe: Recipe) -> None:
        self._pool = pool
        self._recipe = recipe
        self._files: list[_File[Tag]] = []
        self._waiting: deque[Piece[Tag]] = deque()

    def __enter__(self) -> "Division[Tag]":
        self._pool.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

    @property
    def busy(self) -> int:
        """Number of files that have been given and have not ended."""
        return len(self._files)

    @property
    def free(self) -> int:
        """Number of files that can be given now; parts of earlier ones go first."""
        return max(0, self._pool.free - len(self._waiting))

    def give(self, job: Job, tag: Tag) -> None:
        """Give a file; see `Pool.give`."""
        file = _File(job, tag)
        self._files.append(file)
        is_begun = has_unfinished(Path(job.target))
        self._hand_over(Piece(file, None), replace(job, divide=not is_begun))

    def wait(self, timeout_s: float) -> tuple[Tag, Any] | None:
        """Wait for the next message about a file; see `Pool.wait`. Joins what is complete."""
        while self._waiting and self._pool.free:
            piece = self._waiting.popleft()
            self._hand_over(piece, _make_job(piece))
        if (found := self._pool.wait(timeout_s)) is None:
            return None
        piece, message = found
        file = piece.file
        if isinstance(message, Warned):
            # A part's are in its summary, and name its own target.
            return (file.tag, message) if piece.part is None else None
        if isinstance(message, Progressed):
            return file.tag, self._note_progress(piece, message.progress)
        file.pieces -= 1
        if isinstance(message, Divided):
            return self._divide(file, message.parts)
        if piece.part is None:
            remove_parts(Path(file.job.target))
            return self._end(file, message)
        return self._end_part(file, piece.part, message)

    def _hand_over(self, piece: Piece[Tag], job: Job) -> None:
        piece.file.pieces += 1
        self._pool.give(job, piece)

    def _divide(self, file: _File[Tag], parts: tuple[Part, ...]) -> tuple[Tag, Any] | None:
        folder = parts_folder(Path(file.job.target))
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            text = f"{folder}: cannot be written: {error.strerror}; choose another folder"
            return self._end(file, Failed("OutputError", text))
        file.parts = parts
        self._waiting.extend(Piece(file, part) for part in parts)
        return None

    def _end_part(
        self, file: _File[Tag], part: Part, message: Finished | Failed
    ) -> tuple[Tag, Any] | None:
        if isinstance(message, Finished):
            file.summaries[part.number] = message.summary
            file.done[part.number] = len(part.pts)
            if len(file.summaries) == len(file.parts):
                return self._end(file, self._join(file))
        elif file.failure is None:
            file.failure = message
            left = [piece for piece in self._waiting if piece.file is not file]
            self._waiting = deque(left)
        if file.failure is None and isinstance(message, Finished):
            return file.tag, Progressed(_progress(file, message.summary.bottleneck))
        if file.failure is None or file.pieces:
            return None
        if file.failure.kind in FINAL:
            return self._end(file, file.failure)
        remove_parts(Path(file.job.target))
        file.parts, file.failure = (), None
        self._waiting.appendleft(Piece(file, None))
        return None

    def _join(self, file: _File[Tag]) -> Finished | Failed:
        summaries = [file.summaries[part.number] for part in file.parts]
        try:
            summary = join(file.job, self._recipe, file.parts, summaries)
        except LfdnVideoError as error:
            return Failed(type(error).__name__, str(error))
        return Finished(replace(summary, seconds=time.perf_counter() - file.start_s))

    def _end(self, file: _File[Tag], message: Finished | Failed) -> tuple[Tag, Any]:
        self._files.remove(file)
        return file.tag, message

    def _note_progress(self, piece: Piece[Tag], progress: Progress) -> Progressed:
        if piece.part is None:
            return Progressed(progress)
        piece.file.done[piece.part.number] = min(progress.frames_done, len(piece.part.pts))
        whole = _progress(piece.file, progress.bottleneck)
        device, precision, size = progress.device, progress.precision, progress.size
        return Progressed(replace(whole, device=device, precision=precision, size=size))


def _make_job(piece: Piece[Any]) -> Job:
    job = piece.file.job
    if piece.part is None:
        return job
    return replace(job, target=str(part_target(Path(job.target), piece.part)), part=piece.part)


def _progress(file: _File[Any], bottleneck: Stage) -> Progress:
    done = sum(file.done.values())
    elapsed_s = time.perf_counter() - file.start_s
    return Progress(
        frames_done=done,
        frames_total=sum(len(part.pts) for part in file.parts),
        elapsed_s=elapsed_s,
        fps=done / elapsed_s if elapsed_s > 0 else 0.0,
        eta_s=None,
        bottleneck=bottleneck,
        resumable=True,
    )
