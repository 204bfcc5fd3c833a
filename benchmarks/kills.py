"""Kill a long run with SIGKILL at a random point, resume it, and compare; many times over.

    python benchmarks/kills.py --json benchmarks/results/kills.json
    python benchmarks/kills.py CLIP --kills 20

One run goes through without interruption first. Then, for each kill, a run is started afresh and
killed at a random point of that one's time, and `--resume` brings it to its end. The target has to
be that of the first run: a hash of every decoded frame with its time, the bytes and times of every
packet of sound, and `lfdn-video verify` against the source. Ends with 1 if one is not. Without a
clip, 1,300 small frames with sound are made: six segments. `--smoke` is one kill of a shorter one.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import click
import numpy as np

FRAMES, SMOKE_FRAMES = 1300, 560
WIDTH_PX, HEIGHT_PX, RATE, SAMPLE_RATE = 96, 64, 25, 48_000


@dataclass(frozen=True, slots=True)
class Kill:
    """One of them, and what came of it."""

    killed_after_s: float
    frames_kept: int
    """In finished segments, when it was killed."""
    frames_identical: bool
    sound_identical: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What a file shows and plays."""

    frames: tuple[tuple[Fraction, str], ...]
    sound: tuple[tuple[Fraction, str], ...]

    @classmethod
    def of(cls, path: Path) -> "Content":
        with av.open(path) as container:
            clock = container.streams.video[0].time_base or Fraction(1)
            frames = tuple(
                ((frame.pts or 0) * clock, _digest(frame.to_ndarray().tobytes()))
                for frame in container.decode(video=0)
            )
        with av.open(path) as container:
            sound = tuple(
                ((packet.pts or 0) * packet.time_base, _digest(bytes(packet)))
                for packet in container.demux(container.streams.audio)
                if packet.size
            )
        return cls(frames, sound)


def long_clip(path: Path, frames: int) -> Path:
    """A bright bar that wanders over noise, and a tone."""
    random = np.random.default_rng(1)
    ground = random.integers(60, 180, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", RATE, options={"bf": "2", "g": "30"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        audio = container.add_stream("aac", SAMPLE_RATE, layout="mono")
        for pts in range(frames):
            picture = ground.copy()
            picture[:, pts % WIDTH_PX] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, RATE)
            container.mux(video.encode(frame))
        step = 1024
        for start in range(0, frames * SAMPLE_RATE // RATE, step):
            wave = np.sin((np.arange(step) + start) / 20)[None].astype(np.float32)
            sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = SAMPLE_RATE, start
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def killed(clip: Path, target: Path, after_s: float) -> int:
    """Start a run, kill it, and say how many frames it left in finished segments."""
    process = subprocess.Popen(_words(clip, target))
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    journals = list(target.parent.glob(".*/journal.json"))
    told = json.loads(journals[0].read_text()) if journals else {"segments": []}
    return sum(segment["frames"] for segment in told["segments"])


def resumed(clip: Path, target: Path, wanted: Content, *, after_s: float, kept: int) -> Kill:
    """Bring it to its end, and compare."""
    subprocess.run([*_words(clip, target), "--resume", "--overwrite"], check=True)
    found = Content.of(target)
    verdict = subprocess.run(
        [*_program(), "verify", str(clip), str(target)], stdout=subprocess.DEVNULL, check=False
    )
    left = [path.name for path in target.parent.iterdir() if path != target]
    return Kill(
        killed_after_s=round(after_s, 2),
        frames_kept=kept,
        frames_identical=found.frames == wanted.frames,
        sound_identical=found.sound == wanted.sound,
        verified=verdict.returncode == 0 and not left,
    )


def _program() -> list[str]:
    return [sys.executable, "-m", "lfdn_video"]


def _words(clip: Path, target: Path) -> list[str]:
    return [*_program(), "derain", str(clip), "-o", str(target), "--quiet"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@click.command()
@click.argument("clip", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--smoke", is_flag=True, help="One kill, of a shorter clip.")
@click.option("--json", "report", type=click.Path(path_type=Path))
def main(clip: Path | None, kills: int, seed: int, *, smoke: bool, report: Path | None) -> None:
    """Kill runs and resume them."""
    random = Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = clip or long_clip(folder / "clip.mp4", SMOKE_FRAMES if smoke else FRAMES)
        straight = folder / f"straight{source.suffix}"
        began = time.monotonic()
        subprocess.run(_words(source, straight), check=True)
        took_s = time.monotonic() - began
        wanted = Content.of(straight)
        click.echo(f"without interruption: {len(wanted.frames)} frames in {took_s:.1f} s")
        done = []
        for number in range(1 if smoke else kills):
            work = folder / str(number)
            work.mkdir()
            target, after_s = (
                work / f"out{source.suffix}",
                took_s * (0.8 if smoke else random.random()),
            )
            kept = killed(source, target, after_s)
            done.append(resumed(source, target, wanted, after_s=after_s, kept=kept))
            click.echo(f"{number + 1:3}: {done[-1]}")
            target.unlink()
        if report is not None:
            told = {
                "frames": len(wanted.frames),
                "sound_packets": len(wanted.sound),
                "uninterrupted_s": round(took_s, 1),
                "kills": [asdict(kill) for kill in done],
            }
            report.write_text(json.dumps(told, indent=2) + "\n")
    if not all(kill.frames_identical and kill.sound_identical and kill.verified for kill in done):
        sys.exit(1)


if __name__ == "__main__":
    main()
