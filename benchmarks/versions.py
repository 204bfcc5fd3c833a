"""Compare the speed of two checkouts of this project, which take turns within one run.

    git worktree add /tmp/old v0.1.0
    python -m benchmarks.versions /tmp/old . --rounds 5
    python -m benchmarks.versions --smoke

Each measurement is a process of its own that imports the checkout under test. It uses only the
public API and command line, so that distant versions can be compared. The table has medians over
the rounds, of the ratio new / old in each round too:

    help         seconds from start to end of `lfdn-video --help`
    first frame  seconds from the start of a process to its first restored frame, loading included
    network      seconds per frame that the model stage was busy, at 1280x720
    end to end   seconds per frame from the first frame to the finished file, at 1280x720

Neighbouring frames, which versions from before them cannot use, are left alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from benchmarks.clips import SAMPLE, scale_clip
from benchmarks.reports import write_json

SIZE = (1280, 720)
FRAMES = 24
SMOKE_SIZE = (160, 96)
SMOKE_FRAMES = 4

RUN = """
import inspect, json, sys, time
from lfdn_video import restore
times_s = []
alone = {"temporal": "off"} if "temporal" in inspect.signature(restore).parameters else {}
summary = restore(
    sys.argv[1], sys.argv[2], on_progress=lambda _: times_s.append(time.time()), **alone
)
end_s = time.time()
print(json.dumps({
    "first": times_s[0],
    "network": summary.stages["model"].busy_s / summary.frames,
    "end to end": (end_s - times_s[0]) / (summary.frames - 1),
}))
"""


def measure_checkout(tree: Path, clip: Path, folder: Path) -> dict[str, float]:
    """Measure one checkout once; return seconds by name."""
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
    start_s = time.time()
    subprocess.run(
        [sys.executable, "-m", "lfdn_video", "--help"],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    help_s = time.time() - start_s
    start_s = time.time()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(clip), str(folder / "restored.mp4")],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "restored.mp4").unlink()
    found: dict[str, float] = json.loads(done.stdout)
    return {"help": help_s, "first frame": found.pop("first") - start_s, **found}


@click.command()
@click.argument("old", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.argument("new", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option(
    "--rounds", default=5, show_default=True, help="Number of measurements of each checkout."
)
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
@click.option("--smoke", is_flag=True, help="Check that it runs: one round, a tiny clip.")
def main(old: Path, new: Path, *, rounds: int, report: Path | None, smoke: bool) -> None:
    """Measure the checkouts OLD and NEW in turn."""
    size, frames = (SMOKE_SIZE, SMOKE_FRAMES) if smoke else (SIZE, FRAMES)
    found: dict[str, list[dict[str, float]]] = {"old": [], "new": []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        clip = scale_clip(SAMPLE, folder / "clip.mp4", size, frames)
        for _ in range(1 if smoke else rounds):
            for version, tree in (("old", old), ("new", new)):
                found[version].append(measure_checkout(tree, clip, folder))
    table = Table("", "old, s", "new, s", "new / old", "single rounds")
    for name in found["old"][0]:
        # A ratio within each round: a machine that slows down over the rounds meets both alike.
        before = [seconds[name] for seconds in found["old"]]
        after = [seconds[name] for seconds in found["new"]]
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        table.add_row(
            name,
            f"{median(before):.3f}",
            f"{median(after):.3f}",
            f"{median(ratios):.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
        )
    Console().print(table)
    write_json(report, found, indent=1)


if __name__ == "__main__":
    main()
