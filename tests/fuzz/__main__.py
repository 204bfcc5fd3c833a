"""Feed corrupt files to the command line, and count the outcomes.

python -m tests.fuzz --count 1000 --seed 1 --json fuzz.json
python -m tests.fuzz --replay FILE

Every file is restored by `lfdn_video.cli.main` in a process forked from this one, which has loaded
torch already. The network changes nothing: the tests are about the reader, the writer and the
copied streams, which handle the corrupt bytes. Every hundredth file is also restored by a freshly
started program with the real network. Exits with 1 if one of them

    crashed     was killed by a signal
    hung        took more than 20 s (a started program: 120 s)
    traceback   printed one, or exited with another code than 0 or 1
    left        failed, but left files beside its source
    nothing     exited with 0 without a target that can be opened
    silent      failed without an error line
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import av
import click

from lfdn_video.cli import commands as cli
from lfdn_video.inference import engine
from tests.fuzz.mutations import mutate
from tests.support.clips import Clip
from tests.support.fakes import identity_engine

TIMEOUT_S = 20.0
PROGRAM_TIMEOUT_S = 120.0  # starting it takes most of that on a busy machine
REAL_EVERY = 100
GOOD = {"restored", "refused"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one file."""

    kind: str
    mutation: str
    what: str
    seconds: float
    words: str
    """The end of the output."""


def make_corpus(folder: Path) -> list[Path]:
    """Make a small valid file of each format, with audio and all else that it can hold."""
    b_frames = {"g": "12", "bf": "2"}
    few = range(8)
    more = range(20)
    clips = {
        "clip.mp4": Clip(codec="libx264", pts=more, options=b_frames, audio="aac", chapters=True),
        "clip.mkv": Clip(
            codec="libx264",
            pts=more,
            options=b_frames,
            audio="libopus",
            subtitles=True,
            chapters=True,
            attachment=True,
        ),
        "clip.ts": Clip(codec="libx264", pts=more, options=b_frames, audio="aac"),
        "clip.avi": Clip(codec="mpeg4", pts=more, audio="libmp3lame"),
        "hevc.mp4": Clip(codec="libx265", pts=few, options={"x265-params": "log-level=none"}),
        "clip.webm": Clip(codec="libvpx-vp9", pts=few, audio="libopus"),
        "ffv1.mkv": Clip(codec="ffv1", pts=few),
        "mpeg2.ts": Clip(codec="mpeg2video", pts=few, audio="mp2"),
    }
    return [clip.make(folder / name) for name, clip in clips.items()]


def make_corrupt_files(folder: Path, count: int, seed: int) -> Iterator[tuple[Path, str]]:
    """Yield `count` corrupt files, and the mutations of each."""
    files = [(path, path.read_bytes()) for path in make_corpus(folder)]
    for number in range(count):
        random = Random(f"{seed}/{number}")
        path, content = files[number % len(files)]
        mutation, content = mutate(content, random.choice(files)[1], random)
        place = folder / f"{number:05}"
        place.mkdir()
        file = place / f"corrupt{path.suffix}"
        file.write_bytes(content)
        yield file, mutation


def judge(file: Path, mutation: str, *, real: bool) -> Outcome:
    """Restore one file into an MKV beside it, and classify the outcome."""
    target = file.with_name("out.mkv")
    log = file.with_name("log")
    words = ["derain", str(file), "-o", str(target), "--quiet"]
    began = time.monotonic()
    code = (_run_program if real else _run_forked)(words, log)
    seconds = time.monotonic() - began
    output = log.read_text(errors="replace")
    log.unlink()
    what = _classify(code, output, file, target)
    return Outcome(file.suffix, mutation, what, round(seconds, 2), output.strip()[-200:])


def _classify(code: int | None, output: str, file: Path, target: Path) -> str:
    left = sorted(path.name for path in file.parent.iterdir() if path != file)
    if code is None:
        return "hung"
    if code < 0:
        return "crashed"
    if code not in (0, 1) or "Traceback" in output:
        return "traceback"
    if code == 0:
        return "restored" if left == [target.name] and _can_decode(target) else "nothing"
    if left:
        return "left"
    return (
        "refused" if any(line.startswith("error: ") for line in output.splitlines()) else "silent"
    )


def _can_decode(target: Path) -> bool:
    with av.open(target, metadata_errors="replace") as container:
        return next(container.decode(video=0), None) is not None


def _run_forked(words: list[str], log: Path) -> int | None:
    """Run the command line in a fork of this process; return its exit code or negative signal."""
    child = os.fork()
    if child == 0:
        _run_and_exit(words, log)
    return _wait(child)


def _run_and_exit(words: list[str], log: Path) -> None:
    """Run the command line and exit; never returns."""
    code = 99
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.argv = ["lfdn-video", *words]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001  # printed, as Python itself would
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> int | None:
    began = time.monotonic()
    while time.monotonic() - began < TIMEOUT_S:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run_program(words: list[str], log: Path) -> int | None:
    """Run a new program with the packaged network; return as `_run_forked` does."""
    with log.open("wb") as file:
        try:
            return subprocess.run(
                [sys.executable, "-m", "lfdn_video", *words],
                stdout=file, stderr=file, timeout=PROGRAM_TIMEOUT_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return None


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@click.command()
@click.option("--count", default=1000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder for files with a bad outcome."
)
@click.option(
    "--replay", type=click.Path(path_type=Path, exists=True), help="Restore only this file."
)
@click.option(
    "--all", "every", is_flag=True, help="Print a line for every file, not only for bad ones."
)
@click.option(
    "--json", "report", type=click.Path(path_type=Path), help="File for the counts by outcome."
)
def main(
    count: int,
    seed: int,
    keep: Path | None,
    replay: Path | None,
    report: Path | None,
    *,
    every: bool,
) -> None:
    """Feed corrupt files to the command line, and count the outcomes."""
    engine.load_engine = lambda *_, **__: identity_engine()
    with tempfile.TemporaryDirectory() as folder:
        if replay is not None:
            file = Path(folder) / replay.name
            file.write_bytes(replay.read_bytes())
            click.echo(judge(file, "none", real=True))
            return
        outcomes = []
        for number, (file, mutation) in enumerate(make_corrupt_files(Path(folder), count, seed)):
            for real in (False, True) if number % REAL_EVERY == REAL_EVERY - 1 else (False,):
                outcome = judge(file, mutation, real=real)
                outcomes.append(outcome)
                bad = outcome.what not in GOOD
                if bad or every:
                    click.echo(f"{number}: {outcome}")
                if bad and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{number:05}{file.suffix}").write_bytes(file.read_bytes())
                file.with_name("out.mkv").unlink(missing_ok=True)
            _remove(file.parent)
    counts = _count_outcomes(outcomes, seed)
    click.echo(json.dumps(counts, indent=2))
    if report is not None:
        report.write_text(json.dumps(counts, indent=2) + "\n")
    if not GOOD.issuperset(outcome.what for outcome in outcomes):
        sys.exit(1)


def _count_outcomes(outcomes: list[Outcome], seed: int) -> dict[str, object]:
    kinds = sorted({outcome.kind for outcome in outcomes})
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    return {
        "seed": seed,
        "files": len(outcomes),
        "outcomes": dict(Counter(outcome.what for outcome in outcomes)),
        "by_kind": {
            kind: dict(Counter(each.what for each in outcomes if each.kind == kind))
            for kind in kinds
        },
        "slowest": asdict(slowest),
    }


if __name__ == "__main__":
    main()
