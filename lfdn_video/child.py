"""Child processes that run a part of this program, and the messages on the pipes to them.

A child can be killed wherever it hangs. It receives its request over stdin rather than as
arguments, which every user of the machine can read: requests may contain passwords. It exits when
its parent is gone. It runs in a process group of its own, so Ctrl-C reaches only the parent.

Messages are pickled values; the bytes of their arrays follow uncopied (pickle's out-of-band
buffers). Both ends are this program, so no foreign bytes are unpickled.
"""

import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from lfdn_video.ffmpeg import CONVERT, is_pyav_error, pyav_message

_HEAD = struct.Struct("<II")  # bytes of the pickle, number of buffers
_SIZE = struct.Struct("<Q")  # bytes of a buffer

EXIT_TIMEOUT_S = 5.0
"""Time for a killed process to exit."""

logger = logging.getLogger(__name__)


class Child:
    """The parent's side of a child process. A context manager: leaving it kills the process."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        """Prepare a process that runs `python -m module`; entering starts it.

        Args:
            module: its name.
            environment: variables to add to the process's environment.
        """
        self._module = module
        self._environment = environment or {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            # -P: a file in the current folder must not shadow a module.
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries that print there may print an address
            env={**_environment(), **self._environment},
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
        """Send a message. Raises BrokenPipeError if the process is gone."""
        send(self._in, message)

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError if the process is gone."""
        return receive(self._out)

    def close_input(self) -> None:
        """Make the child's `receive` raise EOFError after the messages sent so far."""
        with suppress(BrokenPipeError):  # the rest of the buffer is no longer wanted
            self._in.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to exit by itself. Returns True if it did in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or minus the signal that ended the process; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the process to end. Safe from any thread and to call again."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill the process. Safe from any thread and to call again."""
        self._process.kill()


class Parent:
    """The child's side: the process that started this one."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._in = stdin
        self._out = stdout

    def send(self, message: object) -> None:
        """Send a message. Raises BrokenPipeError if the parent is gone."""
        send(self._out, message)

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError if there are no more."""
        return receive(self._in)

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


def send(file: IO[bytes], message: object) -> None:
    """Write one message and flush.

    Args:
        file: the writing end of a pipe.
        message: any value that can be pickled.

    Raises:
        BrokenPipeError: the other end is gone.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    # Sizes go first, so that the receiver can allocate every buffer before it reads them.
    views = [buffer.raw() for buffer in buffers]
    file.write(_HEAD.pack(len(head), len(views)))
    for view in views:
        file.write(_SIZE.pack(view.nbytes))
    file.write(head)
    for view in views:
        file.write(view)
    file.flush()


def receive(file: IO[bytes]) -> Any:
    """Wait for the next message.

    Args:
        file: the reading end of a pipe.

    Returns:
        An instance of any value that can be pickled.

    Raises:
        EOFError: the other end is gone, perhaps in the middle of a message.
    """
    head_bytes, count = _HEAD.unpack(_read(file, _HEAD.size))
    sizes = [_SIZE.unpack(_read(file, _SIZE.size))[0] for _ in range(count)]
    head = _read(file, head_bytes)
    return pickle.loads(head, buffers=[_read(file, size) for size in sizes])


def _environment() -> dict[str, str]:
    """Return the environment with a PYTHONPATH that finds this package from any folder."""
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def _read(file: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    done = 0
    while done < size:
        if not (count := file.readinto(view[done:])):  # type: ignore[attr-defined]  # IO has it not
            raise EOFError
        done += count
    return content
