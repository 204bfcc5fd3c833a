"""Turns frames into full batches of tiles, and the results back into frames, in order.

    frames ─ upload ─▶ RGB ─▶ tiles ─▶ batches, across frames ─▶ network ─▶ residual tiles ─ merge
    the same number of frames, in order, with their pts ◀─ download ─ planes + residual ◀───┘

Everything between upload and download happens on the device. If frames are not split, a CPU
lane does all of a frame's work. Knows the device only as a `Runner`; tiles are in `tiles.py`,
planes and RGB in `colour.py`.

Memory fallback: a device that runs out of memory costs no frame. Unfinished
frames are kept as decoded. On a shortage, all that was computed of them is dropped, something is
reduced, and they are restored again. Reduced are, in this order: the batch, by half, down to one
tile; the tiles, by half, down to 128 px; then what the runner offers (`Runner.step_down`): half
precision, and the CPU.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lfdn_video.errors import DeviceMemoryError, OptionError
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.runner import Future, Runner, Steps
from lfdn_video.inference.tiles import ALIGNMENT_PX, Grid
from lfdn_video.media import Frame, FrameFormat, Plane
from lfdn_video.options import InferenceOptions, min_tile_px

MIN_FALLBACK_TILE_PX = 128
"""Smallest tile of the memory fallback; halving it again would save next to nothing."""

logger = logging.getLogger(__name__)


def restore_frames(
    frames: Iterable[Frame],
    converter: PlaneConverter,
    runner: Runner,
    options: InferenceOptions | None = None,
) -> Generator[Frame]:
    """Restore frames.

    Args:
        frames: the frames, in order. Their planes must not change until they are restored. A
            generator is closed at the end, or when this one is closed.
        converter: the stream's. Frames with an `info` of their own are converted by that instead.
        runner: runs the network; it stays open and must not be used elsewhere meanwhile.
        options: tiles and batch; device and precision are ignored here. None: the defaults.

    Yields:
        Restored frames in the same order, each with its pts, duration, name, format and size. The
        receiver owns the planes.

    Raises:
        DeviceMemoryError: the device's memory does not suffice, even after all reductions.
        OptionError: the tiles asked for are too small for their overlap.
        WeightsError: the network's output is not finite.
    """
    scheduler = _Scheduler(converter, runner, options or InferenceOptions())
    with closing(frames) if isinstance(frames, Generator) else nullcontext():
        for frame in frames:
            scheduler.submit_frame(frame)
            yield from scheduler.pop_finished(
                runner.max_batches_in_flight, runner.max_downloads_in_flight
            )
        scheduler.flush()
        yield from scheduler.pop_finished(0, 0)


def choose_grid(
    height: int,
    width: int,
    runner: Runner,
    options: InferenceOptions,
    *,
    max_tile_px: int | None = None,
) -> Grid:
    """Choose how frames of one size are split into tiles.

    Args:
        height: height of an upright frame in px.
        width: width of an upright frame in px.
        runner: chooses what fits the device, for `tile="auto"`.
        options: tile and overlap.
        max_tile_px: limit on the tile size that overrides the options; None: no limit.

    Returns:
        The grid; of a single tile where frames are not split.

    Raises:
        OptionError: the tiles would be too small for their overlap.
    """
    tile_px = runner.choose_tile_px(height, width) if options.tile == "auto" else options.tile
    if tile_px == "off":
        tile_px = None
    if max_tile_px is not None:
        tile_px = min(tile_px or max_tile_px, max_tile_px)
    if tile_px is None:
        return Grid.single_tile(height, width)
    try:
        return Grid(height, width, tile_px=tile_px, overlap_px=options.overlap_px)
    except ValueError as error:
        raise OptionError(str(error)) from error


class _FrameInFlight:
    """A frame on the device: its planes, its tiles, and the residuals so far."""

    def __init__(
        self, frame: Frame, converter: PlaneConverter, planes: tuple[Tensor, ...], grid: Grid
    ) -> None:
        self.frame = frame
        self.restored: tuple[Tensor, ...] | None = None
        """The restored planes on the device; None until all tiles are done."""
        self.converter = converter
        self.planes = planes
        self._grid = grid
        self._tiles: list[Tensor] = []
        self._residuals: dict[int, Tensor] = {}
        self._outstanding = list(range(len(grid)))

    def make_tiles(self) -> None:
        """Make all tiles now, in the caller's thread."""
        self._tiles = self._grid.split(self.converter.to_rgb(self.planes))

    def get_tile(self, number: int) -> Tensor:
        """Return a tile, upright RGB `[1, 3, H, W]`; the whole frame if it is not split."""
        return self._tiles[number] if self._tiles else self.converter.to_rgb(self.planes)

    def store_residual(self, number: int, residual: Tensor) -> None:
        """Keep a tile's residual; with the last one, merge them and restore the planes."""
        self._residuals[number] = residual
        # Lanes finish tiles in any order and concurrently. `pop` is atomic, so exactly one of them
        # gets the 0, and by then each has stored its residual: no lock is needed.
        if self._outstanding.pop() == 0:
            residuals = [self._residuals[each] for each in range(len(self._grid))]
            merged = self._grid.merge(residuals)
            self.restored = self.converter.add_residual(self.planes, merged)
            self._tiles = []
            self._residuals = {}


class _Tile(NamedTuple):
    """One of a frame's tiles, by its number in the grid."""

    frame: _FrameInFlight
    number: int


@dataclass(frozen=True, slots=True)
class _TileBatch:
    """Tiles of one size, of one frame or several; a `runner.Job`."""

    tiles: Sequence[_Tile]
    height: int
    width: int

    def make_batch(self) -> Tensor:
        tiles = [tile.frame.get_tile(tile.number) for tile in self.tiles]
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles)

    def consume(self, residual: Tensor, /) -> None:
        for row, tile in enumerate(self.tiles):
            tile.frame.store_residual(tile.number, residual[row : row + 1])


class _FrameBatch(_TileBatch):
    """Whole frames; a `runner.RecordableJob`."""

    def get_steps(self) -> Steps[None]:
        frames = [tile.frame for tile in self.tiles]
        converters = tuple(frame.converter for frame in frames)
        counts = [len(frame.planes) for frame in frames]

        def make_batch(planes: Sequence[Tensor]) -> Tensor:
            by_frame = zip(converters, _divide(planes, counts), strict=True)
            images = [converter.to_rgb(part) for converter, part in by_frame]
            return images[0] if len(images) == 1 else torch.cat(images)

        def restore(planes: Sequence[Tensor], residual: Tensor) -> tuple[Tensor, ...]:
            by_frame = zip(converters, _divide(planes, counts), residual[:, None], strict=True)
            restored = (converter.add_residual(part, row) for converter, part, row in by_frame)
            return tuple(plane for part in restored for plane in part)

        def deliver(restored: tuple[Tensor, ...]) -> None:
            for frame, part in zip(frames, _divide(restored, counts), strict=True):
                frame.restored = tuple(part)

        inputs = tuple(plane for frame in frames for plane in frame.planes)
        px = len(frames) * self.height * self.width
        return Steps(converters, px, inputs, make_batch, restore, deliver)


class _Scheduler:
    """Three queues: tiles waiting for a full batch, batches in flight, downloads in flight.

    All are first in, first out, and a frame's tiles stay together, so frames leave in order. Until
    its download starts, a frame is also kept as decoded, for the memory fallback.
    """

    def __init__(
        self, converter: PlaneConverter, runner: Runner, options: InferenceOptions
    ) -> None:
        self._converter = converter
        self._runner = runner
        self._options = options
        self._other: tuple[FrameFormat, PlaneConverter] | None = None
        self._grid: Grid | None = None
        self._batch_size = 1
        self._max_tile_px: int | None = None
        self._max_batch_size: int | None = None
        self._unfinished: deque[Frame] = deque()
        self._frames: deque[_FrameInFlight] = deque()
        self._tiles: deque[_Tile] = deque()
        self._batches: deque[Future[None]] = deque()
        self._downloads: deque[tuple[Frame, Future[tuple[Plane, ...]]]] = deque()

    def submit_frame(self, frame: Frame) -> None:
        """Upload a frame and submit the batches that it fills."""
        self._unfinished.append(frame)
        self._with_memory_fallback(lambda: self._upload(frame))

    def flush(self) -> None:
        """Submit the waiting tiles as a smaller batch."""
        self._with_memory_fallback(self._submit_waiting)

    def pop_finished(self, max_batches: int, max_downloads: int) -> Iterator[Frame]:
        """Yield restored frames until at most these numbers of each are left in flight."""
        self._with_memory_fallback(lambda: self._finish_batches(max_batches))
        while len(self._downloads) > max_downloads:
            frame, planes = self._downloads.popleft()
            yield replace(frame, planes=(*planes.result(), *_alpha(frame)))

    def _upload(self, frame: Frame) -> None:
        converter = self._get_converter(frame)
        planes = self._runner.upload(_without_alpha(frame))
        grid = self._choose_grid(*converter.upright_size(planes))
        in_flight = _FrameInFlight(frame, converter, planes, grid)
        self._frames.append(in_flight)
        if len(grid) > 1:
            with self._runner.compute_context():
                in_flight.make_tiles()
        self._tiles.extend(_Tile(in_flight, number) for number in range(len(grid)))
        while len(self._tiles) >= self._batch_size:
            self._submit(self._batch_size)

    def _get_converter(self, frame: Frame) -> PlaneConverter:
        """Return the stream's converter, or one of the frame's own format, kept for the next."""
        if frame.info is None:
            return self._converter
        if self._other is None or self._other[0] != frame.info:
            self._other = (frame.info, PlaneConverter(frame.info))
        return self._other[1]

    def _choose_grid(self, height: int, width: int) -> Grid:
        """Return the grid for frames of this size, and choose the batch with a new one."""
        grid = self._grid
        if grid is None or (grid.height, grid.width) != (height, width):
            self._submit_waiting()  # all tiles of a batch have one size
            self._grid = grid = choose_grid(
                height, width, self._runner, self._options, max_tile_px=self._max_tile_px
            )
            self._batch_size = self._choose_batch_size(grid)
            logger.info(
                "%d×%d px: tiles of %d×%d px, %d a frame, %d at a time",
                *(width, height, grid.tile_width, grid.tile_height, len(grid), self._batch_size),
            )
        return grid

    def _choose_batch_size(self, grid: Grid) -> int:
        if self._options.batch == "auto":
            wanted = self._runner.choose_batch(grid.tile_height, grid.tile_width)
        else:
            wanted = self._options.batch
        return min(wanted, self._max_batch_size or wanted)

    def _submit_waiting(self) -> None:
        if self._tiles:
            self._submit(len(self._tiles))

    def _submit(self, count: int) -> None:
        tiles = [self._tiles.popleft() for _ in range(count)]
        assert self._grid is not None
        kind = _FrameBatch if len(self._grid) == 1 else _TileBatch
        batch = kind(tiles, self._grid.tile_height, self._grid.tile_width)
        self._batches.append(self._runner.submit(batch))

    def _finish_batches(self, left: int) -> None:
        """Wait for batches, oldest first, until `left` are in flight."""
        while len(self._batches) > left:
            self._batches.popleft().result()
            self._download_finished()

    def _download_finished(self) -> None:
        """Start the downloads of frames whose tiles are all restored, oldest first."""
        while self._frames and (restored := self._frames[0].restored) is not None:
            download = self._runner.download(restored)
            self._downloads.append((self._frames.popleft().frame, download))
            self._unfinished.popleft()

    def _with_memory_fallback(self, work: Callable[[], None]) -> None:
        """Run `work`; while memory does not suffice, reduce something and restore again."""
        shortage = _run_and_catch_shortage(work)
        while shortage is not None:
            # Frees what they hold on the device. Downloads stay: their frames are restored.
            self._frames.clear()
            self._tiles.clear()
            self._batches.clear()
            how = self._reduce_memory(shortage)
            logger.warning("%s; continuing %s", shortage, how)
            shortage = _run_and_catch_shortage(self._restore_unfinished)

    def _restore_unfinished(self) -> None:
        """Restore one frame at a time; those that are finished leave `_unfinished`."""
        for frame in tuple(self._unfinished):
            # One at a time: the frames that were in flight together did not fit.
            self._upload(frame)
            self._finish_batches(0)
        self._submit_waiting()
        self._finish_batches(0)

    def _reduce_memory(self, shortage: str) -> str:
        """Reduce the batch, the tiles, or what the runner uses.

        Returns:
            How, in words that follow "continuing".

        Raises:
            DeviceMemoryError: nothing is left to reduce.
        """
        grid = self._grid
        self._grid = None  # chosen anew with the next frame
        if self._batch_size > 1:
            self._max_batch_size = self._batch_size = self._batch_size // 2
            return f"with at most {self._max_batch_size} tiles at a time"
        if grid is not None:
            half_px = max(grid.tile_height, grid.tile_width) // 2
            half_px -= half_px % -ALIGNMENT_PX  # up to the next multiple
            least_px = min_tile_px(self._options.overlap_px)
            if half_px >= max(MIN_FALLBACK_TILE_PX, least_px):
                self._max_tile_px = half_px
                return f"in tiles of at most {half_px} px"
        # The runner's step frees memory, so batch and tiles are chosen anew.
        self._max_tile_px = None
        self._max_batch_size = None
        if (how := self._runner.step_down()) is None:
            raise DeviceMemoryError(shortage)
        return how


def _run_and_catch_shortage(work: Callable[[], None]) -> str | None:
    """Run `work`; return the message of an out-of-memory error, or None."""
    try:
        work()
    except DeviceMemoryError as error:
        return error.what  # not the error: its traceback would keep everything on the device alive
    return None


def _divide(planes: Sequence[Tensor], counts: Sequence[int]) -> Iterator[Sequence[Tensor]]:
    """Divide planes into those of each frame."""
    start = 0
    for count in counts:
        yield planes[start : start + count]
        start += count


def _without_alpha(frame: Frame) -> Sequence[Plane]:
    return frame.planes[:-1] if frame.format.alpha else frame.planes


def _alpha(frame: Frame) -> tuple[Plane, ...]:
    return frame.planes[-1:] if frame.format.alpha else ()
