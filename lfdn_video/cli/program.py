"""The group of commands. It turns errors into one line and an exit code, and signals into errors.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
If it is not 0, no target is written; a long run keeps its finished segments for `--resume`.
"""

import errno
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import Any

import click

from lfdn_video.errors import InputError, LfdnVideoError
from lfdn_video.files import open_standard_streams, silence_stdout

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # names, since not every system has all
REPEAT_S = 1.0  # a terminal and a wrapper may both pass on the same Ctrl-C

STDOUT_ERRORS = {errno.EBADF, errno.EDQUOT, errno.EIO, errno.ENOSPC}
"""Errors of a file without a name; where other files are written, errors are translated."""

PACKAGE_OF = {"libGL": "libgl1", "libgthread-2": "libglib2.0-0", "libglib-2": "libglib2.0-0"}
"""Debian's packages of the libraries that OpenCV needs."""

WORDS = "lfdn_video.words"
"""Where the context keeps the words of the command line."""

OPTION_FOR = {
    "allow overwriting": "--overwrite",
    "resume the run": "--resume",
    "pass a file": "--weights",
    "use smaller tiles or a smaller batch": "--tile or --batch",
}
"""Options by the library's advice at the end of a message, appended here as `with --option`."""


class StopRequested(KeyboardInterrupt):
    """A signal that asks the program to stop: Ctrl-C, SIGTERM, or a closed terminal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.word = "interrupted" if number == signal.SIGINT else "terminated"
        self.exit_code = 128 + number  # as shells do


class Program(click.Group):
    """A group of commands that reports every error in one line and exits with its code."""

    def main(self, *args: Any, **words: Any) -> Any:
        open_standard_streams()
        try:
            return super().main(*args, **words)
        except OSError as error:  # help, version and completion are printed outside of `invoke`
            if error.errno not in STDOUT_ERRORS or error.filename is not None:
                raise
            click.echo(f"error: {_explain(error)}", err=True)
            sys.exit(1)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, TextIOWrapper):  # names and tags need not be UTF-8
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with _raise_on_stop_signals():
                result = super().invoke(ctx)
                sys.stdout.flush()  # at the end of the process it would be too late for an error
                return result
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click handles these itself
        except StopRequested as error:
            notes = _notes(error) or ["nothing was written"]
            _exit_with_error(ctx, "; ".join([error.word, *notes]), error.exit_code, error)
        except LfdnVideoError as error:
            message = "; ".join([add_option(str(error)), *_notes(error)])
            _exit_with_error(ctx, message, error.exit_code, error)
        except Exception as error:  # noqa: BLE001 (the last resort: a line instead of a traceback)
            _exit_with_error(ctx, _explain(error), 1, error)


def command_line(ctx: click.Context) -> str:
    """Return the command that runs, as one would type it.

    Args:
        ctx: the context of the program, or of one of its commands.
    """
    return shlex.join(["lfdn-video", *ctx.meta[WORDS]])


def check_is_file(source: str) -> None:
    """Refuse an address where only files are read.

    Raises:
        InputError: `source` is empty, or starts with a scheme such as `https://`.
    """
    if not source:
        raise InputError("input: the name is empty; give a file or a folder")
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        raise InputError(
            f"{source}: is an address, and only files are read here; download it, or use live"
        )


def _explain(error: Exception) -> str:
    """Explain an error that is none of ours: a broken installation, a full stdout, or a bug."""
    library = re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object", str(error))
    if isinstance(error, ImportError) and library:
        package = PACKAGE_OF.get(library[1].partition(".so")[0], "its package")
        return (
            f"{library[1]}: this library of the system is missing; install it, "
            f"with apt-get install {package} on Debian and Ubuntu, or use opencv-python-headless"
        )
    if isinstance(error, OSError) and error.errno in STDOUT_ERRORS and error.filename is None:
        silence_stdout()
        return f"stdout: cannot be written: {error.strerror}; choose another place for the output"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        # Names too long for the file system, loops of links, folders that may not be entered.
        return f"{error.filename}: cannot be used: {error.strerror}; choose another file or name"
    return (
        f"{type(error).__name__}: {error}; this is a bug in lfdn-video, "
        "run again with --verbose for the traceback"
    )


def add_option(message: str) -> str:
    """Append the option that does what a message of the library advises."""
    for advice, option in OPTION_FOR.items():
        if message.endswith(advice):
            return f"{message} with {option}"
    return message


def _notes(error: BaseException) -> list[str]:
    """Return the notes that a run added to the error that ended it."""
    return [add_option(note) for note in getattr(error, "__notes__", [])]


def _exit_with_error(
    ctx: click.Context, message: str, exit_code: int, error: BaseException
) -> None:
    from lfdn_video.cli.reporters import Reporter

    reporter = ctx.find_root().obj or Reporter()
    if reporter.verbose and not isinstance(error, KeyboardInterrupt):
        reporter.report_detail("".join(traceback.format_exception(error)).rstrip())
    reporter.report_error(" ".join(message.split()), exit_code)  # one line, whatever FFmpeg says
    ctx.exit(exit_code)


@contextmanager
def _raise_on_stop_signals() -> Generator[None]:
    """Raise `StopRequested` in the block when a signal asks the program to stop.

    A repeat within a second counts as the same request: raising again would disturb the clean-up.
    Signals that were ignored at the start, as under nohup, stay ignored. SIGINT is the exception:
    shells ignore it for background commands of a script, where it still means "stop" when sent.
    """
    last_s = float("-inf")

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        is_repeat = now_s - last_s < REPEAT_S
        last_s = now_s
        if not is_repeat:
            raise StopRequested(number)

    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    previous = {
        number: handler
        for number in numbers
        if (handler := signal.getsignal(number)) != signal.SIG_IGN or number == signal.SIGINT
    }
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
