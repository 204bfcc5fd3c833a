"""Formats numbers, progress and summaries as text, and values for JSON. Prints nothing."""

import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfdn_video import pipeline
    from lfdn_video.cli.foresight import Estimate, Foreseen
    from lfdn_video.copying import GateSummary
    from lfdn_video.progress import Progress
    from lfdn_video.stream.board import Status

STAGE_NAMES = {
    "decode": "decoder",
    "model": "model",
    "temporal": "temporal stage",
    "encode": "encoder",
}


MOST_SPANS = 3
"""Copied parts that a summary names."""


def format_progress(progress: "Progress", *, short: bool = False) -> str:
    """Format progress: `45/85 frames (52%), 12.3 fps, 0:03 left, done 16:42, bottleneck: model`.

    Args:
        progress: the state of a run.
        short: like `53%, 12.3 fps, 0:03 left, done 16:42`, for a bar on a terminal.
    """
    if progress.looked_at is not None:
        return "looking for rain: segment {} of {}".format(*progress.looked_at)
    done, total = progress.frames_done, progress.frames_total  # unknown parts are left out
    share = f"{100 * done // total}%" if total else ""
    if short:
        parts = [share or str(done)]
    else:
        parts = [f"{done}/{max(total, done)} frames ({share})" if total else f"{done} frames"]
    if progress.fps > 0:
        parts.append(format_speed(progress.fps))
    if progress.eta_s is not None:
        parts.append(f"{format_duration(progress.eta_s)} left")
        parts.append(f"done {format_clock(time.time() + progress.eta_s)}")
    if not short:
        parts.append(f"bottleneck: {STAGE_NAMES[progress.bottleneck]}")
    return ", ".join(parts)


def format_summary(summary: "pipeline.Summary") -> str:
    """Summarize a run in one line: target, speed, bottleneck, losses."""
    restored = summary.frames - summary.kept_frames
    fps = restored / summary.seconds if summary.seconds > 0 else 0.0
    busy = ", ".join(
        f"{name} {100 * times.busy_s / max(summary.seconds, 1e-9):.0f}%"
        for name, times in summary.stages.items()
    )
    line = (
        f"{summary.target}: {_count(summary.frames, 'frame')} in "
        f"{format_duration(summary.seconds)} ({format_speed(fps)}); "
        f"bottleneck: {STAGE_NAMES[summary.bottleneck]} (busy: {busy})"
    )
    if summary.kept_frames:
        line += f"; {_count(summary.kept_frames, 'frame')} kept from before"
    if summary.corrupt_packets:
        line += f"; {_count(summary.corrupt_packets, 'corrupt packet')} in the source"
    if summary.repeated_frames:
        line += f"; {_count(summary.repeated_frames, 'frame')} repeated"
    for reason, count in summary.dropped_frames.items():
        line += f"; {_count(count, 'frame')} missing: {reason}"
    if (temporal := summary.temporal) is not None:
        changes = temporal.frames, temporal.mean_change, temporal.left, temporal.given_back
        line += f"; {_format_temporal(*changes)}"
    if (gate := summary.gate) is not None:
        line += f"; {_format_gate(gate)}"
    if summary.temporal_off == "images not numbered in a row":  # all else is as the user knows it
        line += f"; neighbouring frames: not used, {summary.temporal_off}"
    return line


def _format_gate(gate: "GateSummary") -> str:
    """`copied: 150 frames (0:00-0:05, 0:09-0:10), 5 of 7 segments are dry`."""
    if gate.off is not None:
        return "nothing copied"  # a warning says why
    dry = [segment for segment in gate.segments if segment.copied]
    spans: list[tuple[float, float]] = []
    for segment in dry:
        follows = spans and spans[-1][1] == segment.start_s
        start_s = spans.pop()[0] if follows else segment.start_s
        spans.append((start_s, segment.end_s))
    shown = [f"{format_place(a)}-{format_place(b)}" for a, b in spans[:MOST_SPANS]]
    more = ["..."] if len(spans) > MOST_SPANS else []
    where = f" ({', '.join(shown + more)})" if spans else ""
    return (
        f"copied: {_count(gate.copied_frames, 'frame')}{where}, "
        f"{len(dry)} of {_count(len(gate.segments), 'segment')} dry"
    )


def _format_temporal(
    frames: int, mean_change: float, left: Mapping[str, int], given_back: int
) -> str:
    """`neighbouring frames: rain taken out of 50 (1.1/255), not of 10 (too few neighbours: 10)`."""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in left.items())
    if frames:
        line = f"neighbouring frames: rain taken out of {frames} ({mean_change:.2g}/255)"
        line += f", not of {sum(left.values())} ({reasons})" if left else ""
    else:
        line = "neighbouring frames: no rain taken out" + (f" ({reasons})" if left else "")
    if given_back:
        line += f", texture given back in {given_back}"
    return line


def format_status(status: "Status") -> str:
    """Format a live status like `live, 25.0 fps in, 4.2 fps out, latency 0.31 s, scale 0.5`."""
    if status.state != "live":
        message = status.message.removeprefix(f"{status.source}: ")
        return f"{status.state}: {message}" if message else status.state
    parts = ["live", f"{format_speed(status.fps_in)} in", f"{format_speed(status.fps_out)} out"]
    parts.append(f"latency {status.latency_s:.2f} s")
    parts.append(f"{_count(status.frames_dropped, 'frame')} dropped")
    if status.too_small:
        parts.append(f"too small to remove rain: {100 * status.inference_scale:g} %")
    elif status.inference_scale < 1:
        parts.append(f"scale {status.inference_scale:g}")
    if status.temporal == "paused":
        parts.append("neighbouring frames paused")
    if status.reconnects:
        parts.append(_count(status.reconnects, "reconnect"))
    return ", ".join(parts)


def format_live_summary(status: "Status") -> str:
    """Summarize a live stream in one line: frames, reconnects, duration."""
    duration = format_duration(max(0.0, status.changed_at - status.started_at))
    frames = f"{_count(status.frames_out, 'frame')} restored, {status.frames_dropped} dropped"
    reconnects = _count(status.reconnects, "reconnect")
    line = f"{status.camera or status.source}: {frames}, {reconnects} in {duration}"
    changed, left = status.temporal_frames, status.temporal_left
    if not changed and not left:
        return line
    what = _format_temporal(changed, status.temporal_mean_change, left, status.temporal_given_back)
    return f"{line}; {what}"


def format_estimate(estimate: "Estimate") -> str:
    """Format what is expected of a run.

    Args:
        estimate: the estimate.

    Returns:
        One line like `1800 frames of 1920×1080 on cpu in float32, 0.80 fps: done at 16:42, after
        37:30; faster here: --precision int8; Ctrl-C stops it, and --resume goes on`.
    """
    frames = _count(estimate.frames_total, "frame")
    size = f" of {estimate.size[0]}×{estimate.size[1]}" if estimate.size else ""
    place = f" on {estimate.device}" if estimate.device else ""
    place += f" in {estimate.precision}" if estimate.precision else ""
    line = (
        f"{frames}{size}{place}, {format_speed(estimate.fps)}: done at "
        f"{format_clock(estimate.done_at)}, after {format_duration(estimate.seconds)}"
    )
    if estimate.faster:
        line += f"; faster here: {' or '.join(estimate.faster)}"
    if estimate.resumable:
        line += "; Ctrl-C stops it, and the same command with --resume goes on"
    return line


def format_foreseen(foreseen: "Foreseen") -> str:
    """Format what a run would take like `about 12:40 on cpu in float32, 1.9 fps`."""
    place = f"on {foreseen.device} in {foreseen.precision}, {format_speed(foreseen.fps)}"
    if foreseen.seconds is None:
        return f"an unknown time {place}"
    return f"about {format_duration(foreseen.seconds)} {place}"


def format_clock(at_s: float) -> str:
    """Format a time of day like `16:42`, with the weekday or the date if it is not today's.

    Args:
        at_s: seconds since the epoch.

    Returns:
        Local time.
    """
    then, now = time.localtime(at_s), time.localtime(time.time())
    if then[:3] == now[:3]:
        return time.strftime("%H:%M", then)
    is_near = abs(at_s - time.time()) < 6 * 86_400
    return time.strftime("%a %H:%M" if is_near else "%Y-%m-%d %H:%M", then)


def format_speed(fps: float) -> str:
    """Format a measured speed: `12.3 fps`, `0.25 fps`."""
    return f"{fps:.1f} fps" if fps >= 1 else f"{fps:.2f} fps"


def format_frame_rate(fps: Fraction) -> str:
    """Format a nominal frame rate: `25 fps`, `29.97 fps`."""
    return f"{float(fps):.3f}".rstrip("0").rstrip(".") + " fps"


def format_duration(seconds: float) -> str:
    """Format a duration: `3.2 s` below ten seconds, then `0:12`, `12:45`, `1:02:03`."""
    if seconds < 9.95:  # above, it would be rounded to 10.0
        return f"{seconds:.1f} s"
    return format_place(seconds)


def format_place(seconds: float) -> str:
    """Format a time in a clip: `0:03`, `12:45`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def escape_unprintable(text: str, keep: str = "") -> str:
    r"""Escape characters that could control a terminal, as Python does (`\x1b`).

    File names and tags come from outside and may contain anything.

    Args:
        text: the text to show.
        keep: characters to leave as they are, such as the newlines of a traceback.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def to_jsonable(value: object) -> object:
    """Convert a value to one that `json` can write.

    Dataclasses become objects, tuples lists, fractions and paths text; floats have six decimals,
    and those that are not finite become null.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
