"""`python -m lfdn` is the `lfdn` command."""

from lfdn.cli import main

main()
