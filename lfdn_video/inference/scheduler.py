"""Frames to full batches of tiles, and back to frames in order.

    frames -> upload -> RGB -> tiles ... batches across frames ... residual tiles -> merged ->
    added to the frame's own planes -> download -> frames, as many as came, same order, same pts

Everything between upload and download happens on the device, and from RGB to the frame's own planes
in one go where the device is a CPU and the frame a single tile: in the thread whose caches have it.
Knows the engine only as a `Runner`; what a tile is stands in `tiles.py`, what planes are in
`colour.py`.

A device that runs out of memory costs no frame. Those that are not finished are kept as they were
decoded; whatever was made of them is dropped, something is given up, and they are done again: half
as many tiles at a time, down to one; tiles half as large, down to 128 px; then what the runner can
give up, which is precision, and the device itself.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from lfdn_video.errors import DeviceMemoryError, OptionError
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.tiles import ALIGNMENT_PX, Grid
from lfdn_video.media import Frame, Plane
from lfdn_video.options import InferenceOptions, smallest_tile_px

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SMALLEST_SPARING_TILE_PX = 128
"""Tiles are not halved below this to save memory; it would save next to nothing."""

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
        """How many batches may be under way before the oldest is waited for."""

    @property
    def returning(self) -> int:
        """How many frames may be on their way back before the oldest is waited for."""

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        """Integer planes `[h, w]` on the device."""

    def run(
        self, batch: Callable[[], Tensor], then: Callable[[Tensor], T], *, height: int, width: int
    ) -> Pending[T]:
        """`then` of what the network changes in `batch()`.

        That is `[B, 3, height, width]` in 0…1, what changes has the same shape, and is float32.
        Both are called once, within `computing()`, in any thread, one after the other.
        """

    def download(self, planes: tuple[Tensor, ...]) -> Pending[tuple[Plane, ...]]:
        """Planes on their way back to arrays of their own."""

    def computing(self) -> AbstractContextManager[None]:
        """Entered around every work on tensors; never held across a `yield`."""

    def choose_tile_px(self, height: int, width: int) -> int | None:
        """The side of the tiles for a picture of that size; None: whole."""

    def choose_batch(self, height: int, width: int) -> int:
        """How many tiles of that size to run at a time."""

    def step_down(self) -> str | None:
        """Need less memory from now on. Says how, as in "on the CPU"; None if it cannot."""

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
            yield from schedule.ready(runner.lookahead, runner.returning)
        schedule.flush()
        yield from schedule.ready(0, 0)


class _Job:
    """One frame on its way: its planes on the device, and what becomes of them."""

    def __init__(
        self, frame: Frame, converter: PlaneConverter, planes: tuple[Tensor, ...], grid: Grid
    ) -> None:
        self.frame = frame
        self.changed: tuple[Tensor, ...] | None = None
        """The planes, once all tiles are there."""
        self._converter, self._planes, self._grid = converter, planes, grid
        self._tiles: list[Tensor] = []
        self._residuals: dict[int, Tensor] = {}
        self._to_come = list(range(len(grid)))
        """How many tiles behind each. Taken from the end, which is atomic: no lock is needed."""

    def cut(self) -> None:
        """Make all tiles now."""
        self._tiles = self._grid.split(self._converter.to_rgb(self._planes))

    def tile(self, number: int) -> Tensor:
        """Upright RGB `[1, 3, H, W]`; made now, by the thread that works on it, unless cut."""
        return self._tiles[number] if self._tiles else self._converter.to_rgb(self._planes)

    def arrive(self, number: int, residual: Tensor) -> None:
        """What the network changes in a tile. Whoever brings the last one puts them together."""
        self._residuals[number] = residual
        if self._to_come.pop() == 0:
            tiles = [self._residuals[index] for index in range(len(self._grid))]
            self.changed = self._converter.add_residual(self._planes, self._grid.merge(tiles))
            self._tiles, self._residuals = [], {}


class _Tile(NamedTuple):
    """One of a frame's tiles."""

    job: _Job
    number: int


class _Schedule:
    """Three queues: tiles that wait for a full batch, batches under way, frames on their way back.

    All are first in, first out, and a frame's tiles stay together, so frames leave in order.
    Until a frame is on its way back, it is also kept as it came, to be done again.
    """

    def __init__(
        self, converter: PlaneConverter, runner: Runner, options: InferenceOptions
    ) -> None:
        self._converter, self._runner, self._options = converter, runner, options
        self._grid: Grid | None = None
        self._batch_size = 1
        self._tile_limit_px: int | None = None
        self._batch_limit: int | None = None
        self._unfinished: deque[Frame] = deque()
        self._jobs: deque[_Job] = deque()
        self._tiles: deque[_Tile] = deque()
        self._batches: deque[Pending[None]] = deque()
        self._returning: deque[tuple[Frame, Pending[tuple[Plane, ...]]]] = deque()

    def add(self, frame: Frame) -> None:
        """Upload a frame and run the batches that are full with it."""
        self._unfinished.append(frame)
        self._sparing(lambda: self._start(frame))

    def flush(self) -> None:
        """Run what waits, as a smaller batch."""
        self._sparing(self._run_rest)

    def ready(self, lookahead: int, returning: int) -> Iterator[Frame]:
        """The frames that are done; so many batches and frames are left under way."""
        self._sparing(lambda: self._finish_all_but(lookahead))
        while len(self._returning) > returning:
            frame, planes = self._returning.popleft()
            yield replace(frame, planes=(*planes.result(), *_alpha(frame)))

    def _sparing(self, work: Callable[[], None]) -> None:
        """Do it; where memory does not suffice, with less and less of it."""
        what = _out_of_memory(work)
        while what is not None:
            self._jobs.clear()
            self._tiles.clear()
            self._batches.clear()
            _log.warning("%s; going on %s", what, self._give_up(what))
            what = _out_of_memory(self._redo)

    def _redo(self) -> None:
        """One frame at a time; `_finish` takes from those that are unfinished."""
        for frame in tuple(self._unfinished):
            self._start(frame)
            self._finish_all_but(0)
        self._run_rest()
        self._finish_all_but(0)

    def _give_up(self, what: str) -> str:
        """Something that takes memory; says how it goes on. DeviceMemoryError if none is left."""
        grid, self._grid = self._grid, None
        if self._batch_size > 1:
            self._batch_limit = self._batch_size = self._batch_size // 2
            return f"with at most {self._batch_limit} tiles at a time"
        if grid is not None:
            half_px = max(grid.tile_height, grid.tile_width) // 2
            half_px -= half_px % -ALIGNMENT_PX  # up to the next multiple
            least_px = smallest_tile_px(self._options.overlap_px)
            if half_px >= max(SMALLEST_SPARING_TILE_PX, least_px):
                self._tile_limit_px = half_px
                return f"in tiles of at most {half_px} px"
        self._tile_limit_px = self._batch_limit = None
        if (stepped := self._runner.step_down()) is None:
            raise DeviceMemoryError(what)
        return stepped

    def _start(self, frame: Frame) -> None:
        converter = self._converter if frame.info is None else PlaneConverter(frame.info)
        planes = self._runner.upload(_without_alpha(frame))
        grid = self._grid_for(*converter.upright_size(planes))
        job = _Job(frame, converter, planes, grid)
        self._jobs.append(job)
        if len(grid) > 1:
            with self._runner.computing():
                job.cut()
        self._tiles.extend(_Tile(job, number) for number in range(len(grid)))
        while len(self._tiles) >= self._batch_size:
            self._run(self._batch_size)

    def _run_rest(self) -> None:
        if self._tiles:
            self._run(len(self._tiles))

    def _finish_all_but(self, lookahead: int) -> None:
        while len(self._batches) > lookahead:
            self._finish(self._batches.popleft())

    def _grid_for(self, height: int, width: int) -> Grid:
        grid = self._grid
        if grid is None or (grid.height, grid.width) != (height, width):
            self._run_rest()  # a batch has tiles of one size
            self._grid = grid = choose_grid(
                height, width, self._runner, self._options, limit_px=self._tile_limit_px
            )
            chosen = self._options.batch
            wanted = (
                self._runner.choose_batch(grid.tile_height, grid.tile_width)
                if chosen == "auto"
                else chosen
            )
            self._batch_size = min(wanted, self._batch_limit or wanted)
            _log.info(
                "%d×%d px: tiles of %d×%d px, %d a frame, %d at a time",
                *(width, height, grid.tile_width, grid.tile_height, len(grid), self._batch_size),
            )
        return grid

    def _run(self, count: int) -> None:
        tiles = [self._tiles.popleft() for _ in range(count)]
        assert self._grid is not None
        self._batches.append(
            self._runner.run(
                partial(_batch_of, tiles),
                partial(_hand_out, tiles),
                height=self._grid.tile_height,
                width=self._grid.tile_width,
            )
        )

    def _finish(self, batch: Pending[None]) -> None:
        batch.result()
        while self._jobs and (changed := self._jobs[0].changed) is not None:
            self._returning.append((self._jobs[0].frame, self._runner.download(changed)))
            self._jobs.popleft()
            self._unfinished.popleft()


def _batch_of(tiles: Sequence[_Tile]) -> Tensor:
    pictures = [tile.job.tile(tile.number) for tile in tiles]
    return pictures[0] if len(pictures) == 1 else torch.cat(pictures)


def _hand_out(tiles: Sequence[_Tile], residuals: Tensor) -> None:
    for place, tile in enumerate(tiles):
        tile.job.arrive(tile.number, residuals[place : place + 1])


def choose_grid(
    height: int,
    width: int,
    runner: Runner,
    options: InferenceOptions,
    *,
    limit_px: int | None = None,
) -> Grid:
    """The grid that `options` ask for, for a picture of that size; OptionError if it cannot be.

    `limit_px`: no tile is to be larger, whatever the options say.
    """
    tile_px = runner.choose_tile_px(height, width) if options.tile == "auto" else options.tile
    if tile_px == "off":
        tile_px = None
    if limit_px is not None:
        tile_px = min(tile_px or limit_px, limit_px)
    if tile_px is None:
        return Grid.whole(height, width)
    try:
        return Grid(height, width, tile_px=tile_px, overlap_px=options.overlap_px)
    except ValueError as error:
        raise OptionError(str(error)) from error


def _out_of_memory(work: Callable[[], None]) -> str | None:
    """Do it; what there was no memory for, if so."""
    try:
        work()
    except DeviceMemoryError as error:
        return error.what  # the error itself would keep all that was on the device
    return None


def _without_alpha(frame: Frame) -> Sequence[Plane]:
    return frame.planes[:-1] if frame.format.alpha else frame.planes


def _alpha(frame: Frame) -> tuple[Plane, ...]:
    return frame.planes[-1:] if frame.format.alpha else ()
