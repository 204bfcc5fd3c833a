"""Measure what a report adds to a run: time, and the size of its file.

    python -m benchmarks.review_cost --seconds 120

The clip is repeated until it is long enough, restored in part for the time of a run, and the report
is made about the whole: of the long clip and a copy of it that is encoded again, since the time of
a report does not depend on what a network did. Processor time is compared, which a busy machine
does not change; a report works on one core, so its seconds count once for each core of the run.
"""

import os
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import av
import click
from av.video.stream import VideoStream

from lfdn_video import SpanOptions, restore
from lfdn_video.review.report import RunFacts, write_report
from lfdn_video.verify import verify

SAMPLE = Path(__file__).parent.parent / "samples" / "rainy_dashcam.mp4"

T = TypeVar("T")


@click.command()
@click.argument("clip", type=click.Path(exists=True, path_type=Path), default=SAMPLE)
@click.option("--seconds", default=120.0, show_default=True, help="Length of the video.")
@click.option("--restored", default=24, show_default=True, help="Frames to restore.")
@click.option("--smoke", is_flag=True, help="A run of two seconds, to see that it works.")
def main(clip: Path, seconds: float, restored: int, smoke: bool) -> None:
    """Measure what a report about CLIP, repeated to some length, adds to its run."""
    if smoke:
        seconds, restored = 2.0, 2
    with TemporaryDirectory(prefix="lfdn-video-") as name:
        long, copy, page = (Path(name, each) for each in ("long.mp4", "copy.mp4", "out.html"))
        frames = _repeat(clip, long, seconds, crf=16)
        _repeat(clip, copy, seconds, crf=20)
        span = SpanOptions(end_s=(restored - 0.5) / 25)
        run_s, _ = _time(lambda: restore(long, Path(name, "part.mp4"), span=span))
        one_s, _ = _time(lambda: restore(long, Path(name, "one.mp4"), span=SpanOptions(end_s=0.02)))
        per_frame_s = (run_s - one_s) / max(1, restored - 1)  # without loading the network
        audit_s, checks = _time(lambda: tuple(verify(long, copy)))
        report_s, size = _time(lambda: write_report(long, copy, page, run=RunFacts(checks=checks)))
    cores = os.cpu_count() or 1
    whole_s = per_frame_s * frames
    click.echo(
        f"{frames} frames: the run {whole_s:.0f} s of processor time, the report "
        f"{report_s:.1f} s and its audit {audit_s:.1f} s, {size / 1e6:.2f} MB"
    )
    share = 100 * (report_s + audit_s) * cores / whole_s
    click.echo(f"the report adds {share:.1f} % to the run on {cores} cores")


def _time(work: Callable[[], T]) -> tuple[float, T]:
    """Return processor time in seconds, of all threads, and the result."""
    start_s = time.process_time()
    result = work()
    return time.process_time() - start_s, result


def _repeat(clip: Path, target: Path, seconds: float, *, crf: int) -> int:
    """Encode a clip again and again until it is long enough. Returns the number of frames."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream(
            "libx264", 25, options={"crf": str(crf), "preset": "veryfast"}
        )
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = "yuv420p"
        numbers = count()
        written = 0
        while written < 25 * seconds:
            with av.open(str(clip)) as source:
                for frame in source.decode(video=0):
                    if not written:
                        stream.width, stream.height = frame.width, frame.height
                    frame.pts, frame.time_base = next(numbers), Fraction(1, 25)
                    container.mux(stream.encode(frame))
                    written += 1
        container.mux(stream.encode(None))
    return written


if __name__ == "__main__":
    main()
