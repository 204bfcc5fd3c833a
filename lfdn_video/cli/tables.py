"""What `probe`, `doctor` and `verify` print: tables for people, JSON for programs, both on stdout.

Knows values alone; they come from `reader.py`, `doctor.py` and `verify.py`.
"""

import json
import sys
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lfdn_video.cli.console import duration, plain, printable

if TYPE_CHECKING:
    from lfdn_video.checks import Check
    from lfdn_video.media import StreamInfo, VideoInfo
    from lfdn_video.stream.capture.cameras import Camera

MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
RANGES = {1: "limited", 2: "full"}
STATE_COLUMNS, NAME_COLUMNS = 6, 9
STATES = {"ok": ("ok", "green"), "warning": ("note", "yellow"), "failed": ("FAILED", "bold red")}


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    json.dump(plain(value), sys.stdout, ensure_ascii=False, allow_nan=False, indent=2)
    sys.stdout.write("\n")


def print_info(info: "VideoInfo") -> None:
    """What is in a source: the picture, then every stream, chapter and tag."""
    console = Console(highlight=False)
    console.print(_text(str(info.path), "bold"))
    console.print(_facts(info))
    if info.streams:
        console.print(_streams(info))
    for number, chapter in enumerate(info.chapters, 1):
        times = f"{duration(float(chapter.start_s))} to {duration(float(chapter.end_s))}"
        console.print(_text(f"chapter {number}: {times}  {chapter.title or ''}".rstrip()))
    for key, value in info.metadata.items():
        console.print(_text(f"{key}: {value}"))


def print_checks(checks: "Iterable[Check]", *, as_json: bool) -> bool:
    """Each check as it comes, or all of them as JSON; whether none failed."""
    seen = []
    for check in checks:
        seen.append(check)
        if not as_json:
            _print_check(check)
    healthy = all(check.state != "failed" for check in seen)
    if as_json:
        print_json({"ok": healthy, "checks": seen})
    return healthy


def _print_check(check: "Check") -> None:
    """Wrapped for a terminal; one line a check for a file or a pipe."""
    console = Console(highlight=False)
    word, style = STATES[check.state]
    if not console.is_terminal:
        console.print(_text(f"{word:8}{check.name:12}{check.text}"), soft_wrap=True)
        return
    row = Table.grid(padding=(0, 2, 0, 0))
    for width in (STATE_COLUMNS, NAME_COLUMNS, None):
        row.add_column(width=width, overflow="fold")
    row.add_row(_text(word, style), _text(check.name), _text(check.text))
    console.print(row)


def _facts(info: "VideoInfo") -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in _picture(info):
        table.add_row(_text(name, "dim"), _text(value))
    return table


def _picture(info: "VideoInfo") -> Iterable[tuple[str, str]]:
    yield "container", info.container
    yield "video", f"{info.codec}, {info.width}×{info.height}, {info.source_format}"
    if info.rotation or info.flip:
        turn = f"turned {info.rotation}° clockwise" if info.rotation else ""
        yield "shown", ", ".join(filter(None, (turn, "mirrored" if info.flip else "")))
    if info.sample_aspect_ratio not in (0, 1):
        aspect = info.sample_aspect_ratio
        yield "pixels", f"{aspect.numerator}:{aspect.denominator} wide"
    yield "colour", _colour(info)
    if info.average_rate:
        yield "frame rate", f"{rate(info.average_rate)} on average"
    if info.frame_count is not None:
        yield "frames", f"about {info.frame_count}"
    if info.duration_s is not None:
        yield "duration", duration(info.duration_s)
    if info.interlaced:
        yield "interlaced", "yes; restore it with --deinterlace"
    if info.hdr_metadata:
        yield "HDR", ", ".join(info.hdr_metadata)


def _colour(info: "VideoInfo") -> str:
    if info.format.family != "yuv":
        return f"{info.format.family}, {info.format.depth} bit"
    resolved = info.colour.resolved_matrix(info.height, info.width)
    matrix = MATRICES.get(resolved, f"matrix {resolved}")
    guessed = "" if info.colour.matrix == resolved else " (untagged, by its size)"
    width = RANGES[2 if info.colour.is_full_range(info.format) else 1]
    return f"{matrix}{guessed}, {width} range, {info.format.depth} bit"


def print_cameras(cameras: "list[Camera]", *, as_json: bool) -> None:
    """The cameras of this machine, or a line that there is none."""
    if as_json:
        print_json({"cameras": cameras})
        return
    if not cameras:
        Console().print("this machine shows no camera")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("camera", "name", "device"):
        table.add_column(heading)
    for camera in cameras:
        table.add_row(str(camera.number), _text(camera.name), _text(camera.device))
    if cameras:
        Console().print(table)


def _streams(info: "VideoInfo") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("stream", "type", "codec", "language", "title", "details"):
        table.add_column(heading)
    for stream in info.streams:
        cells = (stream.type, stream.codec, stream.language or "", stream.title or "")
        mark = "*" if stream.index == info.video_index else ""
        table.add_row(f"{stream.index}{mark}", *map(_text, cells), _text(_details(stream)))
    return table


def _details(stream: "StreamInfo") -> str:
    parts = [
        stream.profile,
        stream.width and f"{stream.width}×{stream.height}",
        stream.frame_rate and rate(stream.frame_rate),
        stream.sample_rate and f"{stream.sample_rate} Hz",
        stream.layout,
        stream.bit_rate and f"{stream.bit_rate / 1000:.0f} kbit/s",
        stream.file_name,
        "cover" if stream.cover else "",
        "default" if stream.default else "",
    ]
    return ", ".join(str(part) for part in parts if part)


def rate(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".") + " fps"


def _text(text: str, style: str = "") -> Text:
    """Names and tags are the source's: they may hold anything."""
    return Text(printable(text), style)
