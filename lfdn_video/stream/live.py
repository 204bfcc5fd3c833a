"""`live()`: yields the restored frames of a live source. The command is in `cli/live.py`."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lfdn_video.options import InferenceOptions, LiveOptions, Task
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.session import LiveFrame, Session

if TYPE_CHECKING:
    from lfdn_video.inference.runner import Runner


def live(
    source: str | int | Path,
    *,
    task: Task = "derain",
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
        engine: an engine to use instead of loading one; it stays open, and its task counts, not
            `task`. Create it with
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
    if engine is not None:  # it knows better what it does
        task = cast("Task", engine.identity.get("task", task))
    session = Session(
        parsed,
        board or Board(Status(source=str(parsed), task=task)),
        options,
        shows=board is not None,
    )
    with (
        live_engine(task, weights=weights, inference=inference, engine=engine) as networks,
        closing(session.frames(networks.runner, inference, networks.lighter)) as frames,
    ):
        yield from frames


@dataclass(frozen=True, slots=True)
class LiveNetworks:
    """The networks of a live session."""

    runner: "Runner"
    """The one to begin with."""
    lighter: "Callable[[], Runner] | None" = None
    """Loads one that takes less time; None: there is none, or the user has chosen."""


@contextmanager
def live_engine(
    task: Task,
    *,
    weights: str | Path | None = None,
    inference: InferenceOptions | None = None,
    engine: "Runner | None" = None,
    streams: int = 1,
) -> Generator[LiveNetworks]:
    """Load the network for a live session, with all cores for each frame; close it at the end.

    Where weights and network are left to us, the lite network may take over (`LiveNetworks`).
    Where weights and precision are, it is bfloat16 on a CPU that is fastest in it.

    Args:
        task: `derain` or `deblur`; chooses the weights that ship with the package.
        weights: a safetensors file to use instead of the packaged weights.
        inference: device and precision; None: the defaults.
        engine: an engine to yield instead of loading one; it stays open.
        streams: the number of sources that take turns at it.

    Yields:
        The networks.

    Raises:
        DeviceError: the network cannot run on the device asked for.
        WeightsError: there are no weights for the task, or the file is not valid.
    """
    from lfdn_video.inference.devices import (
        choose_device,
        count_threads,
        is_fastest_in_bfloat16,
    )
    from lfdn_video.inference.engine import is_packaged, load_engine

    if engine is not None:
        yield LiveNetworks(engine)
        return
    path = Path(weights) if weights else None
    options = inference or InferenceOptions()
    device = choose_device(options.device)
    if path is None and options.precision == "auto" and is_fastest_in_bfloat16(device):
        options = replace(options, precision="bfloat16")
    threads = count_threads()  # a runner may change what other threads find
    with ExitStack() as stack:

        def load(options: InferenceOptions) -> "Runner":
            return stack.enter_context(
                load_engine(
                    task, weights=path, options=options, lanes=1, streams=streams, threads=threads
                )
            )

        chosen = path is not None or options.network != "auto" or not is_packaged(task, "lite")
        lighter = None if chosen else lambda: load(replace(options, network="lite"))
        yield LiveNetworks(load(options), lighter)
