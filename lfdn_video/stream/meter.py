"""Counts and rates of a live session, as fields of its `Status`."""

import time
from bisect import bisect_left
from collections import deque

from lfdn_video.stream.board import LATENCY_BOUNDS_S
from lfdn_video.stream.capture.capture import Counts
from lfdn_video.stream.load import LoadMeter

RATE_WINDOW_S = 4.0
"""Rates are averages over this many seconds."""


class Meter:
    """Counts the totals of a session, and the rates of its last seconds."""

    def __init__(self) -> None:
        self.load = LoadMeter()
        self.frames_out = 0
        self.dropped = 0
        """Frames that were fetched from the capture but not shown."""
        self.model_s = 0.0
        """Seconds spent in the network; the session adds to it."""
        self.temporal_s = 0.0
        """Seconds spent in the temporal stage; the session adds to it."""
        self.encode_s = 0.0
        """Seconds spent in sinks; the session adds to it."""
        self._latency_sum_s = 0.0
        self._latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        """Frames by latency, one bucket for each of `LATENCY_BOUNDS_S` and one above."""
        self._fps_in = 0.0
        self._fps_out = 0.0
        self._samples: deque[tuple[float, int, int]] = deque()
        """Time, frames in and frames out, over the window."""

    def count_frame(self, latency_s: float) -> None:
        """Count a shown frame, with its latency in seconds."""
        self.frames_out += 1
        self._latency_sum_s += latency_s
        self._latency_counts[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1

    def summarize(self, captured: Counts) -> dict[str, object]:
        """Sum up the totals, and measure the rates of the last seconds.

        Args:
            captured: counts of the capture.

        Returns:
            Fields of `Status`, by name. Always: frames_in = frames_out + frames_dropped + those
            in flight or waiting.
        """
        self._update_rates(captured.frames_in)
        cpu_load, gpu_load = self.load.measure()
        return {
            "frames_in": captured.frames_in,
            "frames_out": self.frames_out,
            "frames_dropped": captured.dropped + self.dropped,
            "reconnects": captured.reconnects,
            "fps_in": self._fps_in,
            "fps_out": self._fps_out,
            "latency_counts": tuple(self._latency_counts),
            "latency_sum_s": self._latency_sum_s,
            "cpu_load": cpu_load,
            "gpu_load": gpu_load,
            "stage_s": {
                "decode": captured.decode_s,
                "model": self.model_s,
                "temporal": self.temporal_s,
                "encode": self.encode_s,
            },
        }

    def _update_rates(self, frames_in: int) -> None:
        now_s = time.monotonic()
        self._samples.append((now_s, frames_in, self.frames_out))
        # At least the newest sample stays, so the deque is never empty.
        while now_s - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()
        then_s, then_in, then_out = self._samples[0]
        if now_s > then_s:
            self._fps_in = (frames_in - then_in) / (now_s - then_s)
            self._fps_out = (self.frames_out - then_out) / (now_s - then_s)
