"""What a live stream has to show: its newest pictures, and how it goes.

A live session (`session.py`) puts in, the window (`preview.py`) and the web page (`web.py`) look;
each at its own pace, and none waits for another. Who looks too seldom misses pictures and gets
newer ones. Values and one lock; knows no FFmpeg, no network, no window.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lfdn_video.media import Image

State = Literal["connecting", "live", "reconnecting", "ended", "failed"]

LATENCY_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of the latency histogram's buckets; one more has what is above the last."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One captured picture and what the network made of it; both of one size."""

    number: int
    """Of the captured frame, from 1; what is missing in between was dropped."""
    raw: Image
    restored: Image
    captured_at: float
    """When the frame left the source, in seconds since the epoch (`time.time`)."""
    latency_s: float
    """From then until it was shown here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a live stream goes. Counts are since the start; frames_in = out + dropped + under way."""

    source: str
    """Its address, without credentials."""
    task: str
    state: State = "connecting"
    message: str = ""
    """The last trouble, in a line, without credentials; empty while all is well."""
    started_at: float = 0.0
    """In seconds since the epoch, as `changed_at`."""
    changed_at: float = 0.0
    """When `state` became what it is."""
    size: tuple[int, int] | None = None
    """Width and height of the upright picture, once known."""
    inference_scale: float = 1.0
    """Of the picture's sides, in the network."""
    frames_in: int = 0
    frames_out: int = 0
    frames_dropped: int = 0
    reconnects: int = 0
    """How often a source that had been live was opened again, with success."""
    fps_in: float = 0.0
    fps_out: float = 0.0
    """Over the last few seconds."""
    latency_s: float = 0.0
    """Of the newest picture; `max_latency_s` is the bound it is kept under."""
    max_latency_s: float = 0.0
    latency_counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    """Pictures by latency: the first bucket of `LATENCY_BOUNDS_S` each is in."""
    latency_sum_s: float = 0.0
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of work so far by stage: decode, model, encode."""
    recording: str | None = None
    """The file that is being written."""


class Board:
    """Where one side pins the newest, and others look. Safe from any thread."""

    def __init__(self, status: Status) -> None:
        self._changed = threading.Condition()
        self._status = status
        self._view: View | None = None
        self._closed = False

    @property
    def status(self) -> Status:
        with self._changed:
            return self._status

    @property
    def view(self) -> View | None:
        """The newest, if there was one yet."""
        with self._changed:
            return self._view

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more."""
        with self._changed:
            return self._closed

    def show(self, view: View) -> None:
        with self._changed:
            self._view = view
            self._changed.notify_all()

    def update(self, **changes: Any) -> None:
        """Replace fields of the status."""
        with self._changed:
            self._status = replace(self._status, **changes)
            self._changed.notify_all()

    def wait(self, after: int, timeout_s: float) -> View | None:
        """The newest view if its number is above `after`; waits for one, None if none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_newer(after), timeout_s)
            return self._view if self._is_newer(after) else None

    def close(self) -> None:
        """Nothing comes any more; who waits is woken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_newer(self, after: int) -> bool:
        return self._view is not None and self._view.number > after
