"""Compare the time that a run is said to take, after its first ten seconds, with what it took.

    python -m benchmarks.foresight --json benchmarks/results/foresight.json
    python -m benchmarks.foresight --clip 360p --device cuda --seconds 60
    python -m benchmarks.foresight --smoke

Each clip is the sample in another size, long enough for a run of about `--seconds`; `changing` is
640×360, and half its size from its middle on. Beside both times stand the cores that the run had
before and after it was estimated: where other programs took more of them later, or less, no
estimate could know.
"""

import tempfile
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import click
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from benchmarks.clips import RATE, SAMPLE, loop_frames, scale_clip
from benchmarks.reports import describe_machine, write_json
from lfdn_video import EncodeOptions, InferenceOptions, Progress, load_engine, restore
from lfdn_video.cli.foresight import MEASURED_FRAMES, MEASURED_S

SIZES = {"360p": (640, 360), "1080p": (1920, 1080), "changing": (640, 360)}
TRIAL_FRAMES = 8


@dataclass(frozen=True)
class Row:
    """One run."""

    clip: str
    frames: int
    device: str
    precision: str
    estimated_s: float
    """As estimated after `MEASURED_S`, as a run does: until the finished target."""
    took_s: float
    cores_first: float
    """Cores that the run kept busy, on average, until it was estimated."""
    cores_rest: float
    """The same after that."""

    @property
    def error(self) -> float:
        """Share of the time taken by which the estimate was too long, or too short."""
        return self.estimated_s / self.took_s - 1


class Watch:
    """Remembers what a run says of its length at a time."""

    def __init__(self, at_s: float) -> None:
        self._at_s = at_s
        self.seen: Progress | None = None
        self.seen_cpu_s = 0.0
        """Processor time of this process when the run was estimated."""
        self.began_s = 0.0

    def __call__(self, progress: Progress) -> None:
        self.began_s = self.began_s or time.perf_counter() - progress.elapsed_s
        is_enough = progress.elapsed_s >= self._at_s and progress.frames_done >= MEASURED_FRAMES
        if self.seen is None and is_enough and progress.eta_s is not None:
            self.seen = progress
            self.seen_cpu_s = time.process_time()


def write_changing(target: Path, frames: int) -> Path:
    """Write a transport stream whose frames have half the size from the middle on."""
    with av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = SIZES["changing"]
        number = 0
        for divisor in (1, 2):
            encoder = VideoCodecContext.create("libx264", "w")
            assert isinstance(encoder, VideoCodecContext)
            encoder.width, encoder.height = (side // divisor for side in SIZES["changing"])
            encoder.pix_fmt, encoder.framerate = "yuv420p", Fraction(RATE)
            encoder.time_base = Fraction(1, RATE)
            chosen: list[VideoFrame | None] = [*islice(loop_frames(SAMPLE), frames // 2), None]
            for frame in chosen:
                if frame is not None:
                    frame = frame.reformat(encoder.width, encoder.height, "yuv420p")
                    frame.pts, frame.time_base = number, Fraction(1, RATE)
                    number += 1
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
    return target


def write_source(name: str, target: Path, frames: int) -> Path:
    if name == "changing":
        return write_changing(target.with_suffix(".ts"), frames)
    return scale_clip(SAMPLE, target.with_suffix(".mp4"), SIZES[name], frames)


def measure(name: str, folder: Path, inference: InferenceOptions, seconds: float) -> Row:
    """Restore a clip of this size for about `seconds`."""
    at_s = min(MEASURED_S, seconds / 3)
    target = folder / "out.mp4"
    with load_engine("derain", options=inference) as engine:
        trial = write_source(name, folder / "trial", TRIAL_FRAMES)
        pace = TRIAL_FRAMES / restore(trial, target, engine=engine).seconds
        source = write_source(name, folder / name, max(TRIAL_FRAMES, 2 * round(pace * seconds / 2)))
        watch = Watch(at_s)
        encode = EncodeOptions(overwrite=True)
        began_cpu_s = time.process_time()
        summary = restore(source, target, engine=engine, encode=encode, on_progress=watch)
        took_s = time.perf_counter() - watch.began_s
        ended_cpu_s = time.process_time()
    seen = watch.seen
    assert seen is not None, "the run was too short"
    assert seen.eta_s is not None
    return Row(
        name,
        summary.frames,
        seen.device,
        seen.precision,
        estimated_s=seen.elapsed_s + seen.eta_s,
        took_s=took_s,
        cores_first=(watch.seen_cpu_s - began_cpu_s) / seen.elapsed_s,
        cores_rest=(ended_cpu_s - watch.seen_cpu_s) / (took_s - seen.elapsed_s),
    )


@click.command()
@click.option(
    "--clip", "names", multiple=True, type=click.Choice(list(SIZES)), help="Default: all."
)
@click.option("--device", default="auto", show_default=True, help="As for `lfdn-video derain`.")
@click.option("--seconds", default=90.0, show_default=True, help="Length of a run, about.")
@click.option("--smoke", is_flag=True, help="Check that it runs: three seconds of one clip.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(
    names: tuple[str, ...], device: str, seconds: float, smoke: bool, report: Path | None
) -> None:
    """Print estimated and measured seconds, by clip."""
    if smoke:
        names, seconds = ("changing",), 3.0
    rows = []
    for name in names or tuple(SIZES):
        with tempfile.TemporaryDirectory() as folder:
            row = measure(name, Path(folder), InferenceOptions(device=device), seconds)
        rows.append(row)
        click.echo(
            f"{row.clip:10}{row.frames:6} frames, {row.device} in {row.precision}: estimated "
            f"{row.estimated_s:6.1f} s, took {row.took_s:6.1f} s ({row.error:+.1%}), "
            f"{row.cores_first:.2f} cores, then {row.cores_rest:.2f}"
        )
    rows_json = [asdict(row) | {"error": row.error} for row in rows]
    write_json(report, {**describe_machine(), "measured_s": MEASURED_S, "rows": rows_json})


if __name__ == "__main__":
    main()
