"""List the modules that one frame, or one training step, passes on its way.

    python -m benchmarks.frame_path
    PYTHONPATH=OLD_CHECKOUT python benchmarks/frame_path.py
    python -m benchmarks.frame_path --smoke

What a newcomer has to open to follow one file frame, one live frame and one training step:
functions of `lfdn` and `lfdn_video` that are called between two frames in the middle of a run, in
every thread, and for a live frame in the process that decodes it too. Modules that only start or
end a run are not on the path. Uses the public API alone, so older checkouts can be counted too.
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
"""By then every stage is at work, and no longer starting."""

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
    """The modules whose functions are called while `armed`."""

    def __init__(self) -> None:
        self.armed = False
        self.modules: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        name = str(frame.f_globals.get("__name__", ""))
        if self.armed and event == "call" and name.split(".")[0] in PACKAGES:
            self.modules[name] = None


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record every thread that starts within."""
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def file_frame() -> list[str]:
    """The modules between the eighth and the tenth frame of a file."""
    from lfdn_video import SpanOptions, restore

    with tempfile.TemporaryDirectory() as folder, recording() as recorder:

        def arm(progress: Any) -> None:
            recorder.armed = FIRST_FRAME <= progress.frames_done < FIRST_FRAME + 2

        restore(SAMPLE, Path(folder) / "out.mp4", span=SpanOptions(end_s=0.7), on_progress=arm)
    return list(recorder.modules)


def live_frame() -> list[str]:
    """The modules between two live frames, here and in the process that decodes."""
    from lfdn_video import LiveOptions, live

    with tempfile.TemporaryDirectory() as folder, recording() as recorder:
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


def training_step() -> list[str]:
    """The modules between two steps of `lfdn train`."""
    import cv2
    import numpy as np

    from lfdn.cli import main as lfdn

    with tempfile.TemporaryDirectory() as folder:
        for number in range(6):
            image = np.random.default_rng(number).integers(0, 255, (96, 96, 3), np.uint8)
            cv2.imwrite(f"{folder}/{number}.png", image)
        words = ["train", "--task", "derain", "--data", f"clean={folder}", "-o", f"{folder}/run"]
        words += ["--steps", "6", "--stages", "1:48x2", "--validate-every", "6"]
        with recording() as recorder:
            recorder.armed = True  # starting and ending are few modules beside the steps
            lfdn(words, standalone_mode=False)
    return list(recorder.modules)


@click.command()
@click.option("--smoke", is_flag=True, help="Only show that it runs: a file frame.")
def main(*, smoke: bool) -> None:
    """Print the modules of each path, in the order in which they are first called."""
    paths: dict[str, Callable[[], list[str]]] = {"file frame": file_frame}
    if not smoke:
        paths |= {"live frame": live_frame, "training step": training_step}
    for name, path in paths.items():
        modules = path()
        click.echo(f"{name}: {len(modules)} modules\n    " + "\n    ".join(modules))


if __name__ == "__main__":
    main()
