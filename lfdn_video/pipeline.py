"""`restore` and `restored_frames`: reader, network and writer connected, and nothing else.

    thread "decode"    reader.frames()          demux, decode
    thread "model"     restore_frames(...)      upload, network, download
    thread "temporal"  stage.refine(...)        what only neighbouring frames tell, about rain
    caller's thread    writer.write(frame)      encode, mux

The threads run a bounded number of frames ahead of each other. After an error they end, the writer
removes its temporary file, the reader closes. torch is imported once source and target are open.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lfdn_video.background import StageTimes, prefetch
from lfdn_video.copying import CopyPlan, GateSummary, PacketIndex
from lfdn_video.errors import OptionError
from lfdn_video.files import Inputs
from lfdn_video.frame_io import FrameReader, FrameWriter, RestoredFrame
from lfdn_video.gate.selection import Selection
from lfdn_video.gate.survey import DETECTOR, Survey
from lfdn_video.input.bursts import read_burst
from lfdn_video.input.open import open_reader
from lfdn_video.input.packets import index_packets
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import (
    NO_BLUR,
    EncodeOptions,
    InferenceOptions,
    SpanOptions,
    Task,
    Temporal,
)
from lfdn_video.output.open import open_writer
from lfdn_video.parts import Part
from lfdn_video.progress import (
    Progress,
    ProgressMeter,
    RunSetting,
    Stage,
    StageClocks,
    open_clocks,
)
from lfdn_video.temporal.choice import Off, find_reason_off
from lfdn_video.temporal.rainfall import measure_rainfall
from lfdn_video.temporal.stage import REACH, TemporalStage, TemporalSummary

if TYPE_CHECKING:
    from lfdn_video.inference.restorer import Restorer
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
    gate: GateSummary | None = None
    """Which segments were copied, and why; None if that was not asked for."""


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
    only_when_needed: bool = False,
    engine: "Runner | None" = None,
    on_progress: Callable[[Progress], None] | None = None,
    trace: str | Path | None = None,
    part: Part | None = None,
) -> Summary:
    """Restore a video, or images, into a new file.

    The target appears when it is complete. After an error, `encode.resume` goes on.

    Args:
        source: a video or image, a folder with images, or a pattern such as `*.jpg`.
        target: a video file, an image file, a pattern, or a folder for images.
        task: `derain` or `deblur`; chooses the weights that ship with the package.
        weights: a file with other weights, instead of those for `task`.
        inference: device, precision, tiles and batch; None uses the defaults.
        encode: codec, quality and overwriting; None uses the defaults.
        span: the part of the source to restore, in seconds from its first frame; None is all.
        deinterlace: deinterlace the source first.
        temporal: `auto` lets `derain` of a video, or of numbered images, use neighbouring frames.
        only_when_needed: look for rain first, and copy the packets of segments without any.
        engine: one of `load_engine`, whose task and weights count; it stays open. None loads one.
        on_progress: called after each frame, in the caller's thread; an exception in it cancels.
        trace: a JSON file for a timeline of the stages, for ui.perfetto.dev, also of a failed run.
        part: restore this part alone, whose segments are left beside the target; None: all.

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
    span, encode = span or SpanOptions(), encode or EncodeOptions()
    with open_reader(source, part.span if part else span, deinterlace=deinterlace) as reader:
        off = _find_reason_off(temporal, task, engine, reader)
        index = _index_packets(reader, task, engine) if only_when_needed else None
        inputs = partial(_list_inputs, reader, weights)  # the trace adds the target to its own
        with (
            open_clocks(trace, inputs(), Path(target), encode, off) as clocks,
            open_writer(target, reader.info, encode, span, inputs(), index, part) as writer,
            _open_restorer(reader.info, engine, task, weights, inference, span) as restorer,
        ):
            run = _run_stages(reader, restorer, writer, clocks, index, part, on_progress)
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
class _Run:
    """What the stages of a run did."""

    kept: int
    """Frames in the target that an earlier run had finished."""
    temporal: TemporalSummary | None
    network: Mapping[str, str]
    gate: GateSummary | None


@contextmanager
def _open_restorer(
    info: VideoInfo,
    engine: "Runner | None",
    task: Task,
    weights: str | Path | None,
    inference: InferenceOptions | None,
    span: SpanOptions | None,
) -> Generator["Restorer"]:
    # Imported late: torch takes seconds to load, and bad files should fail before that.
    from lfdn_video.inference.restorer import open_restorer

    with open_restorer(info, engine, task, weights, inference, span) as restorer:
        yield restorer


def _list_inputs(reader: FrameReader, weights: str | Path | None) -> Inputs:
    """List every file that a run reads, for those who write others."""
    inputs = Inputs(reader.files)
    if weights is not None:
        inputs.add(Path(weights), "the weights file")
    return inputs


def _find_reason_off(
    temporal: Temporal, task: str, engine: "Runner | None", reader: FrameReader
) -> Off | None:
    task = engine.identity.get("task", task) if engine is not None else task
    frames = reader.info.expected_frames(reader.span)
    return find_reason_off(temporal, task, consecutive=reader.consecutive, frames=frames)


def _index_packets(reader: FrameReader, task: str, engine: "Runner | None") -> PacketIndex:
    if (engine.identity.get("task", task) if engine is not None else task) != "derain":
        raise OptionError(NO_BLUR)
    return index_packets(reader.info)


def _run_stages(
    reader: FrameReader,
    restorer: "Restorer",
    writer: FrameWriter,
    clocks: StageClocks,
    index: PacketIndex | None,
    part: Part | None,
    on_progress: Callable[[Progress], None] | None,
) -> _Run:
    """Decode and restore in threads, write in this one."""
    is_temporal = clocks.temporal is not None
    identity = restorer.identity | {"temporal": "auto" if is_temporal else "off"}
    copies = index is not None and writer.copy_problem is None
    kept = writer.start(identity | ({"only_when_needed": DETECTOR} if copies else {}))
    if copies and index is not None and writer.plan is None:
        writer.set_plan(_plan_copies(reader, index, restorer, clocks, on_progress))
    # Neighbours of the frames that are left to do: of those that an earlier run finished, and of
    # those that are copied, some are restored for them.
    reach = REACH if is_temporal else 0
    bounds = part.bounds if part else None
    selection = Selection(writer.plan, done=kept, reach=reach, bounds=bounds)
    stage = TemporalStage(reader.info, wants=selection.wants) if is_temporal else None
    meter = ProgressMeter(RunSetting.of(reader.info, reader.span, writer, kept), clocks)
    frames = selection.pick(part.read(reader) if part else reader.frames())
    with closing(_start_stages(frames, restorer, stage, clocks)) as restored:
        for frame in restored:
            meter.frames_through += 1
            if selection.wants(frame):
                with clocks.encode.working():
                    writer.write(frame)
                meter.frames_done = writer.frames_written
                if stage is not None:
                    clocks.note("temporal", asdict(stage.summary))
                if on_progress is not None:
                    on_progress(meter.progress(*restorer.place))
    clocks.note_last_frame()
    gate = None
    if index is not None:
        gate = GateSummary.of(writer.plan, writer.copy_problem)
        clocks.note("gate", asdict(gate))
    return _Run(kept, stage.summary if stage is not None else None, restorer.identity, gate)


def _plan_copies(
    reader: FrameReader,
    index: PacketIndex,
    restorer: "Restorer",
    clocks: StageClocks,
    on_progress: Callable[[Progress], None] | None,
) -> CopyPlan:
    """Look for rain, segment by segment."""
    info = reader.info

    def measure(frames: Sequence[Frame]) -> float:
        with clocks.model.working():
            (restored,) = restorer.restore([frames[len(frames) // 2]])
            return measure_rainfall(frames, restored, info)

    def report(number: int, segments: int) -> None:
        if on_progress is not None:
            progress = ProgressMeter(RunSetting(), clocks).progress(*restorer.place)
            on_progress(replace(progress, looked_at=(number + 1, segments)))

    survey = Survey(info, index, partial(read_burst, info, index), measure)
    return survey.plan(reader.span, report)


def _start_stages(
    frames: Generator[Frame],
    restorer: "Restorer",
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
        frames=writer.frames_written,
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
        gate=run.gate,
    )


def _to_rgb(frame: Frame, info: VideoInfo) -> RestoredFrame:
    from lfdn_video.inference.colour import PlaneConverter

    image = PlaneConverter(frame.info or info).to_image(frame.planes)
    return RestoredFrame(image=image, time_s=float(frame.pts * info.time_base), pts=frame.pts)
