"""The command line `lfdn-video`. The rest of the package works without it.

program.py      the group of commands: errors to exit codes, signals
commands.py     derain, deblur, degrade, probe, verify, doctor
batch.py        derain and deblur over many files;  batch_views.py shows how far they are
live.py         live
serve.py        serve;  serve_config.py reads its file, serve_view.py shows the cameras
supervisor.py   messages to systemd
review.py       compare, report, and the same at the end of a run
demo.py         demo
options.py      options that commands share, passed to them as typed values
parameters.py   types of single values: times, rates, NAME=VALUE
bench.py        bench
foresight.py    what a run will take, and what is faster here
reporters.py    progress, warnings, errors: a bar, plain lines, JSON events
tables.py       what probe, verify, doctor and live --list print
formatting.py   numbers, summaries and values as text
doctor.py       the checks of the installation
"""

from lfdn_video.cli.commands import main
from lfdn_video.cli.demo import demo

main.add_command(demo)

__all__ = ["main"]
