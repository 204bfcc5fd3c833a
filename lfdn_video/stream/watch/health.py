"""The health of a live session, as page, window, `/healthz` and metrics show it.

A session reports its state (`board.py`), but a camera may fall silent before the session notices.
So viewers also check the time: a live session without a new frame is `stalled`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from lfdn_video.stream.board import Status, StreamState

FRESH_S = 5.0
"""Age of the newest frame, in seconds, beyond which a live session counts as stalled."""

Health: TypeAlias = StreamState | Literal["stalled"]
HEALTH_STATES: tuple[Health, ...] = (*get_args(StreamState), "stalled")


def assess_health(status: Status, silent_s: float | None) -> Health:
    """Compare a session's state with the age of its newest frame.

    Args:
        status: what the session reports.
        silent_s: seconds since the newest frame arrived; None if there was none yet.

    Returns:
        The session's state; `stalled` instead of `live` if no frame arrived for `FRESH_S`.
    """
    if status.state == "live" and (silent_s is None or silent_s > FRESH_S):
        return "stalled"
    return status.state


def health_report(status: Status, silent_s: float | None) -> dict[str, Any]:
    """Collect the report for the page and `/healthz`, as values for JSON.

    Times are given as seconds ago, since the viewer's clock may differ from ours.

    Args:
        status: what the session reports.
        silent_s: seconds since the newest frame arrived; None if there was none yet.

    Returns:
        Values by name; those ending in `_s` are seconds.
    """
    now = time.time()
    return {
        "state": assess_health(status, silent_s),
        "state_for_s": max(0.0, now - status.changed_at) if status.changed_at else None,
        "running_for_s": max(0.0, now - status.started_at) if status.started_at else None,
        "silent_s": silent_s,
        "message": status.message,
        "source": status.source,
        "camera": status.camera,
        "task": status.task,
        "size": status.size,
        "inference_scale": status.inference_scale,
        "too_small": status.too_small,
        "prefer": status.prefer,
        "temporal": status.temporal,
        "temporal_frames": status.temporal_frames,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "frames_dropped": status.frames_dropped,
        "reconnects": status.reconnects,
        "fps_in": status.fps_in,
        "fps_out": status.fps_out,
        "latency_s": status.latency_s,
        "max_latency_s": status.max_latency_s,
        "cpu_load": status.cpu_load,
        "gpu_load": status.gpu_load,
        "recording": status.recording,
        "recording_error": status.recording_error,
    }


def health_report_of_all(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the reports of several cameras.

    One camera that is unplugged is no reason to restart the program with all others, so it is
    unavailable only while none is live.

    Args:
        reports: what `health_report` says of each.

    Returns:
        `status`, `ok` or `unavailable`; how many are live; and the reports.
    """
    live = sum(report["state"] == "live" for report in reports)
    return {
        "status": "ok" if live else "unavailable",
        "live": live,
        "cameras": list(reports),
    }
