"""The command line `lfdn-video`: click commands, their options, and what they print.

`commands.py` holds the commands, `live.py` the live one, `options.py` what they share; `console.py`
and `tables.py` print. Everything else of the package works without this one.
"""

from lfdn_video.cli.commands import main

__all__ = ["main"]
