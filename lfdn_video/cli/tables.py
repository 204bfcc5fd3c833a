"""Prints the output of `probe`, `doctor`, `verify` and `live --list`: tables, or JSON documents.

Receives the values to print, and reads no files itself.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import fields
from math import isfinite
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lfdn_video.cli.formatting import (
    escape_unprintable,
    format_duration,
    format_foreseen,
    format_frame_rate,
    to_jsonable,
)

if TYPE_CHECKING:
    from lfdn_video.checks import Check
    from lfdn_video.cli.foresight import Foreseen
    from lfdn_video.media import StreamInfo, VideoInfo
    from lfdn_video.review.compare import Comparison
    from lfdn_video.stream.capture.cameras import Camera

MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
RANGES = {1: "limited", 2: "full"}
STATE_COLUMNS = 7
NAME_COLUMNS = 15
MEASURES = {
    "change": ("change", "of 255"),
    "psnr_y": ("PSNR-Y", "dB"),
    "psnr_rgb": ("PSNR-RGB", "dB"),
    "ssim_y": ("SSIM-Y", ""),
    "ssim_rgb": ("SSIM-RGB", ""),
    "xpsnr_y": ("XPSNR-Y", "dB"),
    "flicker_before": ("flicker of A", "of 255"),
    "flicker_after": ("flicker of B", "of 255"),
}
"""Titles and units of the measures of `compare`."""
STATES = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
}


def print_json(value: object) -> None:
    """Print a value as one JSON document; `to_jsonable` converts it."""
    json.dump(to_jsonable(value), sys.stdout, ensure_ascii=False, allow_nan=False, indent=2)
    sys.stdout.write("\n")


def print_info(info: "VideoInfo") -> None:
    """Print the contents of a source: its video, then every stream, chapter and tag."""
    console = Console(highlight=False)
    console.print(_text(str(info.path), "bold"))
    console.print(_video_table(info))
    if info.streams:
        console.print(_stream_table(info))
    for number, chapter in enumerate(info.chapters, 1):
        times = (
            f"{format_duration(float(chapter.start_s))} to {format_duration(float(chapter.end_s))}"
        )
        console.print(_text(f"chapter {number}: {times}  {chapter.title or ''}".rstrip()))
    for key, value in info.metadata.items():
        console.print(_text(f"{key}: {value}"))


def print_foreseen(foreseen: "Foreseen | str") -> None:
    """Print what a run would take, or why it does not run, below `print_info`."""
    text = foreseen if isinstance(foreseen, str) else format_foreseen(foreseen)
    table = Table.grid(padding=(0, 2))
    table.add_row(_text("derain takes", "dim"), _text(text))
    Console(highlight=False).print(table)


def add_foreseen(info: "VideoInfo", foreseen: "Foreseen | str") -> dict[str, object]:
    """Return the description of a source, and with it what a run would take, for JSON."""
    estimate = None if isinstance(foreseen, str) else foreseen
    return {each.name: getattr(info, each.name) for each in fields(info)} | {"estimate": estimate}


def print_comparison(found: "Comparison") -> None:
    """Print the figures of `compare`, and how each was taken."""
    console = Console(highlight=False)
    width, height = found.size
    console.print(_text(f"A  {found.before}"), soft_wrap=True)
    console.print(_text(f"B  {found.after}"), soft_wrap=True)
    console.print(f"{found.frames} frames in both, {width}×{height}")
    for name, count in (("A", found.unpaired_before), ("B", found.unpaired_after)):
        if count:
            console.print(_text(f"{count} frames in {name} alone", "yellow"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("measure", "mean", "lowest", "highest", "frames", "unit"):
        table.add_column(heading, justify="left" if heading in ("measure", "unit") else "right")
    for name, (title, unit) in MEASURES.items():
        if (figure := found.figures.get(name)) is not None:
            values = (_format_figure(each) for each in (figure.mean, figure.least, figure.most))
            table.add_row(title, *values, str(figure.frames), unit)
    console.print(table)
    if found.identical_frames:
        console.print(
            f"{found.identical_frames} of {found.frames} frames are identical, and their PSNR is "
            "infinite; means are over the others",
            soft_wrap=True,
        )
    for name, text in found.protocol.items():
        console.print(_text(f"{name}: {text}", "dim"), soft_wrap=True)


def _format_figure(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else "infinite"


def print_checks(checks: "Iterable[Check]", *, as_json: bool) -> bool:
    """Print each check when it is done, or all of them as one JSON document.

    Args:
        checks: the checks, which may be made while they are printed.
        as_json: print JSON.

    Returns:
        True if none failed.
    """
    results = []
    for check in checks:
        results.append(check)
        if not as_json:
            _print_check(check)
    healthy = all(check.state != "failed" for check in results)
    if as_json:
        print_json({"ok": healthy, "checks": results})
    return healthy


def _print_check(check: "Check") -> None:
    """Print a check, wrapped on a terminal, in one line to a file or a pipe."""
    console = Console(highlight=False)
    word, style = STATES[check.state]
    if not console.is_terminal:
        console.print(_text(f"{word:8}{check.name:11} {check.text}"), soft_wrap=True)
        return
    row = Table.grid(padding=(0, 2, 0, 0))
    for width in (STATE_COLUMNS, NAME_COLUMNS, None):
        row.add_column(width=width, overflow="fold")
    row.add_row(_text(word, style), _text(check.name), _text(check.text))
    console.print(row)


def _video_table(info: "VideoInfo") -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in _video_properties(info):
        table.add_row(_text(name, "dim"), _text(value))
    return table


def _video_properties(info: "VideoInfo") -> Iterable[tuple[str, str]]:
    yield "container", info.container
    yield "video", f"{info.codec}, {info.width}×{info.height}, {info.source_format}"
    if info.rotation or info.flip:
        rotation = f"rotated {info.rotation}° clockwise" if info.rotation else ""
        yield "shown", ", ".join(filter(None, (rotation, "mirrored" if info.flip else "")))
    if info.sample_aspect_ratio not in (0, 1):
        aspect = info.sample_aspect_ratio
        yield "pixel aspect", f"{aspect.numerator}:{aspect.denominator}"
    yield "colour", _format_colour(info)
    if info.average_rate:
        yield "frame rate", f"{format_frame_rate(info.average_rate)} on average"
    if info.frame_count is not None:
        yield "frames", f"about {info.frame_count}"
    if info.duration_s is not None:
        yield "duration", format_duration(info.duration_s)
    if info.interlaced:
        yield "interlaced", "yes; use --deinterlace to restore it"
    if info.hdr_metadata:
        yield "HDR", ", ".join(info.hdr_metadata)


def _format_colour(info: "VideoInfo") -> str:
    if info.format.family != "yuv":
        return f"{info.format.family}, {info.format.depth} bit"
    resolved = info.colour.resolved_matrix(info.height, info.width)
    matrix = MATRICES.get(resolved, f"matrix {resolved}")
    guessed = "" if info.colour.matrix == resolved else " (untagged, guessed from the size)"
    range_name = RANGES[2 if info.colour.is_full_range(info.format) else 1]
    return f"{matrix}{guessed}, {range_name} range, {info.format.depth} bit"


def print_cameras(cameras: "list[Camera]", *, as_json: bool) -> None:
    """Print the cameras of this machine, or that there are none."""
    if as_json:
        print_json({"cameras": cameras})
        return
    if not cameras:
        Console().print("no camera found on this machine")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("camera", "name", "device"):
        table.add_column(heading)
    for camera in cameras:
        table.add_row(str(camera.number), _text(camera.name), _text(camera.device))
    Console().print(table)


def _stream_table(info: "VideoInfo") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("stream", "type", "codec", "language", "title", "details"):
        table.add_column(heading)
    for stream in info.streams:
        cells = (stream.type, stream.codec, stream.language or "", stream.title or "")
        mark = "*" if stream.index == info.video_index else ""
        table.add_row(f"{stream.index}{mark}", *map(_text, cells), _text(_stream_details(stream)))
    return table


def _stream_details(stream: "StreamInfo") -> str:
    parts = [
        stream.profile,
        stream.width and f"{stream.width}×{stream.height}",
        stream.frame_rate and format_frame_rate(stream.frame_rate),
        stream.sample_rate and f"{stream.sample_rate} Hz",
        stream.layout,
        stream.bit_rate and f"{stream.bit_rate / 1000:.0f} kbit/s",
        stream.file_name,
        "cover" if stream.cover else "",
        "default" if stream.default else "",
    ]
    return ", ".join(str(part) for part in parts if part)


def _text(text: str, style: str = "") -> Text:
    """Escape text: names and tags come from the source and may contain anything."""
    return Text(escape_unprintable(text), style)
