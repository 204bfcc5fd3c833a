"""`restore` and `restored_frames`: reader, network and writer connected, and nothing else.

    thread "decode"    reader.frames()          demux, decode
    thread "model"     restore_frames(...)      upload, network, download
    caller's thread    writer.write(frame)      encode, mux

The threads run a bounded number of frames ahead of each other. Every error is raised in the
caller's thread, and the run is then unwound in this order: the threads end, the writer removes its
temporary file, the reader closes. torch is imported only after source and target are opened.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from lfdn_video.background import StageClock, StageTimes, prefetch
from lfdn_video.frame_io import FrameReader, FrameWriter
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions
from lfdn_video.output.open import open_writer
from lfdn_video.trace import Trace

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner

Stage = Literal["decode", "model", "encode"]

READ_AHEAD_FRAMES = 4
"""Decoded frames that may wait for the network."""

WRITE_BEHIND_FRAMES = 4
"""Restored frames that may wait for the writer."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run, reported after each frame."""

    frames_done: int
    """Frames in the target so far, those of an earlier, interrupted run included."""
    frames_total: int | None
    """The source's own estimate; None if it has none, or if it turned out too low."""
    elapsed_s: float
    """Seconds since the network was ready."""
    fps: float
    """Frames per second of this run so far."""
    eta_s: float | None
    """Estimated seconds until the last frame; None without `frames_total`."""
    bottleneck: Stage
    """The stage that worked longest so far; the others wait for it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a completed run."""

    frames: int
    """Frames in the target."""
    seconds: float
    """From the call to the finished file, loading of the network included."""
    stages: Mapping[Stage, StageTimes]
    """Seconds at work and waiting, by stage."""
    bottleneck: Stage
    """The stage that worked longest; the others waited for it."""
    warnings: tuple[str, ...]
    """Everything that was corrupt in the source or not carried over, by name."""
    target: Path
    """The file, folder or pattern that was written; inside the folder, if one was given."""
    corrupt_packets: int
    """Packets, or images, of the source that could not be decoded."""
    repeated_frames: int
    """Frames, of `frames`, that repeat the one before in place of one that could not be decoded."""
    dropped_frames: Mapping[str, int]
    """Number of the source's frames that are missing in the target, by reason."""


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFrame:
    """A restored frame as an RGB array."""

    image: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
    """`[H, W, 3]`, RGB, 0…255, upright; the caller owns it."""
    time_s: float
    """Presentation time in seconds, as in the source."""
    pts: int
    """Presentation timestamp, in ticks of the source's time base."""


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
    """Restore a video, or images, into a new file.

    The target appears when it is complete. After an error, or Ctrl-C, there is none. A long run is
    written in segments; the finished ones are kept, and the same call with `encode.resume`
    continues after them.

    Args:
        source: a video file, an image file, a folder with images, or a pattern such as
            `frame_%05d.png` or `*.jpg`.
        target: a video file, an image file, a pattern, or a folder for images.
        task: `derain` or `deblur`; chooses the weights that ship with the package.
        weights: a file with other weights, instead of those for `task`.
        inference: device, precision, tiles and batch; None uses the defaults.
        encode: codec, quality and overwriting; None uses the defaults.
        span: the part of the source to restore, in seconds from its first frame; None is all.
        deinterlace: deinterlace the source first.
        engine: an engine from `load_engine`, to use for several runs; it stays open, and `task`
            and `weights` are ignored. None loads one and closes it at the end.
        on_progress: called after each frame, in the caller's thread.
        trace: a JSON file for a timeline of the stages, to be viewed in chrome://tracing or
            ui.perfetto.dev; written after an error, too.

    Returns:
        Counts, times, and warnings about everything that was not carried over.

    Raises:
        InputError: the source cannot be read.
        OutputError: the target or `trace` cannot be written, or the target exists already.
        OptionError: an option cannot be met for this source or target.
        WeightsError: the weights cannot be loaded.
        DeviceError: the network cannot run on the device, or runs out of memory on it.
    """
    start_s = time.perf_counter()
    span = span or SpanOptions()
    with (
        _StageClocks(Path(trace) if trace is not None else None) as clocks,
        open_reader(source, span, deinterlace=deinterlace) as reader,
        open_writer(target, reader.info, encode or EncodeOptions(), span) as writer,
        _open_restorer(reader.info, engine, task, weights, inference, span) as restorer,
    ):
        frames = _run_stages(reader, restorer, writer, clocks, on_progress)
    return _summarize(reader, writer, clocks, frames, start_s)


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
    """Restore a video, or images, frame by frame, without writing a file.

    Nothing is opened before the first frame is asked for. Close the generator when leaving it
    early; that ends its threads.

    Args:
        source: a video file, an image file, a folder with images, or a pattern.
        task: `derain` or `deblur`; chooses the weights that ship with the package.
        weights: a file with other weights, instead of those for `task`.
        inference: device, precision, tiles and batch; None uses the defaults.
        span: the part of the source to restore, in seconds from its first frame; None is all.
        deinterlace: deinterlace the source first.
        engine: an engine from `load_engine`, to use for several runs; it stays open, and `task`
            and `weights` are ignored. None loads one and closes it at the end.

    Yields:
        The frames in order of presentation, as upright RGB arrays.

    Raises:
        InputError: the source cannot be read.
        OptionError: an option cannot be met for this source.
        WeightsError: the weights cannot be loaded.
        DeviceError: the network cannot run on the device, or runs out of memory on it.
    """
    with (
        open_reader(source, span, deinterlace=deinterlace) as reader,
        _open_restorer(reader.info, engine, task, weights, inference, span) as restorer,
    ):
        decoded = prefetch(reader.frames(), depth=READ_AHEAD_FRAMES, name="decode")
        restored = prefetch(restorer.restore(decoded), depth=WRITE_BEHIND_FRAMES, name="model")
        with closing(restored):
            for frame in restored:
                yield _to_rgb(frame, reader.info)


@dataclass(frozen=True, slots=True)
class _Restorer:
    """The network as a function on frames, and the identity of its results."""

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
    """Prepare the network; close its engine at the end, unless the caller passed one."""
    # Imported late: torch takes seconds to load, and bad files should fail before that.
    from lfdn_video.inference.colour import PlaneConverter
    from lfdn_video.inference.engine import MAX_LANES, load_engine
    from lfdn_video.inference.scheduler import restore_frames

    options = inference or InferenceOptions()
    # A single frame is done soonest with all the cores to itself.
    single = info.expected_frames(span or SpanOptions()) == 1
    runner = engine or load_engine(
        task,
        weights=Path(weights) if weights else None,
        options=options,
        lanes=1 if single else MAX_LANES,
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


def _run_stages(
    reader: FrameReader,
    restorer: _Restorer,
    writer: FrameWriter,
    clocks: "_StageClocks",
    on_progress: Callable[[Progress], None] | None,
) -> int:
    """Decode and restore in threads, write in this one; return the number of frames written."""
    kept = writer.start(restorer.identity)
    meter = _ProgressMeter(reader.info.expected_frames(reader.span), clocks, kept)
    decoded = prefetch(
        _skip_frames(kept, reader.frames()),
        depth=READ_AHEAD_FRAMES,
        name="decode",
        clock=clocks.decode,
        consumer_clock=clocks.model,
    )
    restored = prefetch(
        restorer.restore(decoded),
        depth=WRITE_BEHIND_FRAMES,
        name="model",
        clock=clocks.model,
        consumer_clock=clocks.encode,
    )
    with closing(restored):
        for frame in restored:
            with clocks.encode.working():
                writer.write(frame)
            meter.frames_done += 1
            if on_progress is not None:
                on_progress(meter.progress())
    clocks.note_last_frame()
    return meter.frames_done


def _summarize(
    reader: FrameReader, writer: FrameWriter, clocks: "_StageClocks", frames: int, start_s: float
) -> Summary:
    return Summary(
        frames=frames,
        seconds=time.perf_counter() - start_s,
        stages=clocks.times,
        bottleneck=clocks.bottleneck,
        warnings=(*reader.warnings, *writer.warnings),
        target=writer.target,
        corrupt_packets=reader.corrupt_packets,
        repeated_frames=reader.repeated_frames,
        dropped_frames=dict(reader.dropped_frames),
    )


def _skip_frames(count: int, frames: Generator[Frame]) -> Generator[Frame]:
    """Decode the first `count` frames, which an earlier run finished, and yield the others."""
    # Decoded, not seeked: counting frames works in every container.
    with closing(frames):
        for _ in range(count):
            next(frames, None)
        yield from frames


def _to_rgb(frame: Frame, info: VideoInfo) -> RestoredFrame:
    from lfdn_video.inference.colour import PlaneConverter

    image = PlaneConverter(frame.info or info).to_image(frame.planes)
    return RestoredFrame(image=image, time_s=float(frame.pts * info.time_base), pts=frame.pts)


class _StageClocks:
    """The clocks of the three stages, and a trace of their work if requested.

    Enter it before the writer: leaving the writer flushes the encoder, copies streams and renames
    the target, and that time counts as encoding.
    """

    def __init__(self, trace: Path | None) -> None:
        self._trace = Trace(trace) if trace is not None else None
        self._last_frame_s: float | None = None
        self.decode = self._add_clock("decode")
        self.model = self._add_clock("model")
        self.encode = self._add_clock("encode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last_frame_s is not None:
            self.encode.add_busy(time.perf_counter() - self._last_frame_s)
        if self._trace is not None:
            self._trace.save()

    def note_last_frame(self) -> None:
        """Start counting the completion of the target as encoding."""
        self._last_frame_s = time.perf_counter()

    @property
    def times(self) -> dict[Stage, StageTimes]:
        return {
            "decode": self.decode.times,
            "model": self.model.times,
            "encode": self.encode.times,
        }

    @property
    def bottleneck(self) -> Stage:
        """The stage that worked longest so far."""
        times = self.times
        return max(times, key=lambda stage: times[stage].busy_s)

    def _add_clock(self, stage: Stage) -> StageClock:
        return StageClock(self._trace.add_stage(stage) if self._trace is not None else None)


class _ProgressMeter:
    """Counts frames and estimates the remaining time; the clock starts at construction.

    Args:
        expected: frames of the whole run, if known.
        clocks: the run's clocks.
        kept: frames that an earlier run finished.
    """

    def __init__(self, expected: int | None, clocks: _StageClocks, kept: int) -> None:
        self.frames_done = kept
        self._kept = kept
        self._expected = expected
        self._clocks = clocks
        self._start_s = time.perf_counter()

    def progress(self) -> Progress:
        elapsed_s = time.perf_counter() - self._start_s
        fps = (self.frames_done - self._kept) / elapsed_s if elapsed_s > 0 else 0.0
        total = self._expected
        if total is not None and total < self.frames_done:
            total = None  # the source understated it; the real total is unknown
        eta_s = (total - self.frames_done) / fps if total is not None and fps > 0 else None
        return Progress(
            frames_done=self.frames_done,
            frames_total=total,
            elapsed_s=elapsed_s,
            fps=fps,
            eta_s=eta_s,
            bottleneck=self._clocks.bottleneck,
        )
