"""Kill and resume short runs with a stand-in for the network: `kills.py` in two minutes.

    python -m benchmarks.kills_quick

120 frames of sparse rain, segments of 25 frames, neighbouring frames as by default. Each run is a
process that is forked before anything has run, killed with SIGKILL after a random frame, and
resumed in another one. Every frame, its time and every audio packet must equal those of a run that
nothing interrupted. Exits with 1 if one differs, or if neighbours changed no frame.
"""

import json
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import click
import cv2
import torch
from torch import Tensor

from benchmarks.clips import write_clip
from benchmarks.kills import Content, draw_sparse_rain
from lfdn_video.inference.engine import Engine
from lfdn_video.options import EncodeOptions
from lfdn_video.output import segments
from lfdn_video.pipeline import restore
from tests.support.rain import derain_timidly

FRAMES, SMOKE_FRAMES = 120, 60
SEGMENT_FRAMES = 25
LATER_S = 0.05
_fork = get_context("fork")


def restore_a_little(batch: Tensor) -> Tensor:
    """Change every sample a little, and take a part of the rain: a network."""
    return 0.98 * derain_timidly(batch) + 0.01


def run(source: Path, target: Path, told: Connection, resume: bool) -> None:
    """Restore in this process; tell the number of frames written, at last those changed."""
    with Engine(restore_a_little) as engine:
        summary = restore(
            source,
            target,
            engine=engine,
            encode=EncodeOptions(resume=resume, overwrite=resume),
            on_progress=lambda progress: told.send(progress.frames_done),
        )
    assert summary.temporal is not None
    told.send(summary.temporal.frames)


def complete(source: Path, target: Path, *, resume: bool) -> int:
    """Run to the end; return the number of frames that neighbours changed in this run."""
    here, there = _fork.Pipe(duplex=False)
    process = _fork.Process(target=run, args=(source, target, there, resume))
    process.start()
    there.close()
    changed = 0
    try:
        while True:
            changed = here.recv()
    except EOFError:
        process.join()
    if process.exitcode:
        raise click.ClickException("a run failed")
    return changed


def kill_after(source: Path, target: Path, at_frame: int, later_s: float) -> int:
    """Kill a run after a frame; return the number of frames in finished segments."""
    here, there = _fork.Pipe(duplex=False)
    process = _fork.Process(target=run, args=(source, target, there, False))
    process.start()
    there.close()
    try:
        while here.recv() < at_frame:
            pass
    except EOFError as error:
        raise click.ClickException("a run ended before it was killed") from error
    time.sleep(later_s)
    process.kill()
    process.join()
    journals = list(target.parent.glob(".*/journal.json"))
    found = json.loads(journals[0].read_text())["segments"] if journals else []
    return sum(segment["frames"] for segment in found)


@click.command()
@click.option("--kills", "count", default=20, show_default=True, help="Number of kills.")
@click.option("--seed", default=1, show_default=True, help="Seed of the random frames.")
@click.option("--smoke", is_flag=True, help="Check that it runs: one kill, a shorter clip.")
def main(count: int, seed: int, *, smoke: bool) -> None:
    """Kill and resume short runs, and compare the results."""
    segments.SEGMENT_FRAMES = SEGMENT_FRAMES
    # A fork copies no threads, so there must not be any that a process waits for.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    random = Random(seed)
    frames = SMOKE_FRAMES if smoke else FRAMES
    identical, count = 0, 1 if smoke else count
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        source = write_clip(folder / "clip.mp4", draw_sparse_rain(frames), bf="2", g="30")
        straight = folder / "straight.mp4"
        changed = complete(source, straight, resume=False)
        expected = Content.read(straight)
        click.echo(f"without interruption: {frames} frames, {changed} changed by their neighbours")
        for number in range(1, count + 1):
            target = folder / str(number) / "out.mp4"
            target.parent.mkdir()
            at_frame = random.randrange(1, frames)
            kept = kill_after(source, target, at_frame, LATER_S * random.random())
            complete(source, target, resume=True)
            is_same = Content.read(target) == expected and [*target.parent.iterdir()] == [target]
            identical += is_same
            found = "identical" if is_same else "DIFFERENT"
            click.echo(f"{number:3}: killed after frame {at_frame}, {kept} kept: {found}")
    click.echo(f"{identical} of {count} identical")
    if identical < count or not changed:
        sys.exit(1)


if __name__ == "__main__":
    main()
