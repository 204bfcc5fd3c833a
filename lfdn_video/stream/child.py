"""Child processes that run a part of this program, with pipes for the messages of `wire.py`.

A child can be killed wherever it hangs. It receives its request over stdin rather than as
arguments, which every user of the machine can read: requests may contain passwords. It exits when
its parent is gone. It runs in a process group of its own, so Ctrl-C reaches only the parent.
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
from typing import IO, Any, Self

from lfdn_video.ffmpeg import CONVERT, is_pyav_error, pyav_message
from lfdn_video.stream import wire

EXIT_TIMEOUT_S = 5.0
"""Time for a killed process to exit."""

logger = logging.getLogger(__name__)


class Child:
    """The parent's side of a child process. A context manager: leaving it kills the process."""

    def __init__(self, module: str) -> None:
        """Prepare a process that runs `python -m module`; entering starts it."""
        self._module = module

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            # -P: a file in the current folder must not shadow a module.
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries that print there may print an address
            env=_environment(),
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in = self._process.stdin
        self._out = self._process.stdout
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        try:
            self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # stuck in a device driver
            logger.warning("a process cannot be ended: %s (%d)", self._module, self._process.pid)
        self.close_input()
        self._out.close()

    def send(self, message: object) -> None:
        """Send a message of `wire.py`. Raises BrokenPipeError if the process is gone."""
        wire.send(self._in, message)

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError if the process is gone."""
        return wire.receive(self._out)

    def close_input(self) -> None:
        """Make the child's `receive` raise EOFError after the messages sent so far."""
        with suppress(BrokenPipeError):  # the rest of the buffer is no longer wanted
            self._in.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to exit by itself. Returns True if it did in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process. Safe from any thread and to call again."""
        self._process.kill()


class Parent:
    """The child's side: the process that started this one."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._in = stdin
        self._out = stdout

    def send(self, message: object) -> None:
        """Send a message of `wire.py`. Raises BrokenPipeError if the parent is gone."""
        wire.send(self._out, message)

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError if there are no more."""
        return wire.receive(self._in)

    def exit_with_parent(self) -> None:
        """Terminate this process when the parent is gone, even if the main thread hangs.

        Call it after the last `receive`: a thread reads stdin from now on.
        """
        threading.Thread(target=self._terminate_at_eof, name="parent", daemon=True).start()

    def _terminate_at_eof(self) -> None:
        with suppress(OSError, ValueError):
            while self._in.read(1):
                pass
        # A signal, not `sys.exit`, which would end only this thread.
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def connect_to_parent() -> Generator[Parent]:
    """Take over stdin and stdout for messages, in a process that `Child` started.

    Output of libraries to stdout is redirected to the null device, as it would corrupt messages.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent may have ignored it
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        yield Parent(sys.stdin.buffer, out)


def describe_failure(error: Exception) -> str:
    """Describe an exception that a child did not expect, for the message that ends it.

    Returns:
        What is wrong and what to do: PyAV's complaint about the source or the target, or else a
        sentence that calls it a bug of this program.
    """
    if is_pyav_error(error):
        return f"cannot be handled: {pyav_message(error)}; {CONVERT}"
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{words}; this is a bug in lfdn-video"


def _environment() -> dict[str, str]:
    """Return the environment with a PYTHONPATH that finds this package from any folder."""
    folders = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
