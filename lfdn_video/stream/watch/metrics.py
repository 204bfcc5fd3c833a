"""Statistics of live sessions in Prometheus's format, generated on every request.

The counts are the session's (`board.py`); nothing is counted here. Memory, CPU time and open files
of the process are included: they matter when a session runs for weeks.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

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
    """The metrics of one session, or of several with a label `camera`, and of this process."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        """Read statistics from `feeds`, one or more."""
        self._feeds = feeds
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
        """Yield the metrics, as Prometheus's client asks for them."""
        families: dict[str, Metric] = {}
        for feed in self._feeds:
            _add_session(_Labelled(families, feed.status.camera), feed)
        status = self._feeds[0].status
        machine = _Labelled(families, None)
        machine.gauge(
            "cpu_load", "Share of the computer's processors that is busy.", status.cpu_load
        )
        machine.gauge("gpu_load", "Share of the time in which the GPU is busy.", status.gpu_load)
        machine.gauge("viewers", "Number of viewers of the page.", self.viewers)
        yield from families.values()


class _Labelled:
    """Adds the values of one camera to families of metrics, which are made when needed."""

    def __init__(self, families: dict[str, Metric], camera: str | None) -> None:
        self._families = families
        self._names = [] if camera is None else ["camera"]
        self._values = [] if camera is None else [camera]

    def gauge(self, name: str, text: str, value: float | None) -> None:
        if value is not None:
            self._get(GaugeMetricFamily, name, text).add_metric(self._values, float(value))

    def counter(self, name: str, text: str, value: float, **labels: str) -> None:
        family = self._get(CounterMetricFamily, name, text, *labels)
        family.add_metric([*self._values, *labels.values()], value)

    def info(self, text: str, values: dict[str, str]) -> None:
        self._get(InfoMetricFamily, "", text).add_metric(self._values, values)

    def states(self, name: str, text: str, values: dict[str, bool]) -> None:
        self._get(StateSetMetricFamily, name, text).add_metric(self._values, values)

    def histogram(
        self, name: str, text: str, buckets: Sequence[tuple[str, float]], sum_value: float
    ) -> None:
        self._get(HistogramMetricFamily, name, text).add_metric(self._values, buckets, sum_value)

    def _get(self, kind: type[Any], name: str, text: str, *labels: str) -> Any:
        full_name = f"{PREFIX}_{name}".rstrip("_")
        if full_name not in self._families:
            self._families[full_name] = kind(full_name, text, labels=[*self._names, *labels])
        return self._families[full_name]


def _add_session(add: _Labelled, feed: Feed) -> None:
    """Add the metrics of one session."""
    status, health = feed.status, feed.health
    about = {"source": status.source, "task": status.task}
    add.info("Source and task of the session.", about)
    add.counter("frames_in", "Frames received from the source.", status.frames_in)
    add.counter("frames_out", "Frames restored and shown.", status.frames_out)
    add.counter("frames_dropped", "Frames dropped for newer ones.", status.frames_dropped)
    changed = "Frames changed by what their neighbours tell."
    add.counter("temporal_frames", changed, status.temporal_frames)
    given_back = "Frames in which texture was given back that the network had taken for rain."
    add.counter("temporal_given_back", given_back, status.temporal_given_back)
    reopened = "Number of times the source was opened again."
    add.counter("reconnects", reopened, status.reconnects)
    for stage, seconds in status.stage_s.items():
        add.counter("stage_seconds", "Seconds of work by stage.", seconds, stage=stage)
    add.histogram(
        "latency_seconds",
        "Seconds from the capture of a frame until it was shown.",
        _cumulative_buckets(status),
        status.latency_sum_s,
    )
    add.states(
        "state",
        "State of the source; stalled is live without a new frame.",
        {state: state == health for state in HEALTH_STATES},
    )
    for name, (text, value) in _gauges(status, feed.silent_s).items():
        add.gauge(name, text, value)


def _gauges(status: Status, silent_s: float | None) -> dict[str, tuple[str, float | None]]:
    """Return text and value by name; without a value, there is no metric."""
    return {
        "picture_age_seconds": ("Seconds since the newest frame was shown.", silent_s),
        "inference_scale": (
            "Sides of the network's input over those of the frame.",
            status.inference_scale,
        ),
        "too_small": (
            "1 while the network's input is too small to remove rain.",
            status.too_small,
        ),
        "prefers_quality": (
            "1 if the scale has a floor that keeps rain removed.",
            status.prefer == "quality",
        ),
        "temporal": ("1 while neighbouring frames are used.", status.temporal == "on"),
        "max_latency_seconds": ("Bound of the latency.", status.max_latency_s),
        "recording": ("1 while a file is being written.", status.recording is not None),
        "recording_failed": (
            "1 after a recording could not be written any more.",
            status.recording_error is not None,
        ),
        "start_time_seconds": (
            "Start of the session in seconds since the epoch.",
            status.started_at,
        ),
    }


def _cumulative_buckets(status: Status) -> list[tuple[str, float]]:
    # Prometheus's buckets are cumulative, the status's are not.
    bounds = [*(str(bound) for bound in LATENCY_BOUNDS_S), "+Inf"]
    totals = accumulate(status.latency_counts)
    return [(bound, float(total)) for bound, total in zip(bounds, totals, strict=True)]
