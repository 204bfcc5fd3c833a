"""`python -m lfdn_video` is the `lfdn-video` command."""

from lfdn_video.cli import main

main(prog_name="lfdn-video")
