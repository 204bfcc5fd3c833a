"""The network of a run as a function on frames."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfdn_video.inference import engine as engines
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.runner import Runner
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import InferenceOptions, SpanOptions, Task


@dataclass(frozen=True, slots=True)
class Restorer:
    """The network as a function on frames, and the identity of its results."""

    restore: Callable[[Iterable[Frame]], Generator[Frame]]
    """Restores frames in order; a generator that is passed is closed at the end."""
    runner: Runner
    """Runs the network."""
    identity: dict[str, str]
    """What the restored frames depend on: the network, its precision, the tiles."""

    @property
    def place(self) -> tuple[str, str]:
        """Device and precision in use now."""
        return self.runner.device_name, self.runner.identity.get("precision", "")


@contextmanager
def open_restorer(
    info: VideoInfo,
    engine: Runner | None,
    task: Task,
    weights: str | Path | None,
    inference: InferenceOptions | None,
    span: SpanOptions | None,
) -> Generator[Restorer]:
    """Prepare the network; close its engine at the end, unless the caller passed one.

    Args:
        info: the source.
        engine: runs the network; None: one is loaded.
        task: chooses the packaged weights.
        weights: a file with other weights.
        inference: device, precision, tiles and batch; None: the defaults.
        span: the part of the source; None: all of it.
    """
    engines.refuse_after_fork()
    options = inference or InferenceOptions()
    # A single frame is done soonest with all the cores to itself.
    single = info.expected_frames(span or SpanOptions()) == 1
    runner = engine or engines.load_engine(
        task,
        weights=Path(weights) if weights else None,
        options=options,
        lanes=1 if single else engines.MAX_LANES,
    )
    try:
        tiling = {"tile": str(options.tile), "overlap": str(options.overlap_px)}
        yield Restorer(
            lambda frames: restore_frames(frames, PlaneConverter(info), runner, options),
            runner,
            {**runner.identity, **tiling},
        )
    finally:
        if engine is None:
            runner.close()
