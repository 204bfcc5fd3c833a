"""Turns at a device that several live sources share, in one thread and fairly.

    session "front" ─ restore ─┐
    session "door"  ─ restore ─┼─▶ thread "turns" ─ OwnNetwork of each ─▶ the shared engine
    session "yard"  ─ restore ─┘

Each session waits for its own frame and has one at most, so a camera without frames costs the
others nothing, and one with many no more than its share. Next is the one that has used the least
time (start-time fair queueing): three cameras of 360p are not slowed to the pace of one of 4K. A
pass is not interrupted, so a frame waits for at least the rest of the one that runs.

One thread, not one for each session behind a lock: each thread that runs a network on a CPU keeps
worker threads and buffers of its own.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from lfdn_video.errors import DeviceError
from lfdn_video.inference.runner import Runner
from lfdn_video.media import Frame
from lfdn_video.options import InferenceOptions
from lfdn_video.stream.network import OwnNetwork

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _User:
    """One that takes turns."""

    used_s: float = 0.0
    """Time used, plus what it would have had by waiting when it began to."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    user: _User
    work: Callable[[], Any]
    future: "Future[Any]"


class Turns:
    """A thread that runs work of several users, each in its turn. A context manager."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._closed = False
        self._clock_s = 0.0
        """`used_s` of the user that is or was served, when its turn began."""
        self._busy_since_s: float | None = None
        self._thread = threading.Thread(target=self._serve, name="turns", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Refuse what waits, and wait for the work that runs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def busy_s(self) -> float:
        """Seconds for which the work of one turn has been running; 0 if none is."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def run(self, user: _User, work: Callable[[], T]) -> T:
        """Run `work` in the thread when it is the user's turn; return its result, or raise.

        Raises:
            DeviceError: the turns have ended.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise DeviceError("network: has been closed; start again")
            # What it did not use while it had nothing to do is not saved up.
            user.used_s = max(user.used_s, self._clock_s)
            self._waiting.append(_Request(user, work, future))
            self._changed.notify_all()
        return future.result()

    def share(
        self,
        runner: Runner,
        inference: InferenceOptions | None = None,
        lighter: Callable[[], Runner] | None = None,
    ) -> "SharedNetwork":
        """Make the `LiveNetwork` of one more source; see `OwnNetwork` for the arguments."""
        return SharedNetwork(self, OwnNetwork(runner, inference, lighter))

    def _serve(self) -> None:
        while (request := self._next()) is not None:
            began_s = self._busy_since_s = time.monotonic()
            try:
                result = request.work()
            except BaseException as error:  # noqa: BLE001 (raised by `run`, in the user's thread)
                request.future.set_exception(error)
            else:
                request.future.set_result(result)
                del result  # else the frame would live until the next turn is over
            request.user.used_s += time.monotonic() - began_s
            self._busy_since_s = None
            del request

    def _next(self) -> _Request | None:
        """Wait for the next request; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                for request in self._waiting:
                    request.future.set_exception(DeviceError("network: has been closed"))
                self._waiting.clear()
                return None
            request = min(self._waiting, key=lambda each: each.user.used_s)
            self._waiting.remove(request)
            self._clock_s = request.user.used_s
            return request


class SharedNetwork:
    """A `LiveNetwork` that runs in the thread of `Turns`; made by `Turns.share`."""

    def __init__(self, turns: Turns, network: OwnNetwork) -> None:
        self._turns = turns
        self._network = network
        self._user = _User()

    @property
    def device_name(self) -> str:
        return self._network.device_name

    def restore(self, frame: Frame, scale: float) -> Frame:
        return self._turns.run(self._user, lambda: self._network.restore(frame, scale))

    def use_lighter(self) -> bool:
        return self._turns.run(self._user, self._network.use_lighter)

    def close(self) -> None:
        self._turns.run(self._user, self._network.close)
