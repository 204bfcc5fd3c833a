"""List the modules that one frame, or one training step, passes through.

    python -m benchmarks.frame_path
    PYTHONPATH=OLD_CHECKOUT python benchmarks/frame_path.py
    python -m benchmarks.frame_path --smoke

These are the modules a newcomer opens to follow one file frame, one live frame or one training
step: those of `lfdn` and `lfdn_video` whose functions are called between two frames in the middle
of a run, in any thread, and for a live frame also in the process that decodes it. Modules that only
start or end a run do not count. It uses only the public API, and nothing else of this folder, so
that older checkouts can be counted too.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

SAMPLE = Path(__file__).parent.parent / "samples" / "rainy_dashcam.mp4"
PACKAGES = ("lfdn", "lfdn_video")
FIRST_FRAME = 8
"""By then all stages have started and are busy."""

CHILD_PATHS = "LFDN_FRAME_PATH"
CHILD = """
import os, sys, threading, time
seen, start_s = set(), time.monotonic()
def record(frame, event, _):
    name = frame.f_globals.get("__name__", "")
    name = getattr(frame.f_globals.get("__spec__"), "name", None) or name
    if name.split(".")[0] in ("lfdn", "lfdn_video") and name not in seen:
        if time.monotonic() - start_s > 2:
            seen.add(name)
            with open(os.environ["LFDN_FRAME_PATH"], "a") as file:
                file.write(name + chr(10))
if "LFDN_FRAME_PATH" in os.environ:
    threading.setprofile(record)
    sys.setprofile(record)
"""


class Recorder:
    """Records the modules whose functions are called while `armed`. A profile function."""

    def __init__(self) -> None:
        self.armed = False
        self.modules: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        name = str(frame.f_globals.get("__name__", ""))
        if self.armed and event == "call" and name.split(".")[0] in PACKAGES:
            self.modules[name] = None


@contextmanager
def record_calls() -> Iterator[Recorder]:
    """Record this thread, and every thread that starts in the context."""
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def trace_file_frame() -> list[str]:
    """List the modules called between the eighth and the tenth frame of a file."""
    from lfdn_video import SpanOptions, restore

    with tempfile.TemporaryDirectory() as folder, record_calls() as recorder:

        def arm(progress: Any) -> None:
            recorder.armed = FIRST_FRAME <= progress.frames_done < FIRST_FRAME + 2

        restore(SAMPLE, Path(folder) / "out.mp4", span=SpanOptions(end_s=0.7), on_progress=arm)
    return list(recorder.modules)


def trace_live_frame() -> list[str]:
    """List the modules called between two live frames, here and in the process that decodes."""
    from lfdn_video import LiveOptions, live

    with tempfile.TemporaryDirectory() as folder, record_calls() as recorder:
        # Python imports a `sitecustomize` at its start: that is how the child is recorded.
        Path(folder, "sitecustomize.py").write_text(CHILD)
        child_paths = Path(folder, "modules")
        child_paths.touch()
        before = os.environ.get("PYTHONPATH", "")
        os.environ[CHILD_PATHS] = str(child_paths)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, before)))
        try:
            options = LiveOptions(loop=True, duration_s=12, scale=0.25)
            for number, _ in enumerate(live(str(SAMPLE), options=options)):
                recorder.armed = number in (FIRST_FRAME, FIRST_FRAME + 1)
        finally:
            os.environ["PYTHONPATH"] = before
        in_child = child_paths.read_text().split()
    return list(dict.fromkeys([*in_child, *recorder.modules]))


def trace_training_step() -> list[str]:
    """List the modules called by `lfdn train` on six tiny images."""
    import cv2
    import numpy as np

    from lfdn.cli import main as lfdn

    with tempfile.TemporaryDirectory() as folder:
        for number in range(6):
            image = np.random.default_rng(number).integers(0, 255, (96, 96, 3), np.uint8)
            cv2.imwrite(f"{folder}/{number}.png", image)
        arguments = [
            "train",
            "--task",
            "derain",
            "--data",
            f"clean={folder}",
            "-o",
            f"{folder}/run",
        ]
        arguments += ["--steps", "6", "--stages", "1:48x2", "--validate-every", "6"]
        with record_calls() as recorder:
            recorder.armed = True  # starting and ending are few modules beside the steps
            lfdn(arguments, standalone_mode=False)
    return list(recorder.modules)


@click.command()
@click.option("--smoke", is_flag=True, help="Check that it runs: a file frame only.")
def main(*, smoke: bool) -> None:
    """Print the modules of each path, in the order in which they are first called."""
    paths: dict[str, Callable[[], list[str]]] = {"file frame": trace_file_frame}
    if not smoke:
        paths |= {"live frame": trace_live_frame, "training step": trace_training_step}
    for name, trace in paths.items():
        modules = trace()
        click.echo(f"{name}: {len(modules)} modules\n    " + "\n    ".join(modules))


if __name__ == "__main__":
    main()
