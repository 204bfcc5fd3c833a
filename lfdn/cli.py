"""The `lfdn` command. Only its subcommands, in `lfdn.commands`, print anything in this package.

Subcommands import heavy modules when they run, so that `lfdn --help` is quick.
"""

import logging
import sys

import click

from lfdn.commands.degrade import degrade
from lfdn.commands.evaluate import evaluate
from lfdn.commands.export import export
from lfdn.commands.narrow import narrow
from lfdn.commands.pack import pack
from lfdn.commands.quantize import quantize
from lfdn.commands.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train and evaluate LFDN, a lightweight network that removes rain and motion blur."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


for command in (train, narrow, evaluate, export, quantize, pack, degrade):
    main.add_command(command)


if __name__ == "__main__":
    main()
