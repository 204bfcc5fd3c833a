"""The `lfdn` command. It and its subcommands, in `lfdn.commands`, alone print in this package.

Subcommands import heavy modules when they run, so that `lfdn --help` is quick. Exit codes: 0 done,
1 failed, 2 wrong usage, 130 interrupted.
"""

import logging
import sys
import traceback
from typing import Any

import click

from lfdn.commands.average import average
from lfdn.commands.degrade import degrade
from lfdn.commands.evaluate import evaluate
from lfdn.commands.export import export
from lfdn.commands.narrow import narrow
from lfdn.commands.pack import pack
from lfdn.commands.quantize import quantize
from lfdn.commands.train import train
from lfdn.files import open_standard_streams, silence_stdout

ADVICE = "allow overwriting"
"""End of a message of `lfdn.files`; here it names the option."""


class Program(click.Group):
    """A group of commands that reports every error in one line."""

    def main(self, *args: Any, **words: Any) -> Any:
        open_standard_streams()
        try:
            return super().main(*args, **words)
        except OSError as error:  # help, version and completion are printed outside of `invoke`
            if error.errno is None or error.filename is not None:
                raise
            silence_stdout()
            click.echo(f"Error: stdout: cannot be written: {error.strerror}", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # at the end of the process it would be too late for an error
            return result
        except OSError as error:
            if error.filename is None and error.errno is not None:  # other files have a name
                silence_stdout()
                message = f"stdout: cannot be written: {error.strerror}"
                raise click.ClickException(message) from error
            raise click.ClickException(_in_one_line(str(error))) from error
        except ValueError as error:
            message = _in_one_line(str(error))
            option = " with --overwrite" if message.endswith(ADVICE) else ""
            raise click.ClickException(message + option) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except Exception as error:
            logging.getLogger(__name__).debug("%s", traceback.format_exc())
            raise click.ClickException(
                _in_one_line(f"{type(error).__name__}: {error}; run again with --verbose")
            ) from error


def _in_one_line(message: str) -> str:
    return " ".join(message.split())


@click.group(
    cls=Program,
    short_help="Train and evaluate LFDN.",  # of the man page
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="lfdn-video", prog_name="lfdn", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Print tracebacks of errors.")
def main(*, verbose: bool) -> None:
    """Train and evaluate LFDN, a lightweight network that removes rain and motion blur."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger(__name__).setLevel(logging.DEBUG if verbose else logging.INFO)


for command in (train, narrow, average, evaluate, export, quantize, pack, degrade):
    main.add_command(command)


if __name__ == "__main__":
    main()
