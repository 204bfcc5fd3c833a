"""`restore` and `restored_frames`: reader, network and writer connected, and nothing else.

    thread "decode"    reader.frames()          demux, decode
    thread "model"     restore_frames(...)      upload, network, download
    thread "temporal"  stage.refine(...)        what only neighbouring frames tell, about rain
    caller's thread    writer.write(frame)      encode, mux

The threads run a bounded number of frames ahead of each other. After an error they end, the writer
removes its temporary file, the reader closes. torch is imported once source and target are open.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lfdn_video.background import StageTimes, prefetch
from lfdn_video.files import Inputs
from lfdn_video.frame_io import FrameReader, FrameWriter
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions, Task, Temporal
from lfdn_video.output.open import open_writer
from lfdn_video.progress import Progress, ProgressMeter, RunSetting, Stage, StageClocks
from lfdn_video.temporal.choice import Off, find_reason_off
from lfdn_video.temporal.stage import REACH, TemporalStage, TemporalSummary
from lfdn_video.trace import Trace

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner

READ_AHEAD_FRAMES = 4
"""Decoded frames that may wait for the network."""

WRITE_BEHIND_FRAMES = 4
"""Restored frames that may wait for the writer."""

REFINE_BEHIND_FRAMES = 2
"""Frames that may be restored before the temporal stage takes them; it holds others itself."""


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
    """Frames, of `frames`, that repeat the one before, since one could not be decoded."""
    dropped_frames: Mapping[str, int]
    """Number of the source's frames that are missing in the target, by reason."""
    temporal: TemporalSummary | None = None
    """What was done by means of neighbouring frames; None if that was off."""
    temporal_off: Off | None = None
    """Why that was off; None if it was on."""
    kept_frames: int = 0
    """Frames, of `frames`, that an earlier, interrupted run had finished."""
    network: Mapping[str, str] = field(default_factory=dict)
    """What the frames depend on: `model`, the digest of the weights; `precision`; the tiles."""


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
    task: Task = "derain",
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    encode: EncodeOptions | None = None,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    temporal: Temporal = "auto",
    engine: "Runner | None" = None,
    on_progress: Callable[[Progress], None] | None = None,
    trace: str | Path | None = None,
) -> Summary:
    """Restore a video, or images, into a new file.

    The target appears when it is complete. After an error, or Ctrl-C, there is none; but the same
    call with `encode.resume` continues after the segments of a long run that were finished.

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
        temporal: `auto` lets `derain` of a video, or of numbered images, use neighbouring frames.
        engine: an engine from `load_engine`, to use for several runs; it stays open, `weights` is
            ignored, and its task counts, not `task`. None loads one for this run.
        on_progress: called after each frame, in the caller's thread; an exception in it cancels.
        trace: a JSON file for a timeline of the stages, for chrome://tracing or ui.perfetto.dev;
            written at the end, also of a failed run. `encode.overwrite` applies to it, too.

    Returns:
        Counts, times, and warnings about everything that was not carried over.

    Raises:
        InputError: the source cannot be read.
        OutputError: the target or `trace` cannot be written, exists already, or is an input.
        OptionError: an option cannot be met for this source or target.
        WeightsError: the weights cannot be loaded.
        DeviceError: the network cannot run on the device, or runs out of memory on it.
    """
    start_s = time.perf_counter()
    span = span or SpanOptions()
    encode = encode or EncodeOptions()
    with open_reader(source, span, deinterlace=deinterlace) as reader:
        off = _find_reason_off(temporal, task, engine, reader)
        with (
            _open_clocks(trace, reader, weights, target, encode, off) as clocks,
            open_writer(target, reader.info, encode, span, _list_inputs(reader, weights)) as writer,
            _open_restorer(reader.info, engine, task, weights, inference, span) as restorer,
        ):
            run = _run_stages(reader, restorer, writer, clocks, on_progress)
    return _summarize(reader, writer, clocks, run, off, start_s)


def restored_frames(
    source: str | Path,
    *,
    task: Task = "derain",
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    temporal: Temporal = "auto",
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
        temporal: `auto` or `off`, as for `restore`; with `auto`, frames come a few later.
        engine: an engine from `load_engine`, to use for several runs; it stays open, `weights` is
            ignored, and its task counts, not `task`. None loads one for this run.

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
        off = _find_reason_off(temporal, task, engine, reader)
        stage = TemporalStage(reader.info) if off is None else None
        clocks = StageClocks(temporal=stage is not None)
        with closing(_start_stages(reader.frames(), restorer, stage, clocks)) as restored:
            for frame in restored:
                yield _to_rgb(frame, reader.info)


@dataclass(frozen=True, slots=True)
class _Restorer:
    """The network as a function on frames, and the identity of its results."""

    restore: Callable[[Iterable[Frame]], Generator[Frame]]
    runner: "Runner"
    identity: dict[str, str]
    """What the restored frames depend on: the network, its precision, the tiles."""

    @property
    def place(self) -> tuple[str, str]:
        """Device and precision in use now."""
        return self.runner.device_name, self.runner.identity.get("precision", "")


@contextmanager
def _open_restorer(
    info: VideoInfo,
    engine: "Runner | None",
    task: Task,
    weights: str | Path | None,
    inference: InferenceOptions | None,
    span: SpanOptions | None,
) -> Generator[_Restorer]:
    """Prepare the network; close its engine at the end, unless the caller passed one."""
    # Imported late: torch takes seconds to load, and bad files should fail before that.
    from lfdn_video.inference.colour import PlaneConverter
    from lfdn_video.inference.engine import MAX_LANES, load_engine, refuse_after_fork
    from lfdn_video.inference.scheduler import restore_frames

    refuse_after_fork()
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
            runner,
            {**runner.identity, **tiling},
        )
    finally:
        if engine is None:
            runner.close()


@dataclass(frozen=True, slots=True)
class _Run:
    """What the stages of a run did."""

    frames: int
    """Frames in the target."""
    kept: int
    """Those of them that an earlier run had finished."""
    temporal: TemporalSummary | None
    network: Mapping[str, str]


def _list_inputs(
    reader: FrameReader, weights: str | Path | None, target: str | Path | None = None
) -> Inputs:
    """List every file that a run reads, and its target, for those who write other files."""
    inputs = Inputs(reader.files)
    if weights is not None:
        inputs.add(Path(weights), "the weights file")
    if target is not None:
        inputs.add(Path(target), "the target")
    return inputs


def _open_clocks(
    trace: str | Path | None,
    reader: FrameReader,
    weights: str | Path | None,
    target: str | Path,
    encode: EncodeOptions,
    off: Off | None,
) -> StageClocks:
    """Make the clocks of a run, and the trace that they fill, if one is wanted."""
    if trace is None:
        return StageClocks(temporal=off is None)
    inputs = _list_inputs(reader, weights, target)
    timeline = Trace(Path(trace), inputs=inputs, overwrite=encode.overwrite)
    clocks = StageClocks(timeline, temporal=off is None)
    clocks.note("temporal_off", off)
    return clocks


def _find_reason_off(
    temporal: Temporal, task: str, engine: "Runner | None", reader: FrameReader
) -> Off | None:
    task = engine.identity.get("task", task) if engine is not None else task
    frames = reader.info.expected_frames(reader.span)
    return find_reason_off(temporal, task, consecutive=reader.consecutive, frames=frames)


def _run_stages(
    reader: FrameReader,
    restorer: _Restorer,
    writer: FrameWriter,
    clocks: StageClocks,
    on_progress: Callable[[Progress], None] | None,
) -> _Run:
    """Decode and restore in threads, write in this one."""
    is_temporal = clocks.temporal is not None
    kept = writer.start(restorer.identity | {"temporal": "auto" if is_temporal else "off"})
    # A resumed run restores a few of the frames that are kept again, as neighbours of the next.
    warm_up = min(kept, REACH) if is_temporal else 0
    stage = TemporalStage(reader.info, warm_up=warm_up) if is_temporal else None
    meter = ProgressMeter(RunSetting.of(reader.info, reader.span, writer, kept), clocks)
    frames = _skip_frames(kept - warm_up, reader.frames())
    with closing(_start_stages(frames, restorer, stage, clocks)) as restored:
        for frame in restored:
            with clocks.encode.working():
                writer.write(frame)
            meter.frames_done += 1
            if stage is not None:
                clocks.note("temporal", asdict(stage.summary))
            if on_progress is not None:
                on_progress(meter.progress(*restorer.place))
    clocks.note_last_frame()
    temporal = stage.summary if stage is not None else None
    return _Run(meter.frames_done, kept, temporal, restorer.identity)


def _start_stages(
    frames: Generator[Frame],
    restorer: _Restorer,
    stage: TemporalStage | None,
    clocks: StageClocks,
) -> Generator[Frame]:
    """Chain the stages before the writer, each in its thread; they start with the first frame."""
    decoded = prefetch(
        frames,
        depth=READ_AHEAD_FRAMES,
        name="decode",
        clock=clocks.decode,
        consumer_clock=clocks.model,
    )
    restored = prefetch(
        restorer.restore(decoded if stage is None else stage.record(decoded)),
        depth=WRITE_BEHIND_FRAMES if stage is None else REFINE_BEHIND_FRAMES,
        name="model",
        clock=clocks.model,
        consumer_clock=clocks.temporal or clocks.encode,
    )
    if stage is None:
        return restored
    return prefetch(
        stage.refine(restored),
        depth=WRITE_BEHIND_FRAMES,
        name="temporal",
        clock=clocks.temporal,
        consumer_clock=clocks.encode,
    )


def _summarize(
    reader: FrameReader,
    writer: FrameWriter,
    clocks: StageClocks,
    run: _Run,
    off: Off | None,
    start_s: float,
) -> Summary:
    return Summary(
        frames=run.frames,
        seconds=time.perf_counter() - start_s,
        stages=clocks.times,
        bottleneck=clocks.bottleneck,
        warnings=(*reader.warnings, *writer.warnings),
        target=writer.target,
        corrupt_packets=reader.corrupt_packets,
        repeated_frames=reader.repeated_frames,
        dropped_frames=dict(reader.dropped_frames),
        temporal=run.temporal,
        temporal_off=off,
        kept_frames=run.kept,
        network=run.network,
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
