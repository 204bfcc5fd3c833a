"""Stand-ins: networks that do something simple, runners that write down what they are asked."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from lfdn_video.errors import DeviceMemoryError
from lfdn_video.inference.engine import Engine
from lfdn_video.media import Colour, Frame, PixelFormat, Plane, VideoInfo

T = TypeVar("T")


class NetworkFailureError(RuntimeError):
    """Raised by a network that is made to fail."""


def identity(batch: Tensor) -> Tensor:
    """A network that changes nothing."""
    return batch


def brighten(by: float) -> Callable[[Tensor], Tensor]:
    """A network that adds a constant."""
    return lambda batch: batch + by


def fail_after(batches: int) -> Callable[[Tensor], Tensor]:
    """A network that changes nothing, and fails once `batches` went through."""
    left = iter(range(batches))

    def network(batch: Tensor) -> Tensor:
        if next(left, None) is None:
            raise NetworkFailureError("the network failed")
        return batch

    return network


def identity_engine() -> Engine:
    """A real engine on the CPU whose network changes nothing."""
    return Engine(identity)


class Later(Generic[T]):
    """A result that is made when it is asked for, as on a device."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make

    def result(self) -> T:
        return self._make()


@dataclass
class FakeRunner:
    """A runner on the CPU. `log` says what was asked, in order; `open` counts `computing()`."""

    network: Callable[[Tensor], Tensor] = identity
    lookahead: int = 0
    returning: int = 0
    tile_px: int | None = None
    batch: int = 1
    log: list[str] = field(default_factory=list)
    batches: list[tuple[int, ...]] = field(default_factory=list)
    open: int = 0
    closed: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    steps_down: list[str] = field(default_factory=list)
    """What it can still give up."""
    short_of_memory: Callable[[str, Sequence[tuple[int, ...]]], bool] = lambda *_: False
    """Told what is asked of it and the shapes of that; whether there is no memory for it."""

    def _allocate(self, what: str, parts: Sequence[Tensor] | Sequence[Plane]) -> None:
        self.log.append(what)
        if self.short_of_memory(what, [tuple(part.shape) for part in parts]):
            raise DeviceMemoryError(f"fake: out of memory ({what})")

    def upload(self, planes: Sequence[Plane]) -> tuple[Tensor, ...]:
        self._allocate("upload", planes)
        return tuple(torch.from_numpy(plane) for plane in planes)

    def run(
        self, batch: Callable[[], Tensor], then: Callable[[Tensor], T], *, height: int, width: int
    ) -> Later[T]:
        with self.computing():
            made = batch()
        assert made.shape[2:] == (height, width)
        self._allocate("residual", [made])
        self.batches.append(tuple(made.shape))
        restored = self.network(made)
        return Later(lambda: self._then(then, restored - made))

    def _then(self, then: Callable[[Tensor], T], residual: Tensor) -> T:
        with self.computing():
            return then(residual)

    def download(self, planes: tuple[Tensor, ...]) -> Later[tuple[Plane, ...]]:
        self._allocate("download", planes)
        return Later(lambda: self._arrived(planes))

    def _arrived(self, planes: tuple[Tensor, ...]) -> tuple[Plane, ...]:
        self.log.append("arrived")
        return tuple(plane.numpy() for plane in planes)

    @contextmanager
    def computing(self) -> Generator[None]:
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def choose_tile_px(self, height: int, width: int) -> int | None:
        return self.tile_px

    def choose_batch(self, height: int, width: int) -> int:
        return self.batch

    def step_down(self) -> str | None:
        return self.steps_down.pop(0) if self.steps_down else None

    def close(self) -> None:
        self.closed = True


def video_info(
    name: str = "yuv420p",
    *,
    height: int = 48,
    width: int = 64,
    colour: Colour | None = None,
    rotation: Literal[0, 90, 180, 270] = 0,
    flip: bool = False,
) -> VideoInfo:
    """A source that exists only on paper."""
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
    """Planes that hold every value the depth allows."""
    random = np.random.default_rng(seed)
    shapes = info.format.plane_shapes(info.height, info.width)
    return tuple(
        random.integers(0, info.format.peak, shape, info.format.dtype, endpoint=True)
        for shape in shapes
    )


def noise_frames(info: VideoInfo, count: int) -> list[Frame]:
    """Different frames at a variable rate."""
    return [
        Frame(
            planes=noise_planes(info, index),
            format=info.format,
            pts=40 * index + 7 * (index % 3),
            duration=40,
        )
        for index in range(count)
    ]
