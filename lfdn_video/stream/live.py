"""`live()`: yields the restored frames of a live source. The command is in `cli/live.py`."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lfdn_video.options import InferenceOptions, LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.session import LiveFrame, Session

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner


def live(
    source: str | int | Path,
    *,
    task: str = "derain",
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    options: LiveOptions | None = None,
    engine: "Runner | None" = None,
    board: Board | None = None,
) -> Generator[LiveFrame]:
    """Restore a live source in real time; it is reopened when it fails.

    Whenever the network is free, it takes the newest frame; the others are dropped. Close the
    generator when leaving it early. The source is opened, and errors are raised, only once the
    first frame is requested.

    Args:
        source: a camera's number or its device, an address (`rtsp://`, `http://`, …), a file,
            which is played in real time, or `lavfi:` and a filter graph of FFmpeg.
        task: `derain` or `deblur`; chooses the weights that ship with the package.
        weights: a safetensors file to use instead of the packaged weights.
        inference: device, precision and tiles of the network; None: the defaults.
        options: bound on latency, timeouts and reading of the source; None: the defaults.
        engine: an engine to use instead of loading one; it stays open. Create it with
            `load_engine(..., lanes=1)`, which gives each frame all cores of the CPU.
        board: also receives status and images, for viewers such as the web page; it is closed at
            the end.

    Yields:
        Frames in the order of capture, each as soon as it is restored.

    Raises:
        OptionError: the source's scheme is unknown.
        InputError: the source cannot be opened, or failed and is not retried.
        DeviceError: the network cannot run on the device asked for.
        WeightsError: there are no weights for the task, or the file is not valid.
    """
    parsed = parse_source(str(source))
    session = Session(
        parsed,
        board or Board(Status(source=str(parsed), task=task)),
        options,
        shows=board is not None,
    )
    with (
        live_engine(task, weights=weights, inference=inference, engine=engine) as runner,
        closing(session.frames(runner, inference)) as frames,
    ):
        yield from frames


@contextmanager
def live_engine(
    task: str,
    *,
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    engine: "Runner | None" = None,
) -> Generator["Runner"]:
    """Load the network for a live session, with all cores for each frame; close it at the end.

    Args:
        task: `derain` or `deblur`; chooses the weights that ship with the package.
        weights: a safetensors file to use instead of the packaged weights.
        inference: device and precision; None: the defaults.
        engine: an engine to yield instead of loading one; it stays open.

    Yields:
        The network.

    Raises:
        DeviceError: the network cannot run on the device asked for.
        WeightsError: there are no weights for the task, or the file is not valid.
    """
    from lfdn_video.inference.engine import load_engine

    path = Path(weights) if weights else None
    options = inference or InferenceOptions()
    runner = engine or load_engine(task, weights=path, options=options, lanes=1)
    try:
        yield runner
    finally:
        if engine is None:
            runner.close()
