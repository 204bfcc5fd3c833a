"""The board of a live session: its newest view and its status, for viewers.

The session (`session.py`) publishes to it; the window (`watch/preview.py`) and the web page
(`watch/web.py`) read from it, each at its own pace. Slow viewers skip frames. Values and one lock;
no FFmpeg, no network, no window.
"""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lfdn_video.media import Image
from lfdn_video.options import Prefer

StreamState = Literal["connecting", "live", "reconnecting", "ended", "failed"]

TemporalState = Literal["off", "on", "paused"]

LATENCY_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of the latency histogram's buckets; one more bucket is above the last."""

WANTED_S = 3.0
"""Seconds for which `Board.want_views` counts."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One captured frame and its restored twin, as images of the same size. Read-only."""

    number: int
    """Number of the captured frame, from 1. Gaps are dropped frames."""
    raw: Image
    """The frame as captured."""
    restored: Image
    """The frame as restored."""
    captured_at: float
    """When the frame left the source, in seconds since the epoch (`time.time`)."""
    latency_s: float
    """Seconds from capture to publication here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """State and statistics of a live session.

    Counts are totals since the start: frames_in = frames_out + frames_dropped + frames in flight.
    """

    source: str
    """The source's address, without credentials."""
    camera: str | None = None
    """Its name among several; None: it is the only one."""
    task: str
    """`derain` or `deblur`."""
    state: StreamState = "connecting"
    """State of the source, as far as the session knows."""
    message: str = ""
    """The last error in one line, without credentials; empty while there is none."""
    started_at: float = 0.0
    """Start of the session, in seconds since the epoch; 0 before it."""
    changed_at: float = 0.0
    """When `state` last changed, in seconds since the epoch; 0 before the start."""
    size: tuple[int, int] | None = None
    """Width and height of the upright frame in pixels, once known."""
    inference_scale: float = 1.0
    """Sides of the network's input over those of the frame, up to 1."""
    too_small: bool = False
    """True if the network's input is too small to remove rain; `derain` only."""
    prefer: Prefer | None = None
    """What is kept on a slow device, which viewers may change; None: the scale is fixed."""
    temporal: TemporalState = "off"
    """The temporal stage: `off`, not asked for; `paused`, it would break the latency bound."""
    temporal_frames: int = 0
    """Frames that it changed."""
    temporal_mean_change: float = 0.0
    """Mean absolute change of their luma, in codes of 8 bits."""
    temporal_left: Mapping[str, int] = field(default_factory=dict)
    """The other frames, by reason: no rain was taken out of them."""
    temporal_given_back: int = 0
    """Frames in which it gave texture back that the network had taken for rain."""
    frames_in: int = 0
    """Frames captured."""
    frames_out: int = 0
    """Frames restored and shown."""
    frames_dropped: int = 0
    """Frames dropped for newer ones."""
    reconnects: int = 0
    """Number of times a source that had been live was opened again."""
    fps_in: float = 0.0
    """Frames per second from the source, over the last few seconds."""
    fps_out: float = 0.0
    """Restored frames per second, over the last few seconds."""
    latency_s: float = 0.0
    """Latency of the newest frame, in seconds."""
    max_latency_s: float = 0.0
    """Bound on the latency, in seconds; 0 before the start."""
    latency_counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    """Latency histogram: frames per bucket of `LATENCY_BOUNDS_S`, not cumulative."""
    latency_sum_s: float = 0.0
    """Sum of the latencies of all frames, in seconds."""
    cpu_load: float | None = None
    """Share of this computer's processors that is busy, by all programs, 0…1; None: unknown."""
    gpu_load: float | None = None
    """Share of the last second in which the GPU was busy, 0…1; None: unknown, or none is used."""
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of work by stage: decode, model, temporal, encode."""
    recording: str | None = None
    """The file being recorded; None: none."""
    recording_error: str | None = None
    """Why the recording ended before the session; None: it did not."""


class Board:
    """Holds the newest view and the status of one session. Safe to use from any thread."""

    def __init__(self, status: Status, *, idle_interval_s: float = 0.0) -> None:
        """Start with `status` and no view.

        Args:
            status: the first status.
            idle_interval_s: seconds between two views while nobody asks for them (`want_views`);
                making one takes the session time. 0: every frame is shown.
        """
        self._changed = threading.Condition()
        self._status = status
        self._view: View | None = None
        self._closed = False
        self._idle_interval_s = idle_interval_s
        self._shown_s = float("-inf")
        self._wanted_until_s = float("-inf")
        self._listeners: list[Callable[[], object]] = []

    @property
    def status(self) -> Status:
        """The current status."""
        with self._changed:
            return self._status

    @property
    def view(self) -> View | None:
        """The newest view; None before the first."""
        with self._changed:
            return self._view

    @property
    def closed(self) -> bool:
        """True once nothing more will be published."""
        with self._changed:
            return self._closed

    @contextmanager
    def calling(self, listener: Callable[[], object]) -> Generator[None]:
        """Within the block, call `listener` after every view and at the end, in any thread."""
        with self._changed:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._changed:
                self._listeners.remove(listener)

    def want_views(self) -> None:
        """Ask for every frame during the next seconds, as somebody looks."""
        self._wanted_until_s = time.monotonic() + WANTED_S

    def wants_view(self) -> bool:
        """Tell whether the next frame should be shown."""
        now_s = time.monotonic()
        return now_s < self._wanted_until_s or now_s >= self._shown_s + self._idle_interval_s

    def show(self, view: View) -> None:
        """Publish a view. Its images must not be written to afterwards."""
        self._shown_s = time.monotonic()
        with self._changed:
            self._view = view  # replaced, never queued: a slow viewer skips
            self._changed.notify_all()
        self._tell_listeners()

    def update(self, **changes: Any) -> None:
        """Replace fields of the status; the others keep their values."""
        with self._changed:
            self._status = replace(self._status, **changes)
            self._changed.notify_all()

    def wait_for_view(self, after: int, timeout_s: float) -> View | None:
        """Wait for a view newer than one already seen.

        Args:
            after: number of the last view seen; 0 for none.
            timeout_s: longest wait in seconds; 0 does not wait.

        Returns:
            The newest view if its number is above `after`; None at the timeout, or if the
            board was closed without one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_newer(after), timeout_s)
            return self._view if self._is_newer(after) else None

    def close(self) -> None:
        """Declare the end of the session, and wake all waiting viewers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        with self._changed:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def _is_newer(self, after: int) -> bool:
        return self._view is not None and self._view.number > after
