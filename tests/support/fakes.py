"""Fakes: simple networks, and a runner that records its calls."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from lfdn_video.errors import DeviceMemoryError
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.runner import DeferredFuture, Job
from lfdn_video.media import Colour, Frame, PixelFormat, Plane, VideoInfo

T = TypeVar("T")


class NetworkFailureError(RuntimeError):
    """Raised by `fail_after`."""


def identity(batch: Tensor) -> Tensor:
    """Change nothing: a network."""
    return batch


def brighten(by: float) -> Callable[[Tensor], Tensor]:
    """Make a network that adds a constant."""
    return lambda batch: batch + by


def fail_after(
    batches: int, network: Callable[[Tensor], Tensor] = identity
) -> Callable[[Tensor], Tensor]:
    """Make a network that fails after `batches` batches, and until then is another one."""
    left = iter(range(batches))

    def failing(batch: Tensor) -> Tensor:
        if next(left, None) is None:
            raise NetworkFailureError("the network failed")
        return network(batch)

    return failing


def identity_engine() -> Engine:
    """Make a real engine on the CPU whose network changes nothing."""
    return Engine(identity)


@dataclass
class FakeRunner:
    """A runner on the CPU that records its calls."""

    network: Callable[[Tensor], Tensor] = identity
    device_name: str = "cpu"
    max_batches_in_flight: int = 0
    max_downloads_in_flight: int = 0
    tile_px: int | None = None
    batch: int = 1
    log: list[str] = field(default_factory=list)
    """The calls, in order: "upload", "residual", "download"; "arrived" ends a download."""
    batches: list[tuple[int, ...]] = field(default_factory=list)
    """The shapes of the batches, in order."""
    open_contexts: int = 0
    """Number of compute contexts entered now."""
    closed: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    steps_down: list[str] = field(default_factory=list)
    """The remaining fallbacks."""
    short_of_memory: Callable[[str, Sequence[tuple[int, ...]]], bool] = lambda *_: False
    """Called with a log entry and its shapes; True makes memory run out."""

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        self._allocate("upload", planes)
        return tuple(torch.from_numpy(plane) for plane in planes)

    def submit(self, job: Job[T]) -> DeferredFuture[T]:
        with self.compute_context():
            batch = job.make_batch()
        assert batch.shape[2:] == (job.height, job.width)
        self._allocate("residual", [batch])
        self.batches.append(tuple(batch.shape))
        residual = self.network(batch) - batch
        return DeferredFuture(lambda: self._consume(job, residual))

    def download(self, planes: tuple[Tensor, ...]) -> DeferredFuture[tuple[Plane, ...]]:
        self._allocate("download", planes)
        return DeferredFuture(lambda: self._arrive(planes))

    @contextmanager
    def compute_context(self) -> Generator[None]:
        self.open_contexts += 1
        try:
            yield
        finally:
            self.open_contexts -= 1

    def choose_tile_px(self, height: int, width: int) -> int | None:
        return self.tile_px

    def choose_batch(self, height: int, width: int) -> int:
        return self.batch

    def step_down(self) -> str | None:
        return self.steps_down.pop(0) if self.steps_down else None

    def close(self) -> None:
        self.closed = True

    def _allocate(self, what: str, parts: Sequence[Tensor] | Sequence[Plane]) -> None:
        self.log.append(what)
        if self.short_of_memory(what, [tuple(part.shape) for part in parts]):
            raise DeviceMemoryError(f"fake: out of memory ({what})")

    def _consume(self, job: Job[T], residual: Tensor) -> T:
        with self.compute_context():
            return job.consume(residual)

    def _arrive(self, planes: tuple[Tensor, ...]) -> tuple[Plane, ...]:
        self.log.append("arrived")
        return tuple(plane.numpy() for plane in planes)


def video_info(
    name: str = "yuv420p",
    *,
    height: int = 48,
    width: int = 64,
    colour: Colour | None = None,
    rotation: Literal[0, 90, 180, 270] = 0,
    flip: bool = False,
) -> VideoInfo:
    """Describe a source that does not exist."""
    return VideoInfo(
        path=Path("paper.mkv"),
        container="matroska",
        codec="ffv1",
        width=width,
        height=height,
        format=PixelFormat.parse(name),
        source_format=name,
        colour=colour or Colour(),
        time_base=Fraction(1, 1000),
        rotation=rotation,
        flip=flip,
    )


def noise_planes(info: VideoInfo, seed: int = 0) -> tuple[Plane, ...]:
    """Make planes of random samples over the full bit depth."""
    random = np.random.default_rng(seed)
    shapes = info.format.plane_shapes(info.height, info.width)
    return tuple(
        random.integers(0, info.format.peak, shape, info.format.dtype, endpoint=True)
        for shape in shapes
    )


def noise_frames(info: VideoInfo, count: int) -> list[Frame]:
    """Make different frames at a variable rate."""
    return [
        Frame(
            planes=noise_planes(info, index),
            format=info.format,
            pts=40 * index + 7 * (index % 3),
            duration=40,
        )
        for index in range(count)
    ]
