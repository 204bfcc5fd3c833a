"""What `live` does on a machine that is made busy and then left alone: the badge, and the scale.

    python -m benchmarks.live_load --json benchmarks/results/live_load.json
    python -m benchmarks.live_load --processes 8 --busy 60
    python -m benchmarks.live_load --smoke

A rainy clip of 640×360 is played in a loop through the packaged network. After `--calm` seconds so
many processes as `--processes` says compute for `--busy` seconds, then they end. Noted are, in
seconds since that load began or ended, when the picture was called too small to remove rain (the
badge of page and window, the field `too_small`), when no more, and when scale and temporal stage
were as before. Other programs' load is noted too, since it decides what "as before" can be.
"""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.clips import SAMPLE, scale_clip
from benchmarks.reports import describe_machine, write_json
from lfdn_video.background import Worker
from lfdn_video.options import LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.board import Board, Status
from lfdn_video.stream.live import live_engine
from lfdn_video.stream.session import Session

SIZE = (640, 360)
CLIP_FRAMES = 250
SAMPLED_S = 0.1
LIMIT_S = 10.0
"""The scale must be back within this time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The session at one time."""

    at_s: float
    """Seconds since the load began; negative before."""
    scale: float
    too_small: bool
    temporal: str
    latency_s: float
    cpu_load: float | None
    """Share of the processors that is busy, by all programs."""


class Recorder:
    """Samples the status of a session."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._times: list[tuple[float, Status]] = []

    def record(self, seconds: float) -> None:
        """Sample for so many seconds."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if self._board.closed:
                raise click.ClickException(f"the session ended: {self._board.status.message}")
            self._times.append((time.monotonic(), self._board.status))
            time.sleep(SAMPLED_S)

    def samples(self, zero_s: float) -> list[Sample]:
        """Return what was sampled, by a clock that starts at `zero_s`."""
        return [
            Sample(
                round(now_s - zero_s, 2),
                status.inference_scale,
                status.too_small,
                status.temporal,
                round(status.latency_s, 3),
                status.cpu_load,
            )
            for now_s, status in self._times
        ]


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many processes compute."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _compute() -> None:
    while True:
        sum(range(1_000_000))


def summarize(samples: Sequence[Sample], ended_s: float) -> dict[str, Any]:
    """Say when what changed.

    Args:
        samples: of the calm, the busy and the idle time.
        ended_s: when the load ended, in seconds since it began.
    """
    calm = [each for each in samples if each.at_s < 0]
    busy = [each for each in samples if 0 <= each.at_s < ended_s]
    idle = [each for each in samples if each.at_s >= ended_s]
    usual = calm[-1]

    def first_s(part: Sequence[Sample], what: str) -> float | None:
        return next((each.at_s for each in part if getattr(each, what)), None)

    def settled_s(is_as_before: Sequence[bool]) -> float | None:
        """Return when it was so for the first time after the load."""
        found = next((each for each, so in zip(idle, is_as_before, strict=True) if so), None)
        return None if found is None else round(found.at_s - ended_s, 2)

    return {
        "scale_before": usual.scale,
        "temporal_before": usual.temporal,
        "cpu_load_before": median(each.cpu_load or 0 for each in calm),
        "least_scale": min((each.scale for each in busy), default=None),
        "badge_after_s": first_s(busy, "too_small"),
        "latency_max_s": max((each.latency_s for each in busy), default=None),
        "badge_gone_after_s": settled_s([not each.too_small for each in idle]),
        "scale_back_after_s": settled_s([each.scale >= usual.scale for each in idle]),
        "temporal_back_after_s": settled_s([each.temporal == usual.temporal for each in idle]),
        "scale_at_end": idle[-1].scale,
        "changes": _list_changes(samples),
    }


def _list_changes(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """List the samples at which scale, badge or stage differ from those before."""
    found, before = [], None
    for each in samples:
        state = (each.scale, each.too_small, each.temporal)
        if state != before:
            found.append(asdict(each))
        before = state
    return found


def run(*, processes: int, calm_s: float, busy_s: float, idle_s: float, bound_s: float) -> Any:
    """Run a session through calm, load and calm again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clip = scale_clip(SAMPLE, folder / "rain.mp4", SIZE, CLIP_FRAMES)
        networks = stack.enter_context(live_engine("derain"))
        board = Board(Status(source="rain", task="derain"))
        options = LiveOptions(max_latency_s=bound_s, loop=True)
        session = Session(parse_source(str(clip)), board, options, shows=True)

        def watch() -> None:
            for _ in session.frames(networks.runner, lighter=networks.lighter):
                pass

        worker = Worker(watch, name="model")
        recorder = Recorder(board)
        try:
            recorder.record(calm_s)
            began_s = time.monotonic()
            with busy_processes(processes):
                recorder.record(busy_s)
            ended_s = time.monotonic()
            recorder.record(idle_s)
        finally:
            session.stop()
            worker.result()
    return summarize(recorder.samples(began_s), ended_s - began_s)


@click.command()
@click.option("--processes", default=4, show_default=True, help="Processes that compute.")
@click.option("--calm", "calm_s", default=20.0, show_default=True, help="Seconds before the load.")
@click.option("--busy", "busy_s", default=30.0, show_default=True, help="Seconds of the load.")
@click.option("--idle", "idle_s", default=30.0, show_default=True, help="Seconds after the load.")
@click.option("--max-latency", "bound_s", default=1.0, show_default=True, help="As for `live`.")
@click.option("--smoke", is_flag=True, help="Check that it runs: a few seconds.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(
    *,
    processes: int,
    calm_s: float,
    busy_s: float,
    idle_s: float,
    bound_s: float,
    smoke: bool,
    report: Path | None,
) -> None:
    """Print when the badge appeared and went, and when the scale was back; fail if it was late."""
    if smoke:
        processes, calm_s, busy_s, idle_s = 1, 4.0, 2.0, 2.0
    settings = {"processes": processes, "busy_s": busy_s, "max_latency_s": bound_s}
    result = run(processes=processes, calm_s=calm_s, busy_s=busy_s, idle_s=idle_s, bound_s=bound_s)
    click.echo(json.dumps(settings | result, indent=2))
    write_json(report, {**describe_machine(), **settings, **result})
    back_s = result["scale_back_after_s"]
    if not smoke and (back_s is None or back_s > LIMIT_S):
        raise click.ClickException(f"the scale was not back within {LIMIT_S:.0f} s")


if __name__ == "__main__":
    main()
