"""The subcommands of `lfdn`, one file each."""
