"""A live stream's numbers in the format of Prometheus, made anew whenever they are asked for.

Counts belong to the session (`board.py`); nothing is counted here. With them come memory, processor
time and open files of the process, which are what to watch when it runs for weeks.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from lfdn_video.stream.board import LATENCY_BOUNDS_S, Status
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.health import CONDITIONS

PREFIX = "lfdn_video"


class Metrics(Collector):
    """`viewers` is how many look at the page."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.viewers = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and their content type, of those that the client accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        status = self._feed.status
        yield InfoMetricFamily(
            PREFIX,
            "What is restored, and how.",
            {"source": status.source, "task": status.task},
        )
        yield from _counters(status)
        yield _latency(status)
        current = self._feed.condition
        yield StateSetMetricFamily(
            f"{PREFIX}_state",
            "In which state the source is; stalled: live, but without a new picture.",
            {each: each == current for each in CONDITIONS},
        )
        yield from self._gauges(status)

    def _gauges(self, status: Status) -> Iterator[Metric]:
        silent_s = self._feed.silent_s
        gauges = {
            "picture_age_seconds": ("Since the newest picture was shown.", silent_s),
            "inference_scale": ("Of the picture's sides, in the network.", status.inference_scale),
            "max_latency_seconds": ("The bound of the latency.", status.max_latency_s),
            "recording": ("Whether a file is being written.", float(status.recording is not None)),
            "viewers": ("How many look at the page.", float(self.viewers)),
            "start_time_seconds": ("Since the epoch.", status.started_at),
        }
        for name, (text, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value)


def _counters(status: Status) -> Iterator[Metric]:
    counts = {
        "frames_in": ("Frames that the source gave.", status.frames_in),
        "frames_out": ("Frames that were restored and shown.", status.frames_out),
        "frames_dropped": ("Frames dropped for newer ones.", status.frames_dropped),
        "reconnects": ("How often the source was opened again.", status.reconnects),
    }
    for name, (text, count) in counts.items():
        yield CounterMetricFamily(f"{PREFIX}_{name}", text, count)
    stages = CounterMetricFamily(
        f"{PREFIX}_stage_seconds", "Seconds of work, by stage.", labels=["stage"]
    )
    for stage, seconds in status.stage_s.items():
        stages.add_metric([stage], seconds)
    yield stages


def _latency(status: Status) -> Metric:
    """Buckets of Prometheus count what is in them and in all below."""
    bounds = [*(str(bound) for bound in LATENCY_BOUNDS_S), "+Inf"]
    buckets, below = [], 0
    for bound, count in zip(bounds, status.latency_counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return HistogramMetricFamily(
        f"{PREFIX}_latency_seconds",
        "From the capture of a frame until it was shown.",
        buckets=buckets,
        sum_value=status.latency_sum_s,
    )
