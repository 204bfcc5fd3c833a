"""Progress and summaries of imaginary runs."""

from pathlib import Path

from lfdn_video.background import StageTimes
from lfdn_video.pipeline import Summary
from lfdn_video.progress import Progress
from lfdn_video.temporal.stage import TemporalSummary


def progress(done: int = 45, total: int | None = 85, fps: float = 12.34) -> Progress:
    left_s = None if total is None else (total - done) / fps
    return Progress(done, total, done / fps, fps, left_s, "model")


def summary(
    *warnings: str,
    corrupt: int = 0,
    repeated: int = 0,
    dropped: dict[str, int] | None = None,
    temporal: TemporalSummary | None = None,
    network: dict[str, str] | None = None,
) -> Summary:
    return Summary(
        frames=85,
        seconds=10.0,
        stages={
            "decode": StageTimes(1, 0, 9),
            "model": StageTimes(9.5, 0, 0),
            "encode": StageTimes(2, 8, 0),
        },
        bottleneck="model",
        warnings=warnings,
        target=Path("out.mp4"),
        corrupt_packets=corrupt,
        repeated_frames=repeated,
        dropped_frames=dropped or {},
        temporal=temporal,
        network=network or {},
    )
