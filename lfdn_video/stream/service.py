"""Several live sources in one program: a session for each, and what they share.

    thread "camera NAME"    Session: newest frame, network, board, sinks       one for each
    thread "turns"          the network, for one camera after the other        turns.py
    thread "retention"      removes old recordings                             sinks/retention.py

A camera that hangs, disconnects or fails ends or waits in its own thread and process; the others
never wait for it. Viewers get the boards; the command is `cli/serve.py`.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from lfdn_video.background import Worker
from lfdn_video.errors import LfdnVideoError
from lfdn_video.inference.runner import Runner
from lfdn_video.options import EncodeOptions, InferenceOptions, LiveOptions, Task
from lfdn_video.stream.addresses import Source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.live import LiveNetworks, live_engine
from lfdn_video.stream.network import LiveNetwork
from lfdn_video.stream.session import LiveSink, Session
from lfdn_video.stream.sinks.ledger import Ledger, name_pattern
from lfdn_video.stream.sinks.push import Push
from lfdn_video.stream.sinks.recording import Recording
from lfdn_video.stream.sinks.retention import Keep, Retention
from lfdn_video.stream.turns import Turns

IDLE_INTERVAL_S = 2.0
"""Interval of the views of a camera at which nobody looks."""
RETRY_RECORDING_S = 60.0
"""A recording that failed is tried again, as retention may have made room."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPlan:
    """One camera of a service."""

    name: str
    """Its name, of lower-case letters, digits, `-` and `_`."""
    source: Source
    """Its address."""
    task: Task = "derain"
    """What is restored."""
    options: LiveOptions = field(default_factory=LiveOptions)
    """How it is read, and the bound on latency."""
    record: bool = True
    """Record it, if the service records."""
    out: str | None = field(default=None, repr=False)
    """An address to push to, which may contain a password; None: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """How all cameras are recorded."""

    folder: Path
    """Where: a folder for each camera, and in it one for each day."""
    suffix: str = ".mkv"
    """Extension of the files, which chooses the container."""
    rotate_s: float = 900.0
    """Interval after which a new file starts, in seconds, 1 or more."""
    keep: Keep = field(default_factory=Keep)
    """What is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """Everything that a service does, besides its page."""

    cameras: Sequence[CameraPlan]
    """The cameras, one or more, with different names."""
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    """The network, its device and its precision."""
    weights: Path | None = None
    """A file of weights to use for all cameras; None: the packaged ones."""
    recording: RecordingPlan | None = None
    """None: nothing is recorded."""
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    """How recordings and pushed streams are encoded."""


class Service:
    """The sessions of all cameras. A context manager: leaving it ends them and their recordings.

    Args:
        plan: the cameras, and what is done with them.
        networks: networks to use instead of loading some, which stay open.

    Raises:
        LfdnVideoError: on entering; the network cannot be loaded, or the recordings not be written.
    """

    def __init__(self, plan: ServicePlan, *, networks: LiveNetworks | None = None) -> None:
        self._plan = plan
        self._given = networks
        self._turns = Turns()
        self._stack = ExitStack()
        self._ledger: Ledger | None = None
        self._sessions: list[Session] = []
        self._workers: list[Worker] = []
        self.boards = [
            Board(
                Status(source=str(camera.source), task=camera.task, camera=camera.name),
                idle_interval_s=IDLE_INTERVAL_S,
            )
            for camera in plan.cameras
        ]
        """The boards of the cameras, in the plan's order."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open_ledger(stack)
            networks = {
                task: self._open_networks(stack, task)
                for task in sorted({camera.task for camera in self._plan.cameras})
            }
            stack.enter_context(self._turns)
            sinks = [
                self._open_sinks(stack, camera, board)
                for camera, board in zip(self._plan.cameras, self.boards, strict=True)
            ]
            self._stack = stack.pop_all()
        for camera, board, own in zip(self._plan.cameras, self.boards, sinks, strict=True):
            self._start(camera, board, own, networks[camera.task])
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for worker in self._workers:
            worker.result()
        self._stack.close()

    @property
    def busy_s(self) -> float:
        """Seconds for which the network has been at work on one frame; 0 if it is not."""
        return self._turns.busy_s

    @property
    def failed(self) -> list[str]:
        """The names of the cameras whose session has failed for good."""
        states = (board.status for board in self.boards)
        return [str(status.camera) for status in states if status.state == "failed"]

    def wait(self, timeout_s: float) -> bool:
        """Wait until all sessions have ended, at most `timeout_s`; return whether they have."""
        running = next((worker for worker in self._workers if not worker.wait(0.0)), None)
        if running is not None:
            running.wait(timeout_s)
        return all(worker.wait(0.0) for worker in self._workers)

    def stop(self) -> None:
        """Let all sessions end after their frames in flight. Safe from any thread."""
        for session in self._sessions:
            session.stop()

    def _start(
        self,
        camera: CameraPlan,
        board: Board,
        sinks: "_Sinks",
        networks: LiveNetworks,
    ) -> None:
        options = _keep_trying(camera)
        session = Session(camera.source, board, options, sinks=sinks.opened, shows=True)
        network = self._turns.share(networks.runner, self._plan.inference, networks.lighter)
        self._sessions.append(session)
        self._workers.append(
            Worker(
                lambda: _run(camera.name, session, network, sinks, board),
                name=f"camera {camera.name}",
            )
        )

    def _open_ledger(self, stack: ExitStack) -> None:
        if (recording := self._plan.recording) is not None:
            self._ledger = stack.enter_context(Ledger(recording.folder))
            stack.enter_context(Retention(self._ledger, recording.keep))

    def _open_networks(self, stack: ExitStack, task: Task) -> LiveNetworks:
        if self._given is not None:
            return self._given
        plan = self._plan
        networks = stack.enter_context(
            live_engine(
                task, weights=plan.weights, inference=plan.inference, streams=len(plan.cameras)
            )
        )
        return replace(networks, lighter=_load_once(networks.lighter))

    def _open_sinks(self, stack: ExitStack, camera: CameraPlan, board: Board) -> "_Sinks":
        """Open a camera's sinks; its own thread closes them, or `stack` if it comes to none."""
        sinks = _Sinks(stack.enter_context(ExitStack()))
        recording = self._plan.recording
        if recording is not None and camera.record:
            assert self._ledger is not None
            listed = _Listed(self._ledger, board)
            sinks.open(
                Recording(
                    recording.folder / name_pattern(camera.name, recording.suffix),
                    rotate_s=recording.rotate_s,
                    encode=self._plan.encode,
                    on_file=listed.change_file,
                    on_failure=lambda reason: board.update(recording_error=reason),
                    retry_s=RETRY_RECORDING_S,
                )
            )
        if camera.out is not None:
            sinks.open(Push(camera.out, encode=self._plan.encode))
        return sinks


class _Sinks:
    """The sinks of one camera, and what closes them."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.opened: list[LiveSink] = []

    def open(self, sink: Recording | Push) -> None:
        self.stack.enter_context(sink)
        self.opened.append(sink)


class _Listed:
    """Keeps the ledger and a camera's status up to date with its recording."""

    def __init__(self, ledger: Ledger, board: Board) -> None:
        self._ledger = ledger
        self._board = board
        self._file: Path | None = None

    def change_file(self, path: Path | None) -> None:
        """A new file has begun, or the last has ended (None)."""
        if self._file is not None:
            self._ledger.add_complete(self._file)
        self._file = path
        if path is None:
            self._board.update(recording=None)
        else:
            self._ledger.add_open(path)
            self._board.update(recording=str(path), recording_error=None)


def _run(name: str, session: Session, network: LiveNetwork, sinks: _Sinks, board: Board) -> None:
    """Run a session to its end, with its sinks; an error ends this camera alone."""
    try:
        with sinks.stack:
            for _ in session.frames_by(network):
                pass
    except LfdnVideoError as error:
        logger.warning("%s: %s; the other cameras go on", name, error)
        board.update(state="failed", message=board.status.message or str(error))
    except Exception as error:
        words = f"{type(error).__name__}: {error}; this is a bug in lfdn-video"
        logger.exception("%s: %s; the other cameras go on", name, words)
        board.update(state="failed", message=words)


def _keep_trying(camera: CameraPlan) -> LiveOptions:
    """Wait for a camera that is not there yet, too: a service may start before it does."""
    if camera.source.kind == "camera" and camera.options.retries is None:
        return replace(camera.options, retries=sys.maxsize)
    return camera.options


def _load_once(load: Callable[[], Runner] | None) -> Callable[[], Runner] | None:
    """Let the first camera that needs the lighter network load it for all; in one thread."""
    if load is None:
        return None
    loaded: list[Runner] = []

    def get() -> Runner:
        if not loaded:
            loaded.append(load())
        return loaded[0]

    return get
