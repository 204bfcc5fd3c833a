"""A live session's statistics in Prometheus's format, generated on every request.

The counts are the session's (`board.py`); nothing is counted here. Memory, CPU time and open files
of the process are included: they matter when a session runs for weeks.
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
from lfdn_video.stream.watch.health import HEALTH_STATES

PREFIX = "lfdn_video"


class Metrics(Collector):
    """The metrics of one session and this process."""

    def __init__(self, feed: Feed) -> None:
        """Read statistics from `feed`."""
        self._feed = feed
        self.viewers = 0
        """Number of open pages and MJPEG streams; the server counts them here."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type, which the client accepts.

        Args:
            accept: the `Accept` header; empty if missing.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the session, as Prometheus's client asks for them."""
        status = self._feed.status
        yield InfoMetricFamily(
            PREFIX,
            "Source and task of the session.",
            {"source": status.source, "task": status.task},
        )
        yield from _counters(status)
        yield _latency_histogram(status)
        health = self._feed.health
        yield StateSetMetricFamily(
            f"{PREFIX}_state",
            "State of the source; stalled is live without a new frame.",
            {state: state == health for state in HEALTH_STATES},
        )
        yield from self._gauges(status)

    def _gauges(self, status: Status) -> Iterator[Metric]:
        silent_s = self._feed.silent_s
        gauges = {
            "picture_age_seconds": ("Seconds since the newest frame was shown.", silent_s),
            "inference_scale": (
                "Sides of the network's input over those of the frame.",
                status.inference_scale,
            ),
            "too_small": (
                "1 while the network's input is too small to remove rain.",
                float(status.too_small),
            ),
            "prefers_quality": (
                "1 if the scale has a floor that keeps rain removed.",
                float(status.prefer == "quality"),
            ),
            "cpu_load": ("Share of the computer's processors that is busy.", status.cpu_load),
            "gpu_load": ("Share of the time in which the GPU is busy.", status.gpu_load),
            "temporal": (
                "1 while neighbouring frames are used.",
                float(status.temporal == "on"),
            ),
            "max_latency_seconds": ("Bound of the latency.", status.max_latency_s),
            "recording": ("1 while a file is being written.", float(status.recording is not None)),
            "recording_failed": (
                "1 after a recording could not be written any more.",
                float(status.recording_error is not None),
            ),
            "viewers": ("Number of viewers of the page.", float(self.viewers)),
            "start_time_seconds": (
                "Start of the session in seconds since the epoch.",
                status.started_at,
            ),
        }
        for name, (text, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value)


def _counters(status: Status) -> Iterator[Metric]:
    counts = {
        "frames_in": ("Frames received from the source.", status.frames_in),
        "frames_out": ("Frames restored and shown.", status.frames_out),
        "frames_dropped": ("Frames dropped for newer ones.", status.frames_dropped),
        "temporal_frames": (
            "Frames changed by what their neighbours tell.",
            status.temporal_frames,
        ),
        "reconnects": ("Number of times the source was opened again.", status.reconnects),
    }
    for name, (text, count) in counts.items():
        yield CounterMetricFamily(f"{PREFIX}_{name}", text, count)
    stages = CounterMetricFamily(
        f"{PREFIX}_stage_seconds", "Seconds of work by stage.", labels=["stage"]
    )
    for stage, seconds in status.stage_s.items():
        stages.add_metric([stage], seconds)
    yield stages


def _latency_histogram(status: Status) -> Metric:
    # Prometheus's buckets are cumulative, the status's are not.
    bounds = [*(str(bound) for bound in LATENCY_BOUNDS_S), "+Inf"]
    buckets = []
    total = 0
    for bound, count in zip(bounds, status.latency_counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(
        f"{PREFIX}_latency_seconds",
        "Seconds from the capture of a frame until it was shown.",
        buckets=buckets,
        sum_value=status.latency_sum_s,
    )
