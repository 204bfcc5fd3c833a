"""Kill a long run with SIGKILL at random points, resume it, and compare the results.

    python -m benchmarks.kills --json benchmarks/results/kills.json
    python -m benchmarks.kills CLIP --kills 20
    python -m benchmarks.kills --smoke

One run goes through without interruption first. Then, for each kill, a new run is killed after a
random frame, and `--resume` completes it. The target must equal that of the
first run: every decoded frame and its time, the bytes and times of every audio packet; and
`lfdn-video verify` must accept it. Exits with 1 if one differs, or if the first run used no
neighbouring frames. Without a CLIP, 600 small frames of sparse rain with audio are generated: three
segments.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
import click
import cv2
import numpy as np
from av.video.frame import VideoFrame

from benchmarks.clips import write_clip
from benchmarks.reports import write_json

FRAMES, SMOKE_FRAMES = 600, 520
WIDTH_PX, HEIGHT_PX = 96, 64
STREAKS = 50
SMOKE_KILL_AT = 300  # after the first segment
LATER_S = 0.5  # a run tells its progress twice a second


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and the comparison after resuming."""

    killed_after: int
    """Frame after which it was killed."""
    frames_kept: int
    """Frames in finished segments at the time of the kill."""
    frames_identical: bool
    sound_identical: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class Content:
    """Time and SHA-256 of each decoded frame and each audio packet of a file."""

    frames: tuple[tuple[Fraction, str], ...]
    audio: tuple[tuple[Fraction, str], ...]

    @classmethod
    def read(cls, path: Path) -> "Content":
        """Decode the frames and read the audio packets of a file."""
        with av.open(path) as container:
            time_base = container.streams.video[0].time_base or Fraction(1)
            frames = tuple(
                ((frame.pts or 0) * time_base, _hash(frame.to_ndarray().tobytes()))
                for frame in container.decode(video=0)
            )
        with av.open(path) as container:
            audio = tuple(
                ((packet.pts or 0) * packet.time_base, _hash(bytes(packet)))
                for packet in container.demux(container.streams.audio)
                if packet.size
            )
        return cls(frames, audio)


def draw_sparse_rain(count: int) -> Iterator[VideoFrame]:
    """Draw short streaks over texture that moves, elsewhere in each frame."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (HEIGHT_PX, 2 * WIDTH_PX), np.uint8)
    smooth: Any = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = (40 + (smooth - smooth.min()) * (100 / np.ptp(smooth))).astype(np.uint8)
    for number in range(count):
        luma = np.roll(texture, number, axis=1)[:, :WIDTH_PX].copy()
        for _ in range(STREAKS):
            x, y = int(random.integers(WIDTH_PX)), int(random.integers(HEIGHT_PX))
            cv2.line(luma, (x, y), (x + 1, y + 5), (190,), 1)
        yield VideoFrame.from_ndarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB), format="rgb24")


def run_through(clip: Path, target: Path) -> int:
    """Run without interruption; return the number of frames that neighbours changed."""
    command = [*_build_command(clip, target), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(done.stdout.splitlines()[-1])["temporal"]["frames"])


def run_and_kill(clip: Path, target: Path, at_frame: int, later_s: float) -> int:
    """Kill a run that has written a frame; return the number of frames in finished segments.

    Args:
        clip: the source.
        target: the target.
        at_frame: the number of frames after which it is killed.
        later_s: seconds after that.
    """
    command = [*_build_command(clip, target), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("frames_done", -1) >= at_frame:
                break
        time.sleep(later_s)
        process.kill()
    journals = list(target.parent.glob(".*/journal.json"))
    segments = json.loads(journals[0].read_text())["segments"] if journals else []
    return sum(segment["frames"] for segment in segments)


def resume_and_compare(
    clip: Path, target: Path, expected: Content, *, killed_after: int, frames_kept: int
) -> Kill:
    """Resume a killed run to its end, and compare its target with `expected`."""
    subprocess.run([*_build_command(clip, target), "--resume", "--overwrite"], check=True)
    found = Content.read(target)
    verdict = subprocess.run(
        [sys.executable, "-m", "lfdn_video", "verify", str(clip), str(target)],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    left_behind = [path.name for path in target.parent.iterdir() if path != target]
    return Kill(
        killed_after=killed_after,
        frames_kept=frames_kept,
        frames_identical=found.frames == expected.frames,
        sound_identical=found.audio == expected.audio,
        verified=verdict.returncode == 0 and not left_behind,
    )


def _build_command(clip: Path, target: Path) -> list[str]:
    program = [sys.executable, "-m", "lfdn_video"]
    return [*program, "derain", str(clip), "-o", str(target), "--quiet"]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@click.command()
@click.argument("clip", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--kills", "count", default=20, show_default=True, help="Number of kills.")
@click.option("--seed", default=1, show_default=True, help="Seed of the random points.")
@click.option("--smoke", is_flag=True, help="Check that it runs: one kill, a shorter clip.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(clip: Path | None, count: int, seed: int, *, smoke: bool, report: Path | None) -> None:
    """Kill and resume runs that restore CLIP, and compare the results."""
    random = Random(seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        frames = draw_sparse_rain(SMOKE_FRAMES if smoke else FRAMES)
        source = clip or write_clip(folder / "clip.mp4", frames, bf="2", g="30")
        uninterrupted = folder / f"uninterrupted{source.suffix}"
        start_s = time.monotonic()
        changed = run_through(source, uninterrupted)
        duration_s = time.monotonic() - start_s
        expected = Content.read(uninterrupted)
        click.echo(
            f"without interruption: {len(expected.frames)} frames in {duration_s:.1f} s, "
            f"{changed} of them changed by means of their neighbours"
        )
        kills = []
        for number in range(1 if smoke else count):
            run_folder = folder / str(number)
            run_folder.mkdir()
            target = run_folder / f"out{source.suffix}"
            after = SMOKE_KILL_AT if smoke else random.randrange(len(expected.frames))
            kept = run_and_kill(source, target, after, LATER_S * random.random())
            kills.append(
                resume_and_compare(source, target, expected, killed_after=after, frames_kept=kept)
            )
            click.echo(f"{number + 1:3}: {kills[-1]}")
            target.unlink()
    result = {
        "frames": len(expected.frames),
        "changed_by_neighbours": changed,
        "sound_packets": len(expected.audio),
        "uninterrupted_s": round(duration_s, 1),
        "kills": [asdict(kill) for kill in kills],
    }
    write_json(report, result)
    same = (kill.frames_identical and kill.sound_identical and kill.verified for kill in kills)
    if not changed or not all(same):
        sys.exit(1)


if __name__ == "__main__":
    main()
