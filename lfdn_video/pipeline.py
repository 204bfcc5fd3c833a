"""`restore` and `restored_frames`: the parts put together, and nothing else.

    thread "decode"    reader.frames()          demux, decode
    thread "model"     restore_frames(...)      upload, network, download
    the caller's       writer.write(frame)      encode, mux

The threads are a bounded number of frames ahead of each other. Whatever fails, fails here, in the
caller's thread, and in this order: the threads end, the writer drops its unfinished file, the
reader closes. Torch is imported only when source and target are known to be good.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from lfdn_video.background import StageClock, StageTimes, background
from lfdn_video.input.reader import open_reader
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions
from lfdn_video.output.writer import open_writer
from lfdn_video.trace import Trace

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner

Stage = Literal["decode", "model", "encode"]

READ_AHEAD_FRAMES = 4
WRITE_BEHIND_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, after each frame."""

    frames_done: int
    frames_total: int | None
    """As far as the source says; None if it does not, or if there were more."""
    elapsed_s: float
    """Since the network was ready."""
    fps: float
    eta_s: float | None
    bottleneck: Stage
    """The stage that was busy longest; the others wait for it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    frames: int
    seconds: float
    """From the call to the finished file, loading included."""
    stages: Mapping[Stage, StageTimes]
    bottleneck: Stage
    warnings: tuple[str, ...]
    """What of the source could not be carried over, by name, and what was damaged in it."""
    target: Path
    """Where it is: in the folder, if a folder was given."""
    corrupt_packets: int
    repeated_frames: int
    """Of `frames`: the one before once more, for one that could not be decoded."""
    dropped_frames: Mapping[str, int]
    """Frames of the source that have no successor in the target, by the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFrame:
    """A restored picture for people who want an array."""

    image: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
    """`[H, W, 3]`, RGB, upright, the caller's own."""
    time_s: float
    """When it is shown, as in the source."""
    pts: int
    """The same in the source's time base."""


def restore(
    source: str | Path,
    target: str | Path,
    *,
    task: str = "derain",
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    encode: EncodeOptions | None = None,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    engine: "Runner | None" = None,
    on_progress: Callable[[Progress], None] | None = None,
    trace: str | Path | None = None,
) -> Summary:
    """Restore the video (or pictures) `source` into `target`, which appears when it is complete.

    `weights`: a file to use instead of those that ship for `task`. `deinterlace`: interlaced frames
    are made whole first. `engine`: one to use instead of
    making one, for several runs in a row; it stays open. `on_progress` is called in this thread
    after each frame. `trace`: a file that shows when each stage was at work, to look at in
    chrome://tracing or ui.perfetto.dev; it is also written if the run fails.

    Raises an LfdnVideoError; then, as on Ctrl-C, there is no target. A long run is written in
    segments, and what is finished of it is kept: the same call with `encode.resume` goes on.
    """
    start_s = time.perf_counter()
    encode, span = encode or EncodeOptions(), span or SpanOptions()
    with (
        _Clocks(Path(trace) if trace is not None else None) as clocks,
        open_reader(source, span, deinterlace=deinterlace) as reader,
        open_writer(target, reader.info, encode, span) as writer,
        _open_restorer(reader.info, engine, task, weights, inference, span) as restorer,
    ):
        kept = writer.start(restorer.identity)
        meter = _Meter(reader.info.expected_frames(span), clocks, kept)
        decoded = background(
            _after(kept, reader.frames()),
            depth=READ_AHEAD_FRAMES,
            name="decode",
            clock=clocks.decode,
            feeds=clocks.model,
        )
        restored = background(
            restorer.restore(decoded),
            depth=WRITE_BEHIND_FRAMES,
            name="model",
            clock=clocks.model,
            feeds=clocks.encode,
        )
        with closing(restored):
            for frame in restored:
                with clocks.encode.working():
                    writer.write(frame)
                meter.count()
                if on_progress is not None:
                    on_progress(meter.progress())
        clocks.all_written()
    return Summary(
        frames=meter.frames,
        seconds=time.perf_counter() - start_s,
        stages=clocks.times,
        bottleneck=clocks.bottleneck,
        warnings=(*reader.warnings, *writer.warnings),
        target=writer.target,
        corrupt_packets=reader.corrupt_packets,
        repeated_frames=reader.repeated_frames,
        dropped_frames=dict(reader.dropped_frames),
    )


def restored_frames(
    source: str | Path,
    *,
    task: str = "derain",
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    engine: "Runner | None" = None,
) -> Generator[RestoredFrame]:
    """The restored frames of `source` as RGB arrays, in order. See `restore` for the arguments.

    Nothing happens before the first one is asked for, so errors come then. Close the generator if
    you leave it early; that ends its threads.
    """
    with (
        open_reader(source, span, deinterlace=deinterlace) as reader,
        _open_restorer(reader.info, engine, task, weights, inference, span) as restorer,
    ):
        decoded = background(reader.frames(), depth=READ_AHEAD_FRAMES, name="decode")
        restored = background(restorer.restore(decoded), depth=WRITE_BEHIND_FRAMES, name="model")
        with closing(restored):
            for frame in restored:
                yield _picture(frame, reader.info)


@dataclass(frozen=True, slots=True)
class _Restorer:
    """A network that restores the frames of one source."""

    restore: Callable[[Iterable[Frame]], Generator[Frame]]
    identity: Mapping[str, str]
    """What the restored frames depend on: the network, its precision, the tiles."""


@contextmanager
def _open_restorer(
    info: VideoInfo,
    engine: "Runner | None",
    task: str,
    weights: str | Path | None,
    inference: InferenceOptions | None,
    span: SpanOptions | None,
) -> Generator[_Restorer]:
    """Load an engine unless there is one. One that is loaded here is closed here."""
    # Torch takes seconds to load. By now the files are known to be good.
    from lfdn_video.inference.colour import PlaneConverter
    from lfdn_video.inference.engine import MOST_LANES, load_engine
    from lfdn_video.inference.scheduler import restore_frames

    options = inference or InferenceOptions()
    # A single frame is done soonest with all the cores to itself.
    single = info.expected_frames(span or SpanOptions()) == 1
    runner = engine or load_engine(
        task,
        weights=Path(weights) if weights else None,
        options=options,
        lanes=1 if single else MOST_LANES,
    )
    try:
        tiling = {"tile": str(options.tile), "overlap": str(options.overlap_px)}
        yield _Restorer(
            lambda frames: restore_frames(frames, PlaneConverter(info), runner, options),
            {**runner.identity, **tiling},
        )
    finally:
        if engine is None:
            runner.close()


def _after(count: int, frames: Generator[Frame]) -> Generator[Frame]:
    """The frames behind the first `count`, which have to be decoded all the same."""
    with closing(frames):
        for _ in range(count):
            next(frames, None)
        yield from frames


def _picture(frame: Frame, info: VideoInfo) -> RestoredFrame:
    from lfdn_video.inference.colour import PlaneConverter

    image = PlaneConverter(frame.info or info).to_image(frame.planes)
    return RestoredFrame(image=image, time_s=float(frame.pts * info.time_base), pts=frame.pts)


class _Clocks:
    """The clocks of the three stages, and the file that shows what they saw, if one is wanted.

    To be left behind the writer, which flushes, copies and closes when it is left: encoding, too.
    """

    def __init__(self, trace: Path | None) -> None:
        self._trace = Trace(trace) if trace is not None else None
        self._all_written_s: float | None = None
        self.decode, self.model, self.encode = (
            StageClock(self._trace.listener(stage) if self._trace is not None else None)
            for stage in get_args(Stage)
        )

    def __enter__(self) -> "_Clocks":
        return self

    def __exit__(self, *_: object) -> None:
        if self._all_written_s is not None:
            self.encode.add_busy(time.perf_counter() - self._all_written_s)
        if self._trace is not None:
            self._trace.write()

    def all_written(self) -> None:
        """The last frame was handed to the writer."""
        self._all_written_s = time.perf_counter()

    @property
    def times(self) -> dict[Stage, StageTimes]:
        return {
            "decode": self.decode.times,
            "model": self.model.times,
            "encode": self.encode.times,
        }

    @property
    def bottleneck(self) -> Stage:
        times = self.times
        return max(times, key=lambda stage: times[stage].busy_s)


class _Meter:
    """Counts frames from when it is made, and says how it goes."""

    def __init__(self, expected: int | None, clocks: _Clocks, kept: int) -> None:
        """`kept`: frames that were there before."""
        self.frames = self._kept = kept
        self._expected, self._clocks = expected, clocks
        self._start_s = time.perf_counter()

    def count(self) -> None:
        self.frames += 1

    def progress(self) -> Progress:
        elapsed_s = time.perf_counter() - self._start_s
        fps = (self.frames - self._kept) / elapsed_s if elapsed_s > 0 else 0.0
        total = self._expected
        if total is not None and total < self.frames:
            total = None
        eta_s = (total - self.frames) / fps if total is not None and fps > 0 else None
        return Progress(
            frames_done=self.frames,
            frames_total=total,
            elapsed_s=elapsed_s,
            fps=fps,
            eta_s=eta_s,
            bottleneck=self._clocks.bottleneck,
        )
