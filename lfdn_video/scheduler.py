"""Frames to full batches of tiles, and back to frames in order.

    frames -> upload -> RGB -> tiles ... batches across frames ... residual tiles -> merged ->
    added to the frame's own planes -> download -> frames, as many as came, same order, same pts

Everything between upload and download happens on the device. Knows the engine only as a `Runner`;
what a tile is stands in `tiles.py`, what planes are in `colour.py`.
"""

import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from lfdn_video.colour import PlaneConverter
from lfdn_video.errors import OptionError
from lfdn_video.media import Frame, Plane
from lfdn_video.options import InferenceOptions
from lfdn_video.tiles import Grid

T_co = TypeVar("T_co", covariant=True)

_log = logging.getLogger(__name__)


class Pending(Protocol[T_co]):
    """Something under way; `result()` waits for it. Asked once."""

    def result(self) -> T_co: ...


class Runner(Protocol):
    """What the scheduler asks of an engine. `engine.Engine` is one, and says more."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What its results depend on, to tell one run from another."""

    @property
    def lookahead(self) -> int:
        """How many batches, and frames, may be under way before the oldest is waited for."""

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        """Integer planes `[h, w]` on the device."""

    def residual(self, batch: Tensor) -> Pending[Tensor]:
        """`[B, 3, H, W]` in 0…1 to what the network changes in it, same shape, float32."""

    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Plane, ...]]:
        """Planes on their way back to arrays of their own."""

    def computing(self) -> AbstractContextManager[None]:
        """Entered around every work on tensors; never held across a `yield`."""

    def choose_tile_px(self, height: int, width: int) -> int | None:
        """The side of the tiles for a picture of that size; None: whole."""

    def choose_batch(self, height: int, width: int) -> int:
        """How many tiles of that size to run at a time."""

    def close(self) -> None:
        """Give up what is held. Called by who made the runner."""


def restore_frames(
    frames: Iterable[Frame],
    converter: PlaneConverter,
    runner: Runner,
    options: InferenceOptions | None = None,
) -> Generator[Frame]:
    """Each of `frames` restored: same order, pts, format and size. Closes `frames` at the end.

    `converter` is the stream's; a frame with an `info` of its own gets one of its own. A frame of
    another size or format than the one before starts a new grid. Errors of the engine pass through.
    """
    schedule = _Schedule(converter, runner, options or InferenceOptions())
    with closing(frames) if isinstance(frames, Generator) else nullcontext():
        for frame in frames:
            schedule.add(frame)
            yield from schedule.ready(runner.lookahead)
        schedule.flush()
        yield from schedule.ready(0)


@dataclass(slots=True, eq=False)
class _Job:
    """One frame on its way: its planes on the device, and its residual, tile by tile."""

    frame: Frame
    converter: PlaneConverter
    planes: tuple[Tensor, ...]
    grid: Grid
    residuals: list[Tensor] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return len(self.residuals) == len(self.grid)


@dataclass(slots=True, eq=False)
class _Batch:
    """Tiles under way, and whose they are, in order."""

    jobs: list[_Job]
    residual: Pending[Tensor]


class _Schedule:
    """Three queues: tiles that wait for a full batch, batches under way, frames on their way back.

    All are first in, first out, and a frame's tiles stay together, so frames leave in order.
    """

    def __init__(
        self, converter: PlaneConverter, runner: Runner, options: InferenceOptions
    ) -> None:
        self._converter, self._runner, self._options = converter, runner, options
        self._grid: Grid | None = None
        self._batch_size = 1
        self._tiles: deque[tuple[_Job, Tensor]] = deque()
        self._batches: deque[_Batch] = deque()
        self._returning: deque[tuple[Frame, Pending[tuple[Plane, ...]]]] = deque()

    def add(self, frame: Frame) -> None:
        """Upload a frame and run the batches that are full with it."""
        converter = self._converter if frame.info is None else PlaneConverter(frame.info)
        planes = self._runner.upload(_without_alpha(frame))
        with self._runner.computing():
            rgb = converter.to_rgb(planes)
        grid = self._grid_for(rgb.shape[2], rgb.shape[3])
        job = _Job(frame, converter, planes, grid)
        self._tiles.extend((job, tile) for tile in grid.split(rgb))
        while len(self._tiles) >= self._batch_size:
            self._run(self._batch_size)

    def flush(self) -> None:
        """Run what waits, as a smaller batch."""
        if self._tiles:
            self._run(len(self._tiles))

    def ready(self, lookahead: int) -> Iterator[Frame]:
        """The frames that are done, but for `lookahead` batches and frames left under way."""
        while len(self._batches) > lookahead:
            self._finish(self._batches.popleft())
        while len(self._returning) > lookahead:
            frame, planes = self._returning.popleft()
            yield replace(frame, planes=(*planes.result(), *_alpha(frame)))

    def _grid_for(self, height: int, width: int) -> Grid:
        grid = self._grid
        if grid is None or (grid.height, grid.width) != (height, width):
            self.flush()  # a batch has tiles of one size
            self._grid = grid = choose_grid(height, width, self._runner, self._options)
            chosen = self._options.batch
            self._batch_size = (
                self._runner.choose_batch(grid.tile_height, grid.tile_width)
                if chosen == "auto"
                else chosen
            )
            _log.info(
                "%d×%d px: tiles of %d×%d px, %d a frame, %d at a time",
                *(width, height, grid.tile_width, grid.tile_height, len(grid), self._batch_size),
            )
        return grid

    def _run(self, count: int) -> None:
        taken = [self._tiles.popleft() for _ in range(count)]
        with self._runner.computing():
            batch = taken[0][1] if count == 1 else torch.cat([tile for _, tile in taken])
        self._batches.append(_Batch([job for job, _ in taken], self._runner.residual(batch)))

    def _finish(self, batch: _Batch) -> None:
        residual = batch.residual.result()
        for index, job in enumerate(batch.jobs):
            job.residuals.append(residual[index : index + 1])
            if job.complete:
                with self._runner.computing():
                    whole = job.grid.merge(job.residuals)
                    planes = job.converter.add_residual(job.planes, whole)
                self._returning.append((job.frame, self._runner.download(planes)))


def choose_grid(height: int, width: int, runner: Runner, options: InferenceOptions) -> Grid:
    """The grid that `options` ask for, for a picture of that size; OptionError if it cannot be."""
    tile_px = runner.choose_tile_px(height, width) if options.tile == "auto" else options.tile
    if tile_px is None or tile_px == "off":
        return Grid.whole(height, width)
    try:
        return Grid(height, width, tile_px=tile_px, overlap_px=options.overlap_px)
    except ValueError as error:
        raise OptionError(str(error)) from error


def _without_alpha(frame: Frame) -> Sequence[Plane]:
    return frame.planes[:-1] if frame.format.alpha else frame.planes


def _alpha(frame: Frame) -> tuple[Plane, ...]:
    return frame.planes[-1:] if frame.format.alpha else ()
