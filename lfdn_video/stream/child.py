"""A part of this program in a process of its own, with pipes to talk to it in `wire.py`'s messages.

It can be ended whatever it hangs in. What it is to do is told over its stdin, so that no password
stands among arguments, which every user of the machine can read. It ends when the one that started
it is gone, and does not hear Ctrl-C, which is for that one.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lfdn_video.stream import wire

ENDING_S = 5.0  # for a process that was killed to be gone

_log = logging.getLogger(__name__)


class Child:
    """The process, seen by who started it. A context manager; leaving it ends the process."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries that print there may print an address
            env=_environment(),
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:  # a driver does not let it go
            _log.warning("a process cannot be ended: %s (%d)", self._module, self._process.pid)
        self.close_input()
        self._out.close()

    def send(self, message: object) -> None:
        """BrokenPipeError if it is gone."""
        wire.send(self._in, message)

    def receive(self) -> Any:
        """Its next message, waited for; EOFError if it is gone."""
        return wire.receive(self._out)

    def close_input(self) -> None:
        """It is told that nothing more comes."""
        with suppress(BrokenPipeError):  # what was not sent yet is not wanted any more
            self._in.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended by then."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.poll() is not None

    def kill(self) -> None:
        """From any thread, as often as you like."""
        self._process.kill()


class Parent:
    """The one that started this process, seen by it."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._in, self._out = stdin, stdout

    def send(self, message: object) -> None:
        wire.send(self._out, message)

    def receive(self) -> Any:
        """Its next message, waited for; EOFError if there are no more."""
        return wire.receive(self._in)

    def watch(self) -> None:
        """Nothing more is to be received: end with it, whatever the main thread hangs in."""
        threading.Thread(target=self._end_with, name="parent", daemon=True).start()

    def _end_with(self) -> None:
        with suppress(OSError, ValueError):
            while self._in.read(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def connect_to_parent() -> Generator[Parent]:
    """In the process itself: its pipes, for messages alone. What libraries print goes nowhere."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it may have been ignored by who started us
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        yield Parent(sys.stdin.buffer, out)


def _environment() -> dict[str, str]:
    """Python is to find this very package, from wherever it is started."""
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)}
