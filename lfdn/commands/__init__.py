"""The subcommands of `lfdn`, one file each, and the options that they share (`options.py`)."""
